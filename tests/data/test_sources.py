"""Where rows come from: files and globs, standard input, arguments, datasets."""

import gzip
import os
import subprocess
import sys
import threading

import pytest

from llmkit.data import sources
from llmkit.data.records import Record
from llmkit.data.sources import expand_paths, read_dataset, read_file, read_stdin
from llmkit.errors import DataError, HubError


def write(folder, name, data):
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data if isinstance(data, bytes) else data.encode())


def refusal(call, *arguments, **named):
    """The one message of a call that cannot be."""
    with pytest.raises(DataError) as caught:
        list(call(*arguments, **named))
    return str(caught.value)


class TestFile:
    def test_the_ending_tells_the_format_and_the_name_is_the_source(self, folder):
        write(folder, "d/a.csv", "a,b\n1,2\n")
        assert list(read_file("d/a.csv")) == [Record({"a": "1", "b": "2"}, "d/a.csv", 2)]

    @pytest.mark.parametrize(
        ("name", "data"),
        [("a.txt", "x\n"), ("a.jsonl", '"x"\n'), ("a.csv", "text\nx\n"), ("a.json", '["x"]')],
    )
    def test_compressed(self, folder, name, data):
        write(folder, name + ".gz", gzip.compress(data.encode()))
        assert [row.values for row in read_file(name + ".gz")] == [{"text": "x"}]

    def test_a_named_format_goes_before_the_ending(self, folder):
        write(folder, "a.log", '{"a": 1}\n')
        assert [row.values for row in read_file("a.log", format="ndjson")] == [{"a": 1}]

    def test_an_unknown_ending_is_told_at_once(self, folder):
        write(folder, "a.log", "x")
        with pytest.raises(DataError) as caught:
            read_file("a.log")
        assert "the ending of a.log tells no format; known are .txt, .text, .csv" in str(caught.value)
        assert "--input-format (or data.format): txt|csv" in str(caught.value)

    def test_an_unknown_format_is_told_at_once(self, folder):
        with pytest.raises(DataError, match="no such input format: 'excel'"):
            read_file("a.txt", format="excel")

    @pytest.mark.parametrize(
        "data",
        [gzip.compress(b"x\n" * 999)[:-9], b"x\n", gzip.compress(b"x\n")[:12] + b"\xff" * 30],
        ids=[
            "cut",
            "no gzip",
            "altered",
        ],  # the bytes have the second in them, which two test runners may not share
    )
    def test_damaged_gzip(self, folder, data):
        write(folder, "a.txt.gz", data)
        assert refusal(read_file, "a.txt.gz").startswith("a.txt.gz is damaged: ")

    def test_a_file_that_went_away(self, folder):
        assert refusal(read_file, "a.txt") == "cannot read a.txt: No such file or directory"

    def test_a_folder(self, folder):
        (folder / "a.txt").mkdir()
        assert refusal(read_file, "a.txt") == "cannot read a.txt: Is a directory"

    def test_a_locked_file(self, folder, monkeypatch):
        def locked(*_):
            raise PermissionError(13, "Permission denied")

        write(folder, "a.txt", "x")
        monkeypatch.setattr(sources.Path, "open", locked)
        assert refusal(read_file, "a.txt") == "cannot read a.txt: Permission denied"

    def test_a_name_too_long(self):
        assert refusal(read_file, "x" * 5000).endswith("File name too long")
        assert refusal(expand_paths, ["x" * 5000]).endswith("File name too long")

    @pytest.mark.parametrize(("data", "row"), [(b"plain\n", {"text": "plain"}), (b'{"a": 1}\n', {"a": 1})])
    def test_process_substitution(self, data, row):
        read_end, write_end = os.pipe()
        os.write(write_end, data)
        os.close(write_end)
        try:
            path = f"/dev/fd/{read_end}"
            assert expand_paths([path]) == [path]
            assert list(read_file(path)) == [Record(row, path, 1)]
        finally:
            os.close(read_end)

    def test_a_named_pipe(self, folder):
        os.mkfifo("pipe.csv")
        threading.Thread(target=write, args=(folder, "pipe.csv", "a\n1\n")).start()
        assert [row.values for row in read_file("pipe.csv")] == [{"a": "1"}]


