# Everything here sets itself up: Python 3.11 or newer and make are enough. `make` lists the targets.

PYTHON ?= python3
DEMO_DIR ?= demo
DEMO_ARGS ?=
FUZZ ?= 2000
PYTEST_ARGS ?= -n 2 --dist worksteal
# Benchmarks by name, all of them if none is given; BENCH_ARGS=--long for the long variants.
BENCH ?=
BENCH_ARGS ?=
# `make gpu` in an environment, or by an interpreter, that is there; options of `python -m benchmarks.gpu`.
ENV ?=
GPU_ARGS ?=
# What `make reference` does: `make FILE`, `compare FILE`, `compare FILE --only help`.
REFERENCE_ARGS ?= --help
# Test files that run whole under torch-harmonics 0.8.0; so do all tests marked `th080`.
TH080_TESTS ?= tests/checkpoints/test_native.py

VENV := .venv
BIN := $(VENV)/bin
TH080 := .venv-th080
ACE := .venv-ace
TOOLS := .venv-tools
GPU := .venv-gpu
SITE := site
DIST := dist
PIP_OPTIONS := --disable-pip-version-check --quiet
PIP := $(BIN)/python -m pip $(PIP_OPTIONS)
ACE_PIP := $(ACE)/bin/python -m pip $(PIP_OPTIONS)
TOOLS_PIP := $(TOOLS)/bin/python -m pip $(PIP_OPTIONS)

# A stamp's name holds a checksum of what the environment was made from, so that an environment is
# used again exactly as long as that is unchanged, whatever the files' dates; a clone that was moved
# or copied makes its own. Stamps are written last: an interrupted set-up leaves none.
checksum = $(shell (cat $(1); echo "$(CURDIR)") | cksum | cut -d ' ' -f 1)
ENVIRONMENT := $(VENV)/environment-$(call checksum,requirements.lock).stamp
PACKAGE := $(VENV)/package-$(call checksum,requirements.lock pyproject.toml).stamp
OVERLAY := $(TH080)/overlay-$(call checksum,requirements.lock).stamp
ACE_ENVIRONMENT := $(ACE)/environment-$(call checksum,requirements-ace.lock).stamp
ACE_PACKAGE := $(ACE)/package-$(call checksum,requirements-ace.lock pyproject.toml).stamp
GPU_ENVIRONMENT := $(GPU)/environment-$(call checksum,requirements.lock).stamp
TOOLS_ENVIRONMENT := $(TOOLS)/environment-$(call checksum,requirements-tools.lock).stamp

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help venv test lint types pytest soak fuzz malformed reference demo test-080 ace-venv ace \
    bench gpu programs exchange docs package picture lock format clean

help: ## list the targets
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1:/p' Makefile | awk -F: '{printf "  make %-10s %s\n", $$1, $$2}'

venv: $(PACKAGE) ## set up .venv, or find it current

test: lint types pytest ## ruff, mypy and pytest

lint: $(PACKAGE)
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check . || { echo "run: make format"; exit 1; }

types: $(PACKAGE)
	$(BIN)/python -m mypy

# One thread per process: on the tests' small grids more threads only wait for each other.
pytest: $(PACKAGE)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(PYTEST_ARGS)

soak: $(PACKAGE) ## kill runs a hundred times and more, and compare their numbers; many minutes
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/run_folder/test_kill.py tests/run_folder/test_faults.py tests/emulator/test_splitting.py --kills 100

fuzz: $(PACKAGE) ## change every kind of file in FUZZ ways, 2000 by default, and read it; many minutes
	RESPEVAL_FUZZ=$(FUZZ) OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/test_fuzz.py

malformed: $(PACKAGE) ## write docs/malformed.md: what respeval says of malformed input
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.support.malformed

# It judges the respeval that it lies beside, whatever .venv has installed.
reference: $(PACKAGE) ## hold all numbers and messages against earlier ones; REFERENCE_ARGS="compare FILE"
	$(BIN)/python tests/support/reference.py $(REFERENCE_ARGS)

demo: $(PACKAGE) ## the whole tool on the bundled planet; DEMO_DIR=folder DEMO_ARGS="--years 1"
	$(BIN)/python -m respeval demo $(DEMO_DIR) $(DEMO_ARGS)

# The marked tests of other files run first, where there are any, so that the run ends on the listed
# ones. PYTHONPATH goes before .venv's packages, in every process that a test starts too.
test-080: $(PACKAGE) $(OVERLAY) ## the checkpoint tests under torch-harmonics 0.8.0
	@export PYTHONPATH="$(CURDIR)/$(TH080)" OMP_NUM_THREADS=1; \
	$(BIN)/python -c 'from importlib.metadata import version; import torch_harmonics; \
	    assert "$(TH080)" in torch_harmonics.__file__, torch_harmonics.__file__; \
	    assert version("torch-harmonics") == "0.8.0", version("torch-harmonics")' || exit 1; \
	marked=$$(grep -rl 'mark\.th080' tests --include='test_*.py' || true); \
	for file in $(TH080_TESTS); do \
	    marked=$$(echo $$marked | tr ' ' '\n' | grep -vxF "$$file" || true); \
	done; \
	if [ -n "$$marked" ]; then \
	    $(BIN)/python -m pytest -m th080 $$marked || exit 1; \
	fi; \
	$(BIN)/python -m pytest $(TH080_TESTS)

