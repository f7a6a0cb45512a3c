# Two commands set up everything on a fresh machine with Python 3.11 and make: `make demo` and `make test`.
PYTHON ?= python3
BIN := .venv/bin
MULLOVER_DATA ?= $(wildcard $(abspath ../shared/data))
export MULLOVER_DATA
export OMP_WAIT_POLICY := PASSIVE

.PHONY: demo test test-slow test-servers test-gpu check format docs bench bench-http bench-engine bench-gpu clean

$(BIN)/mull: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

# What runs models of a directory: torch and transformers.
.venv/local: $(BIN)/mull
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev,local,train,plots]'
	@touch $@

demo: .venv/local
	@$(BIN)/python examples/demo.py

test: .venv/local
	$(BIN)/pytest -n 2 -m 'not slow and not gpu'

test-slow: .venv/local
	$(BIN)/pytest -m 'slow and not gpu'

test-servers: .venv/local
	$(BIN)/pytest tests/servers

bench-http: $(BIN)/mull
	$(BIN)/python benchmarks/throughput.py

bench-engine: .venv/local
	$(BIN)/mull bench engine

bench-gpu: .venv/local
	$(BIN)/python benchmarks/gpu.py

test-gpu: .venv/local
	$(BIN)/pytest -m gpu

check: .venv/local
	$(BIN)/ruff check src tests benchmarks examples docs
	$(BIN)/ruff format --check src tests benchmarks examples docs
	$(BIN)/mypy
	$(BIN)/pytest -q tests/test_layers.py
	$(BIN)/python docs/generate.py --check

format: $(BIN)/mull
	$(BIN)/ruff check --fix src tests benchmarks examples docs
	$(BIN)/ruff format src tests benchmarks examples docs

docs: $(BIN)/mull
	$(BIN)/python docs/generate.py

bench: $(BIN)/mull
	$(BIN)/python benchmarks/overhead.py

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache
