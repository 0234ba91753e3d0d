# Each target installs what it needs into .venv first. PYTHON picks the interpreter (3.11 to 3.13); pip's own environment
# variables are honoured; TORCH_INDEX names an index with CPU-only builds of torch where the default one has none.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
  command -v $$p >/dev/null && $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip --disable-pip-version-check install --quiet --constraint constraints.txt
export DAGSTER_HOME := $(CURDIR)

.PHONY: install demo test test-all ui lint types format bench translations clean

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 is needed; name one with PYTHON=…"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV); the first time this downloads about 1 GB"
	@$(PIP) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch==2.13.0
	@$(PIP) --editable '.[dev]'
	@touch $@

demo: install
	@$(BIN)/spotify-ai demo

test: install
	@$(BIN)/pytest -n 2 --dist loadgroup -m "not slow"

test-all: install
	@$(BIN)/pytest -n 2 --dist loadgroup

ui: install
	@$(BIN)/dagster instance info >/dev/null
	@$(BIN)/spotify-ai ui

lint: install
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: install
	@$(BIN)/pyright

format: install
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: install
	@for name in load listening backfill scale history audio realtime text_embeddings; do $(BIN)/python -m benchmarks.$$name || exit 1; done

translations: install
	@$(BIN)/python -m spotify_ai_assets.locale update
	@$(BIN)/python -m spotify_ai_assets.locale compile

clean:
	@rm -rf $(VENV) build *.egg-info
