# `make demo` and `make test` set up by themselves; everything lives in .venv.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: setup demo serve-demo test coverage test-fast test-cluster chaos hostile fuzz check audit bench bench-service gpu scale verdicts clean

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,cluster,notebooks,tensorboard]'
	touch $(STAMP)

# A trained ablation, its verdicts and its report, in results/quickstart.
demo: setup
	$(BIN)/tune-app run quickstart
	$(BIN)/tune-app report quickstart

# The pages over the demo's store, at http://127.0.0.1:8600/
serve-demo: setup
	$(BIN)/tune-app serve --results results

# A real MLflow server for the tests of `export mlflow`; without it they are skipped.
.mlflow/.installed: tests/tune_app/exports/mlflow-server.txt $(STAMP)
	$(BIN)/python -m pip install --quiet --upgrade --target .mlflow --no-deps --requirement tests/tune_app/exports/mlflow-server.txt \
		&& touch $@ || echo "no MLflow server could be installed: its tests are skipped"

# Tests of one module run in one process, so that they share its fixtures; modules that take long come first.
SIDE_BY_SIDE := --numprocesses auto --maxprocesses 8 --dist loadscope --no-loadscope-reorder
# pytest keeps its compiled tests, whatever the shell says.
unexport PYTHONDONTWRITEBYTECODE

# Tests that start Ray or Chromium wait much, so they run beside the others.
test: setup .mlflow/.installed
	$(BIN)/python -m pytest -m "not cluster" $(SIDE_BY_SIDE) $(COVERAGE)

# The same tests, and at least 90 % of the lines must run in them. Measuring doubles the CPU time of what runs in pytest itself, so
# the gate does not.
coverage: COVERAGE := --cov --cov-report=term-missing:skip-covered --cov-fail-under=90
coverage: test

# For the inner loop: neither Ray nor a browser nor the modules marked `slow` (by measurement), without coverage.
test-fast: setup
	$(BIN)/python -m pytest -m "not slow and not cluster and not ray and not browser" $(SIDE_BY_SIDE)

test-cluster: setup
	$(BIN)/python -m pytest -m cluster $(SIDE_BY_SIDE)

# A study of 24 cells that is disturbed CHAOS_KILLS times at random moments: SIGKILL of the driver, SIGSTOP of a trainer, a
# second writer, a full disk, and on a store of its own an S3 server that disappears. Another seed: make chaos CHAOS_SEED=2
CHAOS_SEED ?= 1
CHAOS_KILLS ?= 100
chaos: setup
	CHAOS_KILLS=$(CHAOS_KILLS) CHAOS_CELLS=24 CHAOS_SEED=$(CHAOS_SEED) $(BIN)/python -m pytest tests/faults/test_chaos.py -s

# Every hostile input of tests/hostile, under limits of memory and CPU; a sample of them is part of `make test`.
hostile: setup
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python tests/hostile/runner.py --all

# Mutated studies and stores under the same rules; the seed is printed with the result. FUZZ_SEED=7 makes them again.
FUZZ_SECONDS ?= 3600
FUZZ_SEED ?= $(shell date +%s)
fuzz: setup
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python tests/hostile/runner.py --fuzz $(FUZZ_SECONDS) --seed $(FUZZ_SEED)

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Known vulnerabilities of the pinned versions. Asks a service on the network; see "Auditing dependencies" in docs/operations.md
audit: setup
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[audit]'
	$(BIN)/pip-audit --strict --requirement constraints.txt --no-deps --disable-pip

# Side by side in one run, medians of several rounds; writes docs/benchmarks.md; bench.json keeps the figures.
bench: setup
	$(BIN)/python -m bench

# On a CUDA device, nine minutes a call: docs/gpu.md. PYTHON of that machine, since it brings its own torch.
OUT ?= gpu-results
gpu:
	$(PYTHON) -m bench.gpu --out $(OUT) $(if $(FROM),--from $(FROM)) $(if $(DATA),--data $(DATA)) \
		$(if $(WHEELS),--wheels $(WHEELS)) $(if $(PARTS),--parts $(PARTS)) $(if $(MINUTES),--minutes $(MINUTES))

# The service with 10,000 trials and 50 clients, beside optuna-dashboard; writes the table in docs/service.md.
bench-service: setup
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[bench]'
	$(BIN)/python -m bench service

# Trials that do no work: what the driver and the store can take; writes the table in docs/scaling.md.
scale: setup
	$(BIN)/python -m bench.scale 300 1000 3000 10000
	$(BIN)/python -m bench.scale --drivers 4 2500

# How often verdicts are wrong in simulated studies, before and after the rules; writes the tables in docs/verdicts.md.
STUDIES ?= 2000
verdicts: setup
	$(BIN)/python -m bench.verdicts --studies $(STUDIES)

clean:
	rm -rf .venv .mlflow .mypy_cache .ruff_cache .pytest_cache .coverage* bench.json
