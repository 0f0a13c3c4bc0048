"""What loading raises, with real broken models, in the words of the user's call."""

from __future__ import annotations

import json
import shutil

import pytest

from llmkit.errors import HubError, MissingExtraError, ModelError, UsageError
from llmkit.models.loading_errors import explain_loading_error
from llmkit.models.resolved import ResolvedModel
from tests.fixtures.hub import CutShort, ServerError, Shortened, SmallHub, client_environment, dead_url
from tests.fixtures.tiny import build
from tests.models.files import REPO, TASK, fill_cache

LOAD = """
import json, sys, time
time.sleep = lambda seconds: None
import transformers
from llmkit.models.loading_errors import explain_loading_error
from llmkit.models.resolved import ResolvedModel
from transformers.models.auto.image_processing_auto import AutoImageProcessor
from transformers.utils import logging
# As llmkit does: at the top, releases before 5.18 want torchvision for it.
classes = {"AutoImageProcessor": AutoImageProcessor}
logging.disable_progress_bar()
results = {}
for key, (auto, name, arguments) in json.loads(sys.argv[1]).items():
    model = ResolvedModel(name, name, arguments.get("revision"))
    try:
        (classes.get(auto) or getattr(transformers, auto)).from_pretrained(name, trust_remote_code=False, **arguments)
        results[key] = ["loaded", "", ""]
    except Exception as error:
        told = explain_loading_error(error, model, "feature-extraction")
        results[key] = [type(told).__name__, told.message, told.hint or ""]
print(json.dumps(results))
"""


@pytest.fixture(scope="module")
def load(llmkit):
    """Load models in a process with the settings of a hub; return what is said of each."""

    def load(environment, cases):
        done = llmkit.python(LOAD, json.dumps(cases), env=environment)
        assert done.code == 0, done.stderr
        return json.loads(done.text.splitlines()[-1])

    return load


SAFE = {"use_safetensors": True}
LOADINGS = {
    "cut": (CutShort("*/cut/*.safetensors", at=3000), "HubError", "download of 'acme/cut' was cut off"),
    "cutconfig": (CutShort("*/cutconfig/*config.json", at=9), "HubError", "was cut off"),
    "short": (Shortened("*/short/*.safetensors", size=50), "HubError", "model.safetensors of 'acme/short'"),
    "down": (ServerError("*/down/*config.json"), "HubUnreachableError", "failed (500)"),
    "noweights": (
        ServerError("*/noweights/*.safetensors"),
        "HubUnreachableError",
        "model.safetensors is missing",
    ),
    "pickle": (
        None,
        "ModelError",
        "has only pickled weights (pytorch_model.bin). Nothing is unpickled unless",
    ),
    "damaged": (None, "ModelError", "model.safetensors of 'acme/damaged' is cut off: 7 of"),
    "future": (None, "ModelError", "is of the type 'future_bert', which transformers"),
    "code": (None, "ModelError", "needs code from the model"),
    "noconfig": (None, "ModelError", "names no model_type"),
    "badvalue": (None, "ModelError", "config.json of 'acme/badvalue' has a wrong value: Field 'hidden_size'"),
    "gated": (None, "HubError", "is gated"),
    "absent": (None, "HubError", "has no model 'acme/absent', or it is private"),
    "revision": (None, "HubError", "the model 'acme/revision' has no revision 'v9'"),
    "badjson": (None, "ModelError", "config.json of 'acme/badjson' is not JSON"),
    "shapes": (None, "ModelError", "do not fit its config.json"),
    "whole": (None, "loaded", ""),
}


def prepare(name, bert, folder):
    """Copy the model and break it the way its name says."""
    shutil.copytree(bert, folder)
    config, weights = folder / "config.json", folder / "model.safetensors"
    settings = json.loads(config.read_text())
    changes = {
        "pickle": lambda: weights.rename(folder / "pytorch_model.bin"),
        "damaged": lambda: weights.write_bytes(weights.read_bytes()[:-7]),
        "future": lambda: config.write_text('{"model_type": "future_bert"}'),
        "code": lambda: config.write_text('{"model_type": "own", "auto_map": {"AutoConfig": "own.Config"}}'),
        "noconfig": config.unlink,
        "badvalue": lambda: config.write_text(json.dumps({**settings, "hidden_size": "wide"})),
        "badjson": lambda: config.write_text("{"),
        "shapes": lambda: config.write_text(
            json.dumps({**settings, "vocab_size": settings["vocab_size"] + 1})
        ),
    }
    changes.get(name, lambda: None)()


@pytest.fixture(scope="module")
def loadings(load, tmp_path_factory):
    """What was said about each of the broken repositories, all loaded in one process."""
    root = tmp_path_factory.mktemp("loadings")
    bert = build(TASK, root / "bert")
    with SmallHub() as hub:
        for name, (fault, *_) in LOADINGS.items():
            if name != "absent":
                prepare(name, bert, root / name)
                hub.add(f"acme/{name}", root / name, gated=name == "gated")
            hub.faults += [fault] if fault else []
        cases = {name: ("AutoModel", f"acme/{name}", SAFE) for name in LOADINGS}
        cases["revision"] = ("AutoModel", "acme/revision", {**SAFE, "revision": "v9"})
        return load(hub.environment(root / "home"), cases)


