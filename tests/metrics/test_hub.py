"""`hub:NAME`: a metric from a hub on this machine, and what is said when there is none."""

import http.server
import json
import threading

import pytest

from llmkit.errors import HubError, LlmkitError, UsageError
from llmkit.metrics import hub, load_metric
from tests.fixtures.hub import dead_url

SCRIPT = b"""
import datasets
import evaluate

class Shared(evaluate.Metric):
    def _info(self):
        text = datasets.Value("int64")
        features = datasets.Features({"predictions": text, "references": text})
        return evaluate.MetricInfo(description="", citation="", inputs_description="", features=features)

    def _compute(self, predictions, references, scale=1):
        if scale == 0:
            raise ValueError("scale is 0")
        share = sum(p == r for p, r in zip(predictions, references)) / len(predictions)
        return {"by": ["hub"], "shared": share * scale}
"""
ASK = """
import json, time
import evaluate
from llmkit.errors import LlmkitError
from llmkit.metrics import evaluate_metric, hub, load_metric
hub.HUB_SECONDS = 10.0
begun = time.monotonic()
try:
    metric = load_metric("hub:acme/shared", scale=2)
    metric.update([1, 2], [1, 3])
    other = load_metric("hub:acme/shared", scale=2)
    other.merge(metric.state())
    other.update([3], [3])
    given = evaluate_metric("hub:acme/shared").compute(predictions=[1], references=[1])
    said = [other.compute(), other.details(), given]
except LlmkitError as error:
    said = [type(error).__name__, str(error)]
print(json.dumps([said, time.monotonic() - begun]))
"""


class Hub(http.server.BaseHTTPRequestHandler):
    """Has one metric: acme/shared."""

    def do_HEAD(self):
        self.answer(with_body=False)

    def do_GET(self):
        self.answer(with_body=True)

    def answer(self, with_body):
        known = self.path.startswith("/spaces/acme/shared/") and self.path.endswith("shared.py")
        body = SCRIPT if known else b""
        self.send_response(200 if known else 404)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", '"1"')
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def endpoint():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def asked(llmkit, tmp_path):
    """Ask for the metric in a process of its own; return what was said, and the seconds that it took."""
    usual = {"HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path), "NO_PROXY": "127.0.0.1"}

    def asked(**settings):
        done = llmkit.python(ASK, env=usual | settings)
        assert done.code == 0, done.stderr
        return json.loads(done.text.splitlines()[-1])

    return asked


EXPECTED = [{"shared": pytest.approx(4 / 3)}, {"by": ["hub"]}, {"by": ["hub"], "shared": 1.0}]


def test_from_the_hub_and_then_from_the_cache(endpoint, asked):
    assert asked(HF_ENDPOINT=endpoint)[0] == EXPECTED
    assert asked(HF_ENDPOINT=endpoint, HF_HUB_OFFLINE="1")[0] == EXPECTED


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"HF_ENDPOINT": dead_url()}, "the hub does not have it or did not answer"),
        ({"HF_HUB_OFFLINE": "1"}, "llmkit is offline (HF_HUB_OFFLINE)"),
    ],
    ids=["dead", "offline"],
)
def test_one_clear_error_in_time(settings, reason, asked):
    (kind, message), seconds = asked(**settings)
    assert kind == "HubError"
    assert "the metric hub:acme/shared is not in the cache" in message
    assert reason in message
    assert "need no network" in message
    assert seconds < 15


class Module:
    """Stands for a loaded metric."""

    def compute(self, predictions, references):
        raise ValueError("no luck")


def test_a_metric_that_fails(monkeypatch):
    monkeypatch.setattr(hub, "load_from_hub", lambda source: Module())
    metric = load_metric("hub:x")
    assert metric.notes() == ["there are no examples."]
    assert list(metric.compute()) == ["x"]
    metric.update([1], [1])
    with pytest.raises(LlmkitError, match="metric hub:x failed: no luck"):
        metric.compute()


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (
            ImportError("you need to install jiwer"),
            LlmkitError,
            "cannot be loaded: you need to install jiwer",
        ),
        (ConnectionError("down"), HubError, "not in the cache"),
    ],
)
def test_what_went_wrong(error, kind, said, monkeypatch):
    def fail(source):
        raise error

    monkeypatch.setattr(hub, "_loaded", fail)
    with pytest.raises(kind, match=said):
        load_metric("hub:x")


def test_a_hub_that_drips(monkeypatch):
    monkeypatch.setattr(hub, "_loaded", lambda source: threading.Event().wait(5))
    monkeypatch.setattr(hub, "HUB_SECONDS", 0.1)
    with pytest.raises(HubError, match=r"did not send it within 0\.1 seconds"):
        load_metric("hub:x")


def test_a_script_of_this_folder_is_not_the_hubs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wer").mkdir()
    (tmp_path / "wer" / "wer.py").touch()
    with pytest.raises(UsageError, match=r"would load the script wer/wer\.py of this folder"):
        load_metric("hub:wer")
