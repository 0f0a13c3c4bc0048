"""Checkpoints: whole or passed over, whatever a kill leaves behind; never the newest whole one removed."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from llmkit.errors import OutputError
from llmkit.training.checkpoints import MANIFEST, damages, newest_whole, remove_old, write_checkpoint


def write(folder: Path, step: int, text: str = "weights") -> Path:
    files: dict[str, Callable[[Path], object]] = {
        "a.txt": lambda path: path.write_text(text),
        "b.txt": lambda path: path.write_text("more"),
    }
    return write_checkpoint(folder, step, files).path


def test_what_was_written_is_whole(tmp_path: Path) -> None:
    path = write(tmp_path, 3)

    found, passed = newest_whole(tmp_path)

    assert found is not None
    assert (found.path, found.step, passed) == (path, 3, [])
    assert list(damages(path)) == []
    assert sorted(each.name for each in tmp_path.iterdir()) == ["step-00000003"]


def truncate(path: Path) -> None:
    (path / "a.txt").write_text("wei")


def change(path: Path) -> None:
    (path / "a.txt").write_text("WEIGHTS")


def lose(path: Path) -> None:
    (path / "b.txt").unlink()


def lose_manifest(path: Path) -> None:
    (path / MANIFEST).unlink()


def damage_manifest(path: Path) -> None:
    (path / MANIFEST).write_text('{"files": ')


def empty_manifest(path: Path) -> None:
    (path / MANIFEST).write_text('{"files": {"a.txt": 7}}')


def list_in_manifest(path: Path) -> None:
    (path / MANIFEST).write_text('{"files": ["a.txt"]}')


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (truncate, "a.txt has 3 bytes, not 7"),
        (change, "a.txt is damaged"),
        (lose, "b.txt is missing"),
        (lose_manifest, "it was not finished: no manifest"),
        (damage_manifest, "its manifest is damaged"),
        (empty_manifest, "its manifest is damaged"),
        (list_in_manifest, "its manifest is damaged"),
    ],
)
def test_a_damaged_one_is_passed_over_and_named(
    tmp_path: Path, damage: Callable[[Path], None], said: str
) -> None:
    old, new = write(tmp_path, 1), write(tmp_path, 2)
    damage(new)

    found, passed = newest_whole(tmp_path)

    assert found is not None
    assert found.path == old
    assert [(each.path, each.reason) for each in passed] == [(new, said)]


def test_a_kill_while_writing_leaves_the_older_ones_whole(tmp_path: Path) -> None:
    write(tmp_path, 1)

    def die(path: Path) -> None:
        path.write_text("half")
        os._exit(9)

    child = os.fork()
    if child == 0:
        write_checkpoint(tmp_path, 2, {"a.txt": die})
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9

    found, passed = newest_whole(tmp_path)
    assert found is not None
    assert (found.step, passed) == (1, [])
    assert (tmp_path / ".writing-step-00000002").is_dir()
    assert write(tmp_path, 2).is_dir()
    assert not (tmp_path / ".writing-step-00000002").exists()


def test_a_failed_write_is_one_message_and_the_older_ones_stay(tmp_path: Path) -> None:
    write(tmp_path, 1)

    def fail(path: Path) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OutputError, match="no space left on the device"):
        write_checkpoint(tmp_path, 2, {"a.txt": fail})
    found, _ = newest_whole(tmp_path)
    assert found is not None
    assert found.step == 1


def test_old_ones_are_removed_but_never_the_newest(tmp_path: Path) -> None:
    for step in range(1, 6):
        write(tmp_path, step)
    (tmp_path / ".writing-step-00000006").mkdir()
    shutil.copytree(tmp_path / "step-00000001", tmp_path / "my-own")

    remove_old(tmp_path, keep=2)

    assert sorted(each.name for each in tmp_path.iterdir()) == ["my-own", "step-00000004", "step-00000005"]
    remove_old(tmp_path, keep=0)
    assert (tmp_path / "step-00000005").is_dir()


def test_the_same_step_again_replaces_the_first(tmp_path: Path) -> None:
    write(tmp_path, 1, "first")

    path = write(tmp_path, 1, "second")

    assert (path / "a.txt").read_text() == "second"
    assert json.loads((path / MANIFEST).read_text())["step"] == 1