@pytest.mark.parametrize("name", LOADINGS)
def test_loading_error_from_the_hub(loadings, name):
    kind, message, hint = loadings[name]
    _, expected_kind, expected_message = LOADINGS[name]
    assert (kind, expected_message in message) == (expected_kind, True), message
    assert "\n" not in message and "\n" not in hint


def test_loading_with_only_the_config_cached(load, hub, tmp_path, folder):
    hub.add(REPO, folder)
    fill_cache(hub, tmp_path, "config.json")
    hub.stop()
    cases = {"weights": ("AutoModel", REPO, SAFE), "nothing": ("AutoModel", "acme/other", SAFE)}
    told = load(hub.environment(tmp_path / "home"), cases)
    assert told["weights"][0] == "HubUnreachableError", told["weights"]
    assert "model.safetensors is missing" in told["weights"][1]
    assert "Name a local folder" in told["weights"][2]
    assert told["nothing"][0] == "HubUnreachableError"
    assert "Connection refused" in told["nothing"][1]


def test_loading_offline(load, hub, tmp_path):
    told = load({**hub.environment(tmp_path), "HF_HUB_OFFLINE": "1"}, {"model": ("AutoModel", REPO, SAFE)})
    assert "is not in the cache and HF_HUB_OFFLINE is set" in told["model"][1]
    assert hub.requests == []


def test_loading_errors_of_folders(load, tmp_path):
    bert = build(TASK, tmp_path / "bert")
    for name in ("pickle", "damaged", "future"):
        prepare(name, bert, tmp_path / name)
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "config.json").write_text('{"model_type": "vit"}')
    cases = {
        "pickle": ("AutoModel", str(tmp_path / "pickle"), SAFE),
        "damaged": ("AutoModel", str(tmp_path / "damaged"), SAFE),
        "head": ("AutoModelForImageClassification", str(bert), SAFE),
        "processor": ("AutoImageProcessor", str(bert), {}),
        "sound": ("AutoFeatureExtractor", str(bert), {}),
        "tokenizer": ("AutoTokenizer", str(bare), {}),
    }
    told = load(client_environment(dead_url(), tmp_path / "home"), cases)
    expected = {
        "pickle": "has only pickled weights (pytorch_model.bin)",
        "damaged": "is cut off: 7 of",
        "head": "cannot do feature-extraction: it has a BertConfig",
        "processor": "has no image processor for feature-extraction",
        "sound": "has no feature extractor for feature-extraction",
        "tokenizer": "has no tokenizer that can be read for feature-extraction",
    }
    for key, message in expected.items():
        assert told[key][0] == "ModelError" and message in told[key][1], told[key]


MODEL = ResolvedModel("acme/x", "acme/x")
NEEDS_TIMM = (
    "\nTimmBackbone requires the timm library but it was not found in your environment. "
    "You can install it with pip:\n`pip install timm`. Please note that you may need to restart.\n"
)


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (ImportError(NEEDS_TIMM), ModelError, "pip install timm"),
        (ImportError("\nX requires the PIL library but it was not found."), MissingExtraError, "[vision]"),
        (
            ValueError(
                "Could not load any image processor class for x. None could be imported. Missing optional "
                "dependencies: torchvision, Pillow. Please install the missing dependencies."
            ),
            MissingExtraError,
            "[vision]",
        ),
        (ImportError("Loading a model requires optimum (`pip install optimum`)"), ModelError, "'optimum'"),
        (ImportError("Using it requires bnb: `pip install -U bnb>=0.46`"), ModelError, "pip install bnb"),
        (ModuleNotFoundError("No module named 'soundfile'", name="soundfile"), MissingExtraError, "[audio]"),
        (ModuleNotFoundError("No module", name="google.protobuf"), ModelError, "pip install protobuf"),
        (ModuleNotFoundError("No module", name="sentencepiece"), ModelError, "pip install sentencepiece"),
        (
            ValueError("`tiktoken` is required. Install it with `pip install tiktoken`."),
            ModelError,
            "'tiktoken'",
        ),
        (ImportError("something else"), ModelError, "something else"),
        (RuntimeError("first line\nsecond line"), ModelError, "for fill-mask: first line"),
        (RuntimeError(""), ModelError, "RuntimeError"),
        (RuntimeError("bad header b'Bearer hf_secretsecret'"), ModelError, "bad header b'***'"),
        (UsageError("told already"), UsageError, "told already"),
        (TimeoutError("timed out"), HubError, "stopped answering"),
        (ValueError("Could not load\nTraceback\n  x\nOSError: the reason\n\n"), ModelError, "the reason"),
    ],
)
def test_loading_error_in_words(error, kind, text):
    told = explain_loading_error(error, MODEL, "fill-mask")
    assert type(told) is kind or (kind is HubError and isinstance(told, HubError))
    assert text in str(told) and "secret" not in str(told)


def test_token_that_cannot_be_sent():
    class LocalProtocolError(Exception):
        """As the client calls it."""

    told = explain_loading_error(
        LocalProtocolError("Illegal header value b'Bearer hf_secretsecret'"), MODEL, TASK
    )
    assert "secret" not in str(told) and "HF_TOKEN" in str(told)


def test_cause_is_explained_not_its_wrapping():
    try:
        try:
            raise UsageError("the config is wrong")
        except UsageError as error:
            raise OSError("Can't load the model") from error
    except OSError as error:
        assert explain_loading_error(error, MODEL, TASK).message == "the config is wrong"
