"""Sphinx builds docs/ as HTML (`make docs`), by itself: no font, script or style comes from elsewhere."""

project = "minibert"
extensions = ["myst_parser"]
exclude_patterns = ["html"]
myst_heading_anchors = 3  # headings are targets of links, as on GitHub
html_theme = "alabaster"
html_theme_options = {"description": "Embedding models from scratch", "page_width": "1100px"}
html_show_copyright = html_copy_source = html_show_sphinx = False
