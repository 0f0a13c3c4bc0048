"""What a person gets wrong: one short message that says what and where, and the right exit code."""

from __future__ import annotations

import base64
import importlib.util
import json
import os
import resource
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.fixtures.command import base_environment
from tests.fixtures.disk import small_disk

LONG_TEXT = " ".join(["the film was good"] * 60)
MOST_LINES = 4


@dataclass(frozen=True)
class Case:
    """A call that must fail: its arguments, and what its message has to say.

    `{text-classification}` stands for a tiny model's folder, `{/}` for the folder of the files.
    """

    name: str
    arguments: str | list[str]
    says: tuple[str, ...]
    code: int = 2
    files: dict[str, bytes] = field(default_factory=dict)
    stdin: bytes = b""


CLASSIFY = "text-classification -m {text-classification}"

# One grey pixel.
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg=="
)

CALLS = (
    Case("no-input", CLASSIFY, ("stdin is empty",)),
    Case("unknown-task", "text-classifcation x", ("text-classifcation", "did you mean text-classification?")),
    Case("summarizaton", "summarizaton text", ("did you mean summarization?",)),
    Case("task-like-nothing", "qwzx x", ("unknown task 'qwzx'", "llmkit tasks")),
    Case("unknown-parameter", f"{CLASSIFY} x -p topk=2", ("-p topk", "did you mean top_k?")),
    Case("parameter-without-value", f"{CLASSIFY} x -p top_k", ("-p top_k", "key=value")),
    Case("parameter-not-yaml", f"{CLASSIFY} x -p top_k=[1", ("-p top_k=[1", "YAML")),
    Case("parameter-not-a-number", f"{CLASSIFY} x -p top_k=many", ("-p top_k=many", "a whole number")),
    Case(
        "parameter-not-a-truth-value",
        "zero-shot-classification x --labels a -p multi_label=maybe -m {zero-shot-classification}",
        ("-p multi_label=maybe", "true or false"),
    ),
    Case(
        "parameter-none-of-the-values",
        "ner x -p aggregation_strategy=simpel -m {token-classification}",
        ("-p aggregation_strategy=simpel", "none of its values"),
    ),
    Case(
        "parameter-out-of-range",
        "text-generation x -p max_new_tokens=-5 -m {text-generation}",
        ("-p max_new_tokens=-5", "greater than 0"),
    ),
    Case("model-argument", f"{CLASSIFY} x --model-arg nosuch=3", ("--model-arg nosuch", "no such argument")),
    Case("unknown-option", f"{CLASSIFY} x --modle y", ("--modle", "--model")),
    Case("option-not-a-number", f"{CLASSIFY} x --seed abc", ("--seed", "integer")),
    Case("negative-seed", f"{CLASSIFY} x --seed -1", ("--seed -1", "from 0")),
    Case("dash-among-texts", f"{CLASSIFY} x -", ("- stands for standard input",), stdin=b"y\n"),
    Case("dash-among-files", f"{CLASSIFY} -i a.txt -i -", ("- stands for standard input",), stdin=b"y\n"),
    Case("output-is-this-folder", f"{CLASSIFY} x -o .", (". is a folder", "Name a file in it")),
    Case("output-is-a-folder", f"{CLASSIFY} x -o {{/}} -f jsonl --overwrite", ("is a folder",)),
    Case("rejects-is-a-folder", f"{CLASSIFY} x --rejects {{/}}", ("is a folder",)),
    Case(
        "output-is-a-device", f"{CLASSIFY} x -o /dev/null -f jsonl --overwrite", ("a device", "> /dev/null")
    ),
    Case(
        "image-from-nowhere",
        "image-classification http://127.0.0.1:9/cat.png -m {image-classification}",
        ("cannot fetch http://127.0.0.1:9/cat.png: Connection refused",),
    ),
    Case(
        "rejects-onto-the-input",
        f"{CLASSIFY} -i {{/}}/a.txt --rejects {{/}}/a.txt --overwrite",
        ("--rejects", "is the input"),
        files={"a.txt": b"good\n\n"},
    ),
    Case("two-inputs", f"{CLASSIFY} x -i a.txt", ("given twice", "--input")),
    Case("unknown-format", f"{CLASSIFY} x --format josn", ("--format josn", "did you mean json?")),
    Case("parquet-to-stdout", f"{CLASSIFY} x --format parquet", ("parquet needs a file", "--output")),
    Case("table-to-file", f"{CLASSIFY} x --format table -o {{/}}/x.jsonl", ("--format table", "terminal")),
    Case("unknown-ending", f"{CLASSIFY} x -o {{/}}/x.xyz", ("x.xyz", ".jsonl")),
    Case("resume-without-output", f"{CLASSIFY} x --resume", ("--resume needs --output",)),
    Case("split-without-dataset", f"{CLASSIFY} x --split test", ("--split needs --dataset",)),
    Case("save-without-chat", f"{CLASSIFY} x --save chat.json", ("--save", "chat")),
    Case("scores-of-a-classifier", f"{CLASSIFY} x --scores", ("--scores", "text-classification")),
    Case("labels-for-a-classifier", f"{CLASSIFY} x --labels a,b", ("--labels", "candidate labels")),
    Case("unknown-device", f"{CLASSIFY} x --device gpu", ("--device gpu", "auto, cpu, cuda")),
    Case("unknown-dtype", f"{CLASSIFY} x --dtype float8", ("--dtype float8", "float32")),
    Case("batch-size-zero", f"{CLASSIFY} x --batch-size 0", ("--batch-size 0", "auto")),
    Case("max-length-zero", f"{CLASSIFY} x --max-length 0", ("--max-length 0", "from 1")),
    Case("long-unknown", f"{CLASSIFY} x --long what", ("--long what", "chunk, truncate, error")),
    Case("empty-text", [*CLASSIFY.split(), ""], ("'text' is empty",)),
    Case("blank-text", [*CLASSIFY.split(), " \t"], ("'text' is empty",)),
    Case("no-blank-to-fill", ["fill-mask", "none here", "-m", "{fill-mask}"], ("no blank to fill", "___")),
    Case("question-alone", "question-answering who? -m {question-answering}", ("question, context", "1")),
    Case(
        "piped-question-alone",
        "question-answering -m {question-answering}",
        ("needs context", "--context"),
        stdin=b"who?\n",
    ),
    Case(
        "context-twice",
        "question-answering --question q --context c --context-file f -m {question-answering}",
        ("--context", "--context-file", "twice"),
    ),
    Case(
        "no-context-file",
        "question-answering --question q --context-file {/}/book.txt -m {question-answering}",
        ("cannot read", "book.txt"),
    ),
    Case(
        "empty-question",
        ["question-answering", "--question", "", "--context", "c", "-m", "{question-answering}"],
        ("'question' is empty",),
    ),
    Case(
        "no-labels",
        "zero-shot-classification x -m {zero-shot-classification}",
        ("needs candidate_labels", "--labels"),
    ),
    Case(
        "no-labels-piped",
        "zero-shot-classification -m {zero-shot-classification}",
        ("needs candidate_labels", "--labels"),
        stdin=b"a text\n",
    ),
    Case(
        "empty-labels",
        ["zero-shot-classification", "x", "--labels", " , ", "-m", "{zero-shot-classification}"],
        ("'candidate_labels' is empty",),
    ),
    Case(
        "no-heat",
        "text-generation x -p temperature=0 -m {text-generation}",
        ("-p temperature=0", "-p do_sample=false"),
    ),
    Case(
        "document-without-words",
        [
            "document-question-answering",
            "{/}/a.png",
            "--question",
            "q",
            "-m",
            "{document-question-answering}",
        ],
        ("Tesseract", "pip install pytesseract", "word_boxes"),
        1,
        files={"a.png": PNG},
    ),
    Case(
        "image-for-a-video",
        "video-classification {/}/a.png -m {video-classification}",
        ("a.png is an image, not a video",),
        files={"a.png": PNG},
    ),
    Case("max-length-0", f"{CLASSIFY} x --max-length 0", ("--max-length 0", "from 1")),
    Case("max-length-1", f"{CLASSIFY} x --max-length 1", ("--max-length 1", "nothing fits", "from 3")),
    Case(
        "max-length-of-two-texts",
        "question-answering q c --max-length 4 -m {question-answering}",
        ("--max-length 4", "adds 3 tokens", "from 5"),
    ),
    Case(
        "max-length-of-sentences",
        "sentence-similarity a b --max-length 2 -m {sentence-similarity}",
        ("--max-length 2", "from 3"),
    ),
    Case("one-sentence", "sentence-similarity a -m {sentence-similarity}", ("source_sentence", "sentences")),
    Case(
        "message-without-content",
        ["conversational", '[{"role": "user"}]', "-m", "{chat}"],
        ("message 1", "'role' and 'content'"),
    ),
    Case("no-messages", ["conversational", "[]", "-m", "{chat}"], ("'messages'", "role")),
    Case("empty-message", ["conversational", " ", "-m", "{chat}"], ("the message is empty",)),
    Case(
        "no-table", "table-question-answering who -m {table-question-answering}", ("table, query", "--table")
    ),
    Case(
        "table-not-there",
        "table-question-answering who --table {/}/no.csv -m {table-question-answering}",
        ("cannot read", "no.csv"),
    ),
    Case(
        "table-ragged",
        "table-question-answering who --table {/}/t.csv -m {table-question-answering}",
        ("t.csv:3", "expected 2 cells", "found 3"),
        files={"t.csv": b"a,b\n1,2\n1,2,3\n"},
    ),
    Case(
        "not-an-image",
        "image-classification {/}/cat.png -m {image-classification}",
        ("cat.png", "not an image"),
        files={"cat.png": b"<html>not found</html>"},
    ),
    Case(
        "no-image", "image-classification {/}/cat.png -m {image-classification}", ("no such image", "cat.png")
    ),
    Case("image-a-folder", "image-classification {/} -m {image-classification}", ("is a folder",)),
)


