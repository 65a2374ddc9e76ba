# Two commands: `make book` and `make test`. Both make the environment first, once.
PYTHON ?= python3
BIN := .venv/bin
export OMP_WAIT_POLICY := PASSIVE
SIDE_BY_SIDE := -n auto --maxprocesses 4

.PHONY: book test test-slow check-site serve lock clean

book: .venv/ready
	$(BIN)/python book/build.py

test: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) --dist loadfile -m "not slow and not browser"

test-slow: .venv/ready
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m slow

check-site: book
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) --dist loadgroup -m browser

serve: book
	$(BIN)/python -m http.server 8000 --directory _build/html --bind 127.0.0.1

lock: .venv/ready
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --all-extras --no-header \
		--no-annotate $(if $(UPGRADE),--upgrade) pyproject.toml --output-file requirements.lock

.venv/ready: requirements.lock pyproject.toml
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'litgen needs Python 3.11 or newer')"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --no-deps --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

clean:
	rm -rf _build
