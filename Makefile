# make run    the pipeline at hand, then the table; RECIPE=name SET="train.steps=50 mine.margin=0.9" write params.yaml first
# make plan   what the run at hand (or RECIPE=name) will cost: hours, memory, disk
# make test   the whole test suite
# make fast   the tests that take no third of a second each
# make check  ruff, mypy, import layers
# make ui     MLflow and Prefect servers on loopback; MLFLOW_PORT=5001 PREFECT_PORT=4201 for other ports
# make ablation  every ingredient of the recipe on and off, in hours; ARGS="--only full naive" for some; continues after a kill
# make results   docs/results.md and README's table from .cache/quality.json, ablation.json and transfer.json
# make reproduce RUN=<id or version>   a run again, from its own code, parameters and data
# make remake the environment .venv again, after an interrupted installation; PYTHON=python3.12 with another Python
# make infra-check   everything under infra/ that can be checked without a container engine
# make help   this list
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help run plan test fast check ui ablation results reproduce remake infra-check

PYTHON ?= python3
RESULTS := $(foreach name,quality ablation transfer,--$(name) .cache/$(name).json)
RUN_ENV := .venv/.run
TEST_ENV := .venv/.test
# Three processes for two cores: tests of servers, schedules and kills mostly wait.
PYTEST := OMP_NUM_THREADS=1 python -m pytest -n 3 --dist loadfile --no-loadscope-reorder
export PATH := $(CURDIR)/.venv/bin:$(PATH)
# Scripts of an environment name its Python by the whole path: after the checkout was moved, or that Python removed, none
# of them starts. Then what makes the environment is asked again, and check_first says so.
NO_PYTHON := $(shell python="$$(grep -aom1 '/[^"]*/bin/python[0-9.]*' .venv/bin/foundry 2>/dev/null)" && ! test -x "$$python" && echo yes)
ifdef NO_PYTHON
.PHONY: $(RUN_ENV) $(TEST_ENV)
endif
export DO_NOT_TRACK := true
export DVC_NO_ANALYTICS := 1

help:
	@sed -n 's/^# make/make/p' Makefile

run: $(RUN_ENV)
	@foundry run $(if $(RECIPE),--recipe $(RECIPE)) $(foreach change,$(SET),--set '$(change)')

plan: $(RUN_ENV)
	@foundry plan $(if $(RECIPE),--recipe $(RECIPE))

test: $(TEST_ENV)
	$(PYTEST)

fast: $(TEST_ENV)
	$(PYTEST) -m "not slow"

check: $(TEST_ENV)
	ruff check .
	ruff format --check .
	lint-imports
	mypy

ui: $(RUN_ENV)
	@foundry ui $(if $(MLFLOW_PORT),--mlflow-port $(MLFLOW_PORT)) $(if $(PREFECT_PORT),--prefect-port $(PREFECT_PORT))

ablation: $(RUN_ENV)
	@python -m benchmarks.ablation --folder .cache/ablation --json .cache/ablation.json $(ARGS)

results: $(RUN_ENV)
	@python -m benchmarks.results $(RESULTS) > docs/results.md.new && mv docs/results.md.new docs/results.md
	@python -m benchmarks.results $(RESULTS) --readme README.md

reproduce: $(RUN_ENV)
	@foundry reproduce $(RUN)

infra-check: $(TEST_ENV)
	@python -m infra.check

remake:
	@rm -rf .venv
	@$(MAKE) --no-print-directory $(RUN_ENV)

# What is missing on a new machine, with its cure, before anything is installed.
define check_first
	@command -v git >/dev/null || { echo "error: git is not installed; install it and clone the repository" >&2; exit 1; }
	@git rev-parse --git-dir 2>&1 | grep -q "not a git repository" && { echo "error: $(CURDIR): not a git repository \
	(a downloaded zip?); clone it instead, or: git init && git add -A && git commit -m start" >&2; exit 1; } || true
	@test -z "$(NO_PYTHON)" || { echo "error: .venv was made in another folder (was this checkout moved?) or its Python is \
	gone: make remake" >&2; exit 1; }
	@if test -e .venv; then \
	  pip="$$(command -v uv >/dev/null || echo 'import pip; ')"; .venv/bin/python -c "$$pip$(FITS)" 2>/dev/null || { echo "error: .venv is incomplete or has another Python than \
	3.11 to 3.13: make remake, or make remake PYTHON=python3.12" >&2; exit 1; }; \
	elif ! command -v uv >/dev/null; then \
	  $(PYTHON) -c '$(FITS)' 2>/dev/null || { echo "error: $(PYTHON) is missing or not Python 3.11 to 3.13: install one \
	(Ubuntu 22.04: apt install python3.11 python3.11-venv) and name it: make $(MAKECMDGOALS) PYTHON=python3.11" >&2; exit 1; }; \
	fi
endef
FITS := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))

# The two environments are one folder; tests need more packages in it. uv when there is one, else pip. uv is told the
# folder of wheels that pip is set up with (if any); no index and no build of torch is chosen here.
define install
	@if command -v uv >/dev/null; then \
	  test -d .venv || uv venv --quiet --python $(PYTHON) .venv; \
	  links="$$($(PYTHON) -m pip config get global.find-links 2>/dev/null)"; \
	  uv pip install --quiet --python .venv/bin/python $${links:+--find-links "$$links"} -c constraints.txt -e '$(1)'; \
	else \
	  test -d .venv || $(PYTHON) -m venv .venv; \
	  .venv/bin/python -m pip install --quiet -c constraints.txt -e '$(1)'; \
	fi
	@touch $@
endef

$(RUN_ENV): pyproject.toml constraints.txt
	$(check_first)
	$(call install,.)

$(TEST_ENV): pyproject.toml constraints.txt
	$(check_first)
	$(call install,.[test])
	@touch $(RUN_ENV)
