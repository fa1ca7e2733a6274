# make demo    repairs a damaged digit and prints where the picture is
# make test    everything CI checks: style, types, tests, executed notebooks
# make lab     the course in JupyterLab
# make data    builds the digits and trains every shipped model again (see data/README.md for the durations)
# make clean   removes the environment and what runs left behind
#
# PYTHON=python3.12 chooses the interpreter. On a machine without a GPU, the CPU build of PyTorch is a tenth of
# the download: make demo INDEX=https://download.pytorch.org/whl/cpu (or set PIP_INDEX_URL and
# PIP_EXTRA_INDEX_URL, which pip reads by itself).

PYTHON ?= python3
INDEX ?=
PIP_OPTIONS = $(if $(INDEX),--extra-index-url $(INDEX))

BIN = .venv/bin
INSTALLED = .venv/installed
NOTEBOOKS = $(wildcard notebooks/*.ipynb)

.PHONY: demo test lint notebooks lab data clean

demo: $(INSTALLED)
	$(BIN)/tiramisu-edu inpaint

# The stamp is newer than pyproject.toml once its packages are in, so a second call installs nothing.
$(INSTALLED): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet $(PIP_OPTIONS) -e '.[notebooks,test,data]'
	touch $@

test: lint
	$(BIN)/python -m pytest
	$(MAKE) notebooks

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Strict: every stored output is compared with what the cell prints now.
notebooks: $(INSTALLED)
	$(if $(NOTEBOOKS),$(BIN)/python -m pytest --nbval --nbval-current-env \
		--nbval-sanitize-with notebooks/sanitize.cfg $(NOTEBOOKS),@echo 'no notebooks yet')

lab: $(INSTALLED)
	$(BIN)/jupyter lab notebooks

data: $(INSTALLED)
	$(BIN)/tiramisu-edu train digits

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist out runs
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
