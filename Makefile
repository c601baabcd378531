# `make` lists the targets. All of them work in .venv, which `make setup` builds.

EXTRAS := tabular train-cpu train-gpu evaluate register mlflow-server flow pool pool-gpu
READY := .venv/.ready
UV := PATH="$$PATH:$(CURDIR)/.venv/bin" uv
COMPILE := $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-header

# .venv holds bytecode, and what runs from here shall use it and write its own.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-fast check format docs lock images stack-up stack-down bench bench-gpu gpu-check clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY) ## build .venv with all that is needed to run, test and develop

$(READY): pyproject.toml requirements/dev.txt .ci/setup
	@rm -f $@
	@.ci/setup
	@touch $@

demo: setup ## take a small real data set from raw file to registered model, in demo/
	@.venv/bin/evermodel example flights demo
	@.venv/bin/evermodel run demo/flights.yaml

test: setup ## run every test
	.venv/bin/pytest -n 2 --dist loadfile

test-fast: setup ## run the tests that need neither minutes nor Docker nor a browser
	.venv/bin/pytest -n 2 --dist loadfile -m "not slow and not docker and not browser"

check: setup ## check format, rules, types, import layers and generated pages
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/lint-imports
	.venv/bin/hadolint docker/Dockerfile
	.venv/bin/python -m schemas.spec_docs --check

format: setup ## format the code and mend what ruff can mend
	.venv/bin/ruff check --fix-only .
	.venv/bin/ruff format .

docs: setup ## regenerate schemas/names.json and docs/spec.md
	.venv/bin/python -m tasks.training.names
	.venv/bin/python -m schemas.spec_docs

lock: setup ## regenerate requirements/ from pyproject.toml; LOCK_FLAGS=--upgrade takes newer versions
	$(COMPILE) pyproject.toml --extra dev $(LOCK_FLAGS) --output-file requirements/dev.txt >/dev/null
	@rm -f requirements/installer.txt
	echo uv | $(COMPILE) - --constraints requirements/dev.txt --output-file requirements/installer.txt >/dev/null
	set -e; for extra in $(EXTRAS); do rm -f requirements/$$extra.txt; $(COMPILE) pyproject.toml --extra $$extra \
		--constraints requirements/dev.txt --output-file requirements/$$extra.txt >/dev/null; done

images: setup ## build the images of the stages; IMAGE_FLAGS="--gpu" builds those for GPUs, too
	.venv/bin/evermodel images build $(IMAGE_FLAGS)

stack-up: setup ## start Prefect, MLflow, PostgreSQL, an object store and a worker; passwords are in docker/secrets
	.venv/bin/evermodel images build --only mlflow-server --only pool $(IMAGE_FLAGS)
	docker/stack up

stack-down: ## stop them; what they hold stays (docker/stack down --volumes removes it)
	docker/stack down

bench: setup ## measure speed and memory, and write docs/benchmarks.md and docs/scaling.md
	.venv/bin/python -m benchmarks.startup --write
	.venv/bin/python -m benchmarks.run --write
	.venv/bin/python -m benchmarks.scaling --write
	.venv/bin/python -m benchmarks.data --write
	.venv/bin/python -m benchmarks.layout --write
	.venv/bin/python -m benchmarks.whole --write
	.venv/bin/python -m benchmarks.training --write
	.venv/bin/python -m benchmarks.quality --write

bench-gpu: setup ## measure training on this machine's GPU, against the GPU's own peak
	.venv/bin/python -m benchmarks.training --device gpu

gpu-check: setup ## prove a machine with a GPU: train in a container on it and on the CPU, and compare
	.venv/bin/python -m benchmarks.gpu

clean: ## remove .venv, caches and demo/; the workspace .evermodel/ stays
	rm -rf .venv demo build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	find flows tasks schemas tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
