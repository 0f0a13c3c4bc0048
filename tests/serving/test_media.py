"""Images, sound and videos over HTTP: answered as the command answers them, refused where they would harm."""

from __future__ import annotations

import base64
import io
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy
import PIL.Image
import pytest
import soundfile

from llmkit.data.records import Record
from llmkit.inference.items import RunSettings
from llmkit.inference.runner import Runner
from llmkit.models.loading import LoadOptions
from llmkit.models.resolving import resolve_model
from llmkit.serving.served_answers import InlineEncoder, shaped
from llmkit.tasks.build import build_pipeline
from llmkit.tasks.catalogue import find_task
from llmkit.tasks.inputs import FieldValues
from llmkit.tasks.parameters import parameters_of
from tests.fixtures.command import TIMEOUT, base_environment
from tests.fixtures.media import word_boxes, write_media
from tests.serving.serving import Server

LABELS = {"candidate_labels": ["a cat", "a dog"]}
# For each task: which files its input has, what else, and parameters.
CASES: dict[str, tuple[dict[str, str], dict[str, Any], dict[str, Any]]] = {
    "image-classification": ({"image": "cat"}, {}, {"top_k": 2}),
    "image-segmentation": ({"image": "cat"}, {}, {}),
    "object-detection": ({"image": "photo"}, {}, {"threshold": 0.2}),
    "image-to-text": ({"image": "cat"}, {}, {"max_new_tokens": 4}),
    "visual-question-answering": ({"image": "cat"}, {"question": "How many people?"}, {}),
    "zero-shot-image-classification": ({"image": "cat"}, LABELS, {}),
    "audio-classification": ({"audio": "stereo"}, {}, {"top_k": 2}),
    "automatic-speech-recognition": ({"audio": "tone_flac"}, {}, {}),
    "video-classification": ({"video": "clip"}, {}, {"top_k": 2}),
}
MORE: dict[str, tuple[dict[str, str], dict[str, Any], dict[str, Any]]] = {
    "depth-estimation": ({"image": "cat"}, {}, {}),
    "document-question-answering": (
        {"image": "document"},
        {"question": "What is the total?", "word_boxes": word_boxes()},
        {},
    ),
    "image-feature-extraction": ({"image": "gray"}, {}, {}),
    "image-text-to-text": ({"image": "cat"}, {"text": "What is it?"}, {"max_new_tokens": 4}),
    "keypoint-matching": ({"first": "cat", "second": "dog"}, {}, {}),
    "mask-generation": (
        {"image": "cat"},
        {},
        {"points_per_crop": 4, "pred_iou_thresh": -100.0, "stability_score_thresh": 0.0},
    ),
    "zero-shot-audio-classification": ({"audio": "tone"}, LABELS, {}),
    "zero-shot-object-detection": ({"image": "cat"}, LABELS, {"threshold": 0.0}),
}
TO_FILES = {"image-to-image": {"image": "cat"}, "text-to-audio": {}}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_media(tmp_path_factory.mktemp("media"))


@pytest.fixture(scope="module")
def server(tiny: Callable[[str], Path]) -> Iterator[Server]:
    named = [f"{task}={tiny(task)}" for task in (*CASES, *TO_FILES)]
    with Server(*named, f"text-classification={tiny('text-classification')}") as started:
        yield started


@pytest.fixture(scope="module")
def larger(tiny: Callable[[str], Path]) -> Iterator[Server]:
    with Server(*[f"{task}={tiny(task)}" for task in MORE]) as started:
        yield started


def offline(task: str, folder: Path, values: dict[str, Any], parameters: dict[str, Any]) -> Any:
    """What the command makes of files, in this process, as plain values."""
    call = find_task(task)
    pipe = build_pipeline(call, resolve_model(str(folder)), LoadOptions("cpu"))
    arranged = parameters_of(call.task).arrange(parameters)
    rows = [(Record({}, "test", 1), FieldValues(values))]
    (outcome,) = Runner(pipe, call, RunSettings(arranged)).run_window(rows)
    if outcome.error is not None:
        raise outcome.error
    return json.loads(json.dumps(shaped(task, InlineEncoder().plain(outcome.value, "0"))))


