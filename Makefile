# The only entry to the project. Every target says in its `##` comment what it does; `##@` begins a section of the list.
SHELL := /bin/bash
PYTHON := .venv/bin/python
RMQCLUSTER := $(PYTHON) -m rmqcluster
SWARM := $(RMQCLUSTER) swarm
ASKED := $(if $(filter 1 yes,$(YES)),--yes)
SEEDS ?= 1000
# What is given to make (STACK=, SINGLE_HOST=, any variable of .env.example) is in the environment of what it runs, and
# wins over .env.

.DEFAULT_GOAL := help
.PHONY: help setup client all up down restart clean build env status health rabbitmq redis postgres rabbitmq-cli redis-cli \
	postgres-cli logs logs-follow debug monitor rabbitmq-ui rabbitmq-purge redis-flush redis-clear-cluster \
	postgres-create-db postgres-drop-db demo demo-status demo-kill demo-start demo-down test test-failover test-swarm \
	test-matrix lint bench sim chaos docs

help: ## show this list
	@printf 'usage: make TARGET\n'
	@awk -F ':.*## |^##@ ' '/^##@ /{printf "\n%s\n", $$2} /^[a-z-]+:.*## /{printf "  %-20s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## install what is missing: Debian packages (as root), .venv, development tools
	@scripts/setup.sh

client:
	@scripts/setup.sh client

##@ the stack on Docker Swarm, from any manager (STACK=fog ENV_FILE=.env; YES=1 answers for scripts)

all: client ## check what is needed, build, up
	@$(SWARM) check --before-build
	@scripts/build.sh
	@$(SWARM) up

env: client ## write .env with strong random secrets; never overwrites one
	@$(SWARM) env

build: ## build the image (RABBITMQ_BASE=, REGISTRY= pushes it); stand-ins where no official image can be pulled
	@scripts/build.sh

up: client ## deploy, or bring what runs up to date, one broker after the other (SINGLE_HOST=1 PUBLISH=1)
	@$(SWARM) up

down: client ## stop and remove the stack; volumes stay (asks)
	@$(SWARM) down $(ASKED)

restart: client ## restart the brokers one after the other, each when the last has caught up (asks)
	@$(SWARM) restart $(ASKED)

clean: client ## down, and remove all data on all hosts; wants the stack's name (STACK=fog behind it)
	@$(SWARM) clean $(if $(filter command,$(firstword $(origin STACK))),--stack '$(STACK)')

status: client ## services, members, verdict, NEXT and DO (TARGET=demo)
	@$(if $(filter demo,$(TARGET)),$(RMQCLUSTER) --demo,$(SWARM)) status

health: client ## the health report (TARGET=demo)
	@$(if $(filter demo,$(TARGET)),$(RMQCLUSTER) --demo,$(SWARM)) health

monitor: client ## the health report, refreshed
	@$(SWARM) health --watch

rabbitmq: client ## the brokers: their tasks and the cluster
	@$(SWARM) show rabbitmq

redis: client ## Redis: its tasks and what it says of itself
	@$(SWARM) show redis

postgres: client ## PostgreSQL: its tasks, databases and connections
	@$(SWARM) show postgres

rabbitmq-cli: client ## a shell in a broker's container: rmqcluster, rabbitmqctl
	@$(SWARM) cli rabbitmq

redis-cli: client ## redis-cli
	@$(SWARM) cli redis

postgres-cli: client ## psql
	@$(SWARM) cli postgres

logs: client ## the last lines of each service (NAME=rabbitmq1)
	@$(SWARM) logs $(NAME)

logs-follow: client ## the logs as they come (NAME=rabbitmq1)
	@$(SWARM) logs --follow $(NAME)

debug: client ## all that helps to find a fault: tasks with errors, doctor, explain, last lines
	@$(SWARM) debug

rabbitmq-ui: client ## where the management consoles are
	@$(SWARM) ui

rabbitmq-purge: client ## delete every message in every queue (asks)
	@$(SWARM) purge $(ASKED)

redis-flush: client ## empty Redis; the brokers write what coordinates them anew (asks)
	@$(SWARM) redis-flush $(ASKED)

redis-clear-cluster: client ## forget members, master, heartbeats; everyone registers again (asks)
	@$(SWARM) redis-clear-cluster $(ASKED)

postgres-create-db: client ## make a database (DB=schedulerdb)
	@$(SWARM) postgres-create-db $(if $(DB),--name '$(DB)')

postgres-drop-db: client ## delete a database with everything in it (DB=schedulerdb; asks)
	@$(SWARM) postgres-drop-db $(if $(DB),--name '$(DB)') $(ASKED)

##@ the demo: a real cluster on this machine, no Docker

demo: setup ## form it (NODES=1|3|5)
	@$(RMQCLUSTER) demo up $(if $(NODES),--nodes '$(NODES)')

demo-status: setup ## its members, master and verdict
	@$(RMQCLUSTER) demo status

demo-kill: setup ## SIGKILL one member's supervisor and broker (NODE=2)
	@$(RMQCLUSTER) demo kill '$(NODE)'

demo-start: setup ## start a killed member again and wait until it is back (NODE=2)
	@$(RMQCLUSTER) demo start '$(NODE)'

demo-down: setup ## stop the demo and remove its data
	@$(RMQCLUSTER) demo down

##@ tests and tools

test: setup ## run all tests, those with real brokers beside the fast ones (TESTS=tests/core for some)
	@$(PYTHON) $(if $(TESTS),-m pytest $(TESTS),scripts/test.py)

test-failover: setup ## kill the master under load; exit 1 on a lost message or a missed deadline (TARGET=demo|swarm)
	@$(PYTHON) -m tests.failover --target '$(or $(TARGET),demo)'

test-matrix: setup ## the failure matrix, row by row, on real brokers; cuts of the network need root (ROW=d3)
	@$(PYTHON) -m pytest tests/matrix $(if $(ROW),-k '_$(ROW)_')

test-swarm: setup ## deploy the stack to real Swarms in network namespaces and break it, as root (SMOKE=1 for a short one)
	@scripts/setup.sh swarm
	@$(PYTHON) -m pytest tests/swarm $(if $(SMOKE),-m smoke) $(if $(ROW),-k '_$(ROW)_')

chaos: setup ## random faults under load for MINUTES=10; exit 1 on a lost message (TARGET=demo|swarm SEED=)
	@$(PYTHON) -m tests.chaos --target '$(or $(TARGET),demo)' --minutes '$(or $(MINUTES),10)' $(if $(SEED),--seed '$(SEED)')

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
