"""Examples in a file: any of them, in any order, without the whole in memory; tokenized by one process alone."""

from __future__ import annotations

import json
import multiprocessing
import resource
import sys
from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from llmkit.data.records import Record
from llmkit.training.checking import check_run
from llmkit.training.examples import Examples, prepare_examples
from llmkit.training.objectives.base import Objective
from llmkit.training.preparing import prepare_data
from llmkit.training.splitting import split_off
from llmkit.training.state import Listener
from tests.training.stepping import config_for, ready, write_rows

Tiny = Callable[[str], Path]
ROWS = [{"text": f"film number {number}", "label": "abc"[number % 3]} for number in range(2500)]


@pytest.fixture
def objective(tiny: Tiny, tmp_path: Path) -> Objective:
    train = write_rows(tmp_path / "few.jsonl", ROWS[:6])
    return ready(config_for("text-classification", tiny("text-classification"), tmp_path, train)).objective


@pytest.fixture
def examples(objective: Objective) -> Examples:
    return prepare_examples(objective, records, "an-identity")


def records() -> Iterator[Record]:
    return (Record(row, "films.jsonl", number) for number, row in enumerate(ROWS, start=1))


def test_any_of_them_in_any_order(examples: Examples) -> None:
    assert examples.table.column("place").num_chunks > 1  # or little would be shown
    numbers = [2499, 0, 999, 1000, 1001, 2000, 7]
    taken = examples.take(numbers)
    assert [example["place"] for example in taken] == [f"films.jsonl:{number + 1}" for number in numbers]
    assert [examples.place(number) for number in numbers] == [example["place"] for example in taken]
    assert [examples.lengths[number] for number in numbers] == [len(each["input_ids"]) for each in taken]
    assert len(examples) == 2500


def test_a_column_and_a_subset(examples: Examples) -> None:
    numbers = [3, 998, 999, 1000, 2001, 2499]
    subset = examples.subset(numbers)
    wanted = [f"films.jsonl:{number + 1}" for number in numbers]
    assert list(subset.column("place")) == wanted
    assert [example["place"] for example in subset.take(range(6))] == wanted
    assert list(subset.lengths) == [examples.lengths[number] for number in numbers]
    assert [subset.subset([1, 4]).place(number) for number in (0, 1)] == [wanted[1], wanted[4]]
    assert list(examples.column("label")) == [number % 3 for number in range(2500)]
    assert subset.identity != examples.identity != examples.subset(numbers[:2]).identity


def test_split_off_is_stratified_and_repeatable(examples: Examples) -> None:
    kept, aside = split_off(examples, 0.1, seed=3)
    assert (len(kept), len(aside)) == (2251, 249)
    assert Counter(aside.column("label")) == {0: 83, 1: 83, 2: 83}
    places = set(aside.column("place"))
    assert len(places) == 249 and places.isdisjoint(kept.column("place"))
    assert split_off(examples, 0.1, seed=3)[1].identity == aside.identity
    assert split_off(examples, 0.1, seed=4)[1].identity != aside.identity


def test_parts_of_a_row_stay_together(tiny: Tiny, tmp_path: Path) -> None:
    rows = [{"text": " ".join(["word"] * (5 + number % 40))} for number in range(60)]
    train = write_rows(tmp_path / "train.jsonl", rows)
    config = config_for(
        "masked-lm", tiny("fill-mask"), tmp_path, train, data={"max_length": 12, "validation": 0.3}
    )
    data = ready(config).data
    assert data.validation is not None
    kept, aside = (set(examples.column("place")) for examples in (data.train, data.validation))
    assert len(data.train) > len(kept)  # rows were cut
    assert kept.isdisjoint(aside) and len(kept | aside) == 60


def test_what_check_counts(tiny: Tiny, tmp_path: Path) -> None:
    rows = [*ROWS[:30], *ROWS[:5], ROWS[0]]
    train = write_rows(tmp_path / "train.jsonl", rows)
    held = write_rows(tmp_path / "held.jsonl", [ROWS[3], ROWS[4], {"text": "another", "label": "a"}])
    config = config_for(
        "text-classification", tiny("text-classification"), tmp_path, train, data={"validation": [held]}
    )
    found = check_run(config, device="cpu", listener=Listener())
    assert found["duplicate_rows"] == 6
    assert found["in_train_and_validation"] == 2
    assert found["sets"]["train"]["labels"] == {"a": 13, "b": 12, "c": 11}


def test_one_process_tokenizes_while_the_others_wait(objective: Objective, tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    start = context.Barrier(3)

    def work(name: str) -> None:
        def marked() -> Iterator[Record]:
            (tmp_path / f"{name}.read").touch()
            return records()

        start.wait()
        found = prepare_examples(objective, marked, "for-three")
        (tmp_path / f"{name}.done").write_text(str(len(found)))

    children = [context.Process(target=work, args=(name,)) for name in "abc"]
    for child in children:
        child.start()
    for child in children:
        child.join()
    assert [path.read_text() for path in tmp_path.glob("*.done")] == ["2500"] * 3
    assert len(list(tmp_path.glob("*.read"))) == 1


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_DATA counts mapped memory on Linux alone")
def test_more_data_than_memory(tiny: Tiny, tmp_path: Path) -> None:
    """Read, studied, tokenized, split and gone through within a third of what the examples take."""
    path = tmp_path / "large.jsonl"
    text = "a film that is long and not at all good but for the one scene in the rain " * 3
    with path.open("w") as file:
        for number in range(30_000):
            file.write(json.dumps({"text": f"{number} {text}", "label": number % 2}) + "\n")
    config = config_for(
        "text-classification", tiny("text-classification"), tmp_path, str(path), data={"validation": 0.1}
    )
    few = write_rows(tmp_path / "few.jsonl", ROWS[:1200])
    warm = ready(config_for("text-classification", tiny("text-classification"), tmp_path / "few", few))
    room = 25 * 2**20

    def work(sender: multiprocessing.connection.Connection) -> None:
        size = _data_bytes() + room
        resource.setrlimit(resource.RLIMIT_DATA, (size, size))
        data = prepare_data(config, warm.objective)
        assert data.validation is not None
        tokens = sum(len(ids) for ids in data.train.column("input_ids"))
        last = data.train.take([len(data.train) - 1, 0])
        sender.send((data.train.table.nbytes, len(data.train), len(data.validation), tokens, len(last)))

    receiver, sender = multiprocessing.Pipe(duplex=False)
    child = multiprocessing.get_context("fork").Process(target=work, args=(sender,))
    child.start()
    sender.close()
    size, kept, aside, tokens, taken = receiver.recv()
    child.join()
    assert size > 3 * room
    assert (kept, aside, taken) == (27_000, 3_000, 2)
    assert tokens > 27_000 * 30


def _data_bytes() -> int:
    line = next(
        line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmData")
    )
    return int(line.split()[1]) * 1024


def test_lengths_are_compact(examples: Examples) -> None:
    assert isinstance(examples.lengths, array) and examples.lengths.itemsize == 4