def encoded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def check_case(server: Server, folder: Path, files: dict[str, Path], task: str) -> None:
    media, others, parameters = (CASES | MORE)[task]
    paths = {name: str(files[file]) for name, file in media.items()}
    expected = offline(task, folder, paths | others, parameters)
    # What goes beside the input, as the hub's client sends it.
    beside = {name: value for name, value in others.items() if name == "candidate_labels"}
    whole = {name: encoded(files[file]) for name, file in media.items()} | others
    inputs = {name: value for name, value in whole.items() if name not in beside}
    body = {"inputs": inputs, "parameters": parameters | beside}

    found = server.client.post(f"/{task}", json=body)
    listed = server.client.post(f"/{task}", json=body | {"inputs": [inputs, inputs]})

    assert found.status_code == 200, found.text
    if task == "image-text-to-text":  # the chat is repeated, with the image as it came
        for row, wanted in zip(found.json(), expected, strict=True):
            assert row["generated_text"][-1] == wanted["generated_text"][-1]
        return
    assert found.json() == expected
    assert near(listed.json(), [expected, expected])


def near(found: Any, expected: Any) -> bool:
    """Tell whether two values are the same but for the last bits of their floats, which a batch can change."""
    if isinstance(expected, float):
        return isinstance(found, float) and abs(found - expected) < 1e-5
    if isinstance(expected, list):
        return len(found) == len(expected) and all(map(near, found, expected))
    if isinstance(expected, dict):
        return found.keys() == expected.keys() and all(near(found[key], expected[key]) for key in expected)
    return found == expected


@pytest.mark.parametrize("task", CASES)
def test_it_is_what_the_command_gives(server, tiny, files, task):
    check_case(server, tiny(task), files, task)


@pytest.mark.slow
@pytest.mark.parametrize("task", MORE)
def test_so_are_other_tasks(larger, tiny, files, task):
    check_case(larger, tiny(task), files, task)


@pytest.mark.parametrize(
    ("task", "file", "kind"),
    [
        ("image-classification", "cat", "image/png"),
        ("image-classification", "photo", "application/octet-stream"),
        ("automatic-speech-recognition", "tone", "audio/wav"),
        ("video-classification", "clip_avi", "video/x-msvideo"),
        ("image-classification", "gray", None),
    ],
)
def test_the_body_can_be_the_file(server, files, task, file, kind):
    data = files[file].read_bytes()
    headers = {} if kind is None else {"Content-Type": kind}

    found = server.client.post(f"/{task}", content=data, headers=headers)

    address = f"data:{kind or 'image/png'};base64,{encoded(files[file])}"
    assert found.status_code == 200, found.text
    assert found.json() == server.client.post(f"/{task}", json={"inputs": address}).json()


def test_masks_are_pictures(server, tiny, files):
    import llmkit as api

    masks = [
        row["mask"]
        for row in api.pipeline("image-segmentation", tiny("image-segmentation"))(str(files["cat"]))
    ]

    found = server.client.post("/image-segmentation", json={"inputs": encoded(files["cat"])}).json()

    assert masks
    for row, mask in zip(found, masks, strict=True):
        picture = PIL.Image.open(io.BytesIO(base64.b64decode(row["mask"])))
        assert numpy.array_equal(numpy.asarray(picture), numpy.asarray(mask))


def test_a_picture_or_a_sound_comes_itself(server, files):
    picture = server.client.post("/image-to-image", content=files["cat"].read_bytes())
    in_json = server.client.post(
        "/image-to-image",
        json={"inputs": encoded(files["cat"])},
        headers={"Accept": "application/json"},
    )
    sound = server.client.post("/text-to-audio", json={"inputs": "hello there"})

    assert picture.headers["content-type"] == "image/png"
    assert PIL.Image.open(io.BytesIO(picture.content)).width >= 64
    assert base64.b64decode(in_json.json()) == picture.content
    assert sound.headers["content-type"] == "audio/wav"
    samples, rate = soundfile.read(io.BytesIO(sound.content))
    assert len(samples) > 0
    assert rate > 0


HUB_CLIENT = """
import sys
from huggingface_hub import InferenceClient

url, cat, tone = sys.argv[1:]

def client(task):
    return InferenceClient(model=f"{url}/{task}", token="hf_any")

assert client("image-classification").image_classification(cat)[0].label
assert client("image-classification").image_classification(open(cat, "rb").read(), top_k=1)[0].score
assert client("image-segmentation").image_segmentation(cat)[0].mask.width
assert isinstance(client("object-detection").object_detection(cat, threshold=0.0), list)
assert client("image-to-text").image_to_text(cat)["generated_text"] is not None
assert client("visual-question-answering").visual_question_answering(cat, "How many?", top_k=1)[0].answer
labels = ["a cat", "a dog"]
found = client("zero-shot-image-classification").zero_shot_image_classification(cat, labels)
assert {each.label for each in found} == set(labels)
assert client("audio-classification").audio_classification(tone)[0].label
assert client("automatic-speech-recognition").automatic_speech_recognition(tone).text is not None
assert client("image-to-image").image_to_image(cat).width
assert client("text-to-audio").text_to_speech("hello there")[:4] == b"RIFF"
"""


