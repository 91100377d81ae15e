# `make demo` and `make test` need Python 3.10 or newer and a C compiler; each prepares its own environment in $(VENV).
SHELL := /bin/bash
VENV ?= .venv
PYTEST_ARGS ?= -n auto
EXAMPLES ?= 1000
SEED ?= 0
ONLY ?=
PART ?= 1/1
BIN := $(VENV)/bin
# What an installation is made of. Python files are not: the installation is editable.
SOURCES := setup.py pyproject.toml tedsl/version.py $(shell find tedsl schedule backends autodiff -name '*.pyx' -o -name '*.px[id]' 2>/dev/null)
# A bare ./tedsl on the path would hide the installed package from `python -m`.
export PYTHONSAFEPATH := 1

.DEFAULT_GOAL := help
.PHONY: help demo test lint types fuzz exhaustive portable bench clean
.DELETE_ON_ERROR:

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.ready ## classify handwritten digits with compiled index expressions, then the lecture's matrix product
	@$(BIN)/python -m tedsl.demo
	@printf '\n$$ tedsl casestudy --n 512\n'
	@$(BIN)/python -m tedsl casestudy --n 512

test: $(VENV)/.ready-test ## run the tests
	$(BIN)/pytest -p no:cacheprovider $(PYTEST_ARGS)

lint: $(VENV)/.ready-lint ## check style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.ready-lint ## check types, in the layout that is installed
	@rm -rf build/types/tedsl
	@$(BIN)/python setup.py -q build_py --build-lib build/types
	cd build/types && $(abspath $(BIN))/mypy --config-file $(CURDIR)/pyproject.toml --cache-dir $(CURDIR)/.mypy_cache -p tedsl

fuzz: $(VENV)/.ready-test ## the property tests with many more examples (EXAMPLES=1000 SEED=0)
	TEDSL_FUZZ_EXAMPLES=$(EXAMPLES) $(BIN)/pytest -p no:cacheprovider -m fuzz --hypothesis-profile=fuzz \
	  --hypothesis-seed=$(SEED) --hypothesis-show-statistics $(PYTEST_ARGS)

portable: $(VENV)/.ready-test ## kernels on AArch64, by qemu and a cross compiler (EXAMPLES=100 random programs)
	TEDSL_PORTABLE_PROGRAMS=$(EXAMPLES) $(BIN)/pytest -p no:cacheprovider tests/backends/test_portable.py $(PYTEST_ARGS)

exhaustive: $(VENV)/.ready-test ## the vector functions at every float32 there is (hours; ONLY=sin-avx2 PART=1/8 for less)
	TEDSL_VECTOR_MATH_STRIDE=1 TEDSL_VECTOR_MATH_PART=$(PART) $(BIN)/pytest -p no:cacheprovider \
	  tests/backends/test_vector_math.py -k 'float32_range[$(ONLY)' $(PYTEST_ARGS)

bench: $(VENV)/.ready-bench ## measure against NumPy and others
	@for file in benchmarks/[!_]*.py; do \
	  echo "== $$file"; TEDSL_BENCH_DOCS=$(CURDIR)/docs/performance.md $(BIN)/python $$file $(BENCH_ARGS) || exit 1; \
	done

clean: ## remove what was built (the environment stays)
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	rm -f $(VENV)/.ready*
	find tedsl schedule backends autodiff tests \( -name '*.so' -o -name '*.pyc' \) -delete
	rm -f backends/c/runtime.c

# An environment that is there is used as it is, unless its Python does not run or is too old.
$(VENV)/.python:
	@if ! $(BIN)/python -c 'import sys, pip; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then \
	  for python in $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11 python3.10 python; do \
	    if $$python -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then found=$$python; break; fi; \
	  done; \
	  if [ -z "$$found" ]; then echo 'tedsl needs Python 3.10 or newer; none is on PATH (set PYTHON=/path/to/python3).' >&2; exit 1; fi; \
	  echo "Making $(VENV) with $$($$found --version) ..."; \
	  $$found -m venv --clear $(VENV) || { echo "$$found cannot make a virtual environment (on Debian: apt install python3-venv)." >&2; exit 1; }; \
	fi
	@touch $@

INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check

$(VENV)/.ready: $(VENV)/.python $(SOURCES)
	@echo 'Installing tedsl and NumPy into $(VENV), and compiling its extension: a minute or two, once ...'
	@$(INSTALL) --editable .
	@touch $@

$(VENV)/.ready-%: $(VENV)/.python $(SOURCES)
	@echo 'Installing tedsl and what "make $*" needs into $(VENV), and compiling its extension: some minutes, once ...'
	@$(INSTALL) --editable '.[$*]'
	@touch $(VENV)/.ready $@
