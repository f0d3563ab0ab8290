# Everything that a fresh machine needs: Python 3.11 or later with venv, and make.
PYTHON ?= python3
BIN := .venv/bin
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt

# Two processes of one thread each: faster on two cores than one process of two.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

.PHONY: demo test test-older test-slow check bench clean

# What painting needs. The sample photographs are files of scikit-image: its code, and what that
# needs in turn (scipy and more), are never loaded.
.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(INSTALL) -e .
	$(INSTALL) --no-deps scikit-image
	touch $@

# What tests, checks and benchmarks need beyond that.
.venv/complete: .venv/ready
	$(INSTALL) -e '.[dev]'
	touch $@

demo: .venv/ready
	$(BIN)/impasto samples demo
	$(BIN)/impasto paint demo/cat.png --style demo/strokes.png -o demo/painted.png
	@echo "The painting is demo/painted.png; the photograph and the picture lie beside it."

test: .venv/complete
	$(PYTEST)

# What is sensitive to arithmetic, computed as a processor without vector instructions does it, nearly.
test-older: .venv/complete
	ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41 $(PYTEST) -m 'arithmetic and not slow'

# ONNX Runtime Web, for the tests of what a page is given: they need Node.
tests/instant/web/node_modules: tests/instant/web/package-lock.json
	npm ci --prefix tests/instant/web --ignore-scripts --no-audit --no-fund

# What the tests of the studio's page need: axe-core and TypeScript, a browser where the system has
# one to install (they are skipped without), and what drives it.
tests/studio/web/node_modules: tests/studio/web/package-lock.json
	npm ci --prefix tests/studio/web --ignore-scripts --no-audit --no-fund

.venv/browser: .venv/complete
	command -v chromium || apt-get install -y chromium || echo "no Chromium: tests of the page are skipped"
	$(INSTALL) -e '.[browser]'
	touch $@

# A server that speaks S3, and what reads from it, beside the rest: they pin other versions of what both need.
.venv/s3: .venv/complete tests/cli/s3.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --upgrade --target .venv/s3 -r tests/cli/s3.txt
	touch $@

test-slow: .venv/browser .venv/s3 tests/instant/web/node_modules tests/studio/web/node_modules
	$(BIN)/python -m pytest -m slow

check: .venv/complete
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(PYTEST)

# A quarter of an hour on two quiet cores; needs nothing but the package.
bench: .venv/complete
	$(BIN)/python bench/startup.py
	$(BIN)/python bench/speed.py
	$(BIN)/python bench/precision.py
	$(BIN)/python bench/memory.py
	$(BIN)/python bench/plots.py

clean:
	rm -rf .venv demo
