# One command each for the demo and for everything that has to hold. `make help` lists the targets.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
# The ROS 2 distribution whose wheels the tests use: jazzy or kilted.
ROS_FROM_PYPI ?= jazzy
ifeq ($(filter jazzy kilted,$(ROS_FROM_PYPI)),)
$(error ROS_FROM_PYPI is jazzy or kilted, not '$(ROS_FROM_PYPI)')
endif
# Two workers; tests that must not meet (one ROS domain, one clock) stand in one xdist_group.
PYTEST_ARGS ?= -n 2 --dist loadgroup
# Every branch of the core is executed, or the run fails; test/conftest.py says which tests are traced. Empty for a part.
COVERAGE ?= --cov=safety_supervisor.core --cov-branch --cov-report=term-missing:skip-covered --cov-fail-under=100

# 1 installs exactly the versions and hashes of requirements/lock.txt (Python 3.11, jazzy).
LOCKED ?=
comma := ,

VENV := .venv
# The wheels of two ROS distributions cannot share an environment.
TEST_VENV := $(if $(filter jazzy,$(ROS_FROM_PYPI)),$(VENV),$(VENV)-$(ROS_FROM_PYPI))
TEST_EXTRAS := test,lint,suites,proofs,fleet,view,colcon,docs,ros-$(ROS_FROM_PYPI)
NODE_EXTRAS := test,ros-$(ROS_FROM_PYPI)
# Message packages built here stay out of the other environments, whose tests say what happens without them.
NATIVE_VENV := $(VENV)-native
NATIVE_SOURCES ?= build/native/src
# What an installation depends on: a newer one of these and the next run installs again.
INSTALL_INPUTS := setup.py setup.cfg requirements/constraints.txt requirements/lock.txt
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check -c requirements/constraints.txt

# A sourced ROS would put its own rclpy and message packages before those of the environment.
unexport PYTHONPATH AMENT_PREFIX_PATH COLCON_PREFIX_PATH CMAKE_PREFIX_PATH
# Hundreds of processes of the tests would compile every module anew.
unexport PYTHONDONTWRITEBYTECODE
ifdef AMENT_PREFIX_PATH
unexport LD_LIBRARY_PATH
endif

.PHONY: help demo check test nodes native lint coverage docs certificates campaign lock supply release clean

help: ## list the targets
	@grep -hE '^[a-z]+:.*## ' $(firstword $(MAKEFILE_LIST)) | sed -E 's/:[^#]*## /\t/' | expand -t 8
	@echo 'variables: PYTHON=$(PYTHON) ROS_FROM_PYPI=$(ROS_FROM_PYPI) PYTEST_ARGS="$(PYTEST_ARGS)"'

demo: $(VENV)/.installed-demo ## run the demo without ROS; results in demo/
	$(VENV)/bin/safety-supervisor demo --out demo

check: lint ## the developer loop, under a minute: lint and the quick tests
	$(TEST_VENV)/bin/python -m pytest -q -m smoke $$(grep -l 'mark\.smoke' test/test_*.py)  # to collect all takes longer

test: lint ## lint, then every test, the colcon build and all branches of the core included
	@mkdir -p $(TEST_VENV)/ros_log
	ROS_LOG_DIR="$${ROS_LOG_DIR:-$(CURDIR)/$(TEST_VENV)/ros_log}" $(TEST_VENV)/bin/python -m pytest $(PYTEST_ARGS) $(COVERAGE) test/

nodes: $(TEST_VENV)/.installed-nodes ## messages and nodes only, for ROS_FROM_PYPI=kilted beside a whole run with jazzy
	@mkdir -p $(TEST_VENV)/ros_log
	ROS_LOG_DIR="$${ROS_LOG_DIR:-$(CURDIR)/$(TEST_VENV)/ros_log}" $(TEST_VENV)/bin/python -m pytest $(PYTEST_ARGS) \
	  test/test_messages*.py test/test_cdr.py test/test_snapshot.py test/test_recorder.py test/test_node*.py

native: $(NATIVE_VENV)/.installed-native ## Autoware's and radar messages and TF, built from their definitions: the nodes in them
	$(NATIVE_VENV)/bin/python campaigns/native_messages.py --sources $(NATIVE_SOURCES)
	@mkdir -p $(NATIVE_VENV)/ros_log
	ROS_LOG_DIR="$${ROS_LOG_DIR:-$(CURDIR)/$(NATIVE_VENV)/ros_log}" $(NATIVE_VENV)/bin/python -m pytest -q \
	  test/test_node_native.py test/test_node_faults.py -k 'native or transforms'

coverage: $(TEST_VENV)/.installed-test ## the tests of the core alone: 100 % of its branches, or the lines that are missing
	$(TEST_VENV)/bin/python -m pytest -q $(PYTEST_ARGS) $(COVERAGE) -m 'not no_cover' test/

docs: $(TEST_VENV)/.installed-test ## the documentation site in build/site; a warning is an error
	$(TEST_VENV)/bin/python -m mkdocs build

lint: $(TEST_VENV)/.installed-test ## ruff and mypy --strict
	$(TEST_VENV)/bin/python -m ruff check .
	$(TEST_VENV)/bin/python -m mypy --strict safety_supervisor

