"""Finding metrics by name, their options, and which result is better."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from llmkit.errors import UsageError
from llmkit.metrics import find_metric, load_metric, metric_names, more_is_better

PROMISED = [
    *("accuracy", "f1", "precision", "recall", "matthews", "pearson", "spearman", "mse", "seqeval", "squad"),
    *("squad_v2", "exact_match", "bleu", "chrf", "rouge", "perplexity"),
]


def test_names():
    assert set(PROMISED) <= set(metric_names())
    assert len(set(metric_names())) == len(metric_names())


@pytest.mark.parametrize("name", metric_names())
def test_rows_are_whole(name):
    entry = find_metric(name)
    assert entry.name == name
    assert entry.summary
    assert entry.metric_class().__doc__
    assert entry.greater_is_better == (name not in ("mse", "perplexity"))


@pytest.mark.parametrize(
    ("mistyped", "near"), [("acuracy", "accuracy"), ("F1", "f1"), ("rogue", "rouge"), ("squad_v", "squad_v2")]
)
def test_mistyped_name(mistyped, near):
    with pytest.raises(UsageError, match=f"no such metric: '{mistyped}'; did you mean {near}"):
        find_metric(mistyped)


def test_unknown_name_lists_what_there_is():
    with pytest.raises(UsageError, match=r"There are: accuracy, .*hub:NAME"):
        find_metric("zzzzzzz")


def test_the_page_names_them_all():
    page = (Path(__file__).parents[2] / "docs" / "evaluate.md").read_text(encoding="utf-8")
    rows = re.findall(
        r"^\| (`.*?) \|", page.partition("\n## Metrics\n")[2].partition("\n## ")[0], re.MULTILINE
    )
    assert {*re.findall(r"`(.*?)`", " ".join(rows))} == {*metric_names(), "hub:NAME"}


@pytest.mark.parametrize(
    ("alias", "name"),
    [
        ("matthews_correlation", "matthews"),
        ("pearsonr", "pearson"),
        ("spearmanr", "spearman"),
        ("sacrebleu", "bleu"),
    ],
)
def test_names_of_evaluate(alias, name):
    assert find_metric(alias).name == name


def test_unknown_option():
    with pytest.raises(UsageError, match=r"metric f1 has no option 'avrage'.*\ndid you mean average"):
        load_metric("f1", avrage="macro")
    with pytest.raises(UsageError, match=r"has no option 'x'.*\nIt has none"):
        load_metric("accuracy", x=1)


def test_hub_names():
    entry = find_metric("hub:acme/wer")
    assert (entry.name, entry.main_key) == ("hub:acme/wer", "wer")
    for bad in ("hub:", "hub:/etc/passwd", "hub:../x", "hub:a/b/c", "hub:a/"):
        with pytest.raises(UsageError, match="does not name a metric of the hub"):
            find_metric(bad)


@pytest.mark.parametrize(
    ("figure", "more"),
    [
        ("accuracy", True),
        ("pearsonr", True),
        ("overall_f1", True),
        ("overall_precision", True),
        ("mse", False),
        ("perplexity", False),
        ("bits_per_token", False),
        ("loss", False),
        ("wer", False),
        ("hub:wer", False),
        ("hub:acme/cer", False),
        ("hub:acme/rating", True),
    ],
)
def test_better(figure, more):
    assert more_is_better(figure) == more
    if figure.startswith("hub:"):
        assert find_metric(figure).greater_is_better == more


def test_finding_is_light():
    code = (
        "import sys; from llmkit.metrics import find_metric, metric_names;"
        "[find_metric(name).metric_class() for name in metric_names()];"
        "heavy = {'numpy', 'torch', 'evaluate', 'datasets', 'pandas', 'sklearn', 'sacrebleu', 'rouge_score'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_core_metrics_need_no_other_package():
    """All but BLEU, chrF and ROUGE, with what the core installation does not bring taken away."""
    code = """
import sys
for name in ("sklearn", "scipy", "seqeval", "sacrebleu", "rouge_score", "nltk", "sacrebleu.metrics"):
    sys.modules[name] = None
from llmkit.metrics import find_metric, load_metric, metric_names
from tests.metrics.examples import BY_KIND
done = []
for name in metric_names():
    if find_metric(name).extra is None:
        metric = load_metric(name)
        metric.update(*BY_KIND[find_metric(name).examples])
        done.append(metric.compute())
print(len(done))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) == len(metric_names()) - 3
