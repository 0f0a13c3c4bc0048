"""The site that `make docs` builds: without a warning, and with nothing that a browser fetches from elsewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FETCHED = re.compile(r"<(?:script|img|iframe|source|link)\b[^>]*?\b(?:src|href)=[\"']?(?:https?:)?//[^>]*>")


@pytest.mark.slow
def test_the_site_is_built_and_fetches_nothing(tmp_path: Path) -> None:
    pytest.importorskip("sphinx", reason="the extra docs is not installed: make docs")
    (ROOT / "build" / "source").mkdir(parents=True, exist_ok=True)
    command = ["-m", "sphinx", "--fail-on-warning", "--keep-going", "--quiet", "-c", "docs", "build/source"]
    done = subprocess.run(
        [sys.executable, *command, tmp_path], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    pages = [tmp_path / "index.html", *(tmp_path / "docs").glob("*.html")]
    written = {page.stem for page in (ROOT / "docs").glob("*.md")}
    assert written - {"navigation"} == {page.stem for page in pages} - {"index"}
    assert "llmkit search" in (tmp_path / "docs" / "search.html").read_text(encoding="utf-8")
    for page in pages:
        assert FETCHED.findall(page.read_text(encoding="utf-8")) == [], page.name
    for style in tmp_path.rglob("*.css"):
        assert not re.search(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//", style.read_text(encoding="utf-8"))
