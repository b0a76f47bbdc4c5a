# Everything a newcomer needs: `make demo` and `make test` do all by themselves on a machine with Python, git and make
# (an engine is installed on Debian and Ubuntu as root; elsewhere scripts/engine says what is missing).

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
# Without bytecode each process of the tests compiles them anew: 3 s of processor time in each.
unexport PYTHONDONTWRITEBYTECODE

# Parallel test processes: one more than cores, up to four, because the slow tests wait for the engine more than they compute.
WORKERS ?= $(shell cores=$$(getconf _NPROCESSORS_ONLN); echo $$((cores < 3 ? cores + 1 : 4)))
# Nothing here may hang for ever: seconds.
TEST_TIMEOUT ?= 3000

# What `make slow` runs. One file alone, on a new machine: scripts/bare make slow WORKERS=0 TESTS=tests/e2e/test_new_project.py
TESTS ?= tests/engine tests/e2e tests/differential

PYTHON_IN := .venv/bin/python
# One file's tests stay in one process, so that what they share is made once; tests/support/order.py orders the files.
PYTEST := pytest -q -n $(WORKERS) --dist loadfile --no-loadscope-reorder
SLOW := timeout $(TEST_TIMEOUT) $(PYTHON_IN) -m $(PYTEST)
COVERED := .cache/coverage
# Programs in Python without an ending: each is a module of its own to mypy, under its own name.
PROGRAMS := examples/vllm-kernels/build.py examples/vllm-kernels/prepare examples/vllm-kernels/replay examples/vllm-kernels/units scripts/action scripts/collect scripts/compare scripts/disk scripts/mutants scripts/pictures scripts/reference scripts/transcripts scripts/versions
SCRIPTS := scripts/apt-source.sh $(shell grep -lsE '^\#!.*\b(ba)?sh\b' scripts/* .ci/run docker/*.sh)

.PHONY: help setup engine disk demo test lint types unit slow clean

help: ## this list
	@sed -nE 's/^([a-z]+):.*## (.*)/  make \1\t\2/p' Makefile | expand -t 16

setup: ## the development environment in .venv, pinned by hash; skipped where it is in order
	@scripts/setup

engine: ## a Docker engine with buildx and a local registry
	@scripts/engine up

demo: setup engine ## plan, build, push and show the example for CUDA 13.0
	@eval "$$(scripts/engine env)"; PATH="$$PWD/.venv/bin:$$PATH" scripts/demo

lint: setup ## style of Python and shell, dead code, workflows, the site
	@$(PYTHON_IN) -m ruff check .
	@$(PYTHON_IN) -m ruff format --check .
	@$(PYTHON_IN) -m vulture orchestrator scripts/allowlist.py --min-confidence 60
	@.venv/bin/shellcheck -x $(SCRIPTS)
	@.venv/bin/zizmor --offline --no-progress --quiet --min-severity medium .github action.yml
	@.venv/bin/check-jsonschema --quiet --builtin-schema vendor.github-workflows .github/workflows/*.yml
	@.venv/bin/check-jsonschema --quiet --builtin-schema vendor.github-actions action.yml
	@.venv/bin/check-jsonschema --quiet --builtin-schema vendor.dependabot .github/dependabot.yml
	@.venv/bin/check-jsonschema --quiet --builtin-schema vendor.github-issue-forms .github/ISSUE_TEMPLATE/fault.yml .github/ISSUE_TEMPLATE/wish.yml
	@said=$$(NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build --strict 2>&1) || { printf '%s\n' "$$said"; exit 1; } # --quiet hides warnings from --strict
	@if grep -rnoE '<(script|link|img|iframe|source)[^>]* (src|href)="(https?:)?//[^"]*' --include='*.html' .cache/site || grep -rnoE '(url\(|@import )["'"'"']?(https?:)?//[^)]*' --include='*.css' .cache/site; then \
		echo "a page of the site loads from another host" >&2; exit 1; fi
	@if command -v actionlint >/dev/null; then actionlint; else echo "actionlint is not on PATH: it did not run here, ci.yml runs it"; fi

types: setup ## mypy --strict on everything
	@$(PYTHON_IN) -m mypy
	@$(PYTHON_IN) -m mypy --scripts-are-modules $(PROGRAMS)
	@$(PYTHON_IN) -m mypy scripts/coverage # alone: others import the package of that name

unit: setup ## the tests that need nothing, with a tenth of their generated inputs
	@ORCHESTRATE_TESTS=quick $(PYTHON_IN) -m $(PYTEST) tests/unit

slow: setup engine ## the tests that need an engine, or those of TESTS
	@eval "$$(scripts/engine env)"; $(SLOW) $(TESTS)

# Style and types are reported first and fail the run, but they do not keep the tests from running.
test: disk setup engine ## everything: style, types, and all tests on a real engine, with their coverage
	@rc=0; $(MAKE) --jobs=2 lint types || rc=1; eval "$$(scripts/engine env)"; rm -rf $(COVERED); mkdir -p $(COVERED); \
	timeout $(TEST_TIMEOUT) $(PYTHON_IN) -m coverage run -m $(PYTEST) tests || rc=1; \
	$(PYTHON_IN) scripts/coverage || rc=1; exit "$$rc"

disk:
	@scripts/disk

clean: ## what builds and tests left in the checkout; the engine is stopped with scripts/engine down
	rm -rf .venv .cache .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
