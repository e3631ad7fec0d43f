# `make demo` and `make test` set up by themselves; everything lives in .venv.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: setup demo test test-cluster check bench clean

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,cluster,notebooks,tensorboard]'
	touch $(STAMP)

# A trained ablation, its verdicts and its report, in results/quickstart.
demo: setup
	$(BIN)/tune-app run quickstart
	$(BIN)/tune-app report quickstart

test: setup
	$(BIN)/coverage erase
	$(BIN)/python -m pytest -m "not cluster" --cov --cov-report=term-missing:skip-covered --cov-fail-under=90

test-cluster: setup
	$(BIN)/python -m pytest -m cluster

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Side by side in one run, medians of several rounds; writes bench.json.
bench: setup
	$(BIN)/python -m bench

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .coverage* bench.json
