# Two commands: `make demo` shows onemark at work, `make test` runs every test.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check

# What Qt needs to open a window on Debian and Ubuntu, and an X server that needs no screen.
WINDOW := xvfb xauth libxcb-icccm4 libxcb-keysyms1 libxcb-cursor0 libxcb-image0 libxcb-randr0 \
          libxcb-render-util0 libxcb-shape0 libxcb-xkb1 libxkbcommon-x11-0 libegl1 libgl1 libgl1-mesa-dri \
          libdbus-1-3 libfontconfig1 libglib2.0-0

LINUX  := $(filter Linux,$(shell uname -s))
# pytest-xvfb gives each process its own screen, so that windows do not take the keyboard from each other.
PYTEST := QT_API=pyside6 PYTEST_QT_API=pyside6 $(BIN)/python -m pytest -n 2 --dist loadfile

.PHONY: help demo test fuzz screenshots lint window clean
.DEFAULT_GOAL := help

help: ## List the targets
	@sed -n 's/^\([a-z]*\):.*## /make \1\t/p' $(MAKEFILE_LIST)

demo: $(VENV)/.with-demo ## Install, then mark a folder of synthetic radiographs from one exemplar
	$(BIN)/onemark demo $(ARGS)

test: window $(VENV)/.with-test ## Install, then run every test, the ones that open windows included
	$(PYTEST) $(ARGS)

fuzz: $(VENV)/.with-test ## Try 100,000 changed files on every reader, and deaths at every write; FUZZ="--count 1000 tiff dicom" tries fewer
	$(BIN)/python tests/fuzz/run.py $(FUZZ)
	$(if $(FUZZ),,$(BIN)/python tests/fuzz/run_folders.py)
	$(if $(FUZZ),,ONEMARK_EVERY_DEATH=1 $(BIN)/python -m pytest --timeout 3600 tests/pipeline/test_deaths.py)

screenshots: window $(VENV)/.with-test ## Take the pictures of docs/gui.md again, in a real window
	QT_API=pyside6 $(if $(LINUX),$(if $(DISPLAY),,xvfb-run -a -s "-screen 0 1280x720x24")) $(BIN)/python docs/make_screenshots.py $(ARGS)

lint: $(VENV)/.with-dev ## Check style, types, the direction of imports and known weaknesses
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/bandit -q -r src -ll --skip B704
	$(BIN)/pip-audit --skip-editable --progress-spinner off
	$(BIN)/lint-imports

clean: ## Remove the virtual environment and the caches
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis

window:
	@$(if $(LINUX),.ci/apt-install $(WINDOW),:)

# One stamp per extra: a second call installs nothing until the requirements change.
$(VENV)/.with-%: pyproject.toml constraints-cpu.txt | $(BIN)/python
	$(PIP) install -c constraints-cpu.txt -e '.$(if $(filter demo,$*),,[$*])'
	@touch $@

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { echo "onemark needs Python 3.11 or newer; say which with: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "onemark needs Python 3.11 or newer, and $(PYTHON) is $$($(PYTHON) -V); say which to use: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || .ci/apt-install python3-venv $$($(PYTHON) -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
	$(PYTHON) -m venv $(VENV)
