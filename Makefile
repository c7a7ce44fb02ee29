# Every target sets up what it needs: a virtual environment with the locked requirements.
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
.PHONY: demo test soak check bench lock format screenshots clean

.venv/run: requirements.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	touch $@

.venv/dev: requirements-dev.txt .venv/run
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	touch $@

BEGAN := $(shell date +%s)
demo: .venv/run
	@LEFT4ME_DEMO_BEGAN=$(BEGAN) $(BIN)/python manage.py demo $(ARGS)

# Most tests wait for real processes rather than compute: several run side by side, each with a PostgreSQL of its own.
# Those that boot a Debian come after: they say how soon a machine recovers. Each of the two machines has a process of its
# own. (pytest ends with 5 when ARGS name none.)
SIDE_BY_SIDE ?= 4
test: .venv/dev
	$(BIN)/python -m pytest -n $(SIDE_BY_SIDE) --dist worksteal -m "not host" $(ARGS) || [ $$? -eq 5 ]
	$(BIN)/python -m pytest -n 2 -m host $(ARGS) || [ $$? -eq 5 ]

# The full counts of all generated and randomized tests; the gate runs a seeded sample of each.
SEED ?= 1
SOAK = LEFT4ME_SOAK=1 LEFT4ME_SEED=$(SEED) $(BIN)/python -m pytest
soak: .venv/dev
	$(SOAK) -n 2 --dist worksteal -m "soak and not host" $(ARGS) || [ $$? -eq 5 ]
	$(SOAK) -n 2 -m "soak and host" $(ARGS) || [ $$? -eq 5 ]

check: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy portal servers jobs
	$(BIN)/lint-imports
	$(BIN)/djade --target-version 5.2 $$(git ls-files '*.html')
	$(BIN)/djhtml --check --tabwidth 2 $$(git ls-files '*.html')
	$(BIN)/shellcheck $$(git ls-files '*.sh' '.ci/run')
	LEFT4ME_SECRET_KEY=check $(BIN)/python manage.py makemigrations --check --dry-run
	LEFT4ME_SECRET_KEY=check $(BIN)/python -W error::RuntimeWarning manage.py check

format: .venv/dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/djade --target-version 5.2 $$(git ls-files '*.html') || true
	$(BIN)/djhtml --tabwidth 2 $$(git ls-files '*.html') || true

bench: .venv/dev
	$(BIN)/python -m tests.bench $(ARGS)

screenshots: .venv/dev
	$(BIN)/python -m tests.browser.screenshots

lock:
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate pyproject.toml -o requirements.txt
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate pyproject.toml --group dev -c requirements.txt -o requirements-dev.txt

clean:
	rm -rf .venv var
