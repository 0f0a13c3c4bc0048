"""Every way to give an input, and every form of a result, gives the same results."""

from __future__ import annotations

import csv
import gzip
import io
import json

import pytest

TEXTS = [
    "the film was good",
    "a bad, bad film",
    "it was 'so' short",
    "we loved it and they hated it",
    "Ünïcode — 映画",
]
SENTENCE = "Angela Merkel lives in Berlin and John Smith lives in New York."
GENERATE = ("-p", "max_new_tokens=6", "-p", "do_sample=false")


@pytest.fixture(scope="module")
def classify(llmkit, tiny):
    """Run text-classification and expect it to end well."""

    def run(*arguments, **options):
        model = tiny("text-classification")
        done = llmkit("pipeline", "text-classification", "-m", model, *arguments, **options)
        assert (done.code, done.stderr) == (0, ""), done.stderr
        return done

    return run


@pytest.fixture(scope="module")
def expected(classify):
    """What the texts give, each in a call of its own."""
    return [classify(text).lines[0] for text in TEXTS]


def check_same(results, expected):
    """The same labels in the same order; scores to 1e-6, for batches differ in their last digits."""
    assert [each["label"] for each in results] == [each["label"] for each in expected]
    assert [each["score"] for each in results] == pytest.approx(
        [each["score"] for each in expected], abs=1e-6
    )


# ---- where texts come from


def write_csv(path, rows, delimiter=","):
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=delimiter).writerows(rows)


def write_parquet(path, rows):
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)


def write_gzip(path, text):
    path.write_bytes(gzip.compress(text.encode()))


