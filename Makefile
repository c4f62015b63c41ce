# Every target sets up .venv by itself. PYTHON can name another interpreter: make test PYTHON=python3.12
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Two test processes with one thread each use two cores without fighting over them.
export OMP_NUM_THREADS ?= 1

.PHONY: demo example test test-slow test-notebooks test-browser lint bench clean

demo: $(READY)
	$(BIN)/collapse-lab demo

# The committed example anew, after a change of what a page says: the demo's runs, and a picture by a headless chromium.
example: $(READY)
	$(BIN)/collapse-lab demo --out reports/example
	chromium --headless --no-sandbox --disable-gpu --hide-scrollbars --virtual-time-budget=4000 --window-size=1200,2660 \
	  --screenshot=$(CURDIR)/reports/example/page.png file://$(CURDIR)/reports/example/index.html

test: $(READY)
	$(BIN)/python -m pytest -n auto --dist worksteal

test-slow: $(READY)
	$(BIN)/python -m pytest -n auto --dist worksteal -m slow

test-notebooks: $(READY)
	$(BIN)/python -m pytest -n 0 -m notebooks tests/test_notebooks.py

# In a headless chromium (Debian: apt-get install chromium); without one its tests are skipped by name.
test-browser: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,browser]'
	$(BIN)/python -m pytest -m browser -rs tests/browser

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(READY)
	$(BIN)/python -m benchmarks --quick

clean:
	rm -rf $(VENV) .pytest_cache .hypothesis .mypy_cache .ruff_cache reports/demo

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else f"Python >= 3.11 is needed, this is {sys.version.split()[0]}; name another: make $(MAKECMDGOALS) PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $(READY)
