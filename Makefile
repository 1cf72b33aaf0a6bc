# Needs Python >= 3.11 (with venv) and make; everything else is installed into .venv.

PYTHON ?= python3
WORKERS ?= 3
BIN := .venv/bin
INSTALLED := .venv/.installed

.PHONY: install demo up test test-long check format docs bench lock clean

install: $(INSTALLED)

$(INSTALLED): pyproject.toml requirements/dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or later is needed: make PYTHON=/path/to/python3.11 ..."; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: install  ## everything in one command: ARGS=--once to stop at the end
	$(BIN)/tallystick demo $(ARGS)

up: install  ## run everything and keep the data: ARGS="--port 8080 --data-dir DIR"
	$(BIN)/tallystick up $(ARGS)

test: install  ## all tests in their short form
	$(BIN)/python -m pytest -m "not long" -n $(WORKERS) --dist loadfile $(ARGS)

test-long: install  ## the full sizes as well: kill rounds, long loads
	$(BIN)/python -m pytest --timeout 3600 $(ARGS)

check: install  ## ruff, mypy --strict, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: install  ## write the tables of the docs that come from the code
	$(BIN)/python docs/render.py

bench: install
	$(BIN)/python -m bench $(ARGS)

lock: install  ## pin the dependencies anew, with hashes and without addresses
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-header pyproject.toml --output-file requirements/runtime.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-header pyproject.toml --group dev --constraint requirements/runtime.txt --output-file requirements/dev.txt

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