ROWS = [{"id": number, "text": text} for number, text in enumerate(TEXTS)]
JSON_LINES = "".join(json.dumps(row) + "\n" for row in ROWS)
WRITERS = {
    "a.txt": lambda path: path.write_text("\n".join(TEXTS), encoding="utf-8"),
    "a.csv": lambda path: write_csv(path, [["id", "text"], *enumerate(TEXTS)]),
    "semicolons.csv": lambda path: write_csv(path, [["id", "text"], *enumerate(TEXTS)], ";"),
    "a.tsv": lambda path: path.write_text("id\ttext\n" + "".join(f"{n}\t{t}\n" for n, t in enumerate(TEXTS))),
    "a.json": lambda path: path.write_text(json.dumps(ROWS)),
    "strings.json": lambda path: path.write_text(json.dumps(TEXTS)),
    "nested.json": lambda path: path.write_text(json.dumps({"version": 1, "data": ROWS})),
    "a.jsonl": lambda path: path.write_text(JSON_LINES),
    "strings.jsonl": lambda path: path.write_text("".join(f"{json.dumps(text)}\n" for text in TEXTS)),
    "a.parquet": lambda path: write_parquet(path, ROWS),
    "a.txt.gz": lambda path: write_gzip(path, "\n".join(TEXTS)),
    "a.jsonl.gz": lambda path: write_gzip(path, JSON_LINES),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_file(classify, expected, tmp_path, name):
    WRITERS[name](tmp_path / name)
    check_same(classify("-i", tmp_path / name).lines, expected)


def test_arguments(classify, expected):
    check_same(classify(*TEXTS).lines, expected)


@pytest.mark.parametrize("arguments", [[], ["-"], ["-i", "-"], ["--input-format", "txt"]])
def test_standard_input(classify, expected, arguments):
    check_same(classify(*arguments, stdin="\n".join(TEXTS)).lines, expected)


@pytest.mark.parametrize("name", ["a.jsonl", "strings.jsonl"])
def test_json_lines_are_known_on_standard_input(classify, expected, tmp_path, name):
    WRITERS[name](tmp_path / name)
    check_same(classify(stdin=(tmp_path / name).read_bytes()).lines, expected)


def test_the_format_of_standard_input_may_be_said(classify, expected, tmp_path):
    WRITERS["a.csv"](tmp_path / "a.csv")
    check_same(classify("--input-format", "csv", stdin=(tmp_path / "a.csv").read_bytes()).lines, expected)


def test_several_files_and_globs_are_read_in_order(classify, expected, tmp_path):
    for number, text in enumerate(TEXTS):
        folder = tmp_path / ("a" if number < 2 else "b")
        folder.mkdir(exist_ok=True)
        (folder / f"{number}.txt").write_text(text)
    check_same(classify("-i", tmp_path / "a/*.txt", "-i", tmp_path / "b/*.txt").lines, expected)
    check_same(classify("-i", tmp_path / "**/*.txt").lines, expected)
    swapped = classify("-i", "a/1.txt", "-i", "a/0.txt", "-i", "a/*.txt", cwd=tmp_path)
    check_same(swapped.lines, [expected[1], expected[0]])


@pytest.mark.parametrize("option", [["--column", "review"], ["--map", "text=review"]])
def test_the_column_is_named(classify, expected, tmp_path, option):
    write_csv(tmp_path / "a.csv", [["review", "text"], *([text, "not this"] for text in TEXTS)])
    check_same(classify("-i", tmp_path / "a.csv", *option).lines, expected)


def test_the_only_column_needs_no_name(classify, expected, tmp_path):
    write_csv(tmp_path / "a.csv", [["review"], *([text] for text in TEXTS)])
    check_same(classify("-i", tmp_path / "a.csv").lines, expected)


def test_a_dataset_in_a_folder(classify, expected, tmp_path):
    folder = tmp_path / "films"
    folder.mkdir()
    (folder / "train.jsonl").write_text('{"id": 9, "text": "unused"}\n')
    (folder / "test.jsonl").write_text(JSON_LINES)
    options = ("--dataset", folder, "--split", "test")
    check_same(classify(*options, env={"HF_HOME": str(tmp_path / "home")}).lines, expected)


def test_an_object_as_an_argument(classify, llmkit, tiny, expected):
    check_same(classify(json.dumps({"text": TEXTS[0]})).lines, expected[:1])
    curly = classify("{ is how it begins")
    assert len(curly.lines) == 1


# ---- the fields of other tasks


@pytest.fixture
def ask(llmkit, tiny):
    """Run question-answering and expect it to end well."""

    def run(*arguments, **options):
        done = llmkit(
            "pipeline", "question-answering", "-m", tiny("question-answering"), *arguments, **options
        )
        assert (done.code, done.stderr) == (0, ""), done.stderr
        return done.lines

    return run


def test_a_question_and_its_context(ask, tmp_path):
    question, context = "Who lives in Berlin?", SENTENCE
    answer = ask("--question", question, "--context", context)
    (tmp_path / "book.txt").write_text(context)
    write_csv(tmp_path / "a.csv", [["q", "passage"], [question, context]])
    row = json.dumps({"question": question, "context": context})
    assert set(answer[0]) == {"score", "start", "end", "answer"}
    assert answer == ask("--question", question, "--context-file", tmp_path / "book.txt")
    assert answer == ask(question, context)
    assert answer == ask(question, "--context", context)
    assert answer == ask(context, "--question", question)
    assert answer == ask("--question", question, stdin=context)
    assert answer == ask("--context", context, stdin=question)
    assert answer == ask(row)
    assert answer == ask(stdin=row)
    assert answer == ask("-i", tmp_path / "a.csv", "--map", "question=q,context=passage")
    assert answer * 2 == ask(question, context, question, context)


def test_labels(llmkit, tiny, tmp_path):
    call = ("pipeline", "zero-shot-classification", "-m", tiny("zero-shot-classification"))
    one = llmkit(*call, TEXTS[0], "--labels", "good, bad ,neutral").lines
    assert sorted(one[0]["labels"]) == ["bad", "good", "neutral"]
    assert llmkit(*call, "--labels", "good,bad,neutral", stdin=f"{TEXTS[0]}\n").lines == one
    assert llmkit(*call, "--labels", '["good", "bad", "neutral"]', TEXTS[0]).lines == one
    rows = [
        {"text": TEXTS[0], "candidate_labels": ["good", "bad", "neutral"]},
        {"text": "x", "candidate_labels": "a,b"},
    ]
    (tmp_path / "a.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    own = llmkit(*call, "-i", tmp_path / "a.jsonl").lines
    assert own[0]["scores"] == pytest.approx(one[0]["scores"], abs=1e-6)
    assert sorted(own[1]["labels"]) == ["a", "b"]


def test_a_table(llmkit, tiny, tmp_path):
    call = ("pipeline", "table-question-answering", "-m", tiny("table-question-answering"))
    (tmp_path / "cities.csv").write_text("city,people\nParis,2103000\nBerlin,3645000\nRome,2873000\n")
    question = "How many people live in Rome?"
    by_option = llmkit(*call, question, "--table", tmp_path / "cities.csv")
    assert by_option.code == 0, by_option.stderr
    assert {"answer", "coordinates", "cells"} <= set(by_option.lines[0])
    assert llmkit(*call, "--question", question, "--table", tmp_path / "cities.csv").lines == by_option.lines
    assert llmkit(*call, "--table", tmp_path / "cities.csv", stdin=question).lines == by_option.lines
    table = {"city": ["Paris", "Berlin", "Rome"], "people": ["2103000", "3645000", "2873000"]}
    assert llmkit(*call, json.dumps({"table": table, "query": question})).lines == by_option.lines


def test_sentences_to_compare(llmkit, tiny):
    call = ("pipeline", "sentence-similarity", "-m", tiny("sentence-similarity"))
    scores = llmkit(*call, "a cat", "a kitten", "a truck").lines[0]
    row = {"source_sentence": "a cat", "sentences": ["a kitten", "a truck"]}
    assert len(scores) == 2
    assert llmkit(*call, json.dumps(row)).lines == [scores]
    assert llmkit(*call, stdin=json.dumps(row)).lines == [scores]


def test_messages(llmkit, tiny):
    call = ("pipeline", "conversational", "-m", tiny("chat"), *GENERATE)
    messages = [{"role": "user", "content": "hello"}]
    said = llmkit(*call, "hello").lines[0]["messages"]
    assert said[:1] == messages and said[1]["role"] == "assistant"
    for given in (json.dumps(messages), json.dumps({"messages": messages})):
        assert llmkit(*call, given).lines[0]["messages"] == said
        assert llmkit(*call, stdin=json.dumps({"messages": messages})).lines[0]["messages"] == said


@pytest.mark.parametrize("blank", ["[MASK]", "<mask>", "___"])
def test_a_blank_is_written_in_any_way(llmkit, tiny, blank):
    call = ("pipeline", "fill-mask", "-m", tiny("fill-mask"))
    done = llmkit(*call, f"the {blank} was good")
    assert done.lines == llmkit(*call, "the [MASK] was good").lines
    assert len(done.lines[0]) == 5


# ---- what results look like


def test_json_is_one_value_for_one_input_and_a_list_for_several(classify, expected, tmp_path):
    check_same([classify(TEXTS[0], "--format", "json").json], expected[:1])
    check_same(classify(*TEXTS, "--format", "json").json, expected)
    (tmp_path / "one.txt").write_text(TEXTS[0])
    check_same(classify("-i", tmp_path / "one.txt", "--format", "json").json, expected[:1])
    check_same(classify("--format", "json", stdin=TEXTS[0]).json, expected[:1])


@pytest.mark.parametrize(("name", "delimiter"), [("csv", ","), ("tsv", "\t")])
def test_delimited(classify, expected, name, delimiter):
    rows = list(csv.DictReader(io.StringIO(classify(*TEXTS, "--format", name).text), delimiter=delimiter))
    check_same([{**row, "score": float(row["score"])} for row in rows], expected)


def test_a_list_of_objects_becomes_a_line_each(llmkit, tiny):
    call = (
        "pipeline",
        "ner",
        "-m",
        tiny("ner"),
        SENTENCE,
        "Nobody lives in Rome.",
        "-p",
        "aggregation_strategy=simple",
    )
    found = llmkit(*call).lines
    rows = list(csv.DictReader(io.StringIO(llmkit(*call, "--format", "csv").text)))
    assert [int(row["row"]) for row in rows] == [n for n, spans in enumerate(found) for _ in spans]
    assert [row["word"] for row in rows] == [span["word"] for spans in found for span in spans]


def test_a_table_may_be_asked_for(classify):
    shown = classify(*TEXTS, "--format", "table").text
    assert "\x1b" not in shown
    assert shown.split()[:3] == ["input", "label", "score"]
    assert all(text.split()[0] in shown for text in TEXTS)


def read_parquet(path):
    import pyarrow.parquet

    return pyarrow.parquet.read_table(path).to_pylist()


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("out.jsonl", lambda path: [json.loads(line) for line in path.read_text().splitlines()]),
        ("out.json", lambda path: json.loads(path.read_text())),
        ("out.csv", lambda path: list(csv.DictReader(path.open()))),
        ("out.tsv", lambda path: list(csv.DictReader(path.open(), delimiter="\t"))),
        ("out.parquet", read_parquet),
    ],
)
def test_the_ending_of_an_output_says_its_format(classify, expected, tmp_path, name, read):
    done = classify(*TEXTS, "-o", tmp_path / "new" / name)
    assert done.stdout == b""
    check_same([{**row, "score": float(row["score"])} for row in read(tmp_path / "new" / name)], expected)
    assert [path.name for path in (tmp_path / "new").iterdir()] == [name]