FILES = (
    Case(
        "missing",
        f"{CLASSIFY} -i {{/}}/reviws.txt",
        ("reviws.txt", "reviews.txt"),
        files={"reviews.txt": b"x"},
    ),
    Case("no-folder", f"{CLASSIFY} -i {{/}}/no/a.txt", ("a.txt", "no folder")),
    Case("no-match", f"{CLASSIFY} -i {{/}}/*.txt", ("no file matches", "*.txt")),
    Case("folder", f"{CLASSIFY} -i {{/}}", ("is a folder", "*.csv"), files={"a.csv": b"a\n1\n"}),
    Case("empty", f"{CLASSIFY} -i {{/}}/a.txt", ("a.txt is empty",), files={"a.txt": b""}),
    Case("empty-csv", f"{CLASSIFY} -i {{/}}/a.csv", ("a.csv", "no rows"), files={"a.csv": b"text\n"}),
    Case("empty-json", f"{CLASSIFY} -i {{/}}/a.json", ("a.json is empty",), files={"a.json": b"[]"}),
    Case(
        "binary",
        f"{CLASSIFY} -i {{/}}/a.txt",
        ("a.txt", "not a text file"),
        files={"a.txt": bytes(range(256))},
    ),
    Case("unknown-ending", f"{CLASSIFY} -i {{/}}/a.doc", ("a.doc", "--input-format"), files={"a.doc": b"x"}),
    Case("not-gzip", f"{CLASSIFY} -i {{/}}/a.txt.gz", ("a.txt.gz is damaged",), files={"a.txt.gz": b"plain"}),
    Case("not-parquet", f"{CLASSIFY} -i {{/}}/a.parquet", ("not a parquet",), files={"a.parquet": b"plain"}),
    Case("json-cut-off", f"{CLASSIFY} -i {{/}}/a.json", ("a.json", "line 1"), files={"a.json": b'{"a": ['}),
    Case(
        "missing-column",
        f"{CLASSIFY} -i {{/}}/a.csv",
        ("no column 'text'", "review, stars", "--column"),
        files={"a.csv": b"review,stars\ngood,1\n"},
    ),
    Case(
        "misspelt-column",
        f"{CLASSIFY} -i {{/}}/a.csv --column reveiw",
        ("no column 'reveiw'", "review, stars", "did you mean review?"),
        files={"a.csv": b"review,stars\ngood,1\n"},
    ),
    Case(
        "misspelt-field",
        f"{CLASSIFY} -i {{/}}/a.csv --map txt=review",
        ("--map txt", "did you mean text?"),
        files={"a.csv": b"review,stars\ngood,1\n"},
    ),
    Case("map-without-column", f"{CLASSIFY} -i {{/}}/a.csv --map text", ("--map text", "field=column")),
    Case(
        "unknown-input-format",
        f"{CLASSIFY} -i {{/}}/a --input-format xml",
        ("'xml'", "csv"),
        files={"a": b"x"},
    ),
    Case(
        "only-bad-rows",
        f"{CLASSIFY} -i {{/}}/a.jsonl -q",
        ("a.jsonl:1", "not JSON"),
        files={"a.jsonl": b"{oops\n"},
    ),
)

