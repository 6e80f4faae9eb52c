# Thin targets: what they do lives in the programs that they call. `make help` lists them.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

TARGET := x86_64-unknown-linux-musl
TOOLCHAIN := $(shell sed -n 's/^channel = "\(.*\)"/\1/p' rust-toolchain.toml)
VERSION ?= $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
BUILDER ?= $(shell command -v buildah docker | head -1)
CACHE := $(or $(OUTRIGGER_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/outrigger)
DENY_VERSION := 0.20.2
DENY := $(CACHE)/cargo-deny-$(DENY_VERSION)/bin/cargo-deny
LAB := cargo run --quiet --package outrigger-lab --bin lab --
# What a step of `make test` is called, and when it begins.
STEP = @printf '\n== %s  %s\n' "$$(date +%T)"

##@ General

.PHONY: help
help: ## Show this list
	@awk 'BEGIN {FS = ":.*##"} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z0-9-]+:.*##/ {printf "  %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: lab-up binaries ## Bring up the lab, install, swap a sidecar under load, and place pods on their data
	@cargo build --package outrigger-e2e --bin demo
	@cargo run --quiet --package outrigger-e2e --bin demo

##@ Development

.PHONY: fmt
fmt: toolchain ## Format the sources
	cargo fmt --all

.PHONY: lint
lint: toolchain ## Check format and lints
	$(STEP) "format and lints"
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- --deny warnings
	cargo clippy --package outrigger-lab --test lifecycle --locked -- --deny warnings

.PHONY: deny
deny: $(DENY) ## Check licences, sources and bans of all dependencies
	$(STEP) "licences, sources and bans"
	@cargo fetch --locked # also what other platforms need
	$(DENY) --offline check --hide-inclusion-graph bans licenses sources

$(DENY): | toolchain
	cargo install --locked cargo-deny --version $(DENY_VERSION) --root $(CACHE)/cargo-deny-$(DENY_VERSION)

.PHONY: generate
generate: toolchain ## Write the generated files anew: CRDs, chart of the CRDs, config/
	cargo run --quiet --package outrigger-api --bin crdgen crds/generated charts/outrigger-crds/files
	config/generate "$$($(LAB) tool helm)"

.PHONY: verify-generated
verify-generated: ## Fail if a generated file is not the committed one
	$(STEP) "generated files"
	$(MAKE) --no-print-directory generate
	git diff --exit-code -- crds/generated charts/outrigger-crds/files config/operator

.PHONY: tools
tools: toolchain ## Install what else the tests use, PostgreSQL and the lab's Debian packages
	@$(LAB) packages

.PHONY: toolchain
toolchain: /usr/bin/musl-gcc /bin/busybox ## Install what builds and tests need: Rust, musl, busybox
	@rustup toolchain list | grep '^$(TOOLCHAIN)' >/dev/null && rustup target list --installed | grep '^$(TARGET)$$' >/dev/null \
		|| rustup toolchain install $(TOOLCHAIN) --profile minimal --component clippy --component rustfmt --target $(TARGET)

/usr/bin/musl-gcc: PACKAGE := musl-tools
/bin/busybox: PACKAGE := busybox-static
/usr/bin/g++: PACKAGE := g++
/usr/bin/musl-gcc /bin/busybox /usr/bin/g++:
	apt-get -q -o DPkg::Lock::Timeout=600 update
	DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=600 install --no-install-recommends $(PACKAGE)

##@ Test

.PHONY: test
test: lint test-unit verify-generated deny test-fake test-e2e test-lab ## Run every check and test: what the continuous integration runs

.PHONY: test-unit
test-unit: tools ## Run the tests that need no cluster
	$(STEP) "tests without a cluster"
	cargo test --workspace --locked

.PHONY: test-fake
test-fake: lab-up ## Compare the answers of the API server in memory with those of the lab's; removes Outrigger there
	$(STEP) "the API server in memory beside the lab's"
	@cargo build --quiet --locked --package outrigger-faults --example replay
	@eval "$$($(LAB) env)"; \
		helm uninstall outrigger --namespace outrigger-system --ignore-not-found --wait; \
		helm upgrade --install outrigger-crds charts/outrigger-crds --namespace outrigger-system --create-namespace --wait >/dev/null; \
		cargo run --quiet --locked --package outrigger-faults --example replay

.PHONY: test-e2e
test-e2e: lab-up binaries ## Run the tests on the lab; TESTS=WORD for those with the word in their names
	$(STEP) "tests on the lab"
	cargo test --locked --package outrigger-e2e --test e2e -- --include-ignored $(TESTS)

.PHONY: test-lab
test-lab: toolchain ## Show the lab's own promises; leaves it down
	$(STEP) "tests of the lab"
	cargo test --locked --package outrigger-lab --test lifecycle

.PHONY: bench-placement
bench-placement: toolchain /usr/bin/g++ ## Compare the exact assignment of tasks with others, on one core
	@cargo run --release --quiet --manifest-path tests/placement-bench/Cargo.toml

.PHONY: bench-scan
bench-scan: toolchain ## Measure a scan of 200,000 files in HDFS, and the next one
	@cargo run --release --quiet --locked --package outrigger-hdfs --example bench-scan

.PHONY: bench-swap
bench-swap: lab-up binaries ## Swap a sidecar under each shape of load, kill, compare; SWAPS=20 ROWS=WORD
	cargo build --release --locked --target $(TARGET) --package outrigger-bench
	@OUTRIGGER_BENCH_PAGE=$(CURDIR)/docs/benchmarks/swap.md \
		cargo run --quiet --locked --package outrigger-e2e --bin bench-swap -- $(or $(SWAPS),20) $(ROWS)

.PHONY: bench-locality
bench-locality: lab-up binaries ## Compare local bytes with the most that can be, in ten random layouts on the lab; SEED=NUMBER
	OUTRIGGER_E2E_LAYOUTS=10 OUTRIGGER_E2E_SEED=$(SEED) OUTRIGGER_E2E_TABLE=$(CURDIR)/docs/benchmarks/locality.md \
		cargo test --locked --package outrigger-e2e --test e2e -- --include-ignored random_layouts

##@ Build

.PHONY: binaries
binaries: toolchain ## Build the static programs of the images, and the plugin of kubectl
	cargo build --release --locked --target $(TARGET) \
		--package outrigger-operator --package outrigger-sidecar \
		--package outrigger-example-checkout --package outrigger-example-risk --package outrigger-example-redact --package outrigger-cli

.PHONY: cli
cli: toolchain ## Build the plugin of kubectl: target/$(TARGET)/release/kubectl-outrigger
	cargo build --release --locked --target $(TARGET) --package outrigger-cli

.PHONY: images
images: binaries ## Build the images with buildah or docker
	for name in operator sidecar checkout risk redact tickets; do \
		$(BUILDER) build --file Dockerfile --target $$name --build-arg VERSION=$(VERSION) --tag outrigger/$$name:$(VERSION) . ; \
	done

##@ Lab

.PHONY: lab-up
lab-up: toolchain ## Bring up a real Kubernetes with four nodes, a registry and PostgreSQL
	@cargo build --package outrigger-lab && $(LAB) up

.PHONY: lab-down
lab-down: ## Remove the lab without a trace
	@$(LAB) down

.PHONY: lab-status
lab-status: ## Show what of the lab runs
	@$(LAB) status

.PHONY: hdfs-up
hdfs-up: lab-up ## Bring up HDFS in the lab, with a DataNode on each node
	@$(LAB) hdfs up

.PHONY: hdfs-down
hdfs-down: ## Remove HDFS from the lab
	@$(LAB) hdfs down

.PHONY: hdfs-status
hdfs-status: ## Show what of HDFS runs
	@$(LAB) hdfs status

.PHONY: lab-env
lab-env: ## Print the lab's environment: eval "$(make -s lab-env)"
	@$(LAB) env
