# A thin front: the work is done by `bookpress` and `pytest` inside .venv.
PYTHON ?= python3.11
UV_VERSION := 0.13.8
VENV := .venv
BIN := $(VENV)/bin
# uv does not read pip's configuration: hand on a folder of wheels where one is set. Nor does it
# compile what it installs, which each new process would then do again where none may write it.
UV_INSTALL = $(BIN)/uv pip install --quiet --compile-bytecode $(if $(PIP_FIND_LINKS),--find-links $(PIP_FIND_LINKS))

.DEFAULT_GOAL := help
.PHONY: help book test test-core lint lab launch-check browser run sweep results real links clean lock env

help:  ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 12

book: env  ## execute what changed, render and check the site
	$(BIN)/bookpress build

test: env  ## the tests of the library, the press, the notebooks and the environment
	$(BIN)/ruff check --quiet lib tests notebooks benchmarks
	$(BIN)/python -m pytest $(ARGS)

env: $(VENV)/.complete  ## create .venv from requirements.lock

# The stamp is written last: an installation that was cut off is taken up again.
$(VENV)/.complete: requirements.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "No $(PYTHON) found: install Python 3.11, or name yours: make PYTHON=/path/to/python3.11 ..."; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || { echo "$(PYTHON) is not Python 3.11, which the lock was made for: make PYTHON=/path/to/python3.11 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	$(UV_INSTALL) --python $(BIN)/python -r requirements.lock
	$(UV_INSTALL) --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@

test-core:  ## the library's tests on numpy 2, without allensdk and the press
	$(PYTHON) -m venv .venv-core
	.venv-core/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	.venv-core/bin/uv pip install --quiet --compile-bytecode $(if $(PIP_FIND_LINKS),--find-links $(PIP_FIND_LINKS)) --python .venv-core/bin/python torch==2.13.0 'numpy>=2' -e '.[test]'
	.venv-core/bin/python -m pytest -m "not press and not allen" $(ARGS)

# .jupyter/ holds what JupyterLab opens with: the list of chapters, shown rather than edited.
lab: env  ## JupyterLab, open at the list of chapters
	JUPYTER_CONFIG_PATH=$(CURDIR)/.jupyter$${JUPYTER_CONFIG_PATH:+:$$JUPYTER_CONFIG_PATH} $(BIN)/jupyter lab $(ARGS)

# Apart from .venv: the lock, which recorded results depend on, stays as it is.
browser:  ## the built site in a real browser: clicks, keys, axe, print, phone; needs Chromium
	@test -e _build/html/index.html || { echo 'There is no built site: call `make book` first.'; exit 1; }
	$(PYTHON) -m venv .venv-browser
	.venv-browser/bin/python -m pip install --quiet --disable-pip-version-check -r tests/browser/requirements.txt
	.venv-browser/bin/python -m pytest -o addopts= -p no:cacheprovider -q tests/browser $(ARGS)

launch-check:  ## what Binder and Colab do, on a clone of the last commit; about ten minutes
	.ci/launch $(PYTHON)

run: env  ## one chapter with parameters: make run CH=05 ARGS="-f notebooks/params/guan2018.yaml"
	@test -n "$(CH)" || { echo 'Say which chapter: make run CH=05 ARGS="-p seed 1"'; exit 1; }
	$(BIN)/bookpress run $(CH) $(ARGS)

sweep: env  ## a grid of runs, side by side: make sweep ARGS="04 -p seed=0..4 -p model=lda,stgat"
	$(BIN)/bookpress sweep $(ARGS)

results: env  ## every chapter over several seeds, two at a time, about an hour; goes on where it was
	$(BIN)/bookpress results $(ARGS)

real: env  ## every named parameter file whose data lie in VISUALCORTEX_DATA
	$(BIN)/bookpress real

links: book  ## follow every external link (needs the network)
	$(BIN)/bookpress links

lint: env  ## ruff alone
	$(BIN)/ruff check lib tests notebooks benchmarks

# torch is written without its local version (+cpu), so that every platform finds its own build.
lock: env  ## resolve requirements.lock anew from pyproject.toml, keeping what still fits
	$(BIN)/uv pip compile pyproject.toml --all-extras --python-version 3.11.7 --no-header --no-annotate $(if $(PIP_FIND_LINKS),--find-links $(PIP_FIND_LINKS)) --output-file requirements.lock --quiet
	sed -i.bak -E 's/^(torch==[0-9.]+)\+.*/\1/' requirements.lock && rm requirements.lock.bak

clean:  ## remove what was built (not .venv, not results/)
	rm -rf _build book/chapters book/_generated book/failed runs
