# The two commands that a newcomer needs: `make study` and `make test`. Each makes .venv and
# installs what it needs first; nothing but Python and make is assumed.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: study test check format clean

study: $(VENV)/.study
	$(BIN)/convscape study $(ARGS)

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n 2 --dist loadfile $(ARGS)

check: $(VENV)/.dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: $(VENV)/.dev
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean:
	rm -rf $(VENV)

# The stamp files are rebuilt when what they were installed from has changed.
$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.study: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "installing convscape and what the study needs into $(VENV) (once)"
	$(PIP) -e '.[study]'
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "installing convscape and what the tests and checks need into $(VENV) (once)"
	$(PIP) -e '.[dev]'
	@touch $@ $(VENV)/.study