ace-venv: $(ACE_PACKAGE) ## set up .venv-ace, with fme and torch-harmonics 0.8.0

# The checkpoints are trained when their scripts or packages change, else found in .ace-fixtures. What a
# GPU would be tested with is rehearsed on the CPU.
ace: $(ACE_PACKAGE) ## train small ACE checkpoints (once), and run the tests that read them
	$(ACE)/bin/python -m tests.support.ace.make_fixtures
	OMP_NUM_THREADS=1 RESPEVAL_GPU_TESTS=cpu $(ACE)/bin/python -m pytest $(PYTEST_ARGS) tests/ace tests/gpu/test_ace.py

# What is compared runs on one thread per process. Without `make ace-venv` fme is left out.
bench: $(PACKAGE) ## measure, and write docs/benchmarks.md; BENCH="overhead memory" BENCH_ARGS=--long
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks $(BENCH) $(BENCH_ARGS)

# In an environment that is there nothing is installed: respeval is imported from where this file lies.
# Without a GPU there is nothing to set up for one: .venv says so, or rehearses.
gpu: ## check and measure on a CUDA device, eight minutes; ENV=environment GPU_ARGS="--parts noise"
	@if [ -n "$(ENV)" ]; then \
	    python="$(ENV)"; [ ! -d "$$python" ] || python="$$python/bin/python"; \
	elif nvidia-smi -L > /dev/null 2>&1 || [ -e /dev/nvidia0 ]; then \
	    $(MAKE) --no-print-directory $(GPU_ENVIRONMENT) && python=$(GPU)/bin/python; \
	else \
	    $(MAKE) --no-print-directory $(PACKAGE) && python=$(BIN)/python; \
	fi && \
	PYTHONPATH="$(CURDIR)$${PYTHONPATH:+:$$PYTHONPATH}" "$$python" -m benchmarks.gpu $(GPU_ARGS)

# CDO and ncdump are no Python packages. Where a system is another one, its user installs them.
programs:
	@command -v cdo > /dev/null && command -v ncdump > /dev/null && exit 0; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null; then \
	    echo "installing cdo and netcdf-bin"; \
	    apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y \
	        --no-install-recommends cdo netcdf-bin > /dev/null; \
	else \
	    echo "cdo and ncdump are needed; on Debian: apt-get install cdo netcdf-bin" >&2; exit 1; \
	fi

exchange: programs $(PACKAGE) $(TOOLS_ENVIRONMENT) ## read every netCDF file of a demo as strangers do; DEMO_DIR=folder
	$(BIN)/python -m tests.support.exchange.make_files $(DEMO_DIR)
	$(TOOLS)/bin/python -m pytest --confcutdir=tests/exchange -p no:cacheprovider \
	    tests/exchange --folder $(DEMO_DIR)

docs: $(TOOLS_ENVIRONMENT) ## the pages of docs/ as a site, in site/
	$(TOOLS)/bin/mkdocs build --strict --site-dir $(SITE)

