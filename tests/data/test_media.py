"""Images, recordings, videos and tables, from a path to what a pipeline takes."""

import base64
import functools
import http.server
import sys
import threading

import numpy
import PIL.Image
import pytest
import soundfile
import soxr

from llmkit.data import media
from llmkit.data.media import check_video, load_audio, load_image, load_table, load_text
from llmkit.errors import DataError, MissingExtraError
from tests.fixtures.media import TABLE, tone, write_media


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return write_media(tmp_path_factory.mktemp("media"))


@pytest.fixture
def corner(tmp_path):
    """An image whose top left pixel is red, and the way to save it turned."""
    image = PIL.Image.new("RGB", (6, 4), "white")
    image.putpixel((0, 0), (255, 0, 0))

    def save(orientation):
        exif = PIL.Image.Exif()
        exif[0x0112] = orientation
        path = tmp_path / f"{orientation}.png"
        image.save(path, exif=exif)
        return str(path)

    return save


@pytest.mark.parametrize(
    ("load", "what"),
    [(load_image, "png"), (lambda path: load_audio(path, 16_000), "wav"), (check_video, "mp4")],
)
def test_a_name_that_no_file_can_have_is_an_error_of_its_row(load, what):
    with pytest.raises(DataError, match="cannot be read: File name too long"):
        load(f"{'a' * 300}.{what}")


