# Everything happens in .venv; `make demo` and `make test` work on a fresh machine with Python 3.11 or newer.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# So many tests at once, of which each may take 3 GB, and a large one 6.
JOBS ?= 2
PYTEST := $(BIN)/python -m pytest --require-backends --numprocesses $(JOBS) --dist worksteal
# The versions that were tried together; `make constraints` renews the file from what is installed.
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test large lint types contracts check docs schema constraints clean

demo: $(VENV)/.user
	$(BIN)/netspec build specs/digits-cnn.yaml

test: $(VENV)/.developer
	$(PYTEST)

# The zoo at its full size, and every planted fact: minutes and gigabytes.
large: $(VENV)/.developer
	$(PYTEST) -m large

lint: $(VENV)/.developer
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.developer
	$(BIN)/mypy

contracts: $(VENV)/.developer
	$(BIN)/lint-imports

check: lint types contracts test

docs: $(VENV)/.developer
	$(BIN)/python docs/make_layers.py

schema: $(VENV)/.developer
	$(BIN)/netspec schema > docs/netspec.schema.json
	$(BIN)/netspec schema verify > docs/verify.schema.json
	$(BIN)/netspec schema against > docs/against.schema.json

constraints: $(VENV)/.developer
	$(BIN)/python -m pip freeze --exclude-editable | sed 's/+cpu//' > constraints.txt

clean:
	rm -rf $(VENV) build .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "netspec needs Python 3.11 or newer; try: make PYTHON=python3.12 demo"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.user: $(BIN)/python pyproject.toml constraints.txt
	@echo "installing netspec with PyTorch, Keras and ONNX into $(VENV); this takes a few minutes the first time"
	$(INSTALL) --editable '.[all]'
	@touch $@

$(VENV)/.developer: $(BIN)/python pyproject.toml constraints.txt
	@echo "installing netspec and its development tools into $(VENV); this takes a few minutes the first time"
	$(INSTALL) --editable '.[all,dev]'
	@touch $@ $(VENV)/.user
