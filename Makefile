# make run     set up .venv and run leap on CLEVR; other options: make run ARGS="--algo metasim --seed 1"
# make test    set up .venv with the test extra; run the linters, the type checker and the tests that are not marked
#              as slow, in three processes, others with TEST_PROCESSES=4; options of pytest: make test ARGS="-k clevr"
# make test-all  the same with all tests
# make clean   remove .venv and caches; runs/ stays
# TORCH=cpu takes PyTorch's smaller build without GPUs: make run TORCH=cpu
# Needs Python >= 3.10 with venv, and make. Another interpreter: make run PYTHON=python3.12

PYTHON ?= python3
ARGS ?=
TEST_PROCESSES ?= 3
MARKED ?= not slow
TORCH ?= default

VENV := .venv
BIN := $(VENV)/bin
UV_INSTALL := $(BIN)/uv pip install --quiet --python $(BIN)/python
REQUIREMENTS := setup.py pyproject.toml Makefile

$(if $(filter-out default cpu,$(TORCH)),$(error TORCH: $(TORCH) is not one of default, cpu))

# Installs autosim with the extras $(1). The builds for CPUs are in an index of their own, which not every network reaches.
define install
@backend=; \
if [ $(TORCH) = cpu ]; then \
	if $(UV_INSTALL) --dry-run --torch-backend=cpu torch 2>/dev/null; then backend=--torch-backend=cpu; \
	else echo "TORCH=cpu: the index of PyTorch's CPU builds cannot be reached; the default build is installed"; fi; \
fi; \
$(UV_INSTALL) $(COMPILE) $$backend --editable '.$(1)'
endef

.PHONY: run test test-all clean

run: $(VENV)/.installed
	$(BIN)/python benchmarks/run.py --algo leap --env clevr $(ARGS)

# Tests start some hundred processes, each of which would compile the project where Python writes no bytecode.
test: export PYTHONDONTWRITEBYTECODE :=
test: $(VENV)/.installed-test
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/python -m pytest --numprocesses $(TEST_PROCESSES) -m "$(MARKED)" $(ARGS)

test-all: MARKED :=
test-all: test

$(BIN)/uv:
	$(PYTHON) -c 'import sys; sys.exit("autosim needs Python 3.10 or newer") if sys.version_info < (3, 10) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv

$(VENV)/.installed: $(REQUIREMENTS) | $(BIN)/uv
	$(call install)
	touch $@

# Where Python is told to write no bytecode, each process would otherwise compile all that it imports: 3 s for PyTorch.
$(VENV)/.installed-test: COMPILE := --compile-bytecode
$(VENV)/.installed-test: $(REQUIREMENTS) | $(BIN)/uv
	$(call install,[test])
	touch $(VENV)/.installed $@

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
