# Needs Python 3.10 or newer, git and make. Each target installs the rest: Node 24 comes from PyPI into .venv.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
# How many tests `make test` runs at a time: one more than there are cores, as many tests wait for a server.
WORKERS ?= $(shell $(PYTHON) -c 'import os; print((os.cpu_count() or 1) + 1)')
READY := build/node/.ready
# Python has to keep what it compiles; otherwise each process compiles all packages again.
unexport PYTHONDONTWRITEBYTECODE
export PATH := $(CURDIR)/build/node:$(CURDIR)/$(VENV)/bin:$(PATH)
DEMO := build/demo/my-medplum-bots

.PHONY: help demo test test-fast lint format bench pictures update release clean

help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile | expand -t 20

# The repository gets git of its own: this one ignores build/, and the linter skips what git ignores.
# The demo is started from here, so that it does not print a command that works only in the repository.
demo: $(READY) ## Generate a repository, build it and run its demo
	rm -rf build/demo
	$(PY) -m cookiecutter --no-input --default-config --output-dir build/demo . install_dependencies=no >build/demo.log
	cd $(DEMO) && npm ci && npm run build
	npm --prefix $(DEMO) run demo
	@echo
	@echo 'To continue in this repository, with the same Node:'
	@echo '  cd "$(CURDIR)/$(DEMO)" && export PATH="$(CURDIR)/build/node:$$PATH"'
	@echo '  npm run dev'

test: lint ## Everything CI runs
	$(PY) -m pytest -n $(WORKERS) --dist loadgroup

test-fast: $(VENV)/.installed ## The tests that need neither Node nor Java
	$(PY) -m pytest -n auto --dist loadgroup --hypothesis-profile=fast tests/unit tests/bake

lint: $(READY) ## Check the style and types of the template's Python
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

format: $(READY) ## Format the template's Python
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

bench: $(READY) ## Measure; see benchmarks/
	$(PY) -m benchmarks

pictures: $(READY) ## Take the pictures of README.md again (needs chromium and chromium-driver)
	$(PY) -m docs.pictures.make

update: $(READY) ## Move every pin to its newest version that is a week old, then test
	$(PY) -m maintenance.update_pins
	$(MAKE) test

release: $(READY) ## Test, tag a version and write its changelog: make release VERSION=1.2.0
	@test -n "$(VERSION)" || { echo 'Error: name the version: make release VERSION=1.2.0' >&2; exit 1; }
	$(PY) -m maintenance.release check "$(VERSION)"
	$(MAKE) test
	$(PY) -m maintenance.release prepare "$(VERSION)"

clean: ## Remove everything that make created
	rm -rf build $(VENV)

$(VENV)/.installed: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit("Error: Python 3.10 or newer is needed: make PYTHON=python3.12" if sys.version_info < (3, 10) else 0)'
	$(PYTHON) -m venv --clear $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check --no-compile --require-hashes --requirement requirements.txt
	@touch $@

$(READY): $(VENV)/.installed tests/support/node.py
	$(PY) -m tests.support.node build/node
	@touch $@
