# make demo    form four simulated cells, from nothing
# make test    everything that is tested; `make check` first, if the code is to be judged as well
# make test-peers  what needs other projects' packages, each in an environment of its own
# make check   style, types, layers, fresh schemas
# make faults  every named fault, and docs/faults.md from what came of it
# make coverage  every branch of guard, journal and commands is tested
# make mutants the guard with one thing changed at a time: does a test notice?
# make torture kills, power cuts and forgeries by the thousand; TRIALS=1000
# make fuzz    every parser under hostile input; SECONDS=600 each
# make soak    a simulated bench for hours; HOURS=1
# make bench   how fast it is, printed and written to bench/results/
# make clean   removes what the others made
#
# Needs Python >= 3.11 with venv. Everything is installed into .venv, once; a change of
# pyproject.toml or constraints.txt installs anew. PYTHON=... chooses the interpreter.

VENV := .venv
BIN := $(VENV)/bin
PYTHON ?=
CANDIDATES := $(or $(PYTHON),python3.13 python3.12 python3.11 python3)
SUITABLE := import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
WORKERS ?= 4
WORK := -n $(WORKERS) --dist worksteal

.PHONY: demo test check bench coverage mutants faults faults-shown test-again torture fuzz soak install clean test-peers

demo: $(VENV)/runtime.stamp
	$(BIN)/daq demo

test: $(VENV)/dev.stamp
	rm -f build/again.json
	$(BIN)/python -m pytest $(WORK) --durations=10 --faults build/faults.json

# Files and protocols in the hands of those that are to read them; see tests/peers/__init__.py.
test-peers: $(VENV)/dev.stamp
	$(BIN)/python -m pytest -p no:cacheprovider tests/peers

check: $(VENV)/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q -k fresh tests/unit/test_schemas.py tests/unit/test_gateway_asyncapi.py

# Every branch of what must not fail: the guard, the journal, who may command.
COVER := $(BIN)/python -m pytest -q --cov-branch --cov-fail-under=100 --cov-report=term-missing:skip-covered
COMMANDS := daq.access daq.control.door daq.control.requests daq.control.answers

coverage: $(VENV)/dev.stamp
	$(COVER) --cov=daq.control.guard --cov=daq.checks tests/unit/guard
	$(COVER) --cov=daq.journal tests/unit/test_journal*.py tests/unit/test_access_audit.py
	$(COVER) $(COMMANDS:%=--cov=%) tests/unit/test_access_*.py tests/unit/test_commands.py \
	    tests/unit/test_command_socket.py tests/unit/test_door.py

# What survives is explained in docs/mutants.md.
mutants: $(VENV)/dev.stamp
	$(BIN)/mutmut run --max-children $(WORKERS)
	$(BIN)/mutmut results

# Each of the three takes a parameter that sizes its box.
TRIALS ?= 1000
SECONDS ?= 600
HOURS ?= 1
FACTOR ?= 1

torture: $(VENV)/dev.stamp
	$(BIN)/python -m pytest tests/torture --trials $(TRIALS) --timeout 0 -rA -s

fuzz: $(VENV)/dev.stamp
	$(BIN)/python -m pytest tests/fuzz --seconds $(SECONDS) --timeout 0 -rA -s

soak: $(VENV)/dev.stamp
	$(BIN)/python -m bench.soak --hours $(HOURS) --factor $(FACTOR)

# Whether the last `make test` has shown every named fault.
faults-shown: $(VENV)/dev.stamp
	$(BIN)/python -m tests.faults.page build/faults.json build/again.json > build/faults.md

# What has failed in the last `make test`, once more, one after the other.
test-again: $(VENV)/dev.stamp
	$(BIN)/python -m pytest --last-failed --last-failed-no-failures none --faults build/again.json

faults: $(VENV)/dev.stamp
	$(BIN)/python -m pytest $(WORK) -m fault --faults build/faults.json
	$(BIN)/python -m tests.faults.page build/faults.json > build/faults.md
	mv build/faults.md docs/faults.md

bench: $(VENV)/dev.stamp
	$(BIN)/python -m bench

install: $(VENV)/dev.stamp

clean:
	rm -rf $(VENV) demo-out build dist bench/results *.egg-info .hypothesis
	rm -rf .pytest_cache .ruff_cache .import_linter_cache
	find daq drivers simulators tests bench -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@for python in $(CANDIDATES); do \
	    $$python -c '$(SUITABLE)' 2>/dev/null || continue; \
	    echo "making $(VENV) with $$($$python --version)"; \
	    exec $$python -m venv $(VENV); \
	done; \
	echo "no Python >= 3.11 with venv among: $(CANDIDATES)" >&2; \
	echo "install one (Debian: apt install python3 python3-venv), or say make PYTHON=/path/to/python3" >&2; \
	exit 1

# What the demo needs, and what the tests need besides. The second includes the first.
$(VENV)/runtime.stamp: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing battery-daq and what it needs into $(VENV)"
	@$(INSTALL) -c constraints.txt -e .
	@touch $@

$(VENV)/dev.stamp: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing battery-daq and what its tests need into $(VENV)"
	@$(INSTALL) -c constraints.txt -e '.[dev]'
	@touch $@ $(VENV)/runtime.stamp