certificates: $(TEST_VENV)/.installed-test ## prove every shipped vehicle and write its certificate
	for vehicle in config/*.yaml config/examples/*.yaml; do \
	  $(TEST_VENV)/bin/safety-supervisor prove --config "$$vehicle" --certificate "$${vehicle%.yaml}.certificate.json"; \
	done

lock: $(TEST_VENV)/.installed-supply ## pin every version and hash again: requirements/lock.txt
	mkdir -p build
	$(TEST_VENV)/bin/pip-compile --quiet --generate-hashes --strip-extras --allow-unsafe --no-header --no-annotate \
	  --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --constraint requirements/constraints.txt \
	  $(foreach extra,$(subst $(comma), ,$(TEST_EXTRAS)),--extra $(extra)) --output-file build/lock.txt setup.py
	{ grep '^#' requirements/lock.txt; grep -v '^#' build/lock.txt | grep .; } > build/lock.new
	mv build/lock.new requirements/lock.txt

supply: $(TEST_VENV)/.installed-supply ## licences of all dependencies, and a bill of materials: build/sbom.json
	mkdir -p build
	$(TEST_VENV)/bin/python requirements/licences.py
	$(TEST_VENV)/bin/cyclonedx-py environment --output-reproducible --output-file build/sbom.json $(TEST_VENV)/bin/python

release: $(TEST_VENV)/.installed-supply ## sdist, wheel, bill of materials and release notes in dist/; publishes nothing
	$(TEST_VENV)/bin/python requirements/release.py

CAMPAIGN_JOBS ?= 2

SOAK_HOURS ?= 24
NODE_HOURS ?= 1

campaign: $(TEST_VENV)/.installed-campaign ## many hours: fuzzing, faults, mutation, soak into docs/evidence/campaign.json
	mkdir -p build
	failed=0; \
	$(TEST_VENV)/bin/python campaigns/fuzz.py --record || failed=1; \
	$(TEST_VENV)/bin/safety-supervisor campaign faults --jobs $(CAMPAIGN_JOBS) --json build/faults.json \
	  --resume build/faults.jsonl || failed=1; \
	$(TEST_VENV)/bin/python campaigns/evidence.py faults build/faults.json || failed=1; \
	$(TEST_VENV)/bin/python campaigns/mutation.py --jobs $(CAMPAIGN_JOBS) --record || failed=1; \
	$(TEST_VENV)/bin/python benchmarks/mutants.py || failed=1; \
	$(TEST_VENV)/bin/python campaigns/statistics_claim.py --jobs $(CAMPAIGN_JOBS) \
	  --resume build/rates.jsonl --record || failed=1; \
	$(TEST_VENV)/bin/python campaigns/soak.py step --hours $(SOAK_HOURS) --record || failed=1; \
	$(TEST_VENV)/bin/python campaigns/soak.py replay --hours $(SOAK_HOURS) --record || failed=1; \
	$(TEST_VENV)/bin/python campaigns/soak.py replay --hours $(SOAK_HOURS) \
	  --vehicle config/examples/robot_base.yaml --record || failed=1; \
	$(TEST_VENV)/bin/python campaigns/soak.py node --hours $(NODE_HOURS) --record || failed=1; \
	exit $$failed

clean: ## remove the environments and everything that is built
	rm -rf $(VENV) $(VENV)-* build install log dist demo *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

%/bin/python:
	@command -v "$(PYTHON)" >/dev/null || { echo "no $(PYTHON) on this machine; name another: make PYTHON=..." >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
	  || { echo "$(PYTHON) is older than 3.10; name another: make PYTHON=python3.11" >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null \
	  || { echo "$(PYTHON) has no working venv module; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	"$(PYTHON)" -m venv $*

$(VENV)/.installed-demo: $(INSTALL_INPUTS) | $(VENV)/bin/python
	$(VENV)/bin/python $(PIP_INSTALL) -e .
	@touch $@

$(TEST_VENV)/.installed-nodes: $(INSTALL_INPUTS) | $(TEST_VENV)/bin/python
	$(TEST_VENV)/bin/python $(PIP_INSTALL) -e '.[$(NODE_EXTRAS)]'
	@touch $@

# The tests' installation holds the demo's as well.
$(TEST_VENV)/.installed-test: $(INSTALL_INPUTS) | $(TEST_VENV)/bin/python
ifeq ($(LOCKED),1)
	$(TEST_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/lock.txt
	$(TEST_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
else
	$(TEST_VENV)/bin/python $(PIP_INSTALL) -e '.[$(TEST_EXTRAS)]'
endif
	@touch $(TEST_VENV)/.installed-demo $@

$(NATIVE_VENV)/.installed-native: $(INSTALL_INPUTS) requirements/native.txt | $(NATIVE_VENV)/bin/python
	$(NATIVE_VENV)/bin/python $(PIP_INSTALL) -e '.[test,ros-jazzy]' -r requirements/native.txt
	@touch $@

$(TEST_VENV)/.installed-campaign: $(TEST_VENV)/.installed-test
	$(TEST_VENV)/bin/python $(PIP_INSTALL) -e '.[$(TEST_EXTRAS),campaign]'
	@touch $@

$(TEST_VENV)/.installed-supply: $(TEST_VENV)/.installed-test
	$(TEST_VENV)/bin/python $(PIP_INSTALL) -e '.[$(TEST_EXTRAS),supply]'
	@touch $@
