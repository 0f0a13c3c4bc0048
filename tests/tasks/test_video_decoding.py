"""Videos where transformers' video processor cannot open them."""

import sys
from types import SimpleNamespace

import pytest
from transformers.utils import import_utils

import llmkit
from llmkit.tasks.video_decoding import can_open_videos
from tests.fixtures.media import write_media


@pytest.fixture
def installed(monkeypatch):
    """Make it look as if torchcodec, or a torchvision with or without its decoder, were there."""

    def install(torchcodec, torchvision_io):
        monkeypatch.setattr(import_utils, "is_torchcodec_usable", lambda decode: torchcodec, raising=False)
        found = None if torchvision_io is None else SimpleNamespace()
        monkeypatch.setattr("importlib.util.find_spec", lambda name: found)
        monkeypatch.setitem(sys.modules, "torchvision", SimpleNamespace(io=torchvision_io))

    return install


@pytest.mark.parametrize(
    ("torchcodec", "torchvision_io", "can"),
    [
        (True, None, True),
        (False, None, False),
        (False, SimpleNamespace(read_video=print), True),
        (False, SimpleNamespace(), False),
    ],
)
def test_what_can_open_them(installed, torchcodec, torchvision_io, can):
    installed(torchcodec, torchvision_io)
    assert can_open_videos() is can


def test_without_it_the_frames_go_to_the_image_processor(tiny, tmp_path):
    pipe = llmkit.pipeline("video-classification", model=str(tiny("video-classification")), device="cpu")
    results = pipe(str(write_media(tmp_path)["clip"]), top_k=2)
    assert [set(result) for result in results] == [{"score", "label"}] * 2
    if not can_open_videos():
        assert getattr(pipe, "video_processor", None) is None
