# Ballast. `make help` lists what there is; TOPOLOGY=full|compact|single|... chooses the machines.
SHELL := /bin/bash
TOPOLOGY ?= full
USERS ?= 2
DURATION ?= 60s
ROUNDS ?= 5
MINUTES ?= 60
# Molecule folds what it passes on, tables too: at 80 where it sees no terminal.
COLUMNS ?= 160

export TOPOLOGY COLUMNS MINUTES
export VAGRANT_DEFAULT_PROVIDER := $(shell bin/provider)
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg
export ANSIBLE_INVENTORY := inventory/$(TOPOLOGY)/hosts.yml

# A locale that this machine lacks (ssh brings its name along) makes every shell complain. Python has bin/utf8.py.
ifneq ($(shell locale 2>&1 >/dev/null),)
export LC_ALL := C.UTF-8
endif

STEP := bin/step
ANSIBLE := ansible-playbook
.DEFAULT_GOAL := help
.PHONY: help prepare idempotence up down destroy status converge smoke summary check load benchmark soak build machines prerequisites topology venv vagrant-up check-prerequisites test-app test-data clean

help: ## list the targets
	@grep -hE '^[a-z%-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-13s %s\n", $$1, $$2}'

up: machines ## from nothing to a serving cluster (again: only converges)
	@$(STEP) "Converge (playbooks/site.yml)" $(ANSIBLE) playbooks/site.yml
	@$(STEP) "Smoke test" $(MAKE) --no-print-directory smoke
	@$(MAKE) --no-print-directory summary

clean: ## remove every trace of the lab on this machine
	@$(STEP) "Clean" bin/clean

machines: topology prerequisites venv build
	@$(STEP) "Check the inventory" $(ANSIBLE) playbooks/preflight_inventory.yml
	@$(STEP) "Check for room on this machine" python -m lab.room
	@$(STEP) "Boot the machines ($(TOPOLOGY), $(VAGRANT_DEFAULT_PROVIDER))" vagrant up

down: topology ## stop the machines (make up starts them again)
	@$(STEP) "Stop the machines ($(TOPOLOGY))" vagrant halt

destroy: topology ## remove the machines and what they hold
	@$(STEP) "Destroy the machines ($(TOPOLOGY))" vagrant destroy --force

status: topology ## machines, VIP holders, primaries
	@vagrant status
	@$(MAKE) --no-print-directory summary

idempotence: topology ## site.yml once more: fails if anything changes (OPTIONS=--check)
	@$(STEP) "A second site.yml changes nothing" bin/idempotence $(OPTIONS)

smoke: topology
	@pytest --quiet tests/e2e/test_service.py tests/e2e/test_cluster.py

summary:
	@python -m lab.status

ssh-%: ## a shell on a host: make ssh-pg1
	@vagrant ssh $*

converge: topology venv build ## site.yml alone (TAGS=, LIMIT=)
	@$(ANSIBLE) playbooks/site.yml $(if $(TAGS),--tags $(TAGS)) $(if $(LIMIT),--limit $(LIMIT))

load: topology ## the classic client, from inside the lab (USERS=, DURATION=)
	@python -m lab.load $(USERS) $(DURATION)

benchmark: topology ## one api host: requests/s, latency, CPU per request (ROUNDS=)
	@python -m lab.benchmark --rounds $(ROUNDS)

soak: topology ## MINUTES of load and converging in which no VIP may move (MINUTES=60)
	@$(STEP) "No VIP moves without cause ($(MINUTES) minutes)" pytest --quiet --break-machines --capture=no tests/faults/soak_vips.py

# Two at a time; each prints when it is done.
CHECKS := check-ansible check-python check-app check-shell check-tests
.PHONY: $(CHECKS) test
check: check-prerequisites venv build ## lint, types, inventory rules and rendered configurations: about two minutes
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target $(CHECKS)

check-prerequisites:
	@$(STEP) "Prerequisites of the checks" bin/prerequisites checks

check-ansible:
	@$(STEP) "yamllint" yamllint --strict .
	@$(STEP) "ansible-lint (production)" ansible-lint --offline --strict -q

check-python:
	@$(STEP) "ruff" sh -c 'ruff check --quiet && ruff format --check --quiet'
	@$(STEP) "mypy" mypy --no-error-summary lab load tests

check-app:
	@$(STEP) "The application: ruff and mypy, as in a guest" bin/check-app

check-shell:
	@$(STEP) "shellcheck" bin/check-shell

check-tests:
	@$(STEP) "Inventory, rendered configurations, argument specs" pytest --quiet tests/inventory tests/render tests/roles tests/load \
		--junitxml=reports/junit/check.xml

# What topologies that are made side by side share.
prepare: prerequisites venv build
	@[ "$(VAGRANT_DEFAULT_PROVIDER)" != lxc ] || $(STEP) "The machines' bridges and box" boxes/lxc.sh

test: ## everything: checks, the application's tests, molecule, the full topology
	@bin/test

# Two at a time: while a fault lasts they only wait. What they share is made before.
test-data: prerequisites venv build ## PostgreSQL, Redis and RabbitMQ broken in every way, by molecule (BALLAST_FAULT_RUNS=1)
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target molecule-postgresql molecule-redis molecule-rabbitmq

molecule-%: venv
	@$(STEP) "Molecule: $*" molecule test --scenario-name $*

test-app: topology ## the application's own tests, on a running TOPOLOGY=single
	@$(STEP) "The application's tests" $(ANSIBLE) playbooks/test_app.yml

build: venv ## wheelhouses of the application and of Locust
	@$(STEP) "Build the wheelhouses" bin/build-wheelhouses

topology:
	@test -f inventory/$(TOPOLOGY)/hosts.yml || { echo "TOPOLOGY=$(TOPOLOGY): there is no inventory/$(TOPOLOGY)/hosts.yml. Known: $$(ls -d inventory/*/ | xargs -n1 basename | xargs)." >&2; exit 2; }

prerequisites:
	@$(STEP) "Prerequisites" bin/prerequisites $(VAGRANT_DEFAULT_PROVIDER)

venv: .venv/.installed

.venv/.installed: requirements/bootstrap.txt requirements/dev.txt bin/make-venv bin/utf8.py
	@$(STEP) "Virtual environment of the controller" bin/make-venv

vagrant-up: topology prerequisites venv
	@vagrant up $(HOSTS)
