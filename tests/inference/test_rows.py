"""From arguments, columns and options to the fields of a task."""

import pytest

from llmkit.data.records import BadRecord, Record
from llmkit.data.row_run import reject_reason
from llmkit.errors import DataError, UsageError
from llmkit.inference.rows import RowMapper, argument_rows, mapped, open_fields
from llmkit.tasks.catalogue import find_task
from llmkit.tasks.inputs import RowError


def task(name):
    return find_task(name).task


def values(name, columns, *, source="data.csv", **mapper):
    return RowMapper(task(name), **mapper).values(Record(columns, source, 7))


def refusal(name, columns, **mapper):
    with pytest.raises(DataError) as caught:
        values(name, columns, **mapper)
    return caught.value


class TestMapping:
    @pytest.mark.parametrize(
        ("name", "columns", "options", "expected"),
        [
            ("text-classification", {"text": "a"}, {}, {"text": "a"}),
            ("text-classification", {"review": "a"}, {}, {"text": "a"}),
            ("text-classification", {"id": 1, "text": "a", "x": 2}, {}, {"text": "a"}),
            ("text-classification", {"text": "a", "text_pair": "b"}, {}, {"text": "a", "text_pair": "b"}),
            ("text-classification", {"text": "a", "review": "b"}, {"column": "review"}, {"text": "b"}),
            ("text-classification", {"a": "x", "b": "y"}, {"mapping": {"text": "b"}}, {"text": "y"}),
            (
                "text-classification",
                {"a": "x", "b": "y"},
                {"mapping": {"text": "b", "text_pair": "a"}},
                {"text": "y", "text_pair": "x"},
            ),
            (
                "question-answering",
                {"q": "?", "p": "!"},
                {"mapping": {"question": "q", "context": "p"}},
                {"question": "?", "context": "!"},
            ),
            (
                "question-answering",
                {"question": "?", "p": "!"},
                {"mapping": {"context": "p"}},
                {"question": "?", "context": "!"},
            ),
            # What an option gave, the columns do not change.
            (
                "question-answering",
                {"passage": "!"},
                {"constants": {"question": "?"}},
                {"question": "?", "context": "!"},
            ),
            (
                "question-answering",
                {"question": "column", "context": "!"},
                {"constants": {"question": "option"}},
                {"question": "option", "context": "!"},
            ),
            # The column is of the first field that nothing else gave.
            (
                "question-answering",
                {"a": "?", "b": "!"},
                {"column": "b", "constants": {"question": "!"}},
                {"question": "!", "context": "!"},
            ),
            (
                "question-answering",
                {"a": "?", "b": "!"},
                {"column": "b", "mapping": {"question": "a"}},
                {"question": "?", "context": "!"},
            ),
            (
                "zero-shot-classification",
                {"headline": "a"},
                {"constants": {"candidate_labels": "x,y"}},
                {"candidate_labels": "x,y", "text": "a"},
            ),
            ("text-generation", {"messages": [{"role": "user"}]}, {}, {"messages": [{"role": "user"}]}),
            ("conversational", {"text": "Hello"}, {}, {"messages": "Hello"}),
        ],
    )
    def test_columns_find_their_fields(self, name, columns, options, expected):
        assert values(name, columns, **options) == expected

    def test_a_bare_text_that_is_an_object_with_the_fields_stands_for_them(self):
        text = '{"question": "?", "context": "!"}'
        assert values("question-answering", {"text": text}) == {"question": "?", "context": "!"}

    @pytest.mark.parametrize("text", ['{"other": 1}', '{"text": ', "{not json}", '["text"]'])
    def test_any_other_text_stays_a_text(self, text):
        assert values("text-classification", {"text": text}) == {"text": text}

    def test_an_empty_column_is_a_value_like_others(self):
        assert values("text-classification", {"text": None, "n": 1}) == {"text": None}


class TestMissing:
    def test_the_columns_there_are_and_the_option_that_helps(self):
        error = refusal("text-classification", {"reviews": "a", "stars": 4})
        assert error.message == "no column 'text' in data.csv; its columns are: reviews, stars"
        assert "--column NAME" in error.hint

    def test_of_several_fields_the_map_helps(self):
        error = refusal("question-answering", {"question": "a", "contexts": "b"})
        assert "no column 'context' in data.csv" in error.message
        assert "--map context=COLUMN" in error.hint
        assert "did you mean contexts?" in error.hint

    def test_a_named_column_that_is_not_there(self):
        error = refusal("text-classification", {"review": "a", "stars": 1}, column="reviews")
        assert "no column 'reviews'" in error.message
        assert error.hint == "did you mean review?"

    def test_a_mapped_column_that_is_not_there(self):
        error = refusal("text-classification", {"text": "a"}, mapping={"text_pair": "pair"})
        assert "no column 'pair'" in error.message

    def test_labels_come_by_an_option(self):
        assert "--labels" in refusal("zero-shot-classification", {"a": "x", "text": "y"}).hint

    def test_a_bare_text_for_a_task_of_two(self):
        error = refusal("question-answering", {"text": "Who?"}, source="stdin")
        assert error.message == "question-answering needs context."
        assert "--context" in error.hint

    def test_an_unknown_field_in_the_map(self):
        with pytest.raises(UsageError, match=r"(?s)did you mean context\?.*question, context"):
            RowMapper(task("question-answering"), mapping={"contxt": "a"})


