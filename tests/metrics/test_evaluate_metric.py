"""Every metric as an `evaluate.Metric` (evaluate 0.4.6), without a network and without files."""

import os
import subprocess
import sys
import threading

import evaluate
import pytest

from llmkit.errors import UsageError
from llmkit.metrics import (
    Metric,
    confidence_interval,
    evaluate_metric,
    find_metric,
    load_metric,
    metric_names,
)
from tests.metrics.examples import BY_KIND, many


def flat(result):
    """A nested result by paths, as pytest.approx wants it."""
    found = {}
    for key, value in result.items():
        found |= (
            {f"{key}.{name}": each for name, each in value.items()}
            if isinstance(value, dict)
            else {key: value}
        )
    return found


each_metric = pytest.mark.parametrize("name", metric_names())


def streamed(name, predictions, references, **options):
    metric = load_metric(name, **options)
    metric.update(predictions, references)
    return metric.evaluate_result()


@each_metric
def test_the_api_of_evaluate(name):
    predictions, references = many(find_metric(name).examples, 9)
    expected = flat(streamed(name, predictions, references))
    metric = evaluate_metric(name)
    assert isinstance(metric, evaluate.Metric)
    assert isinstance(metric, Metric)
    assert metric.name == name
    assert flat(metric.compute(predictions=predictions, references=references)) == pytest.approx(expected)
    # Everything begins anew after a result.
    metric.add_batch(predictions=predictions[:4], references=references[:4])
    metric.add(prediction=predictions[4], reference=references[4])
    metric.add_batch(predictions=predictions[5:], references=references[5:])
    assert len(metric) == 9
    assert flat(metric.compute()) == pytest.approx(expected)
    assert len(metric) == 0


@each_metric
def test_examples_are_those_that_evaluate_would_store(name):
    """The path of several processes: through evaluate's files and features, one process after the other."""
    predictions, references = many(find_metric(name).examples, 6)
    metric = evaluate_metric(name, experiment_id=f"features-{name}")
    features = next(
        each
        for each in metric.features
        if metric._infer_feature_from_batch({"predictions": predictions, "references": references}) == each
    )
    encoded = features.encode_batch({"predictions": predictions, "references": references})
    assert len(encoded["predictions"]) == 6


@pytest.mark.parametrize("name", ["f1", "seqeval", "squad", "squad_v2", "bleu"])
def test_two_processes_of_evaluate(name, tmp_path):
    predictions, references = many(find_metric(name).examples, 8)
    made = [
        evaluate_metric(name, num_process=2, process_id=i, experiment_id="two", cache_dir=str(tmp_path))
        for i in range(2)
    ]
    results = [None, None]

    def work(i):
        made[i].add_batch(predictions=predictions[i::2], references=references[i::2])
        results[i] = made[i].compute()

    threads = [threading.Thread(target=work, args=(i,)) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    order = [*range(0, 8, 2), *range(1, 8, 2)]
    expected = flat(streamed(name, [predictions[i] for i in order], [references[i] for i in order]))
    assert flat(results[0]) == pytest.approx(expected, rel=1e-6)
    assert results[1] is None


def test_options_at_the_end():
    predictions, references = [0, 2, 1, 1], [0, 1, 2, 1]
    metric = evaluate_metric("f1", average="macro")
    metric.add_batch(predictions=predictions, references=references)
    assert metric.compute(average="weighted") == streamed("f1", predictions, references, average="weighted")
    metric = evaluate_metric("rouge")
    stemmed = metric.compute(predictions=["cats"], references=["cat"], use_stemmer=True)
    assert stemmed == streamed("rouge", ["cats"], ["cat"], use_stemmer=True)
    metric.add(prediction="cats", reference="cat")
    with pytest.raises(UsageError, match="'use_stemmer' of rouge comes too late"):
        metric.compute(use_stemmer=True)


def test_devices_are_merged():
    predictions, references = many("classes", 10)
    parts = [evaluate_metric("f1") for _ in range(2)]
    for i, part in enumerate(parts):
        part.add_batch(predictions=predictions[i::2], references=references[i::2])
    parts[0].merge(parts[1].state())
    assert parts[0].compute() == streamed("f1", predictions, references)


def test_combined_with_others():
    combined = evaluate.combine([evaluate_metric("accuracy"), evaluate_metric("f1")])
    combined.add_batch(predictions=[0, 1, 1], references=[0, 1, 0])
    assert combined.compute() == {"accuracy": pytest.approx(2 / 3), "f1": pytest.approx(2 / 3)}


def test_seqeval_gives_types_as_evaluate_does():
    found = evaluate_metric("seqeval").compute(predictions=BY_KIND["tags"][0], references=BY_KIND["tags"][1])
    assert list(found) == [
        *("LOC", "ORG", "PER", "overall_precision", "overall_recall", "overall_f1", "overall_accuracy")
    ]
    assert found["PER"] == {"precision": 1.0, "recall": 1.0, "f1": 1.0, "number": 1}


def test_mistyped_option_and_input():
    with pytest.raises(UsageError, match="did you mean average"):
        evaluate_metric("f1", avrage="macro")
    with pytest.raises(UsageError, match="not 'sources'"):
        evaluate_metric("bleu").add_batch(predictions=["x"], references=["x"], sources=["x"])


def test_loads_without_network_and_files(tmp_path):
    code = """
import sys
sys.addaudithook(lambda event, given: sys.exit(f"network: {given}") if event == "socket.connect" else None)
from llmkit.metrics import evaluate_metric, metric_names
for name in metric_names():
    evaluate_metric(name)
"""
    home = tmp_path / "home"
    home.mkdir()
    environment = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    subprocess.run([sys.executable, "-c", code], env=environment | {"HF_HOME": str(home)}, check=True)
    assert [path for path in home.rglob("*") if "metrics" in path.parts] == []


def test_an_average_may_be_chosen_after_the_examples():
    metric = evaluate_metric("f1")
    metric.add_batch(predictions=[0, 1, 2], references=[0, 2, 1])
    assert metric.compute(average="macro") == {"f1": pytest.approx(1 / 3)}
    metric.add_batch(predictions=[0, 1, 2], references=[0, 2, 1])
    with pytest.raises(UsageError, match="for two classes"):
        metric.compute()


def test_an_interval_is_of_what_the_metric_takes():
    with pytest.raises(UsageError, match="for two classes"):
        confidence_interval("f1", [0, 1, 2], [0, 1, 2], n=10)