class TestStdin:
    def read(self, data, kind=None):
        read_end, write_end = os.pipe()
        threading.Thread(target=lambda: (os.write(write_end, data), os.close(write_end))).start()
        with os.fdopen(read_end, "rb") as stream:
            return [
                row.values if isinstance(row, Record) else row.reason
                for row in read_stdin(stream, format=kind)
            ]

    @pytest.mark.parametrize("data", [b"a\n\nb\n", b"a\n\nb"])
    def test_plain_text(self, data):
        assert self.read(data) == [{"text": "a"}, {"text": ""}, {"text": "b"}]

    @pytest.mark.parametrize(
        "first", ["{not json}", "[1] a citation", '"quoted" and not', "  indented", "12"]
    )
    def test_what_only_looks_like_json_is_text(self, first):
        assert self.read(first.encode() + b"\nb\n") == [{"text": first}, {"text": "b"}]

    def test_json_lines_are_known_by_the_first(self):
        assert self.read(b'{"a": 1}\n"x"\n') == [{"a": 1}, {"text": "x"}]
        assert self.read(b'"x"\n{"a": 1}\n') == [{"text": "x"}, {"a": 1}]
        assert self.read(b"\xef\xbb\xbf" + b'{"a": 1}') == [{"a": 1}]

    def test_a_json_document_is_known_by_the_first_line(self):
        assert self.read(b'["x"]\n') == [{"text": "x"}]
        assert self.read(b'[\n  {"a": 1},\n  "x"\n]\n') == [{"a": 1}, {"text": "x"}]
        assert self.read(b'{\n  "a": 1\n}\n') == [{"a": 1}]

    @pytest.mark.parametrize(
        ("kind", "data"),
        [("jsonl", b'{"a": "1"}\n'), ("csv", b"a\n1\n"), ("tsv", b"a\n1\n"), ("json", b'[\n{"a": "1"}]')],
    )
    def test_a_named_format(self, kind, data):
        assert self.read(data, kind) == [{"a": "1"}]

    def test_json_named_text_is_text(self):
        assert self.read(b'{"a": 1}\n', "txt") == [{"text": '{"a": 1}'}]

    def test_the_source(self):
        read_end, write_end = os.pipe()
        os.write(write_end, b"a\n")
        os.close(write_end)
        with os.fdopen(read_end, "rb") as stream:
            assert list(read_stdin(stream)) == [Record({"text": "a"}, "stdin", 1)]

    def test_nothing(self):
        with pytest.raises(DataError, match="stdin is empty"):
            self.read(b"")

    def test_an_unknown_format_is_told_at_once(self):
        with pytest.raises(DataError, match="no such input format"):
            read_stdin(sys.stdin, format="yaml")

    @pytest.mark.parametrize(
        ("kind", "head", "line"),
        [
            (None, b"", b"x\n"),
            (None, b'{"a": 0}\n', b'{"a": 1}\n'),
            ("csv", b"a\n", b"1\n"),
            ("txt", b"", b"\xef\n"),
        ],
    )
    @pytest.mark.parametrize("buffering", [-1, 0])
    def test_each_line_comes_when_it_is_written(self, kind, head, line, buffering):
        """The writer waits for each row before the next line: a reader that reads ahead would never end."""
        read_end, write_end = os.pipe()
        with (
            os.fdopen(read_end, "rb", buffering=buffering) as stream,
            os.fdopen(write_end, "wb", buffering=0) as writer,
        ):
            watch = threading.Timer(10, lambda: os.write(write_end, b"\n" * 100_000))
            watch.start()
            writer.write(head)
            rows = read_stdin(stream, format=kind)
            for number in range(3):
                writer.write(line)
                row = next(rows)
                assert watch.is_alive(), "the row came only after more was written"
                assert row.line == (number + 1 if head != b"a\n" else number + 2)
            watch.cancel()


