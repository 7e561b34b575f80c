# make run     set up .venv and run Meta-Sim on CLEVR; more options: make run ARGS="--seed 1 --budget.iterations 10"
# make test    set up .venv with the test extra; run the linters, the type checker and the tests
# make clean   remove .venv and caches; runs/ stays
#             in two processes, others with TEST_PROCESSES=4; options of pytest: make test ARGS="-k clevr"
# Needs Python >= 3.10 with venv, and make. Another interpreter: make run PYTHON=python3.12

PYTHON ?= python3
ARGS ?=
TEST_PROCESSES ?= 2

VENV := .venv
BIN := $(VENV)/bin
UV_INSTALL := $(BIN)/uv pip install --quiet --python $(BIN)/python
REQUIREMENTS := setup.py pyproject.toml

.PHONY: run test clean

run: $(VENV)/.installed
	$(BIN)/python benchmarks/run.py --algo metasim --env clevr $(ARGS)

test: $(VENV)/.installed-test
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/python -m pytest --numprocesses $(TEST_PROCESSES) $(ARGS)

$(BIN)/uv:
	$(PYTHON) -c 'import sys; sys.exit("autosim needs Python 3.10 or newer") if sys.version_info < (3, 10) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv

$(VENV)/.installed: $(REQUIREMENTS) | $(BIN)/uv
	$(UV_INSTALL) --editable .
	touch $@

$(VENV)/.installed-test: $(REQUIREMENTS) | $(BIN)/uv
	$(UV_INSTALL) --editable '.[test]'
	touch $(VENV)/.installed $@

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
