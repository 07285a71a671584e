# `make run` runs the pipeline up to the report, `make test` runs all tests. Both install everything first.
PYTHON ?= python3
VENV := .venv
READY := $(VENV)/.ready
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

.PHONY: run check test lint bench torture setup
.DEFAULT_GOAL := run

setup: $(READY)

# torch comes first; .constraints.txt pins every package.
$(READY): pyproject.toml .constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("error: Python %d.%d found; Gapwise needs 3.11 or newer: make PYTHON=python3.12 run" % sys.version_info[:2] if sys.version_info < (3, 11) else 0)'
	@test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	@echo "installing dependencies into $(VENV) (once, about two minutes)"
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --constraint .constraints.txt torch
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --constraint .constraints.txt --editable '.[data,dev,optuna]'
	@touch $@

run: $(READY)
	@python -m pipeline run

# `make check` plans your params.yaml and experiments/, and trains two steps of every setting.
check: $(READY)
	@python -m pipeline plan
	@python -m pytest -q tests/check_project.py

test: $(READY)
	@python -m pytest -n 2

# `make lint` also checks that README and docs quote the committed reports.
lint: $(READY)
	@ruff check .
	@ruff format --check .
	@mypy
	@python -m pytest -q tests/check_shipped.py

bench: $(READY)
	@for file in benchmarks/measure_*.py; do python $$file || exit 1; done
	@python benchmarks/summary.py

# `make torture` runs the tests that are too long for `make test`, then kills runs at random moments.
torture: $(READY)
	@python -m pytest -m torture
	@python benchmarks/torture.py
