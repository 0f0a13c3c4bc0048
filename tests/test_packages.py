"""The wheel and the sdist hold what they should and nothing else."""

from __future__ import annotations

import subprocess
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

from tests.fixtures.packages import ROOT, build

MEGABYTES = {"whl": 8, "gz": 10}  # the adapters that come with llmkit are the most of it


def tracked(*folders: str) -> set[str]:
    """The files of folders that git knows."""
    done = subprocess.run(
        ["git", "ls-files", *folders], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip("this is no git clone, so there is no list of files to hold the packages against")
    return {name for name in done.stdout.splitlines() if (ROOT / name).exists()}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("sdist", tmp_path_factory.mktemp("sdist"))


def names_of(wheel: Path) -> set[str]:
    return set(zipfile.ZipFile(wheel).namelist())


def test_the_wheel_is_the_package_and_what_pip_needs(wheel: Path) -> None:
    about = wheel.name.removesuffix("-py3-none-any.whl") + ".dist-info"
    needed = {
        f"{about}/{name}" for name in ("METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE")
    }
    assert names_of(wheel) == tracked("llmkit") | needed


def test_the_sdist_is_what_a_packager_builds_and_tests_with(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        found = {member.name.partition("/")[2]: member for member in archive.getmembers() if member.isfile()}
    folders = ("llmkit", "tests", "docs", "configs", "benchmarks")
    files = {
        "README.md",
        "LICENSE",
        "Makefile",
        "constraints.txt",
        "pyproject.toml",
        "hf-llmkit",
        ".gitignore",
    }
    assert set(found) == tracked(*folders) | files | {"PKG-INFO"}
    assert found["hf-llmkit"].mode & 0o100, "the extension of hf is no program any more"


def test_the_sdist_gives_the_same_wheel(sdist: Path, wheel: Path, tmp_path: Path) -> None:
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    assert names_of(build("wheel", tmp_path / "again", source)) == names_of(wheel)


def test_they_stay_small(wheel: Path, sdist: Path) -> None:
    for path in (wheel, sdist):
        assert path.stat().st_size < MEGABYTES[path.suffix[1:]] * 2**20


def test_the_wheel_says_what_pyproject_says(wheel: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = archive.read(name).decode()
    for extra in project["optional-dependencies"]:
        assert f"Provides-Extra: {extra}\n" in metadata
    for requirement in project["dependencies"]:
        assert f"Requires-Dist: {requirement.replace('_', '-')}\n" in metadata
    assert "Requires-Python: >=3.11\n" in metadata
