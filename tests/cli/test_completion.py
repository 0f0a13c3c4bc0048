"""Tab in bash, zsh and fish: the real shells with the scripts that llmkit gives them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pexpect
import pytest

from tests.fixtures.command import base_environment

PATIENCE = 60  # seconds
# What is typed -> some of what must be offered, and what must not.
TYPED = {
    "llmkit pip": (["pipeline"], ["params"]),
    "llmkit schema m": (["models"], ["params"]),
    "llmkit pipeline summ": (["summarization"], ["translation"]),
    "llmkit params llama-2": (["llama-2-7b", "llama-2-70b"], ["llama-3.1-8b"]),
    "llmkit cost bert-tiny --gpu h10": (["h100"], ["a100-80gb"]),
    "llmkit params --format m": (["markdown"], ["table"]),
    "llmkit embed --format n": (["npy"], ["markdown"]),
    "llmkit finetune run.yaml --set training.warmup_": (
        ["training.warmup_ratio=", "training.warmup_steps="],
        ["training.epochs="],
    ),
    "llmkit finetune run.yaml --set training.warmup_r": (
        ["training.warmup_ratio="],
        ["training.warmup_steps="],
    ),
    "llmkit config show run.yaml --set adapter.": (["adapter.type=", "adapter.r="], ["output="]),
    "llmkit config i": (["init"], ["show"]),
    "llmkit config init causal": (["causal-lm"], ["masked-lm"]),
    "llmkit runs runs rev": (["reviews", "reviews-2"], ["no-run"]),
    "llmkit push runs/": (["runs/reviews", "runs/reviews-2"], ["runs/no-run"]),
    "llmkit card tries/": (["tries/first"], ["runs/reviews"]),
    "llmkit evaluate runs/reviews-": (["runs/reviews-2"], ["runs/no-run"]),
    "llmkit pipeline fill-mask -p t": (["targets=", "top_k="], ["function_to_apply="]),
    "llmkit params bert-tiny --set hidden_s": (["hidden_size="], ["training.epochs="]),
    "llmkit cost gpt2 --recompute s": (["selective"], ["full"]),
    "llmkit cost gpt2 --grid f": (["fr"], ["us"]),
    "llmkit attention x --which c": (["cross"], ["encoder"]),
    "llmkit embed --input-format js": (["json", "jsonl"], ["csv"]),
    "llmkit params --type be": (["bert"], ["gpt2"]),
    "llmkit runs --sort b": (["begun", "best"], ["loss"]),
    "llmkit embed --batch-size a": (["auto"], []),
    "llmkit evaluate x --batch-size a": (["auto"], []),
    "llmkit tokenize -m gpt": (["gpt2"], ["minilm"]),
    # A key that is the only one left comes with its values, where they can be listed.
    "llmkit finetune run.yaml --set training.sched": (
        ["training.schedule=linear", "training.schedule=cosine"],
        ["training.schedule="],
    ),
}
# Of a value bash has to be given what comes after the last `=`, at which it cuts words: the rest is there.
VALUES = {
    "llmkit finetune run.yaml --set training.schedule=": (["linear", "cosine", "constant"], ["mean"]),
    "llmkit finetune run.yaml --set training.schedule=co": (["cosine", "constant"], ["linear"]),
    "llmkit finetune run.yaml --set=training.schedule=co": (["cosine", "constant"], ["linear"]),
    "llmkit finetune run.yaml --set task=causal": (["causal-lm"], ["masked-lm"]),
    "llmkit finetune run.yaml --set data.truncate=": (["true", "false"], ["auto"]),
    "llmkit finetune run.yaml --set training.epochs=3 --set adapter.type=": (["lora", "qlora"], ["true"]),
    "llmkit finetune run.yaml --set training.batch_size=": ([], ["true", "auto"]),
    "llmkit finetune run.yaml --set model.name=runs/rev": (["runs/reviews"], ["runs/no-run"]),
    "llmkit finetune run.yaml --set model=mini": (["minilm"], ["bert-base"]),
    "llmkit finetune run.yaml --set metrics=acc": (["accuracy"], ["f1"]),
    "llmkit config show run.yaml --set trackers=t": (["tensorboard", "trackio"], ["wandb"]),
    "llmkit params bart-base --set tie_word_embeddings=": (["true", "false"], []),
    "llmkit cost --finetune run.yaml --set adapter.merge=f": (["false"], ["true"]),
    "llmkit pipeline zero-shot-classification -p multi_label=t": (["true"], ["false"]),
    "llmkit pipeline hub:x -p top_k=1 --format=pa": (["parquet"], ["npy"]),
}
# What differs for a shell is how words come and go: for the others these are enough.
TYPED_AT_A_PROMPT = {
    "llmkit pip": "pipeline",
    "llmkit pipeline summ": "summarization",
    "llmkit params --format m": "markdown",
    "llmkit finetune run.yaml --set training.warmup_r": "training.warmup_ratio=",
    "llmkit card tries/": "tries/first",
    "llmkit finetune run.yaml --set training.sch": "training.schedule=",
    "llmkit finetune run.yaml --set adapter.type=d": "adapter.type=dora",
    "llmkit finetune run.yaml --set data.truncate=f": "data.truncate=false",
}
# In their order.
LISTED_AT_A_PROMPT = {
    "llmkit finetune run.yaml --set training.schedule=": ("constant", "cosine", "linear"),
    "llmkit ": ("doctor", "pipeline", "schema", "similarity"),
}


def needs(shell: str) -> str:
    path = shutil.which(shell)
    if path is None:
        pytest.skip(f"there is no {shell}: apt-get install {shell}")
    return path


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with runs."""
    folder = tmp_path_factory.mktemp("here")
    for run in ("runs/reviews", "runs/reviews-2", "tries/first"):
        (folder / run).mkdir(parents=True)
        (folder / run / "log.jsonl").touch()
    (folder / "runs" / "no-run").mkdir()
    return folder


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The command on the path, and nothing of the person's settings."""
    home = tmp_path_factory.mktemp("home")
    command = home / "bin" / "llmkit"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m llmkit "$@"\n')
    command.chmod(0o755)
    path = os.pathsep.join((str(command.parent), os.environ["PATH"]))
    return base_environment() | {
        "PATH": path,
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home),
        "TERM": "dumb",
    }


