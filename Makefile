# Every target sets up what it needs: a virtual environment in .venv with the versions of constraints.txt.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
MODEL ?= nfnet_f0
FLAGS ?= --opset 11 --fold-ws
JOBS ?= 2
LEAST ?= 92
PEERS ?= .venv-peers
ACCEPTANCE := $(addprefix tests/,test_readme.py test_extension.py test_downstream.py test_timm_card.py test_patches.py test_digits.py test_networks_of_others.py)
CARDS := nfnet-f0.omz efficientnet-b0-pytorch.omz nfnet_l0.ra2_in1k.hf migraphx-nfnet.hf

.PHONY: export test coverage acceptance test-slow generated sweep mutations bench bench-int8 cards goldens check format clean help

help:            ## show this list
	@grep -hE '^[a-z-]+: .*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

export: $(VENV)/.ready        ## the main job: nfnet_f0 to ONNX, opset 11, folded, verified
	$(BIN)/nfexport $(MODEL) $(FLAGS)

test: $(VENV)/.ready          ## the test suite, on JOBS processes of one thread each
	PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist loadfile $(PYTEST_FLAGS)

coverage:        ## the test suite, with the share of lines that it runs; fails below LEAST per cent
	$(MAKE) test PYTEST_FLAGS="--cov --cov-report term:skip-covered --cov-fail-under $(LEAST)"

acceptance: $(VENV)/.ready    ## run the README's commands, examples/ and patches/ as their users do
	PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slow -n $(JOBS) --dist loadfile $(ACCEPTANCE)

test-slow: $(VENV)/.ready     ## the tests on networks of real size, and the recorded graphs
	$(BIN)/python -m pytest -m slow $(PYTEST_FLAGS)

sweep: $(VENV)/.ready         ## one network of each module of timm and every weight-standardised one; resumes; writes docs/coverage.md
	$(BIN)/python -m benchmarks.sweep $(SWEEP_FLAGS)

mutations: $(VENV)/.ready     ## put every fault into exported files: is each noticed? writes docs/mutations.md
	$(BIN)/python benchmarks/mutations.py

bench: $(VENV)/.ready $(PEERS)/.ready  ## nfexport against its peers; goes on where it was stopped; docs/benchmarks.md
	$(BIN)/python -m benchmarks.suite --peers $(PEERS)/bin/python $(BENCH_FLAGS)
	$(BIN)/python -m benchmarks.table

bench-int8: $(VENV)/.ready    ## what int8 costs and gains; writes benchmarks/results/quantization.json
	$(BIN)/python -m benchmarks.quantization

generated: $(VENV)/.ready     ## write the files that are made from declarations again
	$(BIN)/python -m tests.generated --write

cards: $(VENV)/.ready         ## write the model cards of the presets again, into docs/cards/
	folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && for card in $(CARDS); do \
		name=$${card%.*} && $(BIN)/nfexport preset export "$$name" --no-verify -q -o "$$folder/$$name.onnx" && \
		$(BIN)/nfexport card "$$folder/$$name.onnx" --style "$${card##*.}" -q -o "docs/cards/$$name.md" || exit 1; \
	done

goldens: $(VENV)/.ready       ## export the models of golden/ and examples/downstream, and record those that differ again
	folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && for flags in golden/*.flags examples/downstream/models/*.flags; do \
		file="$$folder/$$(basename "$${flags%.flags}").onnx" && golden="$${flags%.flags}.golden" && echo "$$golden" && \
		$(BIN)/nfexport $$(sed '/^[[:space:]]*#/d' "$$flags") --no-verify -q -o "$$file" && \
		$(BIN)/nfexport golden check "$$file" --golden "$$golden" --update -q || exit 1; \
	done

check: $(VENV)/.ready         ## linter, formatter and type checker
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.ready        ## format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:           ## remove the environment and everything made
	rm -rf $(VENV) $(PEERS) .pytest_cache .mypy_cache .ruff_cache

$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test,dev,networks]'
	touch $@

$(PEERS)/.ready: benchmarks/requirements-peers.txt
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --requirement benchmarks/requirements-peers.txt
	touch $@
