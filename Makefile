# Needs git, make and Python 3.11 or newer; everything else goes into .venv. `make` alone shows this menu.

.DEFAULT_GOAL := help
.PHONY: help demo test check bench soak assets screenshots schema faults lock clean

help: ## show this menu
	@echo 'Keepstep keeps PostgreSQL tables in step with the SaaS systems a company lives on.'
	@echo
	@sed -n 's/^\([a-z]*\):[^#]*## \(.*\)/  make \1|\2/p' Makefile | awk -F'|' '{printf "%-15s%s\n", $$1, $$2}'
	@echo
	@echo 'Give a command its own arguments with ARGS, for example: make demo ARGS=--once'

demo: .venv/.run ## see it work: an emulated DoorLoop arrives in a real PostgreSQL
	@exec .venv/bin/keepstep demo $(ARGS)

test: .venv/.dev ## run the tests, three at a time (some: make test ARGS=tests/unit)
	@.venv/bin/python tools/system_parts.py
	@.venv/bin/python -m pytest -n 3 --dist worksteal $(ARGS)

check: .venv/.dev ## everything that CI checks besides the tests
	@.venv/bin/ruff check
	@.venv/bin/ruff format --check
	@.venv/bin/mypy
	@.venv/bin/lint-imports --no-logo
	@.venv/bin/python tools/schema_snapshot.py --check
	@.venv/bin/python tools/assets.py --check $(if $(CI),--rebuild)
	@.venv/bin/python tools/diagnosis_page.py --check

bench: .venv-bench/.bench ## measure against dlt and raw COPY, on this machine
	@.venv-bench/bin/python -m bench $(ARGS)

soak: .venv/.dev ## let processes be killed for some minutes, and see that nothing is lost
	@.venv/bin/python -m tools.soak $(ARGS)

assets: .venv/.dev ## build the page's CSS and scripts anew, after a change to it (needs node and npm)
	@.venv/bin/python tools/assets.py

screenshots: .venv/.dev ## take the pictures of the page in docs/images anew (needs Chromium; all pages: ARGS=--all)
	@.venv/bin/python -m tools.screenshots $(ARGS)

schema: .venv/.dev ## write the schema snapshot anew, after a new migration
	@.venv/bin/python tools/schema_snapshot.py

faults: .venv/.dev ## write docs/diagnosis.md anew, after a change in the table of faults
	@.venv/bin/python tools/diagnosis_page.py

lock: ## resolve the lock files anew (needs uv; newer versions: make lock ARGS=--upgrade)
	@sh tools/lock.sh $(ARGS)

clean: ## remove the environments and caches, keep the data in .keepstep
	@rm -rf .venv .venv-bench .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist build
	@find src tests bench tools -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

# The developers' lock holds everything of the users' one, in the same versions.
.venv/.run: requirements.lock pyproject.toml tools/venv.sh
	@sh tools/venv.sh .venv requirements.lock .run

.venv/.dev: requirements-dev.lock pyproject.toml tools/venv.sh
	@sh tools/venv.sh .venv requirements-dev.lock .dev .run

.venv-bench/.bench: requirements-bench.lock pyproject.toml tools/venv.sh
	@sh tools/venv.sh .venv-bench requirements-bench.lock .bench