MODELS = (
    Case(
        "no-folder",
        "text-classification x -m {/}/modl",
        ("no folder", "did you mean model?"),
        1,
        {"model": b""},
    ),
    Case(
        "a-file",
        "text-classification x -m {/}/a.txt",
        ("is a file", "A model is a folder with config.json"),
        1,
        {"a.txt": b"x"},
    ),
    Case("empty-folder", "text-classification x -m {/}", ("no config.json",), 1),
    Case(
        "without-weights",
        "text-classification x -m {without_weights}",
        ("no weights", "model.safetensors"),
        1,
    ),
    Case("pickle-only", "text-classification x -m {pickle_only}", ("pytorch_model.bin", "--allow-pickle"), 1),
    Case("truncated", "text-classification x -m {truncated}", ("model.safetensors", "cut off", "bytes"), 1),
    Case("wrong-head", "text-classification x -m {wrong_head}", ("classifier", "BertForMaskedLM"), 1),
    Case("no-such-head", "fill-mask ___ -m {text-generation}", ("GPT2LMHeadModel", "fill-mask"), 1),
    Case(
        "not-a-name", ["text-classification", "x", "-m", "not a name"], ("'not a name'", "neither a folder")
    ),
    Case("empty-name", ["text-classification", "x", "-m", ""], ("--model is empty",)),
    Case("no-default", "translation x", ("no default model", "--model")),
    Case("revision-of-a-folder", f"{CLASSIFY} x --revision main", ("--revision", "local")),
)


