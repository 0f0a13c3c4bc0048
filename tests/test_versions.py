"""The oldest versions that are tested are the oldest that are allowed, and what is pinned is allowed."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = [Requirement(line) for lines in PROJECT["optional-dependencies"].values() for line in lines]
NEEDED = [Requirement(line) for line in PROJECT["dependencies"]]


def pins(name: str) -> dict[str, Version]:
    text = (ROOT / name).read_text(encoding="utf-8")
    found = re.findall(r"^([\w.-]+)==([\w.]+)$", text, re.MULTILINE)
    return {canonicalize_name(package): Version(number) for package, number in found}


@pytest.mark.parametrize("needed", NEEDED, ids=lambda needed: needed.name)
def test_the_oldest_allowed_is_the_oldest_tested(needed: Requirement) -> None:
    oldest = pins("tests/oldest.txt")[canonicalize_name(needed.name)]
    assert needed.specifier.contains(oldest)
    (bound,) = needed.specifier
    assert oldest.release[:2] == Version(bound.version).release[:2]


def test_all_that_is_named_is_pinned_and_nothing_has_an_upper_cap() -> None:
    pinned = pins("constraints.txt")
    for named in (*NEEDED, *EXTRAS):
        if canonicalize_name(named.name) != "hf-llmkit":
            assert named.specifier.contains(pinned[canonicalize_name(named.name)]), named.name
            assert all(bound.operator == ">=" for bound in named.specifier), named.name