def test_the_format_of_an_output_may_be_said(classify, expected, tmp_path):
    classify(*TEXTS, "-o", tmp_path / "results", "--format", "jsonl")
    check_same([json.loads(line) for line in (tmp_path / "results").read_text().splitlines()], expected)


def test_the_input_is_kept_beside_the_result(classify, expected, tmp_path):
    WRITERS["a.jsonl"](tmp_path / "a.jsonl")
    kept = classify("-i", tmp_path / "a.jsonl", "--keep-input").lines
    assert [{"id": row["id"], "text": row["text"]} for row in kept] == ROWS
    check_same(kept, expected)
    (tmp_path / "clash.jsonl").write_text('{"text": "good", "label": "mine"}\n')
    row = classify("-i", tmp_path / "clash.jsonl", "--keep-input").lines[0]
    assert list(row) == ["text", "input_label", "label", "score"]
    assert row["input_label"] == "mine"
    lists = classify("good", "--keep-input", "-p", "top_k=2").lines[0]
    assert (lists["text"], len(lists["result"])) == ("good", 2)


# ---- batches, parameters


@pytest.mark.parametrize("size", ["auto", "1", "4"])
def test_results_do_not_depend_on_batches(classify, tmp_path, size):
    lines = [" ".join(TEXTS[: 1 + number % 4]) for number in range(90)]
    (tmp_path / "a.txt").write_text("\n".join(lines))
    alone = [classify(text).lines[0] for text in lines[:4]]
    done = classify("-i", tmp_path / "a.txt", "--batch-size", size, "--keep-input").lines
    assert [row["text"] for row in done] == lines
    check_same(done, [alone[number % 4] for number in range(90)])


