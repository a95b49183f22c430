# Every target sets up what it needs; the first call on a fresh machine installs, later calls are instant.
VENV ?= .venv
PY := $(VENV)/bin/python
export PYTHONUTF8 := 1

.PHONY: setup demo test lint bench chaos lock clean
setup: $(VENV)/.ready

$(VENV)/.ready: requirements/dev.lock pyproject.toml
	@command -v python3 >/dev/null || { echo "Python 3.11 or newer is needed: install python3 and python3-venv"; exit 1; }
	@test -x $(PY) || python3 -m venv $(VENV)
	@$(PY) -m pip install --quiet --require-hashes -r requirements/bootstrap.lock
	@$(VENV)/bin/uv pip install --quiet --python $(PY) --require-hashes -r requirements/dev.lock
	@$(VENV)/bin/uv pip install --quiet --python $(PY) --no-deps --editable .
	@touch $@

demo: setup ## three incidents in the lab, handled end to end
	@$(VENV)/bin/watchkeeper demo $(ARGS)

# What starts daemons, proxies or browsers of its own mostly waits for them; the rest keeps the cores busy.
WAITING := tests/adapters tests/chaos tests/demo tests/e2e tests/helm tests/testbed

test: setup ## the whole suite; WATCHKEEPER_REQUIRE_PEERS=1 turns skips into failures
	@$(PY) -m pytest $(ARGS) -n 2 --dist loadfile --no-loadscope-reorder $(WAITING:%=--ignore=%) tests
	@$(PY) -m pytest $(ARGS) -n 3 --dist loadfile --no-loadscope-reorder $(wildcard $(WAITING))

lint: setup
	@$(VENV)/bin/ruff check src guard tests bench
	@$(VENV)/bin/ruff format --check src guard tests bench
	@$(VENV)/bin/mypy
	@$(VENV)/bin/lint-imports

bench: setup ## benchmarks that need no data
	@$(PY) -m bench.watch
	@$(PY) -m bench.ledger --short
	@$(PY) -m bench.policy --short
	@$(PY) -m bench.revoke --short
	@$(PY) -m bench.guard --short

chaos: setup ## make chaos SUITE=watch|authority|ledger|tamper RUNS=200 SEED=1
	@$(PY) -m tests.chaos --suite $(or $(SUITE),watch) $(if $(DATABASE),--database $(DATABASE)) --runs $(or $(RUNS),25) --seed $(or $(SEED),1)

lock: setup ## resolve again after a change of pyproject.toml
	@$(VENV)/bin/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --group dev pyproject.toml -o requirements/dev.lock
	@$(VENV)/bin/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header pyproject.toml -o requirements/run.lock
	@echo uv | $(VENV)/bin/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header - -o requirements/bootstrap.lock

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist
