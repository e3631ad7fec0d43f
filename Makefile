# `make demo` and `make test` set up by themselves; everything lives in .venv.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: setup demo serve-demo test test-cluster chaos hostile check audit bench gpu scale verdicts clean

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

test: setup
	$(BIN)/coverage erase
	$(BIN)/python -m pytest -m "not cluster" --cov --cov-report=term-missing:skip-covered --cov-fail-under=90

test-cluster: setup
	$(BIN)/python -m pytest -m cluster

# A study of 24 cells whose driver is killed 20 times at random moments; another seed: make chaos CHAOS_SEED=2
CHAOS_SEED ?= 1
chaos: setup
	CHAOS_KILLS=20 CHAOS_CELLS=24 CHAOS_SEED=$(CHAOS_SEED) $(BIN)/python -m pytest tests/faults/test_fault_driver.py \
		-k killed_at_random -s

# Every hostile input of tests/hostile, under limits of memory and CPU; a sample of them is part of `make test`.
hostile: setup
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python tests/hostile/runner.py --all

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Known vulnerabilities of the pinned versions. Asks a service on the network; see "Auditing dependencies" in docs/operations.md
audit: setup
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[audit]'
	$(BIN)/pip-audit --strict --requirement constraints.txt --no-deps --disable-pip

# Side by side in one run, medians of several rounds; writes bench.json.
bench: setup
	$(BIN)/python -m bench

# On a CUDA device, nine minutes a call: docs/gpu.md. PYTHON of that machine, since it brings its own torch.
OUT ?= gpu-results
gpu:
	$(PYTHON) -m bench.gpu --out $(OUT) $(if $(FROM),--from $(FROM)) $(if $(DATA),--data $(DATA)) \
		$(if $(WHEELS),--wheels $(WHEELS)) $(if $(PARTS),--parts $(PARTS)) $(if $(MINUTES),--minutes $(MINUTES))

# Trials that do no work: what the driver and the store can take; writes the table in docs/scaling.md.
scale: setup
	$(BIN)/python -m bench.scale 300 1000 3000 10000

# How often verdicts are wrong in simulated studies, before and after the rules; writes the tables in docs/verdicts.md.
STUDIES ?= 2000
verdicts: setup
	$(BIN)/python -m bench.verdicts --studies $(STUDIES)

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .coverage* bench.json
