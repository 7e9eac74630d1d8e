# make install | demo | test | lint | docs | zoo. Everything lives in .venv; nothing else on the machine is touched.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
# Measured data are looked up here first, if the folder exists; otherwise downloaded once on demand.
export IPADS_DATA ?= $(wildcard ../shared/data)

.PHONY: install demo test tests lint docs zoo clean

install: $(STAMP)

$(STAMP): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed, this is " + sys.version)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet torch==2.13.0
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $(STAMP)

demo: install
	rm -rf runs/demo
	$(BIN)/ipads-stream train trainer=demo output=runs/demo
	$(BIN)/ipads-stream evaluate checkpoint=runs/demo/run.ckpt data=ubiquitin subset=demo

# Side by side: what lint does on one core, the tests do not wait for.
test: install
	$(MAKE) --no-print-directory -j2 lint tests

tests: install
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not paper"

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

zoo: install
	$(BIN)/python experiments/zoo.py

docs: install
	$(BIN)/sphinx-build -W --keep-going docs docs/_build/html

clean:
	rm -rf $(VENV) docs/_build docs/api docs/auto_gallery docs/results
