"""A second run never destroys what a first one made, unless --overwrite says so; columns are not lost unsaid."""

from __future__ import annotations

import csv

import numpy
import pytest

ENCODE = ("pipeline", "feature-extraction", "-m", "minilm", "-p", "return_tensors=true")


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def test_each_run_has_a_folder_of_its_own(llmkit, tmp_path):
    for text, folder in (("a cat", "llmkit-files"), ("a longer text", "llmkit-files-2")):
        before = contents(tmp_path)
        done = llmkit(*ENCODE, text, cwd=tmp_path)
        assert done.lines == [f"{folder}/000000.npy"]
        assert f"1 files are in {folder}\n" in done.stderr
        assert contents(tmp_path).items() >= before.items()
    done = llmkit(*ENCODE, "replaced by a text that is longer", "--overwrite", cwd=tmp_path)
    assert done.lines == ["llmkit-files/000000.npy"]
    assert [len(numpy.load(tmp_path / f"llmkit-files{end}" / "000000.npy")[0]) for end in ("", "-2")] == [
        9,
        5,
    ]


@pytest.mark.parametrize("option", ["--output-dir", "-o"])
def test_a_folder_with_files_of_another_run_is_refused(llmkit, tmp_path, option):
    name = "out.jsonl" if option == "-o" else "files"
    call = (*ENCODE, option, name)
    assert llmkit(*call, "a cat", cwd=tmp_path).code == 0
    if option == "-o":  # the results were moved; the files that they name are where they were
        (tmp_path / name).rename(tmp_path / "kept.jsonl")
    before = contents(tmp_path)
    done = llmkit(*call, "a longer text", cwd=tmp_path)
    assert (done.code, done.stdout) == (2, b"")
    folder = "out.jsonl.files" if option == "-o" else "files"
    assert done.stderr.splitlines() == [
        f"error: {folder} holds the files of an earlier run.",
        "Add --overwrite to replace them, or name another folder with --output-dir.",
    ]
    assert contents(tmp_path) == before
    assert llmkit(*call, "a longer text", "--overwrite", cwd=tmp_path).code == 0
    assert contents(tmp_path) != before


LATE = '{"text": "a", "id": 1}\n{"text": "b", "id": 2, "note": "late"}\n'
BESIDE = ("pipeline", "text-classification", "--keep-input")


def test_a_file_has_the_columns_that_come_late(llmkit, tiny, tmp_path):
    out = tmp_path / "out.csv"
    done = llmkit(*BESIDE, "-m", tiny("text-classification"), "-o", out, stdin=LATE)
    assert (done.code, done.stderr) == (0, "")
    with out.open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["id"], row["note"]) for row in rows] == [("1", ""), ("2", "late")]


def test_a_stream_says_what_it_leaves_out(llmkit, tiny):
    done = llmkit(*BESIDE, "-m", tiny("text-classification"), "--format", "csv", stdin=LATE)
    assert done.code == 0
    assert done.text.splitlines()[0] == "text,id,label,score"
    (said,) = done.stderr.splitlines()
    assert said.startswith("warning: no column for note: ")
    assert "--output FILE" in said


def test_an_output_that_is_a_link_is_written_where_it_leads(llmkit, tmp_path):
    (tmp_path / "d").mkdir()
    target, link = tmp_path / "d" / "out.jsonl", tmp_path / "link.jsonl"
    target.write_text("old\n")
    link.symlink_to("d/out.jsonl")
    call = ("tokenize", "-m", "minilm", "a cat", " ", "-o", "link.jsonl")
    assert f"{target} is there already" in llmkit(*call, cwd=tmp_path).stderr
    done = llmkit(*call, "--overwrite", cwd=tmp_path)
    assert done.code == 3, done.stderr
    assert link.is_symlink()
    assert target.read_text().startswith('{"text": "a cat"')
    assert set(contents(tmp_path)) == {"d/out.jsonl", "d/out.jsonl.rejects.jsonl", "link.jsonl"}
