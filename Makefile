# `make` alone lists what there is. Everything Python lives in .venv, from the lock files in operator/requirements.

VENV := .venv
BIN  := $(VENV)/bin
LOCKS := operator/requirements
CHART := charts/nexus
# The first Python that is new enough; say `make PYTHON=...` for another.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$p" && break; done)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test test-long test-fast format lint images cluster cluster-down deploy bench crds lock sbom clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' Makefile | while IFS='|' read -r t d; do printf '%-20s %s\n' "$$t" "$$d"; done

demo: $(VENV)/.runtime ## run examples/sales.yaml on this machine: no cluster, nothing but Python
	@$(BIN)/python examples/orders/serve.py $(BIN)/nexus run -f examples/sales.yaml --local --param 'orders={url}'

test: $(VENV)/.dev ## every test, the ones on a real cluster (it comes up and goes down by itself) too
	@$(BIN)/python -m pytest -n auto --max-worker-restart 0

test-long: $(VENV)/.dev ## the same with all that takes long: ten thousand runs of the state machine, larger searches
	@NEXUS_LONG=1 HYPOTHESIS_PROFILE=ci $(BIN)/python -m pytest -n auto --max-worker-restart 0

test-fast: $(VENV)/.dev ## the tests that need no cluster, each with a part of its cases
	@NEXUS_FAST=1 $(BIN)/python -m pytest -n auto -m 'not cluster'

format: $(VENV)/.dev ## format the Python code as `make lint` checks it
	@$(BIN)/ruff check --quiet --fix-only operator tests examples charts
	@$(BIN)/ruff format --quiet operator tests examples charts

lint: $(VENV)/.dev ## style, types, layers, words, and generated files that match the models
	@$(BIN)/ruff check operator tests examples charts
	@$(BIN)/ruff format --check --diff operator tests examples charts
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python -m nexus.api.crd --check crds $(CHART)/files/crds
	@$(BIN)/python -m nexus.api.reference --check docs
	@$(BIN)/python -m nexus.app.settings_page --check docs
	@$(BIN)/python charts/settings.py --check $(CHART)
	@$(BIN)/python charts/readme.py --check $(CHART)
	@$(BIN)/python tests/wording.py
	@echo "lint: all clean"

cluster: ## start a local cluster and print its KUBECONFIG (KWOK=1: with fake nodes, for scale)
	@$(or $(PYTHON),python3) tests/cluster/cluster.py up

cluster-down: ## stop it; nothing of it is left
	@$(or $(PYTHON),python3) tests/cluster/cluster.py down

images: ## build the operator's and the tasks' images with Docker, tag dev
	docker build --tag nexus/operator:dev operator
	@for folder in task-images/*/; do task=$$(basename $$folder); \
		(set -x; docker build --tag nexus/task-$$task:dev task-images/$$task) || exit 1; done

deploy: $(VENV)/.runtime ## install the chart in the local cluster (it comes up if need be) and run examples/sales.yaml there
	@PYTHON="$(or $(PYTHON),python3)" NEXUS="$(BIN)/nexus" sh tests/cluster/deploy.sh

bench: $(VENV)/.dev ## measure on the local cluster: a table, and build/bench.json (ONLY=scale: one part)
	@$(BIN)/python tests/bench/bench.py $(ONLY)

crds: $(VENV)/.runtime ## write crds/, the chart's CRDs and all made pages anew from their sources
	@$(BIN)/python -m nexus.api.crd crds $(CHART)/files/crds
	@$(BIN)/python -m nexus.api.reference docs
	@$(BIN)/python -m nexus.app.settings_page docs
	@$(BIN)/python charts/settings.py $(CHART)
	@$(BIN)/python charts/readme.py $(CHART)

lock: $(VENV)/.runtime ## resolve the dependencies anew and write the lock files (UPGRADE=1: to their newest versions)
	@set -e; lock() { UV_CUSTOM_COMPILE_COMMAND='make lock' $(BIN)/uv pip compile --quiet --generate-hashes --universal \
		--python-version 3.11 --no-emit-index-url $(if $(UPGRADE),--upgrade) "$$@"; }; \
	lock pyproject.toml -o $(LOCKS)/runtime.lock; \
	lock pyproject.toml --group dev -c $(LOCKS)/runtime.lock -o $(LOCKS)/dev.lock; \
	lock --group build -c $(LOCKS)/dev.lock -o $(LOCKS)/build.lock

sbom: $(VENV)/.dev ## write what the operator is made of, as CycloneDX, to build/sbom.cdx.json
	@$(BIN)/python $(LOCKS)/sbom.py build/sbom.cdx.json

clean: ## remove what make made here: .venv, build/ and caches
	@rm -rf $(VENV) build .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	@find operator tests examples -name __pycache__ -type d -prune -exec rm -rf {} +

# pip brings uv, uv brings the rest: measured cold on two cores, 8 s together against 21 s with pip alone. Where uv does not get
# through (it does not read pip's own settings, a mirror's address for one), pip does it.
INSTALL = { $(BIN)/uv pip install --quiet --python $(BIN)/python $(1) || { echo "uv could not; trying pip" >&2; \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(1); }; }

$(VENV)/.runtime: $(LOCKS)/build.lock $(LOCKS)/runtime.lock pyproject.toml
	@if [ -z "$(PYTHON)" ]; then \
		echo "This needs Python 3.11 or newer, and python3 here is $$(python3 -V 2>/dev/null || echo missing)." >&2; \
		echo "Install one (Debian 12, Ubuntu 24.04: apt install python3 python3-venv), or name it: make PYTHON=/path/to/python3.12 ..." >&2; \
		exit 1; fi
	@if ! $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null; then \
		echo "$(PYTHON) cannot make virtual environments. On Debian and Ubuntu: apt install python3-venv" >&2; \
		echo "(for a Python that is not the system's own, python3.N-venv)." >&2; \
		exit 1; fi
	@echo "Setting up $(VENV), once; it takes about a quarter of a minute" >&2
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --require-hashes -r $(LOCKS)/build.lock || { \
		echo "pip could not install what $(LOCKS)/build.lock names: it needs PyPI, or a mirror: PIP_INDEX_URL=https://MIRROR/simple make ..." >&2; \
		exit 1; }
	@$(call INSTALL,--require-hashes -r $(LOCKS)/runtime.lock)
	@$(call INSTALL,--no-deps --no-build-isolation --editable .)
	@# Compiles nexus, and of all else the tenth that it and its tasks import, also where the environment forbids byte code.
	@$(BIN)/python -m compileall -q operator/nexus
	@env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -c \
		'import aiohttp, cel_expr_python, h11, httpx, kopf, pydantic, rich.live, sqlalchemy, typer, yaml'
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime $(LOCKS)/dev.lock
	@echo "Adding what tests and lint need to $(VENV), once" >&2
	@$(call INSTALL,--require-hashes -r $(LOCKS)/dev.lock)
	@touch $@
