# Everything runs in the project's own environment .venv: the package `tokenizers` of this project and Hugging Face's
# cannot be installed side by side. Libraries to compare with live in .venv-peers.

PYTHON ?= python3
PEERS ?= $(CURDIR)/.venv-peers/bin/python
DATA := $(abspath $(wildcard ../shared/data))
MINIBERT_DATA ?= $(DATA)
NAME ?=

PY := .venv/bin/python
PIP := $(PY) -m pip --disable-pip-version-check --quiet
BENCHMARKS := MINIBERT_PEERS=$(PEERS) MINIBERT_DATA=$(MINIBERT_DATA) $(PY) -m benchmarks
# As many processes as there are cores; a file's tests stay together.
PYTEST := $(PY) -m pytest -q -n auto --dist loadfile

# What `make test-oldest` runs.
OLDEST := $(patsubst %,tests/test_%.py,tokenizers_template tokenizers_tokenizer tokenizers_components tokenizers_bpe_files \
	ann_exact ann_files ann_hnsw minibert_ops minibert_retrieval_store)

.DEFAULT_GOAL := help
.PHONY: help demo test test-long test-browser test-oldest mutation peers test-peers bench bench-quick figures docs lint types

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' Makefile

demo: .venv/run.stamp ## Train on Python's own docstrings, index them, answer ten questions (all set-up included)
	$(PY) -m minibert.cli demo

test: .venv/test.stamp ## Run the tests: compiled, then the kernels interpreted and bounds-checked
	$(PYTEST)
	NUMBA_DISABLE_JIT=1 HYPOTHESIS_PROFILE=quick $(PYTEST) -m "kernels and not peers"
	NUMBA_BOUNDSCHECK=1 HYPOTHESIS_PROFILE=quick $(PYTEST) -m "kernels and not peers"

test-long: .venv/test.stamp ## Run the reliability tests at full size: some minutes of kills, damage and readers beside a writer
	$(PY) -m pytest -q -m long

test-browser: .venv/browser.stamp ## Run the tests of the search page in headless Chromium (Debian: apt-get install chromium chromium-driver)
	$(PY) -m pytest -q -m browser

test-oldest: .venv-oldest/done.stamp ## Run the quick tests with the oldest supported versions of all libraries
	HYPOTHESIS_PROFILE=quick .venv-oldest/bin/python -m pytest -q -n auto --dist loadfile $(OLDEST)

peers: .venv-peers/done.stamp ## Install the libraries to compare with into .venv-peers

test-peers: .venv/test.stamp .venv-peers/done.stamp ## Run the tests that compare with the libraries
	MINIBERT_PEERS=$(PEERS) MINIBERT_DATA=$(MINIBERT_DATA) $(PYTEST) -m peers

mutation: .venv/test.stamp ## Change 40 lines of the code, one at a time, in a copy, and see the tests fail (some 20 minutes)
	$(PY) tests/mutations.py

bench: .venv/plot.stamp .venv-peers/done.stamp ## Measure against the libraries, 20 minutes, and render docs/benchmarks.md: make bench NAME="ann"
	$(BENCHMARKS) suite $(NAME)
	$(BENCHMARKS) report

bench-quick: .venv/run.stamp .venv-peers/done.stamp ## The same at small sizes, 4 minutes; tables are printed, no page is written
	$(BENCHMARKS) suite --quick $(NAME)

figures: .venv/test.stamp ## Draw the guide's figures anew: each chapter's example, then its `minibert plot` commands
	$(PY) docs/figures.py

docs: .venv/docs.stamp ## Build docs/ as HTML into docs/html; a broken link is an error
	$(PY) -m sphinx -q -W -n --keep-going -b html docs docs/html
	@echo docs/html/index.html

lint: .venv/lint.stamp ## Check style and format with ruff
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

types: .venv/lint.stamp ## Check the type hints with mypy
	$(PY) -m mypy

.venv/made.stamp:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "minibert needs Python 3.10 or newer, got " + sys.version.split()[0])'
	$(PYTHON) -m venv .venv
	@touch $@

.venv/run.stamp: .venv/made.stamp setup.cfg pyproject.toml
	$(PIP) install -e .
	@touch $@

.venv/test.stamp: .venv/made.stamp setup.cfg pyproject.toml
	$(PIP) install -e ".[test]"
	@touch $@ .venv/run.stamp

.venv/plot.stamp: .venv/run.stamp
	$(PIP) install -e ".[plot]"
	@touch $@

.venv/docs.stamp: .venv/made.stamp setup.cfg
	$(PIP) install -e ".[docs]"
	@touch $@

.venv/browser.stamp: .venv/test.stamp
	$(PIP) install -e ".[browser]"
	@touch $@

.venv/lint.stamp: .venv/made.stamp setup.cfg
	$(PIP) install -e ".[lint]"
	@touch $@

# "numpy>=2.0" in setup.cfg becomes "numpy==2.0.*".
.venv-oldest/done.stamp: setup.cfg pyproject.toml
	$(PYTHON) -m venv .venv-oldest
	sed -n 's/^    \([a-z-]*\)>=\(.*\)$$/\1==\2.*/p' setup.cfg > .venv-oldest/oldest.txt
	.venv-oldest/bin/python -m pip --disable-pip-version-check --quiet install --constraint .venv-oldest/oldest.txt -e ".[test]"
	@touch $@

.venv-peers/done.stamp: benchmarks/peers/requirements.txt
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip --disable-pip-version-check --quiet install $$(grep '^torch' $<)
	.venv-peers/bin/python -m pip --disable-pip-version-check --quiet install -r $<
	@touch $@