class TestImage:
    @pytest.mark.parametrize(
        ("orientation", "size", "place"),
        [
            (1, (6, 4), (0, 0)),
            (2, (6, 4), (5, 0)),
            (3, (6, 4), (5, 3)),
            (4, (6, 4), (0, 3)),
            (5, (4, 6), (0, 0)),
            (6, (4, 6), (3, 0)),
            (7, (4, 6), (3, 5)),
            (8, (4, 6), (0, 5)),
        ],
    )
    def test_it_stands_as_it_was_taken(self, corner, orientation, size, place):
        image = load_image(corner(orientation))
        assert image.size == size
        assert image.getpixel(place) == (255, 0, 0)

    @pytest.mark.parametrize("mode", ["L", "1", "P", "RGBA", "CMYK", "LA"])
    def test_it_is_rgb(self, tmp_path, mode):
        path = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
        PIL.Image.new("RGB", (5, 3), (9, 99, 200)).convert(mode).save(path)
        image = load_image(str(path))
        assert (image.mode, image.size) == ("RGB", (5, 3))

    def test_an_image_and_one_in_a_text_are_images_too(self, files):
        image = PIL.Image.open(files["cat"])
        assert load_image(image).size == image.size
        data = base64.b64encode(files["cat"].read_bytes()).decode()
        assert load_image(f"data:image/png;base64,{data}").size == image.size

    @pytest.mark.parametrize(
        ("content", "said"),
        [(b"not an image", "its content is not an image"), (b"", "its content is not an image")],
    )
    def test_what_is_none(self, tmp_path, content, said):
        (tmp_path / "a.png").write_bytes(content)
        with pytest.raises(DataError, match=rf"a\.png cannot be read as an image: {said}"):
            load_image(str(tmp_path / "a.png"))

    def test_half_of_one(self, tmp_path, files):
        data = files["photo"].read_bytes()
        (tmp_path / "a.jpg").write_bytes(data[: len(data) // 2])
        with pytest.raises(DataError, match="it is damaged"):
            load_image(str(tmp_path / "a.jpg"))

    def test_nothing_there(self, tmp_path):
        with pytest.raises(DataError, match=r"no such image: nowhere\.png"):
            load_image("nowhere.png")
        with pytest.raises(DataError, match="is a folder, and no image"):
            load_image(str(tmp_path))

    @pytest.mark.parametrize("value", [5, ["a"], {"a": 1}, b"bytes", 1.5], ids=repr)
    def test_what_cannot_name_one(self, value):
        with pytest.raises(DataError, match="cannot be read as an image"):
            load_image(value)

    def test_a_long_text_is_not_repeated(self):
        with pytest.raises(DataError) as caught:
            load_image("data:image/png;base64," + "A" * 5000)
        assert len(caught.value.message) < 200

    def test_without_pillow(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "PIL.Image", None)
        with pytest.raises(MissingExtraError, match=r"hf-llmkit\[vision\]"):
            load_image("a.png")

    def test_a_program_of_postscript_is_not_run(self, tmp_path):
        (tmp_path / "a.eps").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n")
        with pytest.raises(DataError, match="its content is not an image"):
            load_image(str(tmp_path / "a.eps"))

    def test_more_pixels_than_are_read(self, files, monkeypatch):
        monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 10)
        with pytest.raises(DataError, match="it has too many pixels"):
            load_image(str(files["cat"]))


def pitch(samples, rate):
    """The strongest frequency, in Hz."""
    spectrum = numpy.abs(numpy.fft.rfft(samples * numpy.hanning(len(samples))))
    return numpy.fft.rfftfreq(len(samples), 1 / rate)[spectrum.argmax()]


class TestAudio:
    def test_the_samples_as_they_are(self, files):
        samples = load_audio(str(files["tone"]), 16000)
        assert samples.dtype == numpy.float32
        assert samples.ndim == 1
        numpy.testing.assert_allclose(samples, tone(16000)[: len(samples)], atol=1 / 2**14)

    @pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100, 48000])
    def test_another_rate(self, files, rate):
        samples = load_audio(str(files["tone_flac"]), rate)
        source, from_rate = soundfile.read(files["tone_flac"], dtype="float32")
        assert from_rate == 44100
        assert samples.dtype == numpy.float32
        assert len(samples) == pytest.approx(len(source) * rate / from_rate, abs=2)
        assert pitch(samples, rate) == pytest.approx(440, abs=4)
        # The same sine, had it been played at that rate; the ends are the filter's.
        middle = slice(len(samples) // 8, -len(samples) // 8)
        numpy.testing.assert_allclose(samples[middle], tone(rate)[: len(samples)][middle], atol=2e-3)
        numpy.testing.assert_array_equal(
            samples, source if rate == 44100 else soxr.resample(source, 44100, rate)
        )

    def test_two_channels_become_their_mean(self, tmp_path):
        left, right = tone(8000), tone(8000, frequency=1000.0)
        soundfile.write(tmp_path / "a.wav", numpy.stack([left, right], axis=1), 8000, subtype="FLOAT")
        samples = load_audio(str(tmp_path / "a.wav"), 8000)
        numpy.testing.assert_allclose(samples, (left + right) / 2, atol=1e-6)

    @pytest.mark.parametrize(("subtype", "step"), [("PCM_16", 2**-15), ("PCM_24", 2**-23), ("PCM_U8", 2**-7)])
    def test_whole_numbers_are_scaled(self, tmp_path, subtype, step):
        soundfile.write(tmp_path / "a.wav", tone(8000), 8000, subtype=subtype)
        numpy.testing.assert_allclose(load_audio(str(tmp_path / "a.wav"), 8000), tone(8000), atol=1.5 * step)

    def test_samples_are_samples(self):
        samples = tone(8000)
        assert load_audio(samples, 16000) is samples

    @pytest.mark.parametrize("name", ["a.wav", "a.mp3", "a.flac", "a.raw", "a"])
    @pytest.mark.parametrize("content", [b"not a sound", b"", b"RIFF\0\0\0\0WAVE"])
    def test_what_is_none(self, tmp_path, name, content):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match="cannot be read as audio"):
            load_audio(str(tmp_path / name), 16000)

    def test_silence_of_no_length(self, tmp_path):
        soundfile.write(tmp_path / "a.wav", numpy.zeros(0), 8000)
        with pytest.raises(DataError, match="holds no sound"):
            load_audio(str(tmp_path / "a.wav"), 8000)

    def test_nothing_there(self, tmp_path):
        with pytest.raises(DataError, match=r"no such audio file: nowhere\.wav"):
            load_audio("nowhere.wav", 16000)
        with pytest.raises(DataError, match="is a folder"):
            load_audio(str(tmp_path), 16000)

    @pytest.mark.parametrize("package", ["soundfile", "soxr"])
    def test_without_its_packages(self, monkeypatch, package):
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(MissingExtraError, match=r"hf-llmkit\[audio\]"):
            load_audio("a.wav", 16000)

    def test_one_that_is_too_long(self, tmp_path, monkeypatch):
        monkeypatch.setattr(media, "MOST_SAMPLES", 8000)
        monkeypatch.setattr(media, "_BLOCK_SAMPLES", 1000)
        soundfile.write(tmp_path / "a.wav", numpy.zeros(8001), 16000)
        soundfile.write(tmp_path / "slow.wav", numpy.zeros(4001), 8000)
        for name in ("a.wav", "slow.wav"):
            with pytest.raises(DataError, match="is too long: more than 8,000 samples at 16,000 Hz"):
                load_audio(str(tmp_path / name), 16000)

    def test_it_is_read_in_blocks(self, files, monkeypatch):
        whole = load_audio(str(files["tone"]), 16000)
        monkeypatch.setattr(media, "_BLOCK_SAMPLES", 1000)
        numpy.testing.assert_array_equal(load_audio(str(files["tone"]), 16000), whole)