def named(case):
    return case.name


@pytest.fixture
def call(llmkit, tiny, tmp_path):
    """Run a case's call in a folder that holds its files."""

    def run(case):
        folder = tmp_path / "files"
        folder.mkdir()
        for name, content in case.files.items():
            (folder / name).write_bytes(content)
        words = case.arguments.split() if isinstance(case.arguments, str) else case.arguments
        arguments = [model_of(tiny, word.replace("{/}", str(folder))) for word in words]
        return llmkit("pipeline", *arguments, stdin=case.stdin, cwd=tmp_path)

    return run


def model_of(tiny, word):
    return str(tiny(word[1:-1])) if word.startswith("{") and word.endswith("}") else word


def check_message(done, code, *says):
    """One message, of a few lines, about what is wrong; nothing on standard output; no traceback."""
    assert done.code == code, done.stderr
    assert done.stdout == b""
    lines = done.stderr.splitlines()
    assert lines[0].startswith("error: ") and len(lines) <= MOST_LINES, done.stderr
    assert sum(line.startswith(("error", "warning", "Usage")) for line in lines) == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert "fault of llmkit" not in done.stderr
    for word in says:
        assert word in done.stderr, done.stderr


@pytest.mark.parametrize("case", CALLS, ids=named)
def test_a_wrong_call(call, case):
    if case.name == "document-without-words" and importlib.util.find_spec("pytesseract") is not None:
        pytest.skip("pytesseract is installed, and finds the words")
    check_message(call(case), case.code, *case.says)


def test_an_unknown_command(llmkit):
    done = llmkit("pipline", "fill-mask", "x")
    check_message(done, 2, "no such command 'pipline'", "did you mean pipeline?")


@pytest.mark.parametrize("case", MODELS, ids=named)
def test_a_model_that_cannot_do_it(call, case):
    check_message(call(case), case.code, *case.says)


@pytest.mark.parametrize("case", FILES, ids=named)
def test_a_file_that_cannot_be_read(call, case):
    done = call(case)
    if case.name == "only-bad-rows":  # each row is named, and then that there is none left
        assert (done.code, done.stdout) == (2, b"")
        assert "Traceback" not in done.stderr
        assert all(word in done.stderr for word in case.says)
        return
    check_message(done, case.code, *case.says)


