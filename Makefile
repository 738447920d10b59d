# `make train` and `make test` need nothing but Python 3.10 to 3.13: each makes .venv where it is
# missing, installs this project into it, and does its job.
PYTHON ?= python3
BIN := .venv/bin
WORKDIR ?= runs/digits
# Only this project's log lines and TensorFlow's errors.
export TF_CPP_MIN_LOG_LEVEL ?= 2

.PHONY: train test test-slow lint format docs notebooks package clean

.venv/installed: setup.py setup.cfg pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	touch $@

train: .venv/installed
	$(BIN)/python train.py --config=configs/digits.py --workdir=$(WORKDIR)

# What takes more than about five seconds is marked `slow`, and is not the only test of a feature.
PYTEST := $(BIN)/python -m pytest --numprocesses=auto --maxprocesses=4 --dist=worksteal

test: .venv/installed lint
	$(PYTEST) -m 'not slow'

test-slow: .venv/installed
	$(PYTEST) -m slow

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The pages of docs/ and the docstrings, into site/.
docs: .venv/installed
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet --config-file scripts/mkdocs.yml

# The examples as notebooks, into notebooks/.
notebooks: .venv/installed
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	$(BIN)/python -m scripts.notebooks

# The wheel and the sdist, into dist/, and whether an index would take them. What has the tag of a
# version is that version.
VERSION := $(shell sed -n 's/^__version__ = "\(.*\)"/v\1/p' homoode_tf/version.py)
package: .venv/installed
	test -z "$$(git tag --points-at HEAD 'v*')" || git tag --points-at HEAD | grep -qxF $(VERSION)
	$(BIN)/python -m pip install --quiet --editable '.[release]'
	rm -rf dist build
	$(BIN)/python -m build --outdir dist .
	$(BIN)/twine check --strict dist/*

format: .venv/installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf site notebooks build dist .venv .mypy_cache .pytest_cache .ruff_cache *.egg-info
