"""How Sphinx makes a site of README.md and these pages: `make docs`. Nothing on the site is loaded from elsewhere."""

import shutil
from importlib.metadata import version as version_of
from pathlib import Path

# What Sphinx reads: README.md with the navigation as the first page, and docs/ beside it as it stands beside README.md.
# (A page named "search" at the top would be taken for Sphinx's own.)
root = Path(__file__).parents[1]
source = root / "build" / "source"
shutil.rmtree(source, ignore_errors=True)
shutil.copytree(root / "docs", source / "docs")
pages = [(root / name).read_text(encoding="utf-8") for name in ("README.md", "docs/navigation.md")]
(source / "index.md").write_text("\n".join(pages), encoding="utf-8")

project = "llmkit"
version = release = version_of("hf-llmkit")

extensions = ["myst_parser"]
exclude_patterns = ["docs/navigation.md"]
# A link to a heading is a link to GitHub's name of it, so that it holds there and here.
myst_heading_anchors = 4
nitpicky = True
# `--help` stays what it is.
smartquotes = False

html_theme = "furo"
html_title = f"llmkit {release}"
html_static_path = ["site"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
html_show_copyright = False
pygments_style = "friendly"
pygments_dark_style = "github-dark"
