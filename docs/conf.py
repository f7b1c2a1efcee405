"""Sphinx's settings for the documentation site; `make docs` builds it."""

import re
from pathlib import Path

_HERE = Path(__file__).parent
_INIT = (_HERE.parent / "tahoe_distill/__init__.py").read_text(encoding="utf-8")

project = "tahoe_distill"
author = "The tahoe_distill developers"
project_copyright = "the tahoe_distill developers, Apache-2.0"
release = version = re.search(r'^__version__ = "(.+)"', _INIT, re.MULTILINE)[1]  # type: ignore[index]

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.doctest",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_design",
]
exclude_patterns = ["_build", "**.ipynb_checkpoints"]
nitpicky = False

# Documents link to each other and to headings as they do on a code host.
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence", "dollarmath", "amsmath"]
# Links out of the documents' folder lead to the repository, which has no address of its own yet.
myst_all_links_external = False
suppress_warnings = ["myst.xref_missing", "misc.highlighting_failure"]

# Notebooks are run by the tests and by `make notebooks`; the site shows what they wrote.
nb_execution_mode = "off"

autodoc_typehints = "description"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "show-inheritance": False}
napoleon_numpy_docstring = False

html_theme = "pydata_sphinx_theme"
html_title = "tahoe_distill"
html_theme_options = {
    "navigation_with_keys": True,
    "show_toc_level": 2,
    "navbar_align": "left",
    "footer_start": ["copyright"],
    "footer_end": [],
    "secondary_sidebar_items": ["page-toc"],
}
html_show_sourcelink = False
# Summaries of what a search finds are fetched, which pages opened from a disk may not.
html_show_search_summary = False
copybutton_prompt_text = r"\$ |>>> "
copybutton_prompt_is_regexp = True
