# The menu: `make` prints it.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help install quickstart test coverage test-serving test-release docs dist notebooks lint style nano ablation clean

help:  ## Print this help
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /|/' | awk -F'|' '{printf "  make %-12s %s\n", $$1, $$2}'

# tahoe-x1 is the oracle of the tests; its own dependencies need a GPU, so it comes without them.
$(VENV)/.installed: setup.py constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[train,dev]'
	$(BIN)/python -m pip install -q --no-deps tahoe-x1==1.0.0
	touch $@

install: $(VENV)/.installed  ## Create .venv and install everything

quickstart: $(VENV)/.installed  ## Distil on real cells, write runs/quickstart/hf, print what it got
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python scripts/quickstart.py

# Processes that share the tests; each has runs of two processes of its own among them.
JOBS ?= 2

test: $(VENV)/.installed  ## Run the test suite
	PATH="$(CURDIR)/$(BIN):$$PATH" OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(JOBS) --dist worksteal --durations=15

coverage: $(VENV)/.installed  ## Run it, and say what it covers
	PATH="$(CURDIR)/$(BIN):$$PATH" OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(JOBS) --dist worksteal --cov

# Environments of users who only load a student: the newest transformers, and the oldest that is supported.
SERVING_TORCH ?= 2.13.0
SERVING := .envs/serving-latest/.installed .envs/serving-4.51/.installed
.envs/serving-latest/.installed: TRANSFORMERS = 'transformers>=5'
.envs/serving-4.51/.installed: TRANSFORMERS = 'transformers==4.51.3'

$(SERVING): .envs/%/.installed:
	test -x .envs/$*/bin/python || $(PYTHON) -m venv .envs/$*
	.envs/$*/bin/python -m pip install -q 'torch==$(SERVING_TORCH)' $(TRANSFORMERS) safetensors numpy anndata
	touch $@

test-serving: $(VENV)/.installed $(SERVING)  ## Load an exported student in environments without this package
	TAHOE_DISTILL_SERVING=required $(BIN)/python -m pytest -q tests/serving

nano: $(VENV)/.installed  ## Pretrain the built-in teacher tx1-nano anew
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python scripts/pretrain_nano.py

ablation: $(VENV)/.installed  ## Run the quickstart's variants and write their table into docs/objectives.md
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python benchmarks/ablation.py --write

docs: $(VENV)/.installed  ## Build the documentation site in build/site
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs build/site
	@echo "open build/site/index.html"

notebooks: $(VENV)/.installed  ## Run the documentation's notebooks and keep what they show
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python scripts/run_notebooks.py

dist: $(VENV)/.installed  ## Build sdist and wheel in dist/
	rm -rf dist
	$(BIN)/python -m build --outdir dist
	$(BIN)/python -m twine check --strict dist/*

test-release: dist  ## Install the wheel in clean environments of each Python, and use it there
	$(BIN)/python scripts/check_release.py dist --python python3.10 python3.11 python3.12 --extra '' onnx fit
	$(BIN)/python scripts/check_release.py dist --extra train

lint: $(VENV)/.installed  ## Check style, types and spelling without changing anything
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/typos

style: $(VENV)/.installed  ## Rewrite the code in the project's style
	$(BIN)/ruff check --fix . && $(BIN)/ruff format .

clean:  ## Remove run outputs and caches
	rm -rf runs .coverage .mypy_cache .pytest_cache .ruff_cache build dist
