# make watch WORKSPACE=~/town   install into .venv and run the daemon
# make test                     everything the tests need, then the tests

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
WORKSPACE ?= .
TEST_ARGS ?=
BENCH_ARGS ?=
PEERS := inotify-tools fswatch watchman

.PHONY: watch demo test lint format bench figures bench-smoke stress clean

watch: $(VENV)/.installed
	@$(BIN)/lockwarden watch "$(WORKSPACE)"

demo: $(VENV)/.installed
	@$(BIN)/python -m tests.demo

test: $(VENV)/.dev
	$(BIN)/pytest -n auto $(TEST_ARGS)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.dev
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

bench: $(VENV)/.dev
	$(BIN)/pip install --quiet --disable-pip-version-check watchfiles
	@test "$$(id -u)" != 0 || apt-get install -qq -y --no-install-recommends $(PEERS) >/dev/null || \
	  echo "make: could not install $(PEERS): those that are missing are left out" >&2
	$(BIN)/python -m tests.bench --json build/bench.json $(BENCH_ARGS)

figures: build/bench.json
	$(BIN)/python -m tests.bench.readme $<

stress: $(VENV)/.dev
	$(BIN)/python -m tests.stress.observer --operations 100000
	$(BIN)/python -m tests.stress.renames
	$(BIN)/python -m tests.stress.storm
	$(BIN)/python -m tests.stress.crash --kills 200
	LOCKWARDEN_RACE_ROUNDS=1000 $(BIN)/pytest tests/watcher/locks/test_lock_race.py -k many

bench-smoke: $(VENV)/.dev
	$(BIN)/python -m tests.bench --workers 5 --sources 20 --skipped 30 --rounds 5 --idle 1 --locks 200

clean:
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "make: $(PYTHON) is older than 3.11: name a newer one, make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
	  { rm -rf $(VENV); echo "make: no virtual environment: on Debian, apt-get install python3-venv" >&2; exit 1; }

$(VENV)/.installed: pyproject.toml | $(VENV)/bin/python
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.dev: pyproject.toml | $(VENV)/bin/python
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $(VENV)/.installed $@
