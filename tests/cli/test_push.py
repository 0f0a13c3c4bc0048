"""``llmkit push`` and ``llmkit card`` against the small hub, with the hub's real client."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fixtures.command import Command, Completed
from tests.fixtures.finished_run import finished_run
from tests.fixtures.hub import HungUp, SmallHub

LICENSE = ("--license", "apache-2.0")


@pytest.fixture
def hub() -> Iterator[SmallHub]:
    with SmallHub() as small:
        yield small


@pytest.fixture
def run_folder(tmp_path: Path, tiny: Callable[[str], Path]) -> Path:
    return finished_run(tmp_path, tiny("text-classification"))


def push(
    llmkit: Command, hub: SmallHub, folder: Path, *arguments: str, token: str = SmallHub.token
) -> Completed:
    environment = hub.environment(folder.parent / "home") | {"HF_TOKEN": token}
    return llmkit("push", folder, "acme/reviews", *arguments, env=environment, hub=True)


def test_the_pushed_model_answers_by_its_id(llmkit, hub, run_folder, tmp_path):
    local = llmkit("pipeline", "text-classification", "a fine day", "-m", run_folder)

    done = push(llmkit, hub, run_folder, *LICENSE, "-q")

    assert (done.code, done.stderr) == (0, "")
    repository = hub.repositories["acme/reviews"]
    assert len(repository.messages) == 1
    assert done.lines[0]["commit"] == repository.branches["main"]
    call = ("pipeline", "text-classification", "a fine day", "-m", "acme/reviews")
    back = llmkit(*call, env=hub.environment(tmp_path), hub=True)
    assert back.code == 0, back.stderr
    assert back.stdout == local.stdout


def test_what_is_there_is_what_a_dry_run_lists(llmkit, hub, run_folder):
    listed = push(llmkit, hub, run_folder, *LICENSE, "--dry-run")
    assert listed.code == 0, listed.stderr
    assert hub.requests == []

    push(llmkit, hub, run_folder, *LICENSE)

    repository = hub.repositories["acme/reviews"]
    there = {name: len(data) for name, data in repository.commits[repository.branches["main"]].items()}
    there.pop(".gitattributes")
    assert {row["file"]: row["bytes"] for row in listed.lines} == there


def test_a_second_push_sends_no_weights_again_and_takes_away_what_is_old(llmkit, hub, run_folder):
    (run_folder / "added_tokens.json").write_text("{}")
    push(llmkit, hub, run_folder, *LICENSE, "--private")
    (run_folder / "added_tokens.json").unlink()
    hub.requests.clear()

    done = push(llmkit, hub, run_folder, "--license", "mit")

    repository = hub.repositories["acme/reviews"]
    assert done.code == 0, done.stderr
    assert repository.private
    assert hub.count("/lfs/*", "PUT") == 0
    files = repository.commits[repository.branches["main"]]
    assert "added_tokens.json" not in files
    assert b"license: mit" in files["README.md"]


def test_a_connection_that_is_cut_publishes_nothing_and_the_next_push_goes_on(llmkit, hub, run_folder):
    hub.faults.append(HungUp("/api/models/*/commit/*", method="POST", times=1))
    failed = push(llmkit, hub, run_folder, *LICENSE)
    repository = hub.repositories["acme/reviews"]
    assert failed.code == 1
    assert repository.messages == []
    assert list(repository.commits[repository.branches["main"]]) == [".gitattributes"]
    sent = hub.count("/lfs/*", "PUT")

    done = push(llmkit, hub, run_folder, *LICENSE)

    assert done.code == 0, done.stderr
    assert hub.count("/lfs/*", "PUT") == sent == 1
    assert len(repository.messages) == 1


def test_a_space_goes_with_it_and_has_the_model_from_the_hub(llmkit, hub, run_folder):
    pytest.importorskip("gradio", reason="the extra demo is not installed")
    listed = push(llmkit, hub, run_folder, *LICENSE, "--space", "--dry-run")
    assert hub.requests == []

    done = push(llmkit, hub, run_folder, *LICENSE, "--space", "--private")

    assert done.code == 0, done.stderr
    assert done.lines[0]["space"].endswith("/spaces/acme/reviews")
    space = hub.repositories["spaces/acme/reviews"]
    assert space.private
    files = space.commits[space.branches["main"]]
    assert b"space_page('text-classification', 'acme/reviews', title='reviews')" in files["app.py"]
    assert b"license: apache-2.0" in files["README.md"]
    assert not [name for name in files if name.startswith("model/")]
    wanted = {row["file"] for row in listed.lines if row["file"].startswith("spaces/")}
    assert wanted == {f"spaces/acme/reviews/{name}" for name in files}
    assert "HF_TOKEN" in done.stderr
    assert SmallHub.token not in done.stderr


@pytest.mark.slow
def test_an_upload_that_is_lost_again_and_again_ends_in_one_message(llmkit, hub, run_folder):
    """The client tries for half a minute."""
    hub.faults.append(HungUp("/lfs/*", method="PUT"))

    done = push(llmkit, hub, run_folder, *LICENSE)

    assert done.code == 1
    assert "Nothing was published" in done.stderr
    assert hub.repositories["acme/reviews"].messages == []
    assert SmallHub.token not in done.stderr


@pytest.mark.parametrize(
    ("token", "code", "said"),
    [
        ("", 2, "nobody is logged in"),
        (SmallHub.stranger, 1, "does not let you write"),
        ("hf_smallhubunknown", 1, "does not let you write"),
    ],
)
def test_a_token_that_may_not_write(llmkit, hub, run_folder, token, code, said):
    done = push(llmkit, hub, run_folder, *LICENSE, token=token)

    assert (done.code, done.stdout) == (code, b"")
    assert said in done.stderr
    assert not token or token not in done.stderr
    assert hub.repositories == {}


def test_a_token_in_a_file_is_not_sent(llmkit, hub, run_folder):
    with (run_folder / "log.jsonl").open("a") as log:
        log.write(json.dumps({"step": 4, "note": f"logged in with {SmallHub.token}"}) + "\n")

    done = push(llmkit, hub, run_folder, *LICENSE)

    assert done.code == 2
    assert "log.jsonl:3 holds your token" in done.stderr
    assert SmallHub.token not in done.stderr
    assert hub.requests == []


def test_nor_is_another_secret_of_the_user_or_one_in_the_message(llmkit, hub, run_folder):
    secret = "0123456789abcdef0123"
    environment = hub.environment(run_folder.parent / "home") | {"HF_TOKEN": SmallHub.token}
    environment["WANDB_API_KEY"] = secret
    call = ("push", run_folder, "acme/reviews", *LICENSE)
    token = llmkit(*call, "--message", f"with {SmallHub.token}", env=environment, hub=True)
    (run_folder / "README.md").write_text(f"# mine\n\nlogged with {secret}\n")

    key = llmkit(*call, env=environment, hub=True)

    assert (key.code, token.code) == (2, 2)
    assert "holds your WANDB_API_KEY" in key.stderr
    assert "--message holds your token of the hub" in token.stderr
    assert secret not in key.stderr
    assert SmallHub.token not in token.stderr
    assert hub.requests == []


@pytest.mark.parametrize(
    ("spoil", "code", "said"),
    [
        (lambda folder: (folder / "metrics.json").unlink(), 2, "the run in .* is stopped"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"x" * 20), 1, "model.safetensors"),
        (lambda folder: (folder / "config.yaml").write_text("a: ["), 2, "config.yaml"),
    ],
    ids=["not finished", "damaged weights", "damaged config"],
)
def test_a_run_that_is_not_whole(llmkit, hub, run_folder, spoil, code, said):
    spoil(run_folder)

    done = push(llmkit, hub, run_folder, *LICENSE)

    assert done.code == code
    assert re.search(said, done.stderr)
    assert hub.requests == []


def test_usage(llmkit, hub, run_folder):
    assert "licence" in push(llmkit, hub, run_folder).stderr
    assert (
        "whose is it"
        in llmkit("push", run_folder, "reviews", *LICENSE, env=hub.environment(run_folder)).stderr
    )
    assert llmkit("push", run_folder, "a/b/c", *LICENSE, env=hub.environment(run_folder)).code == 2
    missing = llmkit("card", run_folder / "nowhere", *LICENSE)
    assert (missing.code, missing.stdout) == (2, b"")


def test_the_card_alone(llmkit, run_folder, tmp_path):
    printed = llmkit("card", run_folder, *LICENSE, "--repo", "acme/reviews")
    file = tmp_path / "card.md"

    written = llmkit("card", run_folder, *LICENSE, "--repo", "acme/reviews", "-o", file)

    assert (printed.code, written.code) == (0, 0)
    assert file.read_bytes() == printed.stdout
    assert llmkit("card", run_folder, *LICENSE, "-o", file).code == 2
