# On a machine with Python 3.10+, git and make, each target does its own set-up: Node 24 comes from PyPI into .venv.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
READY := build/node/.ready
export PATH := $(CURDIR)/build/node:$(CURDIR)/$(VENV)/bin:$(PATH)
DEMO := build/demo/my-medplum-bots

.PHONY: help demo test test-fast lint format bench pictures update clean

help: ## Show what can be made
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile | expand -t 20

# A git repository of its own: this one ignores build/, and the linter would skip what git ignores.
demo: $(READY) ## Generate a repository, build it, deploy it to local servers, watch a patient arrive
	rm -rf build/demo
	$(PY) -m cookiecutter --no-input --default-config --output-dir build/demo . install_dependencies=no
	cd $(DEMO) && npm ci && npm run build && npm run demo

test: lint ## Everything CI runs
	$(PY) -m pytest -n 2 --dist loadgroup

test-fast: $(VENV)/.installed ## What needs neither Node nor Java
	$(PY) -m pytest -n 2 --dist loadgroup --hypothesis-profile=fast tests/unit tests/bake

lint: $(READY) ## Style and types of the template's Python
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

format: $(READY) ## Put the template's Python into shape
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

bench: $(READY) ## Measure; see benchmarks/
	$(PY) -m benchmarks

pictures: $(READY) ## Take the README's pictures anew (needs chromium and chromium-driver)
	$(PY) -m docs.pictures.make

update: $(READY) ## Move every pin to the newest whole versions, then test
	$(PY) -m tests.support.update_pins
	$(MAKE) test

clean: ## Remove everything that was made here
	rm -rf build $(VENV)

$(VENV)/.installed: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit("Error: Python 3.10 or newer is needed: make PYTHON=python3.12" if sys.version_info < (3, 10) else 0)'
	$(PYTHON) -m venv --clear $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.txt
	@touch $@

$(READY): $(VENV)/.installed tests/support/node.py
	$(PY) -m tests.support.node build/node
	@touch $@
