# make demo    repairs damaged faces and prints where the picture is
# make test    everything CI checks: style, types, tests, executed notebooks
# make lab     the course in JupyterLab
# make student the notebooks without solutions, in out/student
# make site    the course, the paper's map and the library's documentation as HTML, in build/site
# make slides  a deck of slides for each notebook, in build/slides
# make book    the course on paper: build/book/tiramisu.html, and a PDF where Chromium is installed
# make report  every rule's number for every notebook, and every wrong answer tried
# make newcomer     the student's version of every notebook, run with nothing solved
# make test-laptop  every notebook at laptop scale
# make data    makes the pictures and trains every shipped model again (hours: see data/README.md)
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

.PHONY: demo test lint notebooks lab student site slides book report newcomer test-laptop data clean

demo: $(INSTALLED)
	$(BIN)/tiramisu-edu inpaint

# The stamp is newer than pyproject.toml once its packages are in, so a second call installs nothing.
$(INSTALLED): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet $(PIP_OPTIONS) -e '.[notebooks,test,data]'
	touch $@

# A process for each core, each with one thread: the models are small, and threads of one test slow the next.
SHARED = OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile

test: lint
	$(SHARED)
	$(MAKE) notebooks

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Strict: every stored output is compared with what the cell prints now.
notebooks: $(INSTALLED)
	$(SHARED) --nbval --nbval-current-env --nbval-sanitize-with notebooks/sanitize.cfg $(NOTEBOOKS)

# The cells and their assertions at laptop scale; stored outputs are those of toy scale, so they are not compared.
test-laptop: $(INSTALLED)
	TIRAMISU_SCALE=laptop $(BIN)/python -m pytest --nbval-lax --nbval-current-env $(NOTEBOOKS)

student: $(INSTALLED)
	$(BIN)/python -m teaching.notebooks student $(NOTEBOOKS) out/student

newcomer: $(INSTALLED)
	TIRAMISU_NEWCOMER=all OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist load tests/notebooks/test_student_versions.py

report: $(INSTALLED)
	$(BIN)/python -m teaching.report

# REPOSITORY=owner/name adds buttons that open the notebooks of that GitHub repository in Colab and on Binder.
site: $(INSTALLED)
	$(BIN)/python -m pip install --quiet $(PIP_OPTIONS) -e '.[site]'
	$(if $(REPOSITORY),GITHUB_REPOSITORY=$(REPOSITORY)) $(BIN)/sphinx-build -q -W --keep-going docs build/site
	@echo 'open build/site/index.html'

slides: $(INSTALLED)
	$(BIN)/python -m teaching.slides notebooks build/slides

book: $(INSTALLED)
	$(BIN)/python -m teaching.book notebooks build/book

lab: $(INSTALLED)
	$(BIN)/jupyter lab notebooks

# FASHION_MNIST=DIR: where Debian's package dataset-fashion-mnist, or another, keeps the pictures of clothes.
FASHION_MNIST ?= /usr/share/datasets/fashion-mnist
data: $(INSTALLED)
	$(BIN)/python -m studies.shipped_pictures digits
	$(BIN)/tiramisu-edu train digits
	$(BIN)/python -m studies.shipped_pictures clothes --source $(FASHION_MNIST)
	$(BIN)/tiramisu-edu train clothes --source $(FASHION_MNIST)
	$(BIN)/tiramisu-edu train faces
	$(BIN)/tiramisu-edu train rooms

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist out runs docs/api docs/generated docs/notebooks docs/extra
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
