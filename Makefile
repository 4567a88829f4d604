# make demo: set up, then draw one picture from the bundled model.   make test: set up, then run the tests.
# make check: what CI runs.   make clean: remove the environment and the caches; runs/ and outputs/ stay.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PROMPT ?= 军旅风迷彩高跟鞋
ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
TESTS := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto --maxprocesses 4 --dist loadfile
# The names that pip says while it works; a second install has nothing to say.
PROGRESS := grep --line-buffered -oE '^(Collecting [A-Za-z0-9._-]+|Installing collected packages)' || true

.PHONY: help demo test check clean

help:
	@sed -n 's/^# //p' Makefile | head -2

demo: $(READY)
	$(BIN)/m6 generate $(PROMPT) -o outputs/demo.png

test: $(READY)
	$(TESTS) $(ARGS)

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(TESTS) $(ARGS)

# Written last, so that a failed or stopped install is done again.
$(READY): pyproject.toml requirements.txt
	@rm -f $(READY)
	@for python in python3.12 python3.11 python3.10 python3 python; do \
	    $$python -c 'import ensurepip, sys; sys.exit(not (3, 10) <= sys.version_info < (3, 13))' 2>/dev/null \
	        && break || python=; \
	done; \
	test -n "$$python" || { echo "no Python 3.10, 3.11 or 3.12 with venv found; install one" >&2; exit 1; }; \
	$(BIN)/python -m pip --version >/dev/null 2>&1 \
	    || { echo "making $(VENV) with $$($$python --version)"; $$python -m venv --clear $(VENV); }
	@echo "installing m6 and what it needs: some minutes and 6 GB the first time"
	@set -o pipefail; \
	$(BIN)/python -m pip install --disable-pip-version-check --progress-bar off -r requirements.txt | { $(PROGRESS); }
	@touch $(READY)

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
