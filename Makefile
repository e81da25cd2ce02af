# One command sets up and runs the main job (`make demo`), one sets up and passes the tests (`make test`).
# Needs Python 3.11+, make and the package registries; the demo needs no root, no server and no configuration.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
BASE   := $(VENV)/.base
DEV    := $(VENV)/.dev
DEBIAN := .cache/debian/.ready

.PHONY: help demo test check sandbox bench quality campaign screenshots clean

help:            ## What there is
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 16

$(BASE): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "rollback-console needs Python 3.11 or newer; this is $$($(PYTHON) --version). Name another: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(DEV): $(BASE)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

$(DEBIAN): tools/debian.py | $(BASE)
	$(BIN)/python tools/debian.py
	@mkdir -p $(@D) && touch $@

demo: $(BASE)    ## The console on a simulated fleet with an incident under way
	$(BIN)/rollback-console demo

# Four at once on two cores: most of the time is spent waiting for real servers, terminals and scrapes.
test: $(DEV) $(DEBIAN) check ## Everything the tests need, and the tests (under 15 minutes)
	$(BIN)/python -m pytest -n 4 --dist loadgroup

check: $(DEV)    ## Lint, types, and the rules of the house
	$(BIN)/ruff check src tests tools
	$(BIN)/ruff format --check src tests tools
	$(BIN)/mypy
	$(BIN)/lint-imports

sandbox: $(DEV) $(DEBIAN) ## The real stack on one machine (Prometheus, MLflow, a service), and the console on it
	$(BIN)/python -m rollback_console.rehearse.sandbox

bench: $(DEV) $(DEBIAN) ## Speed, as ratios to floors measured in the same run
	$(BIN)/python -m tests.benchmarks

quality: $(DEV)  ## How often it would roll back for nothing, how soon it sees what is real: tables into the docs
	$(BIN)/python -m tests.quality --write

campaign: $(DEV) $(DEBIAN) ## The long runs of the same tests
	ROLLBACK_CONSOLE_CAMPAIGN=1 $(BIN)/python -m pytest -n 2 --dist loadgroup

screenshots: $(DEV) ## SVG and PNG of the screens, from real runs
	$(BIN)/python tools/screenshots.py

clean:           ## Take away what the commands above made
	rm -rf $(VENV) .cache .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
