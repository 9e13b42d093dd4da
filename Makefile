# Every target starts from nothing but Python 3.11 to 3.13 and pip.
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.13 || command -v python3)
BIN := .venv/bin

.PHONY: install demo test test-all coverage lint docs bench gpu proof torture fuzz clean

install: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[deploy,dev,medical,privacy,remote,sweep,weights]'
	$(BIN)/python -m compileall -q src   # without byte code every start takes three times as long
	touch $@

demo: install   ## train the default network on the built-in phantom, a few minutes
	$(BIN)/vesalius train

# One thread per worker: two workers that wait for each other's cores are several times slower. And byte code is written,
# also where the variable that forbids it is set: without it every start of a process takes three times as long.
PYTEST := PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/python -m pytest
EVERY := -m 'not proof and not benchmark and not torture and not gpu'

test: install   ## every promise, in 6 minutes on 2 cores without bf16 units; no network, no GPU
	$(PYTEST) -n 2 --dist loadgroup

# The S3 server of a test, whose needs exclude those of the package. Its version is fixed: 5.2.1 refuses valid signatures.
.moto/bin/moto_server: Makefile
	$(PYTHON) -m venv .moto
	.moto/bin/python -m pip install --quiet 'moto[server,s3]==5.2.5'
	touch $@

test-all: install .moto/bin/moto_server   ## these and the slow tests: fresh processes over ranks, kills, Chromium, notebooks, the wheel
	$(PYTEST) -n 2 --dist loadgroup $(EVERY)

coverage: install .moto/bin/moto_server   ## all of them with line coverage of every process, which takes a fifth longer
	$(PYTEST) -n 2 --dist loadgroup $(EVERY) --cov --cov-report=term:skip-covered --cov-fail-under=90

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The variable silences an advertisement of the theme's makers.
docs: install   ## the documentation site, into site/: strict, and without a network
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

bench: install   ## speed and memory next to what a user would run instead: one table, also written into docs/speed.md; 25 minutes
	env -u OMP_NUM_THREADS PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -q -m benchmark -s tests/benchmarks --speed-page docs/speed.md --speed-json docs/speed.json

# OUT: where the table goes too, as Markdown and JSON. Trainings side by side first, then what is timed, one after another.
OUT ?= build/gpu
gpu: export OUT := $(OUT)
gpu: install   ## speed and exactness on a CUDA GPU, 5 minutes on an H200, printed as a table
	rm -f $(OUT)/rows.jsonl   # and nothing else: the folder may be anybody's
	$(PYTEST) -m gpu -n 8 tests/gpu/test_runs.py; runs=$$?; $(BIN)/python -m pytest -m gpu tests/gpu/test_speed.py && exit $$runs

proof: install .moto/bin/moto_server   ## the minutes-long proofs behind the published figures (docs/results.md)
	$(BIN)/python -m pytest -m proof -s

# KILLS: of each family; a fifth of them of two processes. SWEEP_KILLS: of sweeps; half as many of searches. 25 and 20 take
# ten minutes of processor time.
KILLS ?= 25
SWEEP_KILLS ?= 20
torture: install   ## trainings and sweeps that are killed at random moments end with the same bits; prints a summary
	KILLS=$(KILLS) SWEEP_KILLS=$(SWEEP_KILLS) OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m torture -s

# MINUTES: of each of seven kinds of input.
MINUTES ?= 5
fuzz: install   ## overrides, tables, images, predictions and metrics that nobody meant: only documented errors come of them
	MINUTES=$(MINUTES) $(BIN)/python -m pytest -m fuzz -s tests/fuzz

clean:
	rm -rf .venv .moto site .coverage* .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
