# The few verbs people use. Everything lives in .venv and in the user's cache (MIEN_CACHE to move it).
PYTHON ?= python3
BIN := .venv/bin
# Tests import torch before mien: see mien/__init__.py.
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: setup demo test test-all check clean

setup: .venv/ready

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@

demo: setup
	$(BIN)/mien samples demo/photos
	$(BIN)/mien anonymize demo/photos demo/anonymized --with-originals
	@echo "anonymized photographs: demo/anonymized; before and after: demo/anonymized.work/report.html"

test: setup
	$(BIN)/python -m pytest -m "not slow"

test-all: setup
	$(BIN)/python -m pytest

check: setup
	$(BIN)/ruff check src tests training benchmarks
	$(BIN)/mypy

clean:
	rm -rf .venv demo build dist