class TestVideo:
    @pytest.mark.parametrize(
        "content", ["#EXTM3U\nfile:///etc/passwd\n", "ffconcat version 1.0\nfile a\n", "<?xml?><MPD/>"]
    )
    def test_a_list_of_others_is_not_opened(self, tmp_path, content):
        (tmp_path / "a.mp4").write_text(content)
        with pytest.raises(DataError, match="is a list of other files, not a video"):
            check_video(str(tmp_path / "a.mp4"))

    def test_there_or_not(self, files):
        assert check_video(str(files["clip"])) == str(files["clip"])
        with pytest.raises(DataError, match="no such video"):
            check_video("nowhere.mp4")

    @pytest.mark.parametrize(
        ("name", "said"),
        [
            ("cat", r"cat\.png is an image, not a video"),
            ("photo", r"photo\.jpg is an image"),
            ("tone", r"tone\.wav has sound and no pictures"),
            ("table", r"table\.csv cannot be read as a video"),
        ],
    )
    def test_what_is_none(self, files, name, said):
        with pytest.raises(DataError, match=said):
            check_video(str(files[name]))

    def test_without_its_package(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "av", None)
        with pytest.raises(MissingExtraError, match=r"hf-llmkit\[video\]"):
            check_video("a.mp4")


class TestWeb:
    @pytest.fixture
    def site(self, files):
        handler = functools.partial(QuietHandler, directory=str(files["cat"].parent))
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
            threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
            yield f"http://127.0.0.1:{server.server_address[1]}"
            server.shutdown()

    def test_what_lies_there_is_what_lies_here(self, site, files):
        assert load_image(f"{site}/cat.png").tobytes() == load_image(str(files["cat"])).tobytes()
        numpy.testing.assert_array_equal(
            load_audio(f"{site}/tone.wav", 16000), load_audio(str(files["tone"]), 16000)
        )
        assert check_video(f"{site}/clip.mp4") == f"{site}/clip.mp4"

    @pytest.mark.parametrize(
        "load",
        [load_image, lambda address: load_audio(address, 16000), check_video],
        ids=["image", "audio", "video"],
    )
    def test_what_cannot_be_had(self, site, load):
        with pytest.raises(DataError, match=r"cannot fetch http\S+/none: 404 File not found"):
            load(f"{site}/none")
        with pytest.raises(DataError, match=r"cannot fetch http://127\.0\.0\.1:9/a: Connection refused"):
            load("http://127.0.0.1:9/a")
        with pytest.raises(DataError, match=r"cannot fetch http://\[a: Invalid IPv6 URL"):
            load("http://[a")

    def test_what_is_too_large(self, site, monkeypatch):
        monkeypatch.setattr(media, "MOST_FETCHED", 10)
        with pytest.raises(DataError, match="is too large: more than 10 bytes"):
            load_image(f"{site}/cat.png")

    def test_what_is_something_else(self, site):
        with pytest.raises(DataError, match="its content is not an image"):
            load_image(f"{site}/table.csv")
        with pytest.raises(DataError, match="cannot be read as audio"):
            load_audio(f"{site}/table.csv", 16000)


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


class TestTable:
    def test_a_file(self, files):
        assert load_table(str(files["table"])) == TABLE

    def test_columns(self):
        assert load_table({"a": [1, None], "b": ["x", 2.5]}) == {"a": ["1", "None"], "b": ["x", "2.5"]}

    @pytest.mark.parametrize("value", [5, [1, 2], {"a": "word"}, {"a": 1}, [["a", "b"]]], ids=repr)
    def test_what_is_none(self, value):
        with pytest.raises(DataError, match="a table is an object of columns"):
            load_table(value)

    def test_a_ragged_row_is_named(self, tmp_path):
        (tmp_path / "a.csv").write_text("a,b\n1,2\n1,2,3\n")
        with pytest.raises(DataError, match=r"a\.csv:3: "):
            load_table(str(tmp_path / "a.csv"))


class TestText:
    def test_the_whole_of_it(self, tmp_path):
        (tmp_path / "a.txt").write_bytes("\ufeffOne é.\r\n\r\nTwo.\n".encode())
        assert load_text(str(tmp_path / "a.txt")) == "One é.\n\nTwo."

    def test_a_line_that_is_no_text_is_named(self, tmp_path):
        (tmp_path / "a.txt").write_bytes(b"one\ntwo\xff\n")
        with pytest.raises(DataError, match=r"a\.txt:2: "):
            load_text(str(tmp_path / "a.txt"))
