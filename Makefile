# Tunebook: `make lab` to learn, `make test` to check. Windows without make: see README.md.
# Only features of GNU make 3.81 (macOS) and of a POSIX shell are used here.

PYTHON  ?= python3
VENV    := .venv
PY      := $(VENV)/bin/python
LAB_ARGS ?=
PYTEST_ARGS ?=
# With REPORTS=<folder>, each suite writes its counts to <folder>/<suite>.xml.
REPORTS ?=

PYTEST = $(TEST_ENV) "$(PY)" -m pytest -q $(if $(REPORTS),"--junitxml=$(REPORTS)/$@.xml") $(PYTEST_ARGS)
# Without torch's compiler, which nothing here uses: 2 s less of CPU for each process that loads models.
TEST_ENV = HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false OMP_NUM_THREADS=1 TORCHDYNAMO_DISABLE=1 TUNEBOOK_TIER=pico TUNEBOOK_PROGRESS=/dev/null
NBVAL = --nbval-lax --nbval-current-env --nbval-cell-timeout=300 \
	--nbval-kernel-startup-timeout=120 --nbval-sanitize-with=tests/nbval_sanitize.cfg

# Two jobs at once print in turns where make can do that (GNU make 4; not macOS's own 3.81).
BUFFERED = $(if $(filter output-sync,$(.FEATURES)),--output-sync=target)

.DEFAULT_GOAL := help
.PHONY: help lab test lint unit notebooks exercises browser pictures bench clean

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

# .jupyter/ switches off JupyterLab's news and its look for updates (nothing here needs a network), and
# saves what widgets show with a notebook: opened again, they look as they did, with a word that says why
# nothing answers. Its terminals and cells find the command `tunebook`.
lab: $(VENV)/.ready ## open JupyterLab on lesson 00 (this machine only, with its token)
	@root=; if [ "$$(id -u)" = 0 ]; then root=--allow-root; fi; \
	exec env PATH="$(CURDIR)/$(VENV)/bin:$$PATH" OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} \
		JUPYTER_PREFER_ENV_PATH=1 JUPYTER_CONFIG_PATH="$(CURDIR)/.jupyter$${JUPYTER_CONFIG_PATH:+:$$JUPYTER_CONFIG_PATH}" \
		"$(PY)" -m jupyterlab --ServerApp.ip=127.0.0.1 $$root $(LAB_ARGS) \
		--LabApp.default_url=/lab/tree/notebooks/00_start.ipynb

test: lint ## run every check: lint, then the four suites, two at a time
	@echo "Four suites run two at a time, a quarter of an hour and more; each is shown when done."
	@$(MAKE) --no-print-directory -j2 $(BUFFERED) unit notebooks browser exercises

lint: $(VENV)/.ready-test ## check the style of code and notebooks
	@"$(PY)" -m ruff check .

unit: $(VENV)/.ready-test ## run the tests of the library
	@$(PYTEST) tests --ignore=tests/browser

notebooks: $(VENV)/.ready-test ## run every lesson, compare stored numbers
	@$(PYTEST) notebooks $(NBVAL)

exercises: $(VENV)/.ready-test ## run every exercise, blank and solved
	@$(PYTEST) exercises $(wildcard solutions) $(NBVAL)

browser: $(VENV)/.ready-test ## do lesson 04 and use the widgets in Chromium, in a real JupyterLab
	@$(PYTEST) -rs tests/browser

pictures: $(VENV)/.ready-test ## take the pictures of the README anew, in Chromium, some minutes
	@$(TEST_ENV) "$(PY)" -m docs.take_pictures

bench: $(VENV)/.ready-bench ## measure data and step time beside TRL, lesson 04, chat, imports (see benchmarks/README.md)
	@for name in imports memory first_token data_engine step_time lesson_04; do \
		echo; echo "$$name"; \
		HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false "$(PY)" -m benchmarks.$$name || exit 1; \
	done

clean: ## remove the environment and what tools leave behind; runs and data stay
	rm -rf $(VENV) build tunebook.egg-info .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	find . -name .ipynb_checkpoints -type d -prune -exec rm -rf {} +

# The stamps are written last, so a broken-off installation is taken up again.
$(VENV)/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' || { \
		echo "Tunebook needs Python 3.10, 3.11, 3.12 or 3.13, but $(PYTHON) is:"; \
		$(PYTHON) --version; \
		echo "  -> name another one, for example: make $(MAKECMDGOALS) PYTHON=python3.12"; \
		exit 1; }
	@"$(PY)" -m pip --version >/dev/null 2>&1 || { \
		rm -rf $(VENV); \
		$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }; }
	@echo "Installing into $(VENV): once, some minutes, several GB with CUDA libraries on Linux."
	@"$(PY)" -m pip install -c constraints.txt -e .
	@touch $@

$(VENV)/.ready-test: $(VENV)/.ready
	@"$(PY)" -m pip install -q -c constraints.txt -e ".[test]"
	@touch $@

$(VENV)/.ready-bench: $(VENV)/.ready
	@"$(PY)" -m pip install -q -c constraints.txt -e ".[bench]"
	@touch $@