def run(command: list[str], folder: Path, environment: dict[str, str]) -> list[str]:
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


BASH = """
eval "$(_LLMKIT_COMPLETE=source_bash llmkit)"
complete -p llmkit > /dev/null || exit 1
COMP_WORDS=("$@")
COMP_CWORD=$(( $# - 1 ))
_llmkit_completion llmkit
printf '%s\\n' "${COMPREPLY[@]}"
"""


def offered_by_bash(typed: str, here: Path, environment: dict[str, str]) -> list[str]:
    words = [piece for word in typed.split() for piece in re.findall("[=:]+|[^=:]+", word)]
    return run([needs("bash"), "--norc", "-c", BASH, "bash", *words], here, environment)


@pytest.mark.parametrize("typed", [*TYPED, *VALUES])
def test_bash(typed: str, here: Path, environment: dict[str, str]) -> None:
    offered = offered_by_bash(typed, here, environment)
    wanted, others = (TYPED | VALUES)[typed]
    assert set(wanted) <= set(offered)
    assert not set(others) & set(offered)


@pytest.mark.parametrize("typed", [*TYPED_AT_A_PROMPT, "llmkit params llama-2"])
def test_fish(typed: str, here: Path, environment: dict[str, str]) -> None:
    script = '_LLMKIT_COMPLETE=source_fish llmkit | source; complete -C "$argv[1]"'
    lines = run([needs("fish"), "--no-config", "-c", script, typed], here, environment)
    offered = [line.partition("\t")[0] for line in lines]
    if typed not in TYPED:
        assert all(line.startswith(TYPED_AT_A_PROMPT[typed]) for line in offered), offered
        assert offered
        return
    wanted, others = TYPED[typed]
    assert set(wanted) <= set(offered)
    assert not set(others) & set(offered)


# How a shell is started, and what makes its prompt known and its completion llmkit's.
PROMPTS = {
    "bash": (
        ["--norc", "--noprofile", "-i"],
        "PS1='ready> '; for each in 'enable-bracketed-paste off' 'show-all-if-ambiguous on' "
        "'print-completions-horizontally on'; do bind \"set $each\"; done",
    ),
    "zsh": (
        ["-f", "-i"],
        "PS1='ready> '; unsetopt zle_bracketed_paste; autoload -Uz compinit; compinit -u -D",
    ),
}


@pytest.mark.parametrize("name", PROMPTS)
def test_at_a_prompt(name: str, here: Path, environment: dict[str, str]) -> None:
    """Tab writes the word to its end, or as far as all candidates go; of several it lists all."""
    arguments, settings = PROMPTS[name]
    shell = pexpect.spawn(
        needs(name), arguments, cwd=str(here), env=environment, encoding="utf-8", timeout=PATIENCE,
        dimensions=(60, 200),
    )  # fmt: skip
    try:
        shell.sendline(settings)
        shell.sendline(f'eval "$(_LLMKIT_COMPLETE=source_{name} llmkit)"; echo set-$((1+1))')
        shell.expect("set-2")
        for typed, whole in TYPED_AT_A_PROMPT.items():
            shell.expect("ready> ")
            shell.send(f"{typed}\t")
            shell.expect_exact(f"{typed.rpartition(' ')[0]} {whole}")
            shell.send("\x15\n")  # clears the line
        for typed, names in LISTED_AT_A_PROMPT.items():
            shell.expect("ready> ")
            shell.send(f"{typed}\t")
            for each in names:
                shell.expect_exact(each)
            shell.send("\x15\n")
    finally:
        shell.close(force=True)


def test_a_folder_without_runs_offers_files(environment: dict[str, str], tmp_path: Path) -> None:
    offered = offered_by_bash("llmkit card run", tmp_path, environment)
    assert offered == [""]  # and bash goes on to files: complete -o default