@pytest.mark.parametrize(
    ("name", "content", "results", "place", "reason"),
    [
        ("not-utf8.txt", b"good\ncaf\xe9\nbad\n", 2, ":2", "not UTF-8: byte 0xe9 at column 4"),
        ("ragged.csv", b"text,n\ngood,1\nbad,2,3\nfine,4\n", 2, ":3", "expected 2 cells"),
        ("long-line.txt", b"good\n" + b"x" * 10_000_000 + b"\nbad\n", 2, ":2", "10,000,000 characters"),
        (
            "bad.jsonl",
            b'{"text":"a"}\n{"text": oops}\n"b"\n',
            2,
            ":2",
            "not JSON: Expecting value at column 10",
        ),
        ("empty-line.txt", b"good\n\nbad\n", 2, ":2", "'text' is empty"),
        ("number.jsonl", b'{"text":"a"}\n3\n{"text":null}\n', 1, ":3", "no value for 'text'"),
        ("list.jsonl", b'{"text":"a"}\n{"text":["b"]}\n', 1, ":2", "'text' must be a text, not list"),
        ("twice.jsonl", b'{"text":"a"}\n{"text":"b","text":"c"}\n', 1, ":2", "the key 'text' is there twice"),
        ("columns.jsonl", b'{"text":"a"}\n{"txt":"b","n":1}\n', 1, ":2", "no column 'text'"),
    ],
)
def test_a_row_that_cannot_be_used_is_named_and_the_rest_goes_on(
    llmkit, tiny, tmp_path, name, content, results, place, reason
):
    file = tmp_path / name
    file.write_bytes(content)
    done = llmkit("pipeline", "text-classification", "-i", file, "-m", tiny("text-classification"))
    assert done.code == 3, done.stderr
    assert [set(line) for line in done.lines] == [{"label", "score"}] * results
    assert f"rejected: {file}{place}: " in done.stderr
    assert reason in done.stderr
    assert "rows were rejected" in done.stderr.splitlines()[-1]


def test_rejected_rows_are_kept_with_their_line_and_reason(llmkit, tiny, tmp_path):
    file, rejects = tmp_path / "a.csv", tmp_path / "rejects.jsonl"
    file.write_text("text,n\ngood,1\nbad,2,3\n,4\n")
    call = ("pipeline", "text-classification", "-i", file, "-m", tiny("text-classification"))
    done = llmkit(*call, "--rejects", rejects)
    assert (done.code, len(done.lines)) == (3, 1)
    rows = [line.split('"line": ')[1][0] for line in rejects.read_text().splitlines()]
    assert rows == ["3", "4"]
    again = llmkit(*call, "--rejects", rejects)
    check_message(again, 2, "rejects.jsonl is there already", "--overwrite")
    assert llmkit(*call, "--rejects", rejects, "--overwrite").code == 3


@pytest.mark.parametrize("start", [b"\xef\xbb\xbf", b""])
def test_a_byte_order_mark_is_no_part_of_the_text(llmkit, tiny, tmp_path, start):
    file = tmp_path / "a.csv"
    file.write_bytes(start + b"text\ngood\n")
    done = llmkit("pipeline", "text-classification", "-i", file, "-m", tiny("text-classification"))
    plain = llmkit("pipeline", "text-classification", "good", "-m", tiny("text-classification"))
    assert (done.code, done.stderr) == (0, "")
    assert done.lines == plain.lines


def test_a_pickle_is_read_when_the_user_says_so(llmkit, tiny):
    done = llmkit("pipeline", "text-classification", "x", "-m", tiny("pickle_only"), "--allow-pickle")
    assert (done.code, len(done.lines)) == (0, 1), done.stderr


def test_a_model_without_a_tokenizer(llmkit, tiny, tmp_path):
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((tiny("text-classification") / name).read_bytes())
    check_message(llmkit("pipeline", "text-classification", "x", "-m", tmp_path), 1, "no tokenizer")


def test_a_device_that_is_not_there(llmkit, tiny):
    done = llmkit(
        *("pipeline", "text-classification", "x", "-m", tiny("text-classification"), "--device", "cuda:63"),
    )
    check_message(done, 2, "--device cuda:63", "--device auto")


def test_no_cuda(llmkit, tiny):
    done = llmkit(
        *("pipeline", "text-classification", "x", "-m", tiny("text-classification"), "--device", "cuda"),
        env={"CUDA_VISIBLE_DEVICES": ""},
    )
    check_message(done, 2, "--device cuda", "no CUDA device")


