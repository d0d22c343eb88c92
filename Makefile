# Bare `make` only prints help. Every target is safe to repeat.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

PY := .venv/bin/python
CACHE := $(or $(LIVESHELF_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/liveshelf)
RUN := $(or $(LIVESHELF_DATA),$(CACHE)/run)
# The environment is rebuilt when a pinned version, the project file or the checkout's place changes, else left alone.
READY := .venv/.ready-$(shell { cat requirements.txt requirements-uv.txt pyproject.toml; pwd; } | sha256sum | cut -c1-16)
CHECKED := contracts stores streaming batch serving local deploy benchmarks
# Examples in docstrings are tests; those of the two engines' packages load the engines, so they run with the rest.
UNIT := $(wildcard contracts stores serving local deploy benchmarks tests/unit)
# Each in a process of its own: what one folder's tests start is ended before the next begin.
ENGINES := $(filter-out tests/unit/ tests/__pycache__/,$(wildcard streaming batch tests/*/))

# Names of an own log go through the environment, so that quotes and spaces in them need no care.
export EVENTS MAP ITEMS DATA
OWN_LOG = $(if $(MAP),--map "$$MAP") $(if $(ITEMS),--items "$$ITEMS")

##@ Use

help: ## Print this help
	@awk 'BEGIN { FS = ":.*## "; print "Liveshelf: a shop whose recommendations change with every click." } \
	/^##@ / { printf "\n%s\n", substr($$0, 5) } \
	/^[a-z][a-z-]*:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: setup ## Start the whole loop and keep it running (EVENTS=file: on your own log; ARGS="..." is passed on)
	@LIVESHELF_TIED=1 exec $(PY) -m local.demo $(if $(EVENTS),--events "$$EVENTS" $(OWN_LOG)) $(ARGS)

demo-check: setup ## The same loop, headless, about ten minutes; ends with a RESULT line and an exit code
	@LIVESHELF_TIED=1 exec $(PY) -m local.check $(ARGS)

evaluate: setup ## What your shop would gain, from its event log alone: EVENTS=file (MAP="..." ITEMS=file)
	@if [ -z "$$EVENTS" ]; then echo 'evaluate: which log? make evaluate EVENTS=file.csv (or .parquet, .jsonl, .csv.gz)' >&2; exit 2; fi
	@LIVESHELF_TIED=1 exec $(PY) -m local.evaluate "$$EVENTS" $(OWN_LOG) $(ARGS)

parity: setup ## Recompute every live feature from the lake and compare each value (beside a running demo)
	@$(PY) -m local.beside batch.parity $(ARGS)

rebuild: setup ## Live values from the lake back into Redis (beside a running demo; ARGS=--lists: batch lists too)
	@$(PY) -m local.beside batch.rebuild $(ARGS)

.PHONY: attribution
attribution: setup ## What lists, models and experiments led to, from the lake (beside a running demo)
	@$(PY) -m local.beside batch.attribution $(ARGS)

.PHONY: screenshots showcase
screenshots: setup ## Pictures of both pages of a running demo into docs/pages (ARGS="--url ...")
	@$(PY) -m local.screenshots $(ARGS)

showcase: setup ## A small shop on the real stream without a training: up in a minute, to look at the pages
	@LIVESHELF_TIED=1 exec $(PY) -m local.showcase $(ARGS)

##@ Deploy

synth: $(READY) ## The CloudFormation of ENV=dev|small|large into build/cdk.out, checked, offline (ARGS=--help: choices)
	@$(PY) -m deploy.cdk.app --env $(or $(ENV),dev) $(ARGS)
	@echo "synth: cfn-lint"; .venv/bin/cfn-lint build/cdk.out/*.template.json

.PHONY: package
package: setup ## Build what runs on AWS into build/: Flink zip, Spark environment, Lambda zip (ARGS="--baked FOLDER")
	@$(PY) -m deploy.package $(if $(BAKED),--baked "$(BAKED)") $(if $(ENV),--env $(ENV)) \
	  $(if $(filter package,$(MAKECMDGOALS)),$(ARGS))

# Which deployment is asked for each time: what a mistaken default would do to an account cannot be undone.
.PHONY: baked deploy upgrade command keys destroy named
named:
	@case "$(ENV)" in dev|small|large) ;; *) echo 'which deployment? ENV=dev, ENV=small or ENV=large' >&2; exit 2;; esac

# The popular items of the live models travel in the functions; a dry run asks AWS for nothing.
baked: named $(READY)
	@$(if $(BAKED)$(findstring --dry-run,$(ARGS)),:,$(PY) -m deploy.bake --env $(ENV))

deploy: named baked package ## Everything of ENV=dev|small|large into your AWS account, until output flows (ARGS=--dry-run: only say)
	@$(PY) -m deploy.up --env $(ENV) $(ARGS)

upgrade: named baked package ## New code into the running ENV=...: snapshot, update, look at the output, back by itself if none
	@$(PY) -m deploy.upgrade --env $(ENV) $(ARGS)

command: named $(READY) ## A command of the batch inside ENV=...: COMMAND="batch.models activate --previous"
	@$(PY) -m deploy.command --env $(ENV) $(ARGS) -- $(COMMAND)

keys: named $(READY) ## API keys of ENV=...: ARGS="create --scopes read,events --note shop", list, expire, revoke
	@$(PY) -m deploy.keys --env $(ENV) -- $(ARGS)

destroy: named $(READY) ## Delete the stacks of ENV=...; data stays unless told otherwise, and it says what that costs
	@$(PY) -m deploy.destroy --env $(ENV) $(ARGS)

doctor: $(READY) ## Whether machine and AWS account are ready for ENV=dev|small|large (reads only; ARGS=--help)
	@$(PY) -m deploy.doctor --env $(or $(ENV),dev) $(ARGS)

cost: $(READY) ## The Markdown of docs/cost.md from deploy/prices.json: each profile by traffic, beside Amazon Personalize
	@$(PY) -m deploy.cost $(ARGS)

##@ Measure

bench-quality: setup ## Quality on a public data set: DATA=folder (benchmarks/public_sets.py says which formats)
	@if [ -z "$$DATA" ]; then echo 'bench-quality: which data set? make bench-quality DATA=folder (its formats: benchmarks/public_sets.py)' >&2; exit 2; fi
	@$(PY) -m benchmarks.quality "$$DATA" $(ARGS)

bench-train: setup ## Training time and memory by events and items, full against incremental (ARGS=--quick: a minute)
	@$(PY) -m benchmarks.train $(ARGS)

bench-stream: setup ## The whole stream from files: events/s at parallelism 1 and 2, and where the time goes (ARGS=--quick)
	@LIVESHELF_TIED=1 $(PY) -m benchmarks.stream $(ARGS)

bench-freshness: setup ## Accepted event to changed list over HTTP, at 100, 500 and 1,000 events/s (ARGS=--quick)
	@LIVESHELF_TIED=1 $(PY) -m benchmarks.freshness $(ARGS)

bench-coldstart: setup ## What the first request to a new Lambda environment waits for (ARGS=--quick)
	@LIVESHELF_TIED=1 $(PY) -m benchmarks.coldstart $(ARGS)

bench-serve: setup ## Latency and throughput of the shelf while the stream runs, and beside a retrain (ARGS=--quick)
	@LIVESHELF_TIED=1 $(PY) -m benchmarks.serve $(ARGS)

bench-state: setup ## State and memory over five times to live and 5 million people (ARGS=--quick)
	@LIVESHELF_TIED=1 $(PY) -m benchmarks.state $(ARGS)

bench-survival: setup ## Every failure, ROUNDS=10 times; an interrupted run goes on where it was
	@LIVESHELF_TIED=1 $(PY) -m benchmarks.survival --rounds $(or $(ROUNDS),10) --resume $(ARGS)

drill: setup ## Lose Redis and the stream's state at once, bring all of it back from lake and snapshot, timed (3 minutes)
	@LIVESHELF_TIED=1 $(PY) -m benchmarks.drill $(ARGS)

fuzz: setup ## 10,000 malformed and hostile requests to the running service: all refused, nothing in the stream; then by its OpenAPI document
	@$(PY) -m benchmarks.fuzz $(ARGS)

##@ Develop

setup: $(READY) ## Install what is missing: Python packages, Java, jars (a second run is instant)
	@$(PY) -m local.toolchain

test: setup ## Unit tests first (no JVM), then Flink, Spark, serving, browser, deployment and end-to-end tests
	@echo "test: unit tests and examples, no JVM"; $(PY) -m pytest -q $(UNIT) || { echo "test: FAILED (see above)"; exit 1; }; \
	$(PY) -m local.browser || true; \
	failed=""; for part in $(ENGINES); do \
	  echo "test: against the real engines: $$part"; status=0; $(PY) -m pytest -q $$part || status=$$?; \
	  if [ $$status -ne 0 ] && [ $$status -ne 5 ]; then failed="$$failed $$part"; fi; done; \
	if [ -z "$$failed" ]; then echo "test: all passed"; else echo "test: FAILED in$$failed (see above)"; exit 1; fi

test-unit: $(READY) ## Unit tests and doctests only (no JVM, seconds)
	@$(PY) -m pytest -q $(UNIT) $(ARGS)

lint: $(READY) ## Style, format and strict types, nothing changed
	@echo "lint: ruff check"; $(PY) -m ruff check .
	@echo "lint: ruff format"; $(PY) -m ruff format --check .
	@echo "lint: mypy --strict"; $(PY) -m mypy --strict $(wildcard $(CHECKED))

audit: $(READY) ## Known vulnerabilities of every pinned Python package (needs the internet; no part of make test)
	@$(PY) -m local.audit $(ARGS)

format: $(READY) ## Mend style and format in place
	@$(PY) -m ruff check --fix . && $(PY) -m ruff format .

lock: $(READY) ## Resolve requirements.in anew into requirements.txt, and the locks of what is deployed
	@echo "lock: requirements.txt"; .venv/bin/uv pip compile -q --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --custom-compile-command "make lock" requirements.in -o requirements.txt
	@for lock in deploy/locks/*.in; do echo "lock: $${lock%.in}.txt"; \
	  .venv/bin/uv pip compile -q --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate \
	  --custom-compile-command "make lock" -c requirements.txt $$lock -o $${lock%.in}.txt; done

clean: ## Remove the environment, caches in the checkout and run data
	@echo "clean: removing .venv, tool caches and run data ($(RUN))"
	@if [ -x $(PY) ] && [ -d "$(RUN)" ]; then $(PY) -m local.supervisor --stop || true; fi
	@rm -rf .venv .pytest_cache .mypy_cache .ruff_cache build dist *.egg-info "$(RUN)"
	@find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
	@if [ -d "$(CACHE)" ]; then echo "clean: the download cache stays; remove it with: rm -rf $(CACHE)"; fi

.PHONY: audit fuzz help demo demo-check evaluate parity rebuild synth doctor cost drill bench-quality bench-train bench-stream bench-freshness \
	bench-coldstart bench-serve bench-state bench-survival setup test test-unit lint format lock clean

$(READY):
	@python=$$(command -v python3.11 || command -v python3 || true); \
	if [ -z "$$python" ] || ! "$$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))'; then \
	  echo "setup: Python 3.11 is needed (found: $${python:-none} $$($${python:-true} --version 2>&1))." \
	       "Install python3.11 with its venv module and put it on PATH." >&2; exit 1; fi; \
	echo "setup: virtual environment .venv with $$python"; rm -f .venv/.ready-*; \
	"$$python" -m venv .venv || { echo "setup: the venv module of $$python does not work; on Debian: apt-get install python3.11-venv" >&2; exit 1; }
	@echo "setup: uv (pinned, hashed)"; $(PY) -m pip install -q --disable-pip-version-check --require-hashes -r requirements-uv.txt
	@echo "setup: Python packages (about 1.7 GB once installed; a minute or two the first time)"
	@# The lock is complete: --no-deps. Asking the source packages for what they need, uv would build them anew each time and
	@# keep 1.5 GB more in its cache.
	@VIRTUAL_ENV=$(CURDIR)/.venv .venv/bin/uv pip install -q --no-deps --require-hashes -r requirements.txt
	@echo "setup: Liveshelf itself, editable"
	@VIRTUAL_ENV=$(CURDIR)/.venv .venv/bin/uv pip install -q --no-deps --no-build-isolation -e .
	@touch $@
