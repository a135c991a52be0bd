# make run   sets everything up, loads the demonstration clusters and serves on http://127.0.0.1:8000
# make test  sets everything up and runs the checks and all tests, the browser ones included; of long checks a slice (tests/sizes.py)
# make full  the same with every check in full size, then `make oracle` and `make fuzz`: before an issue is called resolved

PYTHON ?= python3
HOST ?= 127.0.0.1
PORT ?= 8000
VENV := .venv
BIN := $(VENV)/bin
# Compiled files are worth keeping: every worker, server and command of the tests is a process of its own.
unexport PYTHONDONTWRITEBYTECODE

# The tests run in three processes more than there are processors (many of them mostly wait), but not where PYTEST_ARGS says -n or leaves the plugin out: PYTEST_ARGS='-n0 tests/tracer'.
JOBS ?= $(shell echo $$((3 + $$(nproc 2>/dev/null || echo 2))))
PARALLEL = $(if $(findstring no:xdist,$(PYTEST_ARGS)),,-n $(JOBS))

.PHONY: run test full oracle oracle-record fuzz mutants bench setup lint lock clean programs-run programs-test

run: setup programs-run
	@$(BIN)/python manage.py serve --host '$(HOST)' --port '$(PORT)'

# The checks of `make lint` are tests too (tests/test_lint.py): they run beside the others, and one run tells everything.
test: setup programs-test
	@$(BIN)/python -m pytest $(PARALLEL) $(PYTEST_ARGS)

full: setup programs-test
	TEST_SIZE=full $(BIN)/python -m pytest $(PARALLEL) $(PYTEST_ARGS)
	$(MAKE) --no-print-directory oracle fuzz

# Random rule sets against the kernel itself (root): the full size of what `make test` compares with a recording, or asks for a moment.
oracle: setup programs-test
	$(BIN)/python -m tests.oracle --packets 10000
	$(BIN)/python -m tests.oracle.nft --packets 10000
	$(BIN)/python -m tests.oracle.stacks --labs 500 --packets 10000
	ROUTING_ORACLE_WORLDS=40 $(BIN)/python -m pytest tests/tracer/routing/test_routing_kernel.py tests/tracer/routing/test_routing_packets.py

# Writes down anew what the kernel does with fixed seeds (root; some minutes): tests/oracle/recorded, with the digests of the sources.
oracle-record: setup programs-test
	$(BIN)/python -m tests.oracle.record

# Coverage-guided fuzzing needs a library that no wheel exists of for every Python: it is installed here only.
FUZZ_SECONDS ?= 600
fuzz: setup
	$(BIN)/python -m tests.fuzz --inputs 1000000
	$(BIN)/python -m pip install --require-hashes --only-binary :all: -r requirements-fuzz.txt
	$(BIN)/python -m tests.fuzz.guided --seconds '$(FUZZ_SECONDS)'

# Changes of the engine that its tests have to notice, 200 of a fixed seed; goes on where it was stopped. MUTANTS_ARGS='-j 2' uses two processors.
mutants: setup
	$(BIN)/python -m tests.mutants $(MUTANTS_ARGS)

bench: setup programs-test
	for program in benchmarks/[a-z]*.py; do $(BIN)/python $$program || exit 1; done

lint: setup
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python scripts/dead_code.py

# Each worker, server and command is a process of its own: compiled once, none of them compiles the program again.
setup:
	@scripts/make-venv '$(PYTHON)' '$(VENV)'
	@$(BIN)/python -m compileall -q tracer webapp

programs-run:
	@scripts/install-programs run

programs-test:
	@scripts/install-programs test

# Rewrites the lock after a change of requirements*.in; needs uv on the PATH.
lock:
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --custom-compile-command 'make lock' \
		requirements.in requirements-dev.in -o requirements.txt
	uv pip compile --python-version 3.11 --generate-hashes --no-emit-index-url --custom-compile-command 'make lock' \
		requirements-fuzz.in -o requirements-fuzz.txt

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .mypy_cache .import_linter_cache .hypothesis staticfiles
