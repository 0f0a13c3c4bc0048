"""What a person gets wrong: one short message that says what and where, and the right exit code."""

from __future__ import annotations

import base64
import importlib.util

import pytest

from tests.cli.bad_input import CLASSIFY, Case, check_message, named

# One grey pixel.
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg=="
)

CALLS = (
    Case("no-input", CLASSIFY, ("stdin is empty",)),
    Case("unknown-task", "text-classifcation x", ("text-classifcation", "did you mean text-classification?")),
    Case("summarizaton", "summarizaton text", ("did you mean summarization?",)),
    Case("task-like-nothing", "qwzx x", ("no such task: 'qwzx'", "llmkit tasks")),
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
        ("-p aggregation_strategy=simpel: none of its values.", "It takes none, simple, first"),
    ),
    Case(
        "parameter-out-of-range",
        "text-generation x -p max_new_tokens=-5 -m {text-generation}",
        ("-p max_new_tokens=-5", "greater than 0"),
    ),
    Case("model-argument", f"{CLASSIFY} x --model-arg nosuch=3", ("--model-arg nosuch", "no such argument")),
    Case("unknown-option", f"{CLASSIFY} x --modle y", ("--modle", "--model")),
    Case("option-not-a-number", f"{CLASSIFY} x --seed abc", ("--seed abc", "a whole number")),
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
    Case(
        "output-onto-a-dataset-that-is-a-file",
        f"{CLASSIFY} --dataset {{/}}/a.csv -o {{/}}/a.csv --overwrite",
        ("--output", "is the input"),
        files={"a.csv": b"text\ngood\n"},
    ),
    Case(
        "output-onto-a-table",
        "table-question-answering who? --table {/}/t.csv -o {/}/t.csv --overwrite",
        ("--output", "is the input"),
        files={"t.csv": b"a,b\n1,2\n"},
    ),
    Case("input-without-a-name", [*CLASSIFY.split(), "-i", ""], ("--input is empty",)),
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
    Case("max-length-zero", f"{CLASSIFY} x --max-length 0", ("--max-length 0", "1 or more")),
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
    Case("max-length-0", f"{CLASSIFY} x --max-length 0", ("--max-length 0", "1 or more")),
    Case("max-length-1", f"{CLASSIFY} x --max-length 1", ("--max-length 1", "3 or more")),
    Case(
        "max-length-of-two-texts",
        "question-answering q c --max-length 4 -m {question-answering}",
        ("--max-length 4", "adds 3 tokens", "5 or more"),
    ),
    Case(
        "max-length-of-sentences",
        "sentence-similarity a b --max-length 2 -m {sentence-similarity}",
        ("--max-length 2", "3 or more"),
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
