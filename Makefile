# Everything a person does here starts with make; each target sets up what it needs.
.DEFAULT_GOAL := help
SHELL := /bin/sh
BIN := .venv/bin
CLUSTER := examples/demo.yaml

.PHONY: help setup cluster test fast e2e lint format bench soak clean

help: ## Show this
	@grep -hE '^[a-z0-9]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

setup: ## System packages, virtual environment, toolchain; quiet when nothing is to be done
	@scripts/setup

cluster: setup ## Bring up the cluster `demo`: one control plane and one worker, in LXC containers
	@scripts/as-root $(BIN)/anykube apply -f $(CLUSTER) --yes

test: setup fast e2e ## The whole test suite, real clusters included

fast: setup ## Tests without real clusters, under two minutes
	@$(BIN)/pytest -q -m "not e2e and not soak" -n 2 --dist loadgroup

e2e: setup ## Tests on real clusters of LXC nodes
	@scripts/as-root $(BIN)/pytest -q -m "e2e and not soak"

soak: setup ## Long fault sweeps
	@scripts/as-root $(BIN)/pytest -q -m soak

lint: setup ## ruff, mypy strict, import-linter
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports

format: setup ## Let ruff format the code
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

bench: setup ## Speed beside kubeadm, as ratios of one run
	@scripts/as-root $(BIN)/python -m bench

clean: ## Remove the virtual environment and tool caches
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
