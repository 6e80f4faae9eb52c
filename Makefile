# Thin targets: what they do lives in the programs that they call. `make help` lists them.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

TARGET := x86_64-unknown-linux-musl
VERSION ?= $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
BUILDER ?= $(shell command -v buildah docker | head -1)
CACHE := $(or $(OUTRIGGER_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/outrigger)
DENY_VERSION := 0.20.2
DENY := $(CACHE)/cargo-deny-$(DENY_VERSION)/bin/cargo-deny
LAB := cargo run --quiet --package outrigger-lab --bin lab --

##@ General

.PHONY: help
help: ## Show this list
	@awk 'BEGIN {FS = ":.*##"} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z0-9-]+:.*##/ {printf "  %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: lab-up binaries ## Bring up the lab, install, and swap a sidecar five times under load
	@eval "$$($(LAB) env)" && cargo run --quiet --package outrigger-e2e --bin demo

##@ Development

.PHONY: fmt
fmt: ## Format the sources
	cargo fmt --all

.PHONY: lint
lint: ## Check format and lints
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- --deny warnings

.PHONY: deny
deny: $(DENY) ## Check licences, sources and bans of all dependencies
	$(DENY) --offline check bans licenses sources

$(DENY):
	cargo install --quiet --locked cargo-deny --version $(DENY_VERSION) --root $(CACHE)/cargo-deny-$(DENY_VERSION)

.PHONY: generate
generate: ## Write the generated files anew: CRDs, chart of the CRDs, config/
	cargo run --quiet --package outrigger-api --bin crdgen crds/generated charts/outrigger-crds/files
	config/generate "$$($(LAB) tool helm)"

.PHONY: verify-generated
verify-generated: generate ## Fail if a generated file is not the committed one
	git diff --exit-code -- crds/generated charts/outrigger-crds/files config/operator

##@ Test

.PHONY: test
test: lint test-unit verify-generated deny test-e2e ## Run every check and test: what the continuous integration runs

.PHONY: test-unit
test-unit: ## Run the tests that need no cluster
	cargo test --workspace --locked

.PHONY: test-e2e
test-e2e: ## Run the tests on the lab

##@ Build

.PHONY: binaries
binaries: ## Build the static programs of the images
	cargo build --release --locked --target $(TARGET) \
		--package outrigger-operator --package outrigger-sidecar --package outrigger-example-checkout

.PHONY: images
images: binaries ## Build the images with buildah or docker
	for name in operator sidecar checkout; do \
		$(BUILDER) build --file Dockerfile --target $$name --build-arg VERSION=$(VERSION) --tag outrigger/$$name:$(VERSION) . ; \
	done

##@ Lab

.PHONY: lab-up
lab-up: ## Bring up a real Kubernetes with four nodes, a registry and PostgreSQL
	@cargo build --quiet --package outrigger-lab && $(LAB) up

.PHONY: lab-down
lab-down: ## Remove the lab without a trace
	@$(LAB) down

.PHONY: lab-status
lab-status: ## Show what of the lab runs
	@$(LAB) status

.PHONY: lab-env
lab-env: ## Print the lab's environment: eval "$(make -s lab-env)"
	@$(LAB) env
