# Everything from a fresh clone with Python 3.11 (or newer) and make. `make up` runs the demo, `make test` proves it works.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
JOBS   ?= 2
PYTEST := $(BIN)/pytest -n $(JOBS)

.DELETE_ON_ERROR:
.PHONY: help up demo test check bench clean

help:
	@echo "make up      run the demo firm at http://127.0.0.1:8620 (Ctrl-C stops it)"
	@echo "make test    run every test"
	@echo "make check   lint, types, import rules, container files and the fast tests"
	@echo "make bench   measure"
	@echo "make clean   remove what these commands made here (never a firm's data)"

up demo: $(VENV)/.run
	$(BIN)/syncd up --demo

test: $(VENV)/.test
	$(PYTEST)

check: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/deptry .
	$(BIN)/hadolint docker/Dockerfile
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker/compose.yaml
	$(PYTEST) -m "not slow and not real"

bench: $(VENV)/.test
	$(BIN)/python -m bench.run

clean:
	rm -rf $(VENV) .run build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

# The stamps make a second run instant. The test environment holds all that the run-time one does.
$(VENV)/.run: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(VENV)/.test: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	@touch $(VENV)/.run $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Python 3.11 or newer is needed; this is $$($(PYTHON) --version 2>&1). Name another one: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { \
	  echo "This Python cannot make virtual environments; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
