# The two commands are `make book` and `make test`; `make help` lists all.
PYTHON  ?= python3.11
PROFILE ?= patients
CORES   ?= 2
PORT    ?= 8000
CLUSTER ?= cluster/slurm
BIN     := .venv/bin
RUN     := $(BIN)/python -m lungseg_utils
NPM     := PATH="$(CURDIR)/$(BIN):$$PATH" npm
PUBLIC_FLAG := $(if $(PUBLIC),--public)

.DEFAULT_GOAL := help
.PHONY: help setup book cluster quick serve lab app data bench bench-full test torture cluster-test check audit clean

help:  ## list the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 21
	@echo; echo "  PROFILE=patients|phantoms|paper|... chooses what is run (phantoms: no download), PUBLIC=1 leaves out voxels that may not be redistributed."

.venv/installed: requirements.txt requirements-no-deps.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null || \
	  { echo "This needs Python 3.11. Name one: make PYTHON=/path/to/python3.11 ..."; exit 1; }
	@echo "== setting up .venv (about 4 minutes, 3 GB)"
	@$(PYTHON) -m venv .venv || { echo "On Debian: sudo apt-get install python3.11-venv"; exit 1; }
	@# a few packages are built from source against the torch that is here; an isolated build would fetch another one of gigabytes
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $$(grep -E '^(torch|setuptools|wheel)==' requirements.txt)
	SAM2_BUILD_CUDA=0 $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --requirement requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --requirement requirements-no-deps.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

setup: .venv/installed  ## bring what the network gives, and build nothing: .venv, and the JavaScript packages of the book
	@$(RUN) vendor

book: .venv/installed  ## run the default profile and build the book; fetches 56 MB of real patients
	@$(RUN) workflow --profile $(PROFILE) --cores $(CORES) $(PUBLIC_FLAG)

cluster: .venv/installed  ## the same on a SLURM cluster, as cluster/slurm/config.yaml says
	@$(RUN) workflow --profile $(PROFILE) --cluster $(CLUSTER) $(PUBLIC_FLAG)

quick: .venv/installed  ## everything once, in minutes: on 12 real patients where their files are here, else on phantoms
	@$(RUN) workflow --quick --cores $(CORES) $(PUBLIC_FLAG)

serve: .venv/installed  ## serve the built book, gzipped, on http://localhost:8000
	@$(RUN) serve build/$(PROFILE)/html --port $(PORT)

# a whole CT goes to the page at once, which a notebook server takes for a runaway print
WHOLE_CTS := --ZMQChannelsWebsocketConnection.limit_rate=False
PLAYGROUND := notebooks/prompt_playground.ipynb
# who tries a notebook of the project and saves it does not change it
AS_TRACKED := lungseg_utils.book.notebooks.save_as_tracked

lab: .venv/installed  ## open the notebooks in JupyterLab, the prompt playground first
	$(BIN)/jupyter lab $(PLAYGROUND) --ServerApp.root_dir=. --ContentsManager.pre_save_hook=$(AS_TRACKED) $(WHOLE_CTS)

app: .venv/installed  ## start the prompt playground as an app of its own (voila)
	JUPYTER_PATH=notebooks $(BIN)/voila $(PLAYGROUND) --template=offline $(WHOLE_CTS)

data: .venv/installed  ## fetch the real sample CTs (licenses are shown first)
	@$(RUN) fetch nsclc_radiomics ibsi_ct_phantom lidc_idri lung_4d $(if $(YES),--yes)

bench: .venv/installed  ## time this project beside the scripts that people use (at most 25 minutes)
	$(BIN)/python -m benchmarks

bench-full: .venv/installed  ## the same with the long rows (a night)
	$(BIN)/python -m benchmarks --full

# what checks the scripts, of the versions of the lock file; the book needs none of it
node_modules/installed: package.json package-lock.json | .venv/installed
	@echo "== bringing what checks the scripts (npm, about 10 seconds)"
	@$(NPM) ci --loglevel=error --ignore-scripts --no-audit --no-fund || { rm -rf node_modules; echo "npm could not bring \
the packages of package-lock.json that check scripts. It needs the network once; NODE_EXTRA_CA_CERTS names \
the certificate of a proxy that has its own. Then run this again."; exit 1; }
	@touch $@

check: .venv/installed node_modules/installed  ## lint, format, layer, type, container and script checks
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy
	$(BIN)/hadolint Dockerfile
	$(NPM) run --silent check

test: .venv/installed check  ## all tests, browser tests included
	@CHROMIUM="$${CHROMIUM:-$$(command -v chromium || command -v chromium-browser || command -v google-chrome)}"; \
	[ -n "$$CHROMIUM" ] || { echo "The browser tests need Chromium: sudo apt-get install chromium (macOS: brew install --cask chromium)"; exit 1; }; \
	$(RUN) workflow --profile smoke --cores $(CORES) $(PUBLIC_FLAG) && \
	CHROMIUM="$$CHROMIUM" LUNGSEG_BOOK_HTML="$(CURDIR)/build/smoke/html" OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(CORES) --dist loadfile --max-worker-restart 0 $(TESTS)

torture: .venv/installed  ## kill the workflow 50 times, and give 10000 damaged files to the readers (1 hour)
	LUNGSEG_KILLS=$${LUNGSEG_KILLS:-50} LUNGSEG_FUZZ=$${LUNGSEG_FUZZ:-1000} OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 \
	$(BIN)/python -m pytest -q -rP tests/end_to_end/test_torture.py tests/end_to_end/test_fuzz.py

cluster-test: .venv/installed  ## start a small SLURM on this machine (as root; Debian: slurm-wlm, munge) and run a few experiments on it
	LUNGSEG_CLUSTER=1 OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -q -rP tests/end_to_end/test_cluster.py

audit: .venv/installed  ## report known vulnerabilities of all pinned packages (asks PyPI)
	$(BIN)/python -m venv .venv/audit
	.venv/audit/bin/pip install --quiet --disable-pip-version-check pip-audit==2.10.1
	@# strict: a package that could not be looked up is a failure, not a pass
	.venv/audit/bin/pip-audit --strict --requirement requirements.txt --requirement requirements-no-deps.txt --no-deps --disable-pip

clean:  ## remove built books and results (data and .venv stay)
	rm -rf build results
