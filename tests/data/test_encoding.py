"""From results to JSON: what goes into the line, and what into files beside it."""

import dataclasses
import enum
import json
import math
from collections import OrderedDict

import numpy
import PIL.Image
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from llmkit.data.encoding import ResultEncoder, dump_json, refuse_files_of_another_run
from llmkit.errors import MissingExtraError, OutputError, OutputExistsError

FLOATS = st.floats()
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    FLOATS,
    st.text(),
    FLOATS.map(numpy.float64),
    st.floats(width=32).map(numpy.float32),
    st.integers(-(2**63), 2**63 - 1).map(numpy.int64),
    st.booleans().map(numpy.bool_),
    st.lists(st.floats(width=32), max_size=4).map(torch.tensor),
    st.lists(FLOATS, max_size=4).map(numpy.array),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(st.text(max_size=5), inner, max_size=4),
        st.lists(st.lists(FLOATS, max_size=3), max_size=3),
    ),
    max_leaves=20,
)


def strict(text):
    """JSON as the standard has it: no NaN, no Infinity."""

    def refuse(name):
        raise AssertionError(f"{name} is not JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.fixture
def encoder(tmp_path):
    return ResultEncoder(tmp_path / "files")


class TestPlain:
    @settings(max_examples=300, deadline=None)
    @given(VALUES)
    def test_whatever_comes_the_line_is_strict_json(self, tmp_path_factory, value):
        plain = ResultEncoder(tmp_path_factory.getbasetemp()).plain(value, "000001")
        line = dump_json(plain)
        assert len(line.splitlines()) == 1
        assert strict(line.encode().decode()) is not ...

    @settings(max_examples=200, deadline=None)
    @given(
        st.recursive(
            st.one_of(
                st.none(),
                st.booleans(),
                st.integers(),
                st.floats(allow_nan=False, allow_infinity=False),
                st.text(),
            ),
            lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner)),
            max_leaves=15,
        ).filter(lambda value: not isinstance(value, dict) or "audio" not in value)
    )
    def test_what_is_json_stays_as_it_is(self, tmp_path_factory, value):
        plain = ResultEncoder(tmp_path_factory.getbasetemp()).plain(value, "000001")
        back = strict(dump_json(plain).encode().decode())
        assert back == strict(json.dumps(value, ensure_ascii=True).encode().decode())

    @pytest.mark.parametrize("number", [0.1, 1 / 3, 1e-300, 5e-324, 1.7976931348623157e308, -0.0])
    def test_floats_are_not_rounded(self, encoder, number):
        for value in (number, [[number]], {"score": numpy.float64(number)}):
            back = strict(dump_json(encoder.plain(value, "0")))
            while not isinstance(back, float):
                back = next(iter(back.values())) if isinstance(back, dict) else back[0]
            assert back == number
            assert math.copysign(1, back) == math.copysign(1, number)

    @pytest.mark.parametrize(
        ("value", "plain"),
        [
            (numpy.float32(0.5), 0.5),
            (numpy.int64(3), 3),
            (numpy.bool_(True), True),
            (numpy.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
            (numpy.array(2.5), 2.5),
            (torch.tensor([1.5, float("nan")]), [1.5, None]),
            (torch.tensor([1.5], dtype=torch.bfloat16), [1.5]),
            (torch.tensor([2.5], requires_grad=True), [2.5]),
            (torch.tensor([True, False]), [True, False]),
            (torch.tensor(7), 7),
            (float("inf"), None),
            ([float("-inf"), 1.0], [None, 1.0]),
            ([[1.0, float("nan")], [2.0, 3.0]], [[1.0, None], [2.0, 3.0]]),
            ([[[0.5, 0.25]]], [[[0.5, 0.25]]]),
            ((1, (2.0, "x")), [1, [2.0, "x"]]),
            (OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
            ({1: "a", None: "b"}, {"1": "a", "None": "b"}),
        ],
        ids=repr,
    )
    def test_arrays_become_lists(self, encoder, value, plain):
        found = encoder.plain(value, "0")
        assert found == plain
        assert json.dumps(found) == json.dumps(plain)
        assert encoder.files_written == 0
        assert not encoder.folder.exists()

    def test_dataclasses(self, encoder):
        @dataclasses.dataclass
        class Inner:
            vector: object

        @dataclasses.dataclass
        class Outer:
            name: str
            inner: list[Inner]

        value = Outer("a", [Inner(numpy.array([1.0]))])
        assert encoder.plain(value, "0") == {"name": "a", "inner": [{"vector": [1.0]}]}

    def test_a_text_that_is_an_enumeration(self, encoder):
        class Color(enum.StrEnum):
            RED = "red"

        assert dump_json(encoder.plain({"color": Color.RED}, "0")) == '{"color": "red"}'

    def test_characters_stay_as_they_are(self, encoder):
        assert dump_json(encoder.plain({"t": "東京 🎉 é"}, "0")) == '{"t": "東京 🎉 é"}'

    @pytest.mark.parametrize("character", "\x80\x85\x9b\u2028\u2029")
    def test_what_ends_a_line_elsewhere_is_escaped(self, encoder, character):
        line = dump_json(encoder.plain({"t": f"é{character}é"}, "0"))
        assert line == f'{{"t": "é\\u{ord(character):04x}é"}}'
        assert strict(line) == {"t": f"é{character}é"}

    def test_half_of_a_character_is_still_written(self, encoder):
        """A model may stop in the middle of a character; the bytes of the line are UTF-8 all the same."""
        line = dump_json(encoder.plain({"t": "a\ud83d"}, "0"))
        assert strict(line.encode().decode()) == {"t": "a\ud83d"}


class TestFiles:
    def test_a_long_array(self, encoder):
        array = numpy.arange(600, dtype="float32").reshape(20, 30)
        path = encoder.plain({"depth": array}, "000017")["depth"]
        assert path == str(encoder.folder / "000017-depth.npy")
        assert numpy.load(path).dtype == numpy.float32
        numpy.testing.assert_array_equal(numpy.load(path), array)

    def test_a_long_tensor(self, encoder):
        tensor = torch.linspace(0, 1, 300, dtype=torch.bfloat16)
        path = encoder.plain([tensor], "000003")[0]
        assert path == str(encoder.folder / "000003-0.npy")
        numpy.testing.assert_array_equal(numpy.load(path), tensor.float().numpy())

    @pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "1", "P", "I;16", "LA"])
    def test_an_image(self, encoder, mode):
        image = PIL.Image.linear_gradient("L").convert(mode)
        path = encoder.plain({"mask": image}, "000001")["mask"]
        assert path.endswith("000001-mask.png")
        with PIL.Image.open(path) as back:
            assert numpy.array_equal(
                numpy.asarray(back.convert("RGBA")), numpy.asarray(image.convert("RGBA"))
            )

    @pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "HSV", "LAB", "F"])
    def test_an_image_that_png_has_no_mode_for(self, encoder, mode):
        image = PIL.Image.new("RGB", (3, 2), (200, 100, 50)).convert("L" if mode in "F" else "RGB")
        image = image.convert(mode) if mode != "LAB" else PIL.Image.new("LAB", (3, 2))
        path = encoder.plain(image, "000001")
        if path.endswith(".npy"):
            numpy.testing.assert_array_equal(numpy.load(path), numpy.asarray(image))
        else:
            with PIL.Image.open(path) as back:
                assert back.size == (3, 2)

    @pytest.mark.parametrize("shape", [(800,), (1, 800), (2, 800)])
    def test_a_sound(self, encoder, shape):
        samples = numpy.random.default_rng(0).uniform(-0.9, 0.9, shape).astype("float32")
        value = encoder.plain({"audio": samples, "sampling_rate": 16000}, "000002")
        assert value == {"audio": str(encoder.folder / "000002-audio.wav"), "sampling_rate": 16000}
        back, rate = soundfile.read(value["audio"], dtype="float32", always_2d=True)
        assert rate == 16000
        numpy.testing.assert_allclose(back.T, samples.reshape(-1, 800), atol=1 / 2**15)

    def test_a_sound_without_soundfile(self, encoder, monkeypatch):
        monkeypatch.setitem(__import__("sys").modules, "soundfile", None)
        with pytest.raises(MissingExtraError, match=r"hf-llmkit\[audio\]"):
            encoder.plain({"audio": numpy.zeros(9), "sampling_rate": 8000}, "0")

    def test_each_has_a_name_of_its_own(self, encoder):
        image = PIL.Image.new("L", (2, 2))
        result = [{"mask": image, "label": "a"}, {"mask": image, "label": "b"}, {"parts": [image, image]}]
        for row in ("000000", "000001"):
            encoder.plain(result, row)
        names = sorted(path.name for path in encoder.folder.iterdir())
        assert len(names) == encoder.files_written == 8
        assert names[:2] == ["000000-0-mask.png", "000000-1-mask.png"]

    @pytest.mark.parametrize("key", ["a/b", "../../up", "", "x" * 300, "nul\0"])
    def test_a_key_is_no_path(self, encoder, tmp_path, key):
        path = encoder.plain({key: PIL.Image.new("L", (2, 2))}, "000000")[key]
        assert [str(each) for each in encoder.folder.iterdir()] == [path]
        assert list(tmp_path.iterdir()) == [encoder.folder]

    def test_a_folder_that_cannot_be(self, tmp_path):
        (tmp_path / "taken").write_text("")
        with pytest.raises(OutputError, match="cannot write"):
            ResultEncoder(tmp_path / "taken").plain(PIL.Image.new("L", (2, 2)), "0")

    def test_a_folder_of_its_own_for_each_run(self, tmp_path):
        for name in ("files", "files-2", "files-3"):
            encoder = ResultEncoder(tmp_path / "files", numbered=True)
            result = [encoder.plain(PIL.Image.new("L", (2, 2)), each) for each in ("000000", "000001")]
            assert result == [str(tmp_path / name / each) for each in ("000000.png", "000001.png")]

    def test_without_a_file_there_is_no_folder(self, tmp_path):
        ResultEncoder(tmp_path / "files", numbered=True).plain([1, "text"], "000000")
        assert list(tmp_path.iterdir()) == []

    def test_files_of_another_run_are_told_from_others(self, encoder, tmp_path):
        (tmp_path / "notes.png").touch()
        for folder in (tmp_path, encoder.folder):
            refuse_files_of_another_run(folder)
        encoder.plain({"mask": PIL.Image.new("L", (2, 2))}, "000000")
        with pytest.raises(OutputExistsError, match=r"(?s)files holds the files.*--overwrite.*--output-dir"):
            refuse_files_of_another_run(encoder.folder)
