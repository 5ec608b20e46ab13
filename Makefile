# Two commands: `make demo` and `make test`. `make help` names the rest.
#
# Variables
#   PYTHON  the Python (3.11 or newer) that makes the environment; found by itself when not given
#   TORCH   what pip is asked for PyTorch, for instance TORCH=torch==2.13.0; plain `torch` is the newest for this machine
#   VENV    where the environment is made
#   PYTEST_ARGS  what pytest is given besides, for instance PYTEST_ARGS="-k napari -x"

PYTHON ?= $(shell for name in python3.13 python3.12 python3.11 python3 python; do \
	"$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { command -v "$$name"; break; }; done)
TORCH ?= torch
VENV ?= .venv
PYTEST_ARGS ?=

RUN := $(VENV)/bin/python
PIP := $(RUN) -m pip --disable-pip-version-check
# What is imported is compiled when it first is: all of it at once takes minutes, and most is never used.
INSTALL := $(PIP) install --no-compile
# A stamp is named after what was installed, so it falls when pyproject.toml or TORCH changes, and at nothing else.
KEY := $(shell { cat pyproject.toml; echo '$(TORCH)'; } | cksum | cut -d ' ' -f 1)
CORE := $(VENV)/.dtcseg-core-$(KEY)
DEV := $(VENV)/.dtcseg-dev-$(KEY)
LOWEST := .venv-lowest
# PyQt6 is GPL: the plugin is tested with it, and nothing here depends on it. So it has a folder of its own.
PYQT := $(VENV)/pyqt6
# What takes long there and shows no widget that the others do not.
NOT_AGAIN := two_hundred or thousands or network or killed or are_learned or goes_on or goes_wrong or refused_cannot or ends_with or are_gone \
	or moved or fills_up or elsewhere or lets_go or unknown_reader or keeps_what or stands_in or fluorescence or flat_slide

# Test files go side by side (tests/conftest.py says which stay together), with one process more than there are cores:
# some wait for others to be killed or to come back. A process takes about 1 GB, so there are never more than four. In their
# own order: by number of tests the few that take minutes would come last, and all but one process would wait for them.
BESIDE := -n $(shell expr 1 + `getconf _NPROCESSORS_ONLN`) --maxprocesses 4 --dist loadscope --no-loadscope-reorder

# One thread each: more would wait for each other, and turn while they wait. And what is compiled is kept, also where the
# environment says it should not be: the tests start hundreds of processes, each of which would compile PyTorch anew.
THRIFTY := OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE PYTHONDONTWRITEBYTECODE=

ifeq ($(shell uname -s),Linux)
# Displays of its own (pytest-xvfb) with Mesa's software OpenGL: the same on every machine, no window in the user's way.
DISPLAYED := env -u WAYLAND_DISPLAY QT_QPA_PLATFORM=xcb LIBGL_ALWAYS_SOFTWARE=1
endif

.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
.PHONY: help demo test test-lowest setup setup-dev system lint format typecheck pytest pytest-pyqt wheel clean distclean

help: ## name the commands
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 12

demo: setup ## set everything up, score data_samples/, and hold the counts against the truth
	$(VENV)/bin/dtcseg score data_samples --out demo_results
	$(RUN) scripts/check_demo.py data_samples demo_results
	@echo "Report: $(CURDIR)/demo_results/report.html"

test: setup-dev system ## set everything up; ruff, mypy and pytest with the GUI tests
	@$(MAKE) --no-print-directory lint
	@$(MAKE) --no-print-directory -j 3 typecheck pytest $(PYQT)/.done
	@$(MAKE) --no-print-directory pytest-pyqt

setup: $(CORE) ## make the environment and install dtcseg into it

setup-dev: $(DEV) ## the same with everything the tests need

system: ## system libraries and programs of the GUI tests (Linux; by apt where it may)
	@bash scripts/gui_packages.sh

lint: $(DEV) ## ruff: rules and layout
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

format: $(DEV) ## let ruff put layout and simple rules right
	$(RUN) -m ruff format .
	$(RUN) -m ruff check --fix .

typecheck: $(DEV) ## mypy --strict
	$(RUN) -m mypy

pytest: $(DEV) ## the tests alone
	$(THRIFTY) $(DISPLAYED) $(RUN) -m pytest $(BESIDE) $(PYTEST_ARGS)

# Two processes at most: with three a key was lost now and then.
pytest-pyqt: $(DEV) $(PYQT)/.done ## the plugin's tests with PyQt6 in the place of PySide6
	PYTHONPATH=$(abspath $(PYQT)) QT_API=pyqt6 PYTEST_QT_API=pyqt6 $(THRIFTY) $(DISPLAYED) $(RUN) -m pytest tests/napari_plugin \
		-n logical --maxprocesses 2 --dist loadfile -k "not ($(NOT_AGAIN))" $(PYTEST_ARGS)

test-lowest: ## the tests without a window on the oldest libraries pyproject.toml allows (Python 3.11)
	test -x $(LOWEST)/bin/python || bash scripts/make_venv.sh python3.11 $(LOWEST)
	$(LOWEST)/bin/python scripts/lowest.py pyproject.toml > $(LOWEST)/constraints.txt
	$(LOWEST)/bin/python -m pip --disable-pip-version-check install --constraint $(LOWEST)/constraints.txt \
		--editable ".[cluster,export,train]" pytest pytest-xdist pytest-xvfb hypothesis psutil czifile ome-zarr pycocotools
	$(LOWEST)/bin/python -m pytest -o filterwarnings= --ignore tests/napari_plugin --ignore tests/test_packaging.py $(PYTEST_ARGS)

wheel: $(DEV) ## build the wheel into dist/
	$(RUN) -m build --wheel

clean: ## remove what was built and measured, keep the environment
	rm -rf build dist demo_results *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -path './.venv*' -prune -o -name __pycache__ -type d -exec rm -rf {} +

distclean: clean ## the environment too
	rm -rf $(VENV) $(LOWEST)

$(RUN):
	bash scripts/make_venv.sh "$(PYTHON)" "$(VENV)"

$(PYQT)/.done: | $(RUN)
	$(INSTALL) --upgrade --target $(PYQT) "PyQt6>=6.7"
	@touch $@

$(CORE): | $(RUN)
	$(INSTALL) "$(TORCH)" --editable .
	@rm -f $(VENV)/.dtcseg-core-*
	@touch $@

$(DEV): | $(RUN)
	$(INSTALL) "$(TORCH)" --editable ".[dev]"
	@rm -f $(VENV)/.dtcseg-*
	@touch $(CORE) $@
