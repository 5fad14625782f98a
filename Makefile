# Everything is set up by itself: `make demo` and `make test` need python3.11 or later with venv, make and git, nothing else.
# PYTHON=… names the interpreter. A second start takes seconds: the environment is renewed only when requirements.lock changes.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup demo run test bench chaos calibrate lint lock

# Every process that is started here reads what the first one compiled, also where the environment forbids Python to keep it.
unexport PYTHONDONTWRITEBYTECODE

VENV := .venv
IN := $(VENV)/bin/python
STAMP := $(VENV)/.locked

help:
	@echo "make demo    set up, start the service and show the main job end to end over MCP"
	@echo "make run     set up and start the service"
	@echo "make test    set up and run every test, type check and lint"
	@echo "make bench   print the benchmark table (BENCH=--full: up to 1,000,000 recipients)"
	@echo "make chaos   kill, stop and wake processes of a service that sends, for ten minutes; status 1 if a promise is broken"
	@echo "make calibrate  correct tools and seeded defects before the gates; status 1 where less is seen than is asked for"
	@echo "make lint    ruff, formatter, mypy and the import contracts"
	@echo "make lock    renew requirements.lock from pyproject.toml"
	@echo "make setup   the virtual environment alone"

setup:
	@lock=$$(sha256sum < requirements.lock); \
	if [ -x $(IN) ] && [ "$$(cat $(STAMP) 2>/dev/null)" = "$$lock" ]; then exit 0; fi; \
	python="$(PYTHON)"; \
	for each in python3.11 python3.12 python3.13 python3.14 python3; do \
		[ -z "$$python" ] && "$$each" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && python=$$each; \
	done; \
	[ -n "$$python" ] || { echo "error: no Python 3.11 or later with venv was found. Install python3 and python3-venv, or set PYTHON=…" >&2; exit 2; }; \
	echo "==> Virtual environment in $(VENV), with $$($$python --version)"; \
	[ -x $(IN) ] || $$python -m venv --clear $(VENV); \
	rm -f $(STAMP); \
	total=$$(grep -c '==' requirements.lock); \
	echo "==> Installing about $$total locked packages, each checked by its hash (a minute or two the first time)"; \
	$(IN) -m pip install --disable-pip-version-check --progress-bar off --require-hashes -r requirements.lock \
		| awk -v total="$$total" '/^Collecting/ {n++; if (n % 10 == 0) {printf "    %d of about %d\n", n, total; fflush()}} \
			/^(Installing|ERROR|Successfully)/ {print "    " substr($$0, 1, 60) "…"; fflush()}'; \
	echo "==> Installing Toolmint itself, as it stands in this folder"; \
	$(IN) -m pip install --disable-pip-version-check --no-deps --no-build-isolation -e . > $(VENV)/toolmint.log 2>&1 \
		|| { cat $(VENV)/toolmint.log >&2; exit 1; }; \
	echo "$$lock" > $(STAMP)

demo: setup
	@$(IN) -m tests.demo

run: setup
	@exec $(VENV)/bin/toolmint up

test: setup
	@echo "==> Tests, type checks, lint and import contracts, in four processes: they wait for clocks, servers and a browser half of their time"
	@$(IN) -m pytest -n 4 --dist loadscope $(PYTEST)

bench: setup
	@$(IN) -m tests.bench $(BENCH)

chaos: setup
	@$(IN) -m tests.chaos $(CHAOS)

calibrate: setup
	@$(IN) -m tests.calibration $(CALIBRATE)

lint: setup
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy app jobs generated_tools tests alembic
	@$(VENV)/bin/lint-imports --no-logo

lock: setup
	@$(VENV)/bin/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-emit-find-links --extra dev \
		--python-version 3.11 --custom-compile-command "make lock" pyproject.toml -o requirements.lock
	@echo "==> requirements.lock is renewed; run make test before you keep it"