class TestStream:
    MAPPER = RowMapper(task("text-classification"))

    def test_what_the_first_row_lacks_is_the_calls_fault(self):
        with pytest.raises(DataError, match="no column 'text'"):
            next(mapped([Record({"a": 1, "b": 2}, "x.jsonl", 1)], self.MAPPER))

    def test_what_a_later_row_lacks_is_its_own(self):
        rows = [
            Record({"text": "a", "n": 1}, "x.jsonl", 1),
            Record({"m": 1, "n": 1}, "x.jsonl", 2),
            BadRecord("x.jsonl", 3, "not JSON"),
            Record({"text": "b"}, "x.jsonl", 4),
        ]
        one, two, three, four = mapped(rows, self.MAPPER)
        assert (one[1], four[1]) == ({"text": "a"}, {"text": "b"})
        assert isinstance(two[1], DataError)
        assert isinstance(three[1], RowError)
        assert reject_reason(three[1]) == "not JSON"
        assert [row for row, _ in (one, two, three, four)] == rows

    def test_a_first_row_that_cannot_be_read_hides_no_missing_column(self):
        rows = [BadRecord("x.jsonl", 1, "not JSON"), Record({"a": 1, "b": 2}, "x.jsonl", 2)]
        stream = mapped(rows, self.MAPPER)
        next(stream)
        with pytest.raises(DataError, match="no column 'text'"):
            next(stream)


class TestArguments:
    @staticmethod
    def rows(name, *arguments, **constants):
        return [row.values for row in argument_rows(task(name), arguments, constants)]

    def test_one_a_row_where_one_field_is_open(self):
        assert self.rows("text-classification", "a", "b") == [{"text": "a"}, {"text": "b"}]

    def test_several_a_row_where_several_are(self):
        assert self.rows("question-answering", "q1", "c1", "q2", "c2") == [
            {"question": "q1", "context": "c1"},
            {"question": "q2", "context": "c2"},
        ]

    def test_options_leave_fewer_open(self):
        assert self.rows("question-answering", "c1", "c2", question="q") == [{"text": "c1"}, {"text": "c2"}]
        assert self.rows("table-question-answering", "how many?", table="t.csv") == [{"text": "how many?"}]

    def test_the_rest_goes_to_a_field_of_many(self):
        assert self.rows("sentence-similarity", "a", "b", "c") == [
            {"source_sentence": "a", "sentences": ["b", "c"]}
        ]
        assert self.rows("zero-shot-object-detection", "i.png", "cat", "dog") == [
            {"image": "i.png", "candidate_labels": ["cat", "dog"]}
        ]

    def test_one_object_is_a_row(self):
        assert self.rows("question-answering", '{"question": "a"}') == [{"text": '{"question": "a"}'}]

    @pytest.mark.parametrize(
        ("name", "arguments", "constants", "said"),
        [
            (
                "question-answering",
                ["a", "b", "c"],
                {},
                r"takes 2 arguments \(question, context\); there are 3",
            ),
            ("sentence-similarity", ["a"], {}, "takes source_sentence and then one or more sentences"),
            ("question-answering", ["a"], {"question": "q", "context": "c"}, "the argument 'a' has no place"),
        ],
    )
    def test_a_number_that_does_not_fit(self, name, arguments, constants, said):
        with pytest.raises(UsageError, match=said):
            list(argument_rows(task(name), arguments, constants))

    def test_bytes_that_are_no_text(self):
        rows = list(argument_rows(task("text-classification"), ["ok", "bad\udcff"], {}))
        assert isinstance(rows[0], Record)
        assert rows[1] == BadRecord("argument", 2, "the argument is not UTF-8")

    def test_rows_are_numbered_from_one(self):
        assert [row.line for row in argument_rows(task("question-answering"), ["a"] * 6, {})] == [1, 2, 3]


def test_open_fields():
    assert [field.name for field in open_fields(task("question-answering"), {"context": "c"})] == ["question"]
    assert open_fields(task("text-classification"), {"text": ""}) == []


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RowError("'text' is empty"), "'text' is empty"),
        (DataError("no column", hint="did you mean b?"), "no column"),
        (ValueError("first\nsecond"), "first"),
        (ValueError(""), "ValueError"),
        (ValueError("x" * 400), "x" * 297 + "..."),
    ],
)
def test_a_reason_is_one_line(error, reason):
    assert reject_reason(error) == reason
