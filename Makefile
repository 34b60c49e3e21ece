# Every target calls one script; `make help` lists them.
.DEFAULT_GOAL := help
.PHONY: help demo test build build-test generate lint unit e2e lab fuzz bench release release-dry-run ci

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## the whole product, on a control plane of its own; ONCE=1 ends after the last step
	@scripts/demo.sh $(if $(ONCE),-once)

test: ## all tests: unit, golden, and end to end on a real control plane
	@scripts/test.sh all

unit: ## the tests that need no control plane
	@scripts/test.sh unit

e2e: build-test ## the numbered scenarios; RUN=Test03 for some of them
	@scripts/test.sh e2e $(RUN)

lab: build-test ## machines on emulated hardware, from boot medium to their own disk; RUN=TestISO for some of them
	@scripts/test.sh lab $(RUN)

build: ## rancheros-operator and rancheros-register, as they ship, into bin/
	@scripts/build.sh

build-test: ## what the tests and the demo run on, into bin/
	@scripts/build-test.sh

generate: ## typed controllers, deep copies and CRDs, from pkg/apis
	@scripts/generate.sh

lint: ## golangci-lint, with the import table in it
	@scripts/lint.sh

fuzz: ## every fuzz target; SECONDS_EACH=600 for longer than 5 s
	@scripts/fuzz.sh $(SECONDS_EACH)

bench: ## what registration costs, beside its targets
	@scripts/bench.sh

release: ## programs, charts, bills of materials and checksums, in dist/; VERSION=v1.2.3
	@scripts/release.sh

release-dry-run: ## the same without a network, and once more elsewhere, to compare
	@scripts/release-dry-run.sh

ci: ## all that CI checks, in its order
	@scripts/ci.sh
