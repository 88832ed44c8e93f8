# One vocabulary for hands, hooks and CI. `make help` lists the targets.
# Needs make and Python 3.11 or newer; everything else goes into .venv and .piperoll.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
.DEFAULT_GOAL := help
.PHONY: help setup browser broker-cache demo up down env test test-long bench bench-seal bench-risk bench-held-out bench-ai check format lock clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

setup: $(READY) ## install the locked dependencies into .venv

$(READY): requirements/dev.txt requirements/uv.txt pyproject.toml setup.py schemas/_sha256.c
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Piperoll needs Python 3.11 or newer; this is $$($(PYTHON) --version). Set PYTHON=python3.12, say."; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "Python's venv module is missing: on Debian and Ubuntu, apt-get install python3-venv"; exit 1; }
	@echo "installing the locked dependencies into $(VENV) (about 620 MB, once)"
	@$(BIN)/python -m pip install --quiet --require-hashes -r requirements/uv.txt
	@$(BIN)/uv pip sync --quiet --compile-bytecode --python $(BIN)/python --require-hashes requirements/dev.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --refresh-package piperoll --editable .
	@$(BIN)/python -c 'from schemas.hashing import NATIVE; print("verification hashes natively" if NATIVE else "verification hashes by hashlib: for a quarter less CPU install a C compiler and the headers of Python, then touch setup.py and make setup")'
	@touch $@

demo: $(READY) ## a month of one company's audit events, recorded, verified and reported (EXIT=1: end by itself)
	@$(BIN)/piperoll demo $(if $(filter 1,$(EXIT)),--exit)

up: $(READY) ## start broker, database and all services on this machine
	@$(BIN)/piperoll up

down: $(READY) ## stop them
	@$(BIN)/piperoll down

env: $(READY) ## print the addresses in use as KEY=VALUE
	@$(BIN)/piperoll env

CHROMIUM = for name in chromium chromium-browser google-chrome google-chrome-stable; do command -v $$name && break; done
browser: ## a Chromium for the tests of the report's page, by apt where there is none
	@[ -n "$$PIPEROLL_CHROMIUM$$($(CHROMIUM))" ] || { \
	  command -v apt-get >/dev/null || { echo "no Chromium: install one, or name it in PIPEROLL_CHROMIUM"; exit 1; }; \
	  sudo=$$([ "$$(id -u)" = 0 ] || echo sudo); \
	  $$sudo apt-get -qq update && $$sudo env DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install chromium >/dev/null; }

broker-cache: $(READY) ## remember how Kafka starts, once: later starts take half the CPU time
	@$(BIN)/python -m deploy.local.start_cache

test: broker-cache ## all tests but the long ones, on a real broker and a real database
	@$(BIN)/python -m pytest -n 3 --dist loadgroup -m "not long" $(ARGS)

test-long: broker-cache ## what takes longer than a minute
	@$(BIN)/python -m pytest -m long $(ARGS)

bench: $(READY) ## events per second of enricher, writer and all together; seconds of a start
	@$(BIN)/python -m tests.bench $(ARGS)

bench-seal: $(READY) ## what sealing, verifying and proving cost, and how soon a record is covered
	@$(BIN)/python -m tests.bench.seal_speed $(ARGS)
	@$(BIN)/python -m tests.bench.prove_speed

bench-risk: $(READY) ## precision, recall and false alarms of the rules on labelled events
	@$(BIN)/python -m tests.bench.risk $(ARGS)

bench-held-out: $(READY) ## the same by the rules without what a part of the labels taught them
	@$(BIN)/python -m tests.bench.unlearn

bench-ai: $(READY) ## requests for a million events, and what hostile events get from a model that obeys them
	@$(BIN)/python -m tests.bench.ai $(ARGS)

check: $(READY) ## formatting, lint, types, import layers, docs that must match
	@$(BIN)/ruff format --check --quiet . && $(BIN)/ruff check --quiet . && $(BIN)/mypy && $(BIN)/lint-imports && $(BIN)/python -m schemas.controls

format: $(READY) ## format the code
	@$(BIN)/ruff format --quiet . && $(BIN)/ruff check --quiet --fix .

EXTRAS := ingest enricher writer reporter dev
lock: ## lock the dependencies anew, with hashes and without addresses
	@for extra in $(EXTRAS); do $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --extra $$extra $$(case $$extra in writer) echo --extra targets;; reporter) echo --extra targets --extra parquet;; esac) pyproject.toml -o requirements/$$extra.txt || exit 1; done

clean: ## remove what tests and builds leave behind (not .piperoll, where the local data is)
	@rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache $$(find schemas services deploy tests -name __pycache__)
