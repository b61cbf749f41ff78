# make demo   set everything up and compress the sample
# make test   set everything up and run the tests
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.PHONY: help demo test lint types format bench docs clean clean-kernels

help:
	@sed -n 's/^# //p' Makefile
	@echo "make lint   check style; make types: check types; make format: mend style"
	@echo "make docs   make the API reference, docs-html/index.html"
	@echo "make bench  run the benchmarks (needs EMBCOMPRESS_DATA, takes about half an hour)"

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; name one with: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $(STAMP)

demo: $(STAMP)
	@BIN=$(BIN) sh data/demo.sh

test: $(STAMP)
	@# linear algebra on one thread: the workers take the cores
	OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(STAMP)
	$(BIN)/mypy

bench: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev,bench]"
	$(BIN)/python benchmarks/run.py

docs: $(STAMP)
	$(BIN)/python docs/make_api.py

clean-kernels:  # numba does not see when a kernel that another calls has changed
	find embcompress -name "*.nb[ci]" -delete

clean: clean-kernels
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis demo-output docs-html
