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

VENV := .venv
# The wheels of two ROS distributions cannot share an environment.
TEST_VENV := $(if $(filter jazzy,$(ROS_FROM_PYPI)),$(VENV),$(VENV)-$(ROS_FROM_PYPI))
TEST_EXTRAS := test,lint,suites,proofs,fleet,view,colcon,ros-$(ROS_FROM_PYPI)
# What an installation depends on: a newer one of these and the next run installs again.
INSTALL_INPUTS := setup.py setup.cfg requirements/constraints.txt
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check -c requirements/constraints.txt

# A sourced ROS would put its own rclpy and message packages before those of the environment.
unexport PYTHONPATH AMENT_PREFIX_PATH COLCON_PREFIX_PATH CMAKE_PREFIX_PATH
ifdef AMENT_PREFIX_PATH
unexport LD_LIBRARY_PATH
endif

.PHONY: help demo test lint certificates campaign clean

help: ## list the targets
	@grep -hE '^[a-z]+:.*## ' $(firstword $(MAKEFILE_LIST)) | sed -E 's/:[^#]*## /\t/' | expand -t 8
	@echo 'variables: PYTHON=$(PYTHON) ROS_FROM_PYPI=$(ROS_FROM_PYPI) PYTEST_ARGS="$(PYTEST_ARGS)"'

demo: $(VENV)/.installed-demo ## run the demo without ROS; results in demo/
	$(VENV)/bin/safety-supervisor demo --out demo

test: lint ## lint, then every test, the colcon build included
	@mkdir -p $(TEST_VENV)/ros_log
	ROS_LOG_DIR="$${ROS_LOG_DIR:-$(CURDIR)/$(TEST_VENV)/ros_log}" $(TEST_VENV)/bin/python -m pytest $(PYTEST_ARGS) test/

lint: $(TEST_VENV)/.installed-test ## ruff and mypy --strict
	$(TEST_VENV)/bin/python -m ruff check .
	$(TEST_VENV)/bin/python -m mypy --strict safety_supervisor

certificates: $(TEST_VENV)/.installed-test ## prove every shipped vehicle and write its certificate
	for vehicle in config/*.yaml; do \
	  $(TEST_VENV)/bin/safety-supervisor prove --config "$$vehicle" --certificate "$${vehicle%.yaml}.certificate.json"; \
	done

CAMPAIGN_JOBS ?= 2

campaign: $(TEST_VENV)/.installed-campaign ## hours: fuzzing and the fault matrix into docs/evidence/campaign.json
	mkdir -p build
	$(TEST_VENV)/bin/python campaigns/fuzz.py --record
	$(TEST_VENV)/bin/safety-supervisor campaign faults --jobs $(CAMPAIGN_JOBS) --json build/faults.json
	$(TEST_VENV)/bin/python campaigns/evidence.py faults build/faults.json

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

# The tests' installation holds the demo's as well.
$(TEST_VENV)/.installed-test: $(INSTALL_INPUTS) | $(TEST_VENV)/bin/python
	$(TEST_VENV)/bin/python $(PIP_INSTALL) -e '.[$(TEST_EXTRAS)]'
	@touch $(TEST_VENV)/.installed-demo $@

$(TEST_VENV)/.installed-campaign: $(TEST_VENV)/.installed-test
	$(TEST_VENV)/bin/python $(PIP_INSTALL) -e '.[$(TEST_EXTRAS),campaign]'
	@touch $@
