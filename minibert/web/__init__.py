"""A store behind HTTP: a search page that needs no script, and the same as JSON. Needs the extra `serve`."""