# ---- texts that are too long


@pytest.fixture
def long_lines(tmp_path):
    file = tmp_path / "long.txt"
    file.write_text(f"short\n{LONG_TEXT}\n{LONG_TEXT}\n")
    return file


def test_long_texts_are_worked_through_in_parts_and_that_is_said_once(llmkit, tiny, long_lines):
    done = llmkit("pipeline", "text-classification", "-i", long_lines, "-m", tiny("long_limit"))
    assert (done.code, len(done.lines)) == (0, 3)
    assert done.stderr.splitlines() == [
        "texts of more than 64 tokens are worked through in parts (--long truncate cuts them)"
    ]
    assert sum(each["score"] for each in done.lines) > 0


def test_long_texts_are_cut_where_that_is_asked_for(llmkit, tiny, long_lines):
    call = (
        "pipeline",
        "text-classification",
        "-i",
        long_lines,
        "-m",
        tiny("long_limit"),
        "--long",
        "truncate",
    )
    done = llmkit(*call)
    assert (done.code, len(done.lines)) == (0, 3)
    assert done.stderr.splitlines() == ["texts of more than 64 tokens are cut to what the model takes"]
    assert llmkit(*call, "--quiet").stderr == ""


def test_long_texts_are_an_error_where_that_is_asked_for(llmkit, tiny, long_lines):
    call = ("pipeline", "text-classification", "-m", tiny("long_limit"), "--long", "error")
    done = llmkit(*call, "-i", long_lines)
    assert (done.code, len(done.lines)) == (3, 1)
    assert f"{long_lines}:2: the text has" in done.stderr
    check_message(llmkit(*call, LONG_TEXT), 2, "the text has", "the model takes 64")


def test_max_length_is_a_lower_limit(llmkit, tiny, long_lines):
    call = ("pipeline", "text-classification", "-i", long_lines, "-m", tiny("text-classification"))
    done = llmkit(*call, "--max-length", "16", "--long", "truncate")
    assert done.code == 0
    assert done.stderr.splitlines() == ["texts of more than 16 tokens are cut to what --max-length takes"]
    assert done.lines[0] == pytest.approx(llmkit(*call, "--long", "truncate").lines[0])


# ---- where the results should go


def test_a_full_device(tiny):
    with Path("/dev/full").open("wb") as full:
        done = fresh(["text-classification", "x", "-m", tiny("text-classification")], stdout=full)
    assert done.returncode == 1
    assert done.stderr.decode() == "error: cannot write standard output: no space left on the device.\n"


@pytest.mark.parametrize(
    "arguments",
    [("pipeline", "text-classification", "x"), ("tasks",), ("--version",), ("pipeline", "--help")],
    ids=" ".join,
)
def test_closed_standard_output_is_an_error(tiny, arguments):
    model = ("-m", str(tiny("text-classification"))) if "x" in arguments else ()
    done = in_bash('"$@" >&-', *arguments, *model)
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.decode() == "error: cannot write standard output: it is closed.\n"


def test_other_descriptors_may_be_closed(tiny, tmp_path):
    call = ("pipeline", "text-classification", "-m", str(tiny("text-classification")))
    done = in_bash('"$@" <&-', *call)
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.decode().splitlines()[0] == "error: there is no input."
    # What a library would print to the missing standard error must not land in the file that is opened next.
    done = in_bash('"$@" 0<&- >&- 2>&-', *call, "x", "-o", str(tmp_path / "out.jsonl"))
    assert done.returncode == 0
    assert [set(json.loads(line)) for line in (tmp_path / "out.jsonl").read_text().splitlines()] == [
        {"label", "score"}
    ]


def in_bash(line, *arguments):
    command = [sys.executable, "-m", "llmkit", *arguments]
    return subprocess.run(
        ["bash", "-c", line, "bash", *command], capture_output=True, env=base_environment(), check=False
    )


