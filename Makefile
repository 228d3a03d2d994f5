# Every command installs what it needs into .venv, once, and is quick the second time.
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.13 || echo python3)
VENV := .venv
BIN := $(VENV)/bin
WORKSPACE ?= workspace
INSTALL := $(BIN)/uv pip install --python $(BIN)/python --constraint requirements.lock --editable

.DEFAULT_GOAL := help
.PHONY: help demo test lint install bench clean lock wheel

help: ## show the commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.installed-train ## run the whole way on the embedded data set
	$(BIN)/deepfake demo --workspace $(WORKSPACE)

# Whole files go to one process each, in their order: the files with few but long tests must not come last.
test: $(VENV)/.installed-all ## run all tests
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

lint: $(VENV)/.installed-all ## check format, style, types and the direction of imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

install: $(VENV)/.installed-all ## install everything, the yolo extra (AGPL-3.0) included

bench: $(VENV)/.installed-all ## print the measured ratios (reads real videos from DEEPFAKE_REAL_DATA)
	for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python "$$script" || exit 1; done

wheel: $(VENV)/.installed-all ## build the wheel into dist/
	rm -rf dist
	$(BIN)/uv build --quiet --wheel --out-dir dist

lock: $(BIN)/uv ## resolve requirements.lock again, keeping what still fits
	$(BIN)/uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --all-extras --group dev \
		--no-emit-index-url --no-annotate --no-header --output-file requirements.lock

clean: ## remove the environment, caches and the demo's workspace
	rm -rf $(VENV) $(WORKSPACE) dist build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

$(BIN)/uv:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint requirements.lock uv

$(VENV)/.installed-train: $(BIN)/uv pyproject.toml requirements.lock
	$(INSTALL) '.[train]'
	touch $@

$(VENV)/.installed-all: $(BIN)/uv pyproject.toml requirements.lock
	$(INSTALL) '.[all]' --group dev
	touch $(VENV)/.installed-train $@
