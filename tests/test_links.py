"""Every relative link and anchor of README.md and docs/ leads somewhere, and every page is in the site's navigation."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
NAVIGATION = DOCS / "navigation.md"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md")), *sorted(ROOT.glob("configs/**/*.md"))]
FENCE = re.compile(r"^(```+|~~~+).*?^\1", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"(`+)(.+?)\1", re.DOTALL)
LINK = re.compile(r"\]\((?P<plain>[^()\s]+)(?:\s+\"[^\"]*\")?\)|(?:src|srcset|href)=\"(?P<html>[^\"]+)\"")
HEADING = re.compile(r"^#{1,6}\s+(.*?)\s*#*$", re.MULTILINE)
# A file of this repository that a page speaks of in passing.
MENTION = re.compile(r"`((?:llmkit|tests|benchmarks|configs|docs)/[\w./-]+)`")

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())


def prose(page: Path) -> str:
    """A page without its blocks of code."""
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def links(page: Path) -> list[str]:
    text = CODE.sub("", prose(page))
    return [match["plain"] or match["html"] for match in LINK.finditer(text)]


def anchors(page: Path) -> set[str]:
    """The names of a page's headings, as GitHub and the site make them."""
    seen: Counter[str] = Counter()
    found = set()
    for heading in HEADING.findall(prose(page)):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        name = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        found.add(f"{name}-{seen[name]}" if seen[name] else name)
        seen[name] += 1
    return found


@each_page
def test_each_link_leads_somewhere(page: Path) -> None:
    broken = []
    for link in links(page):
        if re.match(r"[a-z]+:", link):  # elsewhere: not asked in a test
            continue
        path, _, anchor = unquote(link).partition("#")
        target = (page.parent / path).resolve() if path else page
        if (
            not target.exists()
            or not target.is_relative_to(ROOT)
            or (anchor and (target.suffix != ".md" or anchor not in anchors(target)))
        ):
            broken.append(link)
    assert broken == []


@each_page
def test_each_file_that_a_page_speaks_of_is_there(page: Path) -> None:
    assert [name for name in MENTION.findall(prose(page)) if not (ROOT / name).exists()] == []


def test_links_are_found_at_all() -> None:
    found = {link for page in PAGES for link in links(page)}
    assert len(found) > 50
    assert "several-devices" in anchors(DOCS / "finetune.md")
    assert "finetune.md#several-devices" in found


def test_each_page_is_in_the_navigation_once() -> None:
    entries = [
        entry.strip()
        for tree in re.findall(r"```\{toctree\}\n(.*?)```", NAVIGATION.read_text(encoding="utf-8"), re.DOTALL)
        for entry in tree.splitlines()
        if entry.strip() and not entry.startswith(":")
    ]
    assert sorted(entries) == sorted(f"docs/{page.stem}" for page in DOCS.glob("*.md") if page != NAVIGATION)


def test_the_site_loads_nothing_from_elsewhere() -> None:
    style = "".join(path.read_text(encoding="utf-8") for path in (DOCS / "site").glob("*.css"))
    pictures = "".join(path.read_text(encoding="utf-8") for path in DOCS.glob("*.svg"))
    assert not re.search(r"url\((?!#)|@import", style + pictures)