class TestPaths:
    def test_globs_are_sorted_and_names_keep_their_order(self, folder):
        for name in ("b.txt", "a.txt", "d/c.txt", "d/e/f.txt", ".hidden.txt", "z.csv"):
            write(folder, name, "x")
        (folder / "folder.txt").mkdir()
        assert expand_paths(["z.csv", "*.txt"]) == ["z.csv", "a.txt", "b.txt"]
        assert expand_paths(["**/*.txt"]) == ["a.txt", "b.txt", "d/c.txt", "d/e/f.txt"]
        assert expand_paths([f"{folder}/d/*.txt"]) == [f"{folder}/d/c.txt"]

    def test_two_stars_go_into_no_folder_by_a_link(self, folder):
        for name in ("loop/x.txt", "loop/d/y.txt", "loop/.hidden/z.txt", "b/w.txt"):
            write(folder, name, "x")
        for name in ("loop/a", "loop/b", "loop/d/c"):
            (folder / name).symlink_to(folder / "loop")
        (folder / "l").symlink_to("b")
        assert expand_paths(["loop/**/*.txt"]) == ["loop/d/y.txt", "loop/x.txt"]
        assert expand_paths(["./**/d/**/*.txt"]) == ["./loop/d/y.txt"]
        assert expand_paths(["loop/**"]) == ["loop/d/y.txt", "loop/x.txt"]
        assert expand_paths(["l/**/*.txt"]) == ["l/w.txt"]  # a link that is named is followed
        assert refusal(expand_paths, ["loop/**/"]) == "no file matches loop/**/"

    def test_each_file_once(self, folder):
        write(folder, "a.txt", "x")
        assert expand_paths(["a.txt", "./a.txt", "*.txt", str(folder / "a.txt")]) == ["a.txt"]

    def test_a_name_with_brackets_is_a_name_first(self, folder):
        write(folder, "a[1].txt", "x")
        assert expand_paths(["a[1].txt"]) == ["a[1].txt"]

    def test_a_missing_file_and_its_neighbour(self, folder):
        write(folder, "d/reviews.csv", "x")
        assert refusal(expand_paths, ["d/review.csv"]) == "no file d/review.csv\ndid you mean reviews.csv?"
        assert refusal(expand_paths, ["d/zzz"]) == "no file d/zzz"
        assert refusal(expand_paths, ["e/a.csv"]) == "no file e/a.csv: there is no folder e"

    def test_a_glob_without_a_match(self, folder):
        assert refusal(expand_paths, ["*.txt"]) == "no file matches *.txt"

    def test_a_folder(self, folder):
        (folder / "empty").mkdir()
        for name in ("d/a.jsonl", "d/b.jsonl", "d/c.csv", "d/readme.md"):
            write(folder, name, "x")
        assert refusal(expand_paths, ["empty"]) == "empty is a folder\nGive its files: 'empty/*.txt'"
        assert refusal(expand_paths, ["d/"]) == "d/ is a folder\nGive its files: 'd/*.jsonl'"
        for name in ("photos/a.jpg", "photos/b.jpg", "photos/c.png", "photos/.hidden.x", "photos/.y"):
            write(folder, name, "x")
        assert refusal(expand_paths, ["photos"]) == "photos is a folder\nGive its files: 'photos/*.jpg'"

    def test_a_link_to_nowhere(self, folder):
        (folder / "link.txt").symlink_to("gone.txt")
        assert refusal(expand_paths, ["link.txt"]) == "link.txt is a link to gone.txt, where no file is"


