# The few verbs people use. Everything lives in .venv and in the user's cache (MIEN_CACHE to move it).
PYTHON ?= python3
BIN := .venv/bin
# Tests import torch before anything sets this for their process: see src/mien/util/wait_policy.py.
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: setup demo test test-all check hooks wheel clean

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
	$(BIN)/ruff check src tests training benchmarks docs
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python docs/make_commands.py --check

hooks: setup
	$(BIN)/pre-commit install

wheel: setup
	$(BIN)/python -m pip wheel --quiet --no-deps -w dist .

clean:
	rm -rf .venv demo build dist
