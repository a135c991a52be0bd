# make run   sets everything up, loads the demonstration clusters and serves on http://127.0.0.1:8000
# make test  sets everything up and runs the checks and all tests, the browser ones included

PYTHON ?= python3
HOST ?= 127.0.0.1
PORT ?= 8000
VENV := .venv
BIN := $(VENV)/bin

.PHONY: run test oracle fuzz bench setup lint lock clean programs-run programs-test

run: setup programs-run
	@$(BIN)/python manage.py serve --host '$(HOST)' --port '$(PORT)'

# The tests run even when a check fails, so that one run tells everything; either makes it fail.
test: setup programs-test
	@checked=0; $(MAKE) --no-print-directory lint || checked=1; \
	$(BIN)/python -m pytest $(PYTEST_ARGS) && exit $$checked

# The full size of what `make test` runs a slice of: random rule sets against the kernel itself (root), mutated inputs.
oracle: setup programs-test
	$(BIN)/python -m tests.oracle --packets 10000
	$(BIN)/python -m tests.oracle.nft --packets 10000

fuzz: setup
	$(BIN)/python -m tests.fuzz --inputs 1000000

bench: setup programs-test
	for program in benchmarks/[a-z]*.py; do $(BIN)/python $$program || exit 1; done

lint: setup
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python scripts/dead_code.py

setup:
	@scripts/make-venv '$(PYTHON)' '$(VENV)'

programs-run:
	@scripts/install-programs run

programs-test:
	@scripts/install-programs test

# Rewrites the lock after a change of requirements*.in; needs uv on the PATH.
lock:
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --custom-compile-command 'make lock' \
		requirements.in requirements-dev.in -o requirements.txt

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .mypy_cache .import_linter_cache .hypothesis staticfiles