class TestDataset:
    @pytest.fixture(autouse=True)
    def no_network(self, monkeypatch):
        import datasets

        monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)

    @pytest.fixture
    def reviews(self, folder):
        write(folder, "reviews/train.csv", "text,label\ngood,1\nbad,0\n")
        write(folder, "reviews/test.csv", "text,label\nfine,1\n")
        return "reviews"

    def test_a_local_folder(self, reviews):
        assert list(read_dataset(reviews, split="train")) == [
            Record({"text": "good", "label": 1}, "dataset reviews", 1),
            Record({"text": "bad", "label": 0}, "dataset reviews", 2),
        ]

    def test_splits(self, reviews):
        assert refusal(read_dataset, reviews, split="tets") == (
            "no split 'tets' in the dataset reviews; its splits are: train, test\ndid you mean test?"
        )
        assert refusal(read_dataset, reviews, split=None).startswith(
            "which split of the dataset reviews? its splits are: train, test"
        )

    def test_a_single_split_needs_no_name(self, folder):
        write(folder, "d/data.jsonl", '{"a": 1}\n')
        assert [row.values for row in read_dataset("d", split=None)] == [{"a": 1}]

    def test_a_local_file(self, folder):
        write(folder, "d.csv", "a\n1\n")
        assert list(read_dataset("d.csv", split=None)) == [Record({"a": "1"}, "d.csv", 2)]
        assert "its splits are: train" in refusal(read_dataset, "d.csv", split="test")

    def test_a_saved_dataset(self, folder):
        import datasets

        saved = datasets.Dataset.from_dict({"a": [1, 2]})
        saved.save_to_disk("one")
        datasets.DatasetDict({"test": saved}).save_to_disk("many")
        assert [row.values for row in read_dataset("one", split=None)] == [{"a": 1}, {"a": 2}]
        assert [row.values for row in read_dataset("many", split="test")] == [{"a": 1}, {"a": 2}]

    def test_a_file_that_is_not_there(self, folder):
        write(folder, "reviews.csv", "a\n1\n")
        assert (
            refusal(read_dataset, "review.csv", split=None) == "no file review.csv\ndid you mean reviews.csv?"
        )
        assert refusal(read_dataset, "./nothing", split=None) == "no file ./nothing"

    def test_code_is_not_run(self, folder):
        write(folder, "code/code.py", "raise SystemExit('run')")
        assert "Dataset scripts are no longer supported" in refusal(read_dataset, "code", split=None)

    def test_an_empty_folder(self, folder):
        (folder / "empty").mkdir()
        assert refusal(read_dataset, "empty", split=None).startswith("cannot read the dataset empty: ")

    def test_a_damaged_file_in_it(self, folder):
        write(folder, "d/a.jsonl", '{"a": 1}\n{"a"\n')
        message = refusal(read_dataset, "d", split=None)
        assert message.startswith("cannot read the dataset d, after 0 rows: ")

    def test_a_hub_that_does_not_answer(self):
        with pytest.raises(
            HubError, match="cannot read the dataset nobody/nothing:config: Couldn't reach"
        ) as caught:
            read_dataset("nobody/nothing:config", split="train")
        assert "HF_TOKEN" in str(caught.value)

    @pytest.mark.parametrize(
        ("error", "kind", "hint"),
        [
            (ValueError("BuilderConfig 'x' not found. Available: ['a']"), DataError, None),
            (
                ValueError("Config name is missing.\nPlease pick one: ['a']"),
                DataError,
                "Name it after a colon: o/n:CONFIG",
            ),
            (FileNotFoundError("Dataset 'o/n' doesn't exist on the Hub"), HubError, "HF_TOKEN"),
            (TimeoutError(), HubError, "HF_TOKEN"),
        ],
    )
    def test_what_datasets_raises(self, monkeypatch, error, kind, hint):
        import datasets

        def fail(path, config, **_):
            assert (path, config) == ("o/n", None)
            raise error

        monkeypatch.setattr(datasets, "load_dataset", fail)
        with pytest.raises(kind) as caught:
            read_dataset("o/n", split=None)
        assert hint is None or hint in str(caught.value)

    def test_the_call(self, monkeypatch):
        import datasets

        calls = []
        monkeypatch.setattr(
            datasets, "load_dataset", lambda *a, **k: calls.append((a, k)) or {"test": [{"a": 1}]}
        )
        assert list(read_dataset("o/n:c", split="test", revision="v1")) == [
            Record({"a": 1}, "dataset o/n:c", 1)
        ]
        assert calls == [(("o/n", "c"), {"revision": "v1", "streaming": True})]


def test_import_is_light():
    heavy = "{'datasets', 'pyarrow', 'pandas', 'torch', 'numpy'}"
    code = f"import sys, llmkit.data.sources; print({heavy} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "set()"