def test_a_full_disk_on_output(llmkit, tiny, tmp_path):
    file = tmp_path / "texts.txt"
    file.write_text("a good film\n" * 600)
    disk = tmp_path / "disk"
    disk.mkdir()
    with small_disk(disk) as mounted:
        # Where nothing can be mounted, a limit on the size of files fails the same write.
        arguments = [
            "feature-extraction",
            "-i",
            file,
            "-o",
            disk / "out.jsonl",
            "-m",
            tiny("feature-extraction"),
        ]
        done = fresh(arguments, preexec_fn=None if mounted else limit_files, stdout=subprocess.PIPE)
        assert done.returncode == 1
        assert done.stdout == b""
        reason = "no space left on the device" if mounted else "File too large"
        assert f"error: cannot write {disk / 'out.jsonl'}: {reason}" in done.stderr.decode()
        assert len(done.stderr.splitlines()) <= MOST_LINES
        assert not (disk / "out.jsonl").exists()


def limit_files():
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, 1 << 16))


def fresh(arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "llmkit", "pipeline", *map(str, arguments)],
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        env=base_environment(),
        check=False,
        **options,
    )


def test_an_output_in_the_place_of_a_file(llmkit, tiny, tmp_path):
    (tmp_path / "file").write_text("x")
    done = llmkit(
        *("pipeline", "text-classification", "x", "-m", tiny("text-classification")),
        *("-o", tmp_path / "file" / "out.jsonl"),
    )
    check_message(done, 1, "cannot write", "out.jsonl")


def test_an_output_where_nothing_can_be_written(llmkit, tiny):
    done = llmkit(
        *("pipeline", "text-classification", "x", "-m", tiny("text-classification"), "-o", "/proc/out.jsonl")
    )
    check_message(done, 1, "cannot write /proc/out.jsonl")
    assert "--resume" not in done.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_locked_folder(llmkit, tiny, tmp_path):
    tmp_path.chmod(0o500)
    done = llmkit(
        *("pipeline", "text-classification", "x", "-m", tiny("text-classification")),
        *("-o", tmp_path / "out.jsonl"),
    )
    tmp_path.chmod(0o700)
    check_message(done, 1, "cannot write", "Permission denied")


def test_an_output_that_is_there_is_kept(llmkit, tiny, tmp_path):
    out = tmp_path / "out.jsonl"
    out.write_text("mine\n")
    call = ("pipeline", "text-classification", "x", "-m", tiny("text-classification"), "-o", out)
    check_message(llmkit(*call), 2, "out.jsonl is there already", "--overwrite")
    assert out.read_text() == "mine\n"
    assert llmkit(*call, "--overwrite").code == 0
    assert "label" in out.read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["out.jsonl"]


def test_a_run_without_a_result_leaves_nothing(llmkit, tiny, tmp_path):
    file = tmp_path / "a.jsonl"
    file.write_text("{oops\n{\n")
    call = ("pipeline", "text-classification", "-m", tiny("text-classification"), "-o", tmp_path / "out.json")
    assert llmkit(*call, "-i", file).code == 2
    assert llmkit(*call, "x", "-m", tiny("wrong_head")).code == 1
    assert llmkit(*call, "x", "-p", "function_to_apply=what").code == 2
    assert [path.name for path in tmp_path.iterdir()] == ["a.jsonl"]


def test_a_failed_json_document_leaves_standard_output_empty(llmkit, tiny):
    call = ("pipeline", "text-classification", "", "", "-m", tiny("text-classification"), "--format", "json")
    check_message(llmkit(*call), 2, "'text' is empty")


def test_two_runs_do_not_write_one_output(llmkit, tiny, tmp_path):
    fifo, out = tmp_path / "texts.txt", tmp_path / "out.jsonl"
    os.mkfifo(fifo)
    call = ("pipeline", "text-classification", "-m", str(tiny("text-classification")), "-o", str(out))
    first = subprocess.Popen(
        [sys.executable, "-m", "llmkit", *call, "-i", str(fifo)],
        env=base_environment(),
        stderr=subprocess.PIPE,
    )
    with fifo.open("w") as texts:
        texts.write("a\n" * 64)
        texts.flush()
        while not out.with_name("out.jsonl.progress").exists():
            assert first.poll() is None
            time.sleep(0.01)
        for option in ((), ("--resume",), ("--overwrite",)):
            check_message(llmkit(*call, "b", *option), *refusal(option))
        texts.write("a\n" * 6)
    assert first.wait(60) == 0
    first.stderr.close()
    assert len(out.read_text().splitlines()) == 70


def refusal(option):
    """Another call cannot resume it, even if nobody were writing; all else waits for the first."""
    return (2, "another call") if option == ("--resume",) else (1, "another run is writing", "out.jsonl")
