# Every target sets up what it needs, on a fresh machine too:
#
#   make demo    solve the KAN paper's Poisson problem and draw it
#   make test    the fast tests and the doctests
#   make lint    style, types and the layers of imports
#   make accept  the slow tests: published accuracies, minutes each; and more random examples
#   make bench   kansci and its peers side by side
#   make race    of that, errors against time only
#   make clean   remove the environment, caches and results
#
# PYTHON is the interpreter that .venv is made from.

PYTHON ?= python3
export OMP_NUM_THREADS ?= 2

VENV := .venv
RUN := $(VENV)/bin/python -m
INSTALL := $(RUN) pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable

.PHONY: demo test lint accept bench race clean
.DELETE_ON_ERROR:

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed-core: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(INSTALL) .
	@touch $@

$(VENV)/.installed-%: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(INSTALL) ".[$*]"
	@touch $@

# Tests of pages are skipped where there is no browser and none can be installed.
$(VENV)/.chromium: | $(VENV)/bin/python
	command -v chromium || command -v google-chrome || \
	  { apt-get update -qq && apt-get install -qq --yes --no-install-recommends chromium; } || true
	@touch $@

demo: $(VENV)/.installed-core
	$(RUN) problems.poisson --case paper
	@echo "The pictures are in runs/poisson/figures: open solution.svg first."

test: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 $(RUN) pytest --numprocesses auto --dist worksteal

lint: $(VENV)/.installed-dev
	$(RUN) ruff check
	$(RUN) ruff format --check
	$(RUN) pyright
	$(VENV)/bin/lint-imports --no-cache

accept: $(VENV)/.installed-dev $(VENV)/.installed-browser $(VENV)/.chromium
	KANSCI_THOROUGH=3 $(RUN) pytest -m "(slow or hypothesis) and not (gpu or benchmark)" --timeout 1800 --jaxtyping-packages=

bench: $(VENV)/.installed-compare
	$(RUN) tests.benchmarks
	$(RUN) tests.benchmarks.race

race: $(VENV)/.installed-compare
	$(RUN) tests.benchmarks.race

clean:
	rm -rf $(VENV) runs dist build .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find kansci problems tests -name __pycache__ -type d -prune -exec rm -rf {} +
