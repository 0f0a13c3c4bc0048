"""How Sphinx makes a site of these pages: `make docs`. Nothing on the site is loaded from elsewhere."""

from importlib.metadata import version as version_of

project = "llmkit"
author = "the llmkit authors"
version = release = version_of("hf-llmkit")

extensions = ["myst_parser"]
root_doc = "index"
exclude_patterns = ["conf.py"]
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
