# Everything that a fresh machine needs: Python 3.11 or later with venv, and make.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test test-slow check bench clean

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev]' -c constraints.txt
	touch $@

demo: .venv/ready
	$(BIN)/impasto samples demo
	$(BIN)/impasto paint demo/cat.png --style demo/strokes.png -o demo/painted.png
	@echo "The painting is demo/painted.png; the photograph and the picture lie beside it."

test: .venv/ready
	$(BIN)/python -m pytest

test-slow: .venv/ready
	$(BIN)/python -m pytest -m slow

check: .venv/ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest

# A quarter of an hour on two quiet cores; needs nothing but the package.
bench: .venv/ready
	$(BIN)/python bench/startup.py
	$(BIN)/python bench/speed.py
	$(BIN)/python bench/precision.py
	$(BIN)/python bench/memory.py
	$(BIN)/python bench/plots.py

clean:
	rm -rf .venv demo
