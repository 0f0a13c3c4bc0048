"""What the entry point settles before anything else is imported."""

import os

import pytest

from llmkit.__main__ import main


@pytest.mark.parametrize(
    ("given", "spins"),
    [({}, "2000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "active"}, None)],
)
def test_threads_sleep_soon_unless_the_user_says_otherwise(monkeypatch, given, spins):
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("GOMP_", "OMP_W"))
    }
    monkeypatch.setattr(os, "environ", environment | given)
    monkeypatch.setattr("sys.argv", ["llmkit", "--version"])
    with pytest.raises(SystemExit):
        main()
    assert os.environ.get("GOMP_SPINCOUNT") == spins