def test_vectors_do_not_depend_on_batches(llmkit, tiny):
    call = ("pipeline", "feature-extraction", "-m", tiny("feature-extraction"), *TEXTS)
    one, four = (llmkit(*call, "--batch-size", size).lines for size in ("1", "4"))
    for alone, together in zip(one, four, strict=True):
        for vector, other in zip(alone[0], together[0], strict=True):
            assert vector == pytest.approx(other, abs=1e-5)


def test_parameters_have_types(classify, llmkit, tiny):
    two = classify(TEXTS[0], "-p", "top_k=2").lines[0]
    assert [set(each) for each in two] == [{"label", "score"}] * 2
    assert len(classify(TEXTS[0], "-p", "top_k=null").lines[0]) == 3
    raw = classify(TEXTS[0], "-p", "function_to_apply=none", "-p", "top_k=3").lines[0]
    assert sum(each["score"] for each in raw) != pytest.approx(1.0)
    labels = ("--labels", "good,bad", TEXTS[0], "-m", tiny("zero-shot-classification"))
    each_alone = llmkit("pipeline", "zero-shot-classification", *labels, "-p", "multi_label=true").lines[0]
    assert sum(each_alone["scores"]) != pytest.approx(1.0)
    targets = llmkit(
        *("pipeline", "fill-mask", "the ___ was good", "-m", tiny("fill-mask"), "-p", "targets=[film, the]"),
    )
    assert {each["token_str"] for each in targets.lines[0]} == {"film", "the"}, targets.stderr


def test_arguments_of_the_model(classify, expected, llmkit, tiny):
    check_same(classify(*TEXTS, "--model-arg", "attn_implementation=eager").lines, expected)
    half = classify(*TEXTS, "--dtype", "bfloat16").lines
    assert [each["score"] for each in half] != [each["score"] for each in expected]
    assert [each["score"] for each in half] == pytest.approx([each["score"] for each in expected], abs=0.1)


def test_generated_texts_have_scores_on_request(llmkit, tiny):
    call = (
        "pipeline",
        "translation_en_to_fr",
        "the film was good",
        "-m",
        tiny("translation"),
        "-p",
        "max_new_tokens=6",
    )
    plain, scored = llmkit(*call), llmkit(*call, "--scores")
    assert set(plain.lines[0]) == {"translation_text"}
    assert set(scored.lines[0]) == {"translation_text", "score"}, scored.stderr
    assert 0 < scored.lines[0]["score"] <= 1
    assert scored.lines[0]["translation_text"] == plain.lines[0]["translation_text"]
