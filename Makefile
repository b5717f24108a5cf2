# The only entry to the project. Every target says in its `##` comment what it does.
SHELL := /bin/bash
PYTHON := .venv/bin/python
RMQCLUSTER := $(PYTHON) -m rmqcluster
SEEDS ?= 1000

.DEFAULT_GOAL := help
.PHONY: help setup demo demo-status demo-kill demo-start demo-down status health test test-failover test-matrix lint bench sim docs

help: ## show this list
	@printf 'usage: make TARGET\n\n'
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## install what is missing: Debian packages (as root), .venv, development tools
	@scripts/setup.sh

demo: setup ## form a real cluster on this machine, no Docker (NODES=1|3|5)
	@$(RMQCLUSTER) demo up $(if $(NODES),--nodes '$(NODES)')

demo-status: setup ## show the demo's members, master and verdict
	@$(RMQCLUSTER) demo status

demo-kill: setup ## SIGKILL one member's supervisor and broker (NODE=2)
	@$(RMQCLUSTER) demo kill '$(NODE)'

demo-start: setup ## start a killed member again and wait until it is back (NODE=2)
	@$(RMQCLUSTER) demo start '$(NODE)'

demo-down: setup ## stop the demo and remove its data
	@$(RMQCLUSTER) demo down

status: setup ## verdict, members, NEXT and DO (of the demo)
	@$(RMQCLUSTER) --demo status

health: setup ## health report (of the demo)
	@$(RMQCLUSTER) --demo health

test: setup ## run all tests, those with real brokers beside the fast ones (TESTS=tests/core for some)
	@$(PYTHON) $(if $(TESTS),-m pytest $(TESTS),scripts/test.py)

test-failover: setup ## kill the master under load; exit 1 on a lost message or a missed deadline (TARGET=demo)
	@$(PYTHON) -m tests.failover --target '$(or $(TARGET),demo)'

test-matrix: setup ## the failure matrix, row by row, on real brokers; cuts of the network need root (ROW=d3)
	@$(PYTHON) -m pytest tests/matrix $(if $(ROW),-k '_$(ROW)_')

lint: setup ## ruff check, ruff format --check, mypy
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m ruff format --check .
	@$(PYTHON) -m mypy

bench: setup ## measure on this machine and write docs/benchmarks.md
	@$(PYTHON) -m bench

sim: setup ## run seeded fault schedules in virtual time (SEEDS=1000)
	@$(PYTHON) -m tests.sim --seeds '$(SEEDS)'

docs: setup ## rewrite the generated tables in the documents
	@PYTHONPATH=. $(PYTHON) scripts/tables.py
