"""Compiled code is kept, and whatever is wrong with it, there is none."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from llmkit.models import native_code
from llmkit.models.native_code import NativeCode, find_compiler

pytestmark = pytest.mark.skipif(
    find_compiler() is None or sys.platform != "linux", reason="there is no C compiler"
)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LLMKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("LLMKIT_NATIVE", raising=False)
    sources = tmp_path / "sources"
    sources.mkdir()
    (sources / "answer.c").write_text("int answer(void) { return 42; }")
    monkeypatch.setattr(native_code, "SOURCES", sources)
    return tmp_path / "cache" / "native"


def compiled() -> NativeCode:
    code = NativeCode("answer")
    code.compile_ahead()
    return code


def kept(cache: Path) -> list[Path]:
    return list(cache.glob("*"))


def test_it_is_compiled_once_and_then_found(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert compiled().load().answer() == 42
    assert len(kept(cache)) == 1
    assert cache.stat().st_mode & 0o777 == 0o700
    monkeypatch.setattr(subprocess, "run", None)  # whoever compiles now fails
    assert NativeCode("answer").load().answer() == 42
    assert compiled().load().answer() == 42


def test_nothing_is_compiled_unasked(cache: Path) -> None:
    assert NativeCode("answer").load() is None
    assert not cache.exists()


def test_it_can_be_turned_off(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = compiled()
    assert code.load() is not None
    monkeypatch.setenv("LLMKIT_NATIVE", "0")
    assert code.load() is None
    assert compiled().load() is None


def test_other_code_is_another_library(cache: Path) -> None:
    compiled().load()
    source = native_code.SOURCES / "answer.c"
    source.write_text("int answer(void) { return 43; }")
    assert compiled().load().answer() == 43
    assert len(kept(cache)) == 2


@pytest.mark.parametrize("damage", ["cut", "changed", "empty"])
def test_a_damaged_library_is_not_loaded_but_made_again(cache: Path, damage: str) -> None:
    compiled().load()
    (path,) = kept(cache)
    content = path.read_bytes()
    changed = content[:1000] + bytes([content[1000] ^ 1]) + content[1001:]
    path.unlink()
    path.write_bytes({"cut": content[:2000], "changed": changed, "empty": b""}[damage])
    assert NativeCode("answer").load() is None
    assert compiled().load().answer() == 42


def test_without_a_compiler_there_is_none(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CC", raising=False)
    assert compiled().load() is None


@pytest.mark.parametrize(
    "script",
    ["exit 1", "echo broken >&2; exit 0", 'while [ "$1" != -o ]; do shift; done; echo no library > "$2"'],
    ids=["fails", "makes nothing", "makes no library"],
)
def test_with_a_compiler_that_fails_there_is_none(
    cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    script: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    compiler = tmp_path / "failing"
    compiler.write_text(f"#!/bin/sh\n{script}\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CC", str(compiler))
    assert compiled().load() is None
    assert capfd.readouterr() == ("", "")
    assert not [path for path in kept(cache) if path.is_dir()]


def test_the_compiler_is_the_one_that_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "cc -g")
    assert find_compiler() == [shutil.which("cc"), "-g"]
    monkeypatch.setenv("CC", "no-such-compiler")
    assert find_compiler() is not None


def test_a_folder_that_others_write_to_is_not_used(cache: Path) -> None:
    compiled().load()
    cache.chmod(0o777)
    assert NativeCode("answer").load() is None
    assert compiled().load() is None


def test_where_nothing_can_be_kept_there_is_none(cache: Path) -> None:
    cache.parent.write_text("a file where the folder would be")
    assert compiled().load() is None


def test_two_processes_compile_at_once(cache: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from llmkit.models import native_code\n"
        "native_code.SOURCES = Path(sys.argv[1])\n"
        "code = native_code.NativeCode('answer'); code.compile_ahead(); print(code.load().answer())"
    )
    call = [sys.executable, "-c", script, str(native_code.SOURCES)]
    processes = [subprocess.Popen(call, stdout=subprocess.PIPE, env=os.environ) for _ in range(2)]
    assert [process.communicate()[0] for process in processes] == [b"42\n", b"42\n"]
    assert len(kept(cache)) == 1


def test_it_is_in_the_package() -> None:
    assert (Path(native_code.__file__).with_name("native") / "attention.c").is_file()
