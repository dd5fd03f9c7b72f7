# Two commands: `make demo` and `make test`. Each makes the environment first if it is not there yet.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help demo test lint readme conformance guide performance overheads docs wheel-test clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 14

$(READY): pyproject.toml constraints-dev.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints-dev.txt --editable '.[dev]'
	touch $(READY)

demo: $(READY)  ## compare all backends on three photos with a trained classifier, offline
	$(BIN)/camzoo demo --overwrite

test: $(READY)  ## run the whole test suite
	$(BIN)/pytest -n auto

lint: $(READY)  ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

readme: $(READY)  ## write the coverage matrix into README.md anew
	$(BIN)/python tests/readme.py

conformance: $(READY)  ## check every method of every library, and write docs/conformance.md anew
	$(BIN)/camzoo check
	cp camzoo-check/conformance.md docs/conformance.md

guide: $(READY)  ## run the pages of docs/guide, and write anew what they print and draw where it no longer holds
	OMP_NUM_THREADS=1 $(BIN)/python tests/guides.py

performance: $(READY)  ## measure every scenario for a CPU (an hour or two, idle; goes on where it was), and write docs/performance.md anew
	$(BIN)/python benchmarks/scenarios.py
	$(BIN)/python benchmarks/performance.py

overheads: $(READY)  ## measure camzoo against its limits, adapters, an evaluation, and what was tried (an idle hour)
	$(BIN)/python benchmarks/cost.py
	$(BIN)/python benchmarks/adapters.py
	$(BIN)/python benchmarks/memory_format.py
	$(BIN)/python benchmarks/tried.py
	$(BIN)/python benchmarks/evaluation.py

docs: $(READY)  ## build the site into site/, without a warning
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

wheel-test: $(READY)  ## build the wheel, install it in a fresh environment, run the suite's quick part against it from outside
	rm -rf dist .venv-wheel
	$(BIN)/python -m build --quiet --wheel
	$(PYTHON) -m venv .venv-wheel
	.venv-wheel/bin/pip install --quiet --constraint constraints-dev.txt "$$(ls dist/*.whl)[dev]"
	outside=$$(mktemp -d) && cp -r tests pyproject.toml $$outside && cd $$outside && \
		$(CURDIR)/.venv-wheel/bin/pytest -n auto -m 'not checkout and not slow'
	rm -rf .venv-wheel

clean:  ## remove what the other targets made
	rm -rf $(VENV) .venv-wheel dist site build demo-out camzoo-out camzoo-check .pytest_cache .mypy_cache .ruff_cache
