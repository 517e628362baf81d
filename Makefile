# `make run` starts the app, `make test` runs the tests; both do their own set-up.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# How many tests run at a time: more than there are cores, for many wait for a terminal or a disk. Each may start a
# process that holds a small model.
JOBS ?= 3
NATIVE := gptoss_tui/engine/native

.DELETE_ON_ERROR:
.PHONY: run test sandbox lint dev clean

run: $(VENV)/.native
	@$(BIN)/gptoss-tui

test: $(VENV)/.test $(VENV)/.native sandbox
	@$(BIN)/pytest -rs --numprocesses $(JOBS) --dist loadscope --no-loadscope-reorder

# The python tool is tested in a real sandbox. Who may install one gets it; where there is none, those tests are
# skipped, and pytest's summary says so.
sandbox:
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && ! command -v bwrap >/dev/null; then \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
		apt-get install -y -qq --no-install-recommends bubblewrap python3 >/dev/null || \
		echo "bubblewrap cannot be installed here" >&2; fi

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

dev: $(VENV)/.dev

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit("use Python 3.11 or newer: make PYTHON=..." if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

# Asked for by its bound, torch comes as a CPU build where the index offers one; it is installed first so that
# nothing that the package depends on pulls another build.
$(VENV)/.run: $(VENV)/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet "torch>=2.9,<2.14"
	$(BIN)/python -m pip install --quiet --editable .
	@$(BIN)/python -m compileall -q gptoss_tui
	@touch $@

# The CPU kernels, when their sources changed after the install. Without a compiler torch takes their place, and this is
# tried again.
$(VENV)/.native: $(VENV)/.run $(NATIVE)/build.py $(wildcard $(NATIVE)/src/*)
	@$(BIN)/python -m gptoss_tui.engine.native.build --quiet
	@[ -z "$$(ls $(NATIVE)/libgptoss.* 2>/dev/null)" ] || touch $@

# The published PyTorch model is an oracle of the tests. It asks for Python 3.12, so its wheel is read, not installed.
$(VENV)/.test: $(VENV)/.run
	$(BIN)/python -m pip install --quiet --editable ".[test]"
	$(BIN)/python -m pip download --quiet --no-deps --only-binary=:all: --python-version 3.12 \
		-d $(VENV)/reference gpt-oss==0.0.9
	@touch $@

$(VENV)/.dev: $(VENV)/.test
	$(BIN)/python -m pip install --quiet --editable ".[test,dev]"
	@touch $@

clean:
	rm -rf $(VENV) build dist