def test_the_hubs_own_client_is_satisfied(server, files):
    command = [sys.executable, "-c", HUB_CLIENT, server.url, str(files["cat"]), str(files["tone"])]
    environment = base_environment() | {"HF_HUB_OFFLINE": "0"}

    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=TIMEOUT, check=False
    )

    assert done.returncode == 0, done.stderr


# What is refused


def bomb() -> str:
    file = io.BytesIO()
    PIL.Image.new("1", (10_000, 6_000)).save(file, format="PNG")
    return base64.b64encode(file.getvalue()).decode()


def slow_sound() -> str:
    file = io.BytesIO()
    soundfile.write(file, numpy.zeros(10_000), 1, format="WAV")
    return base64.b64encode(file.getvalue()).decode()


def playlist() -> str:
    return base64.b64encode(b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n").decode()


BAD: dict[str, tuple[str, Callable[[dict[str, Path]], Any], str]] = {
    "a path": ("image-classification", lambda files: str(files["cat"]), "not in base64"),
    "an address": ("image-classification", lambda files: "http://127.0.0.1:1/cat.png", "not in base64"),
    "a path by its name": ("image-classification", lambda files: {"image": "/etc/passwd"}, "not in base64"),
    "no image": ("image-classification", lambda files: encoded(files["tone"]), "not an image"),
    "half an image": ("image-classification", lambda files: encoded(files["photo"])[:400], "damaged"),
    "a number": ("image-classification", lambda files: 7, "base64"),
    "nothing": ("image-classification", lambda files: "", "empty"),
    "too many pixels": ("image-classification", lambda files: bomb(), "pixels"),
    "no sound": ("automatic-speech-recognition", lambda files: encoded(files["cat"]), "cannot be read"),
    "sound for hours": ("automatic-speech-recognition", lambda files: slow_sound(), "too long"),
    "a playlist": ("video-classification", lambda files: playlist(), "none of these"),
    "no video": ("video-classification", lambda files: encoded(files["cat"]), "none of these"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_media_are_named(server, files, case):
    task, inputs, said = BAD[case]

    found = server.client.post(f"/{task}", json={"inputs": inputs(files)})

    assert found.status_code == 400, found.text
    assert said in found.json()["error"]["message"]


@pytest.mark.parametrize(
    "parameters",
    [
        {"generate_kwargs": {"custom_generate": "acme/evil", "trust_remote_code": True}},
        {"generate_kwargs": {"trust_remote_code": True}},
        {"processor_kwargs": {"voice_preset": "/etc/passwd"}},
        {"generate_kwargs": {"num_beams": 10**9}},
    ],
)
def test_nothing_is_run_or_opened_by_a_parameter(server, files, parameters):
    for task, inputs in (("image-to-text", encoded(files["cat"])), ("text-to-audio", "hello")):
        found = server.client.post(f"/{task}", json={"inputs": inputs, "parameters": parameters})

        assert found.status_code == 400, found.text


def test_the_type_of_a_body(server, files):
    cat = files["cat"].read_bytes()

    def status(task: str, **headers: str) -> int:
        # httpx adds no type of its own to bytes
        answer: httpx.Response = server.client.post(f"/{task}", content=cat, headers=headers)
        return answer.status_code

    assert status("image-classification", Origin="https://example.org") == 415
    assert status("image-classification", **{"Content-Type": "text/plain"}) == 415
    assert status("text-classification", **{"Content-Type": "image/png"}) == 415
    assert status("visual-question-answering", **{"Content-Type": "image/png"}) == 415


def test_images_may_be_larger_than_texts(server):
    noise = numpy.random.default_rng(0).integers(0, 255, (800, 1000, 3), dtype="uint8")
    file = io.BytesIO()
    PIL.Image.fromarray(noise).save(file, format="PNG")
    assert len(file.getvalue()) > 2_000_000

    assert server.client.post("/image-classification", content=file.getvalue()).status_code == 200