# Built by the locked hatchling; the wheel runs in .venv, before the respeval that is installed there.
package: $(PACKAGE) $(TOOLS_ENVIRONMENT) ## build the wheel and the sdist in dist/, and check them and the containers
	rm -rf $(DIST)
	$(TOOLS)/bin/python -m build --no-isolation --outdir $(DIST) . > /dev/null
	$(TOOLS)/bin/twine check --strict $(DIST)/*
	$(BIN)/python .ci/check_package.py $(DIST)
	$(TOOLS)/bin/hadolint containers/Dockerfile

picture: $(PACKAGE) ## draw docs/images/architecture.svg, the wings and the ways of the data
	$(BIN)/python -m tests.support.architecture

lock: ## resolve pyproject.toml anew and write the lock files
	$(find-python); "$$python" .ci/lock.py requirements.lock requirements-ace.lock requirements-tools.lock \
	    containers/requirements.lock

format: $(PACKAGE) ## format, and mend what ruff can mend
	$(BIN)/python -m ruff format .
	$(BIN)/python -m ruff check --fix .

clean: ## remove the environments, the demo and all caches
	rm -rf $(VENV) $(TH080) $(ACE) $(TOOLS) $(GPU) $(SITE) .ace-fixtures demo build $(DIST) .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The first of these that is new enough and can make environments.
define find-python
@set -e; for python in $(PYTHON) python3.13 python3.12 python3.11 ""; do \
    [ -n "$$python" ] || { echo "respeval needs Python 3.11 or newer with venv; say which: make PYTHON=/path/to/python3.11" >&2; exit 1; }; \
    "$$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && break; \
done
endef

# Three steps, because of how torch and torch-harmonics install:
# 1. torch alone, by name, at the locked version and with its own dependencies: a CPU build needs only
#    what is locked, a CUDA build brings the CUDA libraries that belong to it.
# 2. Everything else with --no-deps. torch-harmonics 0.9.3 asks for torch 2.14 (several GB of CUDA) but
#    works beside 2.13, and `make` takes it because it is a wheel and what users get: nothing is built
#    on a fresh machine. 0.8.0 is a source build, for test-080 only.
# 3. respeval itself, built by the locked hatchling (below).
define install-locked
	rm -rf $(1)
	$(find-python); echo "setting up $(1) with $$("$$python" --version)"; "$$python" -m venv $(1)
	@echo "installing torch"
	@$(1)/bin/python -m pip $(PIP_OPTIONS) install --constraint requirements.lock torch
	@echo "installing the packages of requirements.lock"
	@$(1)/bin/python -m pip $(PIP_OPTIONS) install --no-deps --requirement requirements.lock
endef

$(ENVIRONMENT):
	$(call install-locked,$(VENV))
	@touch $@

# Where pip's index has a CUDA build of the locked torch it brings CUDA's libraries: several GB.
$(GPU_ENVIRONMENT):
	$(call install-locked,$(GPU))
	@$(GPU)/bin/python -c 'import torch; assert torch.version.cuda' 2> /dev/null || { \
	    echo "pip found a torch $$($(GPU)/bin/python -c 'import torch; print(torch.__version__)') without CUDA;" \
	        "name an environment that has one: make gpu ENV=/path" >&2; exit 1; }
	@touch $@

$(PACKAGE): $(ENVIRONMENT)
	@echo "installing respeval"
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@rm -f $(VENV)/package-*.stamp
	@touch $@

# torch-harmonics 0.8.0 (which ACE pins) exists as source only. It goes to a folder of its own, laid
# over .venv by PYTHONPATH, so that all other packages are .venv's. Build isolation hides torch from its
# set-up script, which then leaves out the C++ extensions: no compiler, seconds instead of a minute.
# Only CUDA convolutions that respeval does not use would call them. The cache is left out because it
# may hold a build with extensions, made against another torch.
$(OVERLAY): | $(ENVIRONMENT)
	rm -rf $(TH080)
	@mkdir $(TH080)
	@grep -v '^torch' requirements.lock > $(TH080)/build-constraints.txt
	@echo "installing torch-harmonics 0.8.0"
	@PIP_CONSTRAINT="$(CURDIR)/$(TH080)/build-constraints.txt" \
	    $(PIP) install --no-cache-dir --no-deps --target $(TH080) torch-harmonics==0.8.0
	@touch $@

# All of fme's packages at one version, without asking pip to choose: fme itself imports fewer, but so
# `pip check` agrees, and it is what a user of respeval[ace] gets. pip would compile them on one core;
# not to compile them costs every process 5 s where Python may not write bytecode. torch first and
# torch-harmonics last for the reasons above, build isolation and cache included.
$(ACE_ENVIRONMENT):
	rm -rf $(ACE)
	$(find-python); echo "setting up $(ACE) with $$("$$python" --version)"; "$$python" -m venv $(ACE)
	@echo "installing torch"
	@$(ACE_PIP) install --no-compile --constraint requirements-ace.lock torch
	@echo "installing the packages of requirements-ace.lock"
	@grep -v '^torch-harmonics' requirements-ace.lock > $(ACE)/wheels.txt
	@$(ACE_PIP) install --no-compile --no-deps --requirement $(ACE)/wheels.txt
	@echo "installing torch-harmonics 0.8.0"
	@grep -v '^torch' requirements-ace.lock > $(ACE)/build-constraints.txt
	@PIP_CONSTRAINT="$(CURDIR)/$(ACE)/build-constraints.txt" \
	    $(ACE_PIP) install --no-cache-dir --no-deps torch-harmonics==0.8.0
	@echo "compiling them"
	@$(ACE)/bin/python -m compileall -j 0 -qq $(ACE)/lib > /dev/null || true # some are no Python 3
	@touch $@

# No respeval: these programs are to read what it writes without its help.
$(TOOLS_ENVIRONMENT):
	rm -rf $(TOOLS)
	$(find-python); echo "setting up $(TOOLS) with $$("$$python" --version)"; "$$python" -m venv $(TOOLS)
	@echo "installing the packages of requirements-tools.lock"
	@$(TOOLS_PIP) install --no-compile --no-deps --requirement requirements-tools.lock
	@touch $@

$(ACE_PACKAGE): $(ACE_ENVIRONMENT)
	@echo "installing respeval"
	@$(ACE_PIP) install --no-deps --no-build-isolation --editable .
	@rm -f $(ACE)/package-*.stamp
	@touch $@
