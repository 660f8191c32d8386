# What a contributor types. `make check` while working, `make test` before handing in.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

TARGET := $(shell rustc -vV | sed -n 's/^host: //p')
# One binary for product tests and clients, as it is shipped: static, optimised.
STATIC := target/$(TARGET)/release/pid1
# Random numbers from the system call: where nothing is linked when it runs, the library that everybody uses does not
# find the C library's and would need a /dev/urandom.
# Relocations in the short form: the long one is half a megabyte.
STATIC_FLAGS := -C target-feature=+crt-static --cfg getrandom_backend="linux_getrandom" \
    -C link-arg=-Wl,-z,pack-relative-relocs
STAGE := .ci/stage
export CARGO_TERM_COLOR ?= auto

.PHONY: help run check test lint units static image-check product clients guide tools bench soak fuzz new-service

help: ## these targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 13

run: ## serve the current folder
	cargo run --release

new-service: ## make new-service NAME: a crate in services/, registered and tested
	@.ci/new-service '$(NAME)'

check: ## daily: lint and unit tests
	@$(MAKE) --no-print-directory lint units

test: ## everything, on a fresh machine
	@$(STAGE) tools $(MAKE) --no-print-directory tools
	@$(STAGE) lint $(MAKE) --no-print-directory lint
	@$(STAGE) units $(MAKE) --no-print-directory units
	@$(STAGE) static $(MAKE) --no-print-directory static
	@$(STAGE) image-check $(MAKE) --no-print-directory image-check
	@$(STAGE) product $(MAKE) --no-print-directory product
	@$(STAGE) clients $(MAKE) --no-print-directory clients
	@$(STAGE) guide $(MAKE) --no-print-directory guide

lint: ## format, clippy, which holds the invariants, and the docs
	cargo fmt --all --check
	cargo fmt --check --manifest-path fuzz/Cargo.toml
	cargo metadata --locked --format-version 1 --manifest-path fuzz/Cargo.toml >/dev/null
	cargo clippy --quiet --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --quiet --workspace --no-deps

units: ## unit and service tests, and the examples in the docs
	cargo test --quiet --workspace --lib --bins --test script
	cargo test --quiet --workspace --doc

# A target of its own, so that build scripts and macros are not linked statically too.
static: ## the shipped binary
	CARGO_TARGET_$(shell echo $(TARGET) | tr a-z- A-Z_)_RUSTFLAGS='$(STATIC_FLAGS)' \
	    cargo build --quiet --release --target $(TARGET) --bin pid1
	@ls -l $(STATIC) | awk '{ printf "%s: %.1f MB\n", $$NF, $$5 / 1e6 }'

# What uses up limits of the machine comes after all others, one at a time. A signal that is ignored, as a shell does for
# what it runs in the background, stays ignored down to the programs under test.
PRODUCT := env --default-signal PID1_BIN=$(CURDIR)/$(STATIC) cargo test --quiet --test product --

product: static ## the real binary over real sockets
	$(PRODUCT) --skip alone:: --skip image::
	$(PRODUCT) alone:: --test-threads=1

image-check: static ## the shipped binary as process 1 of images that hold nothing else
	$(PRODUCT) image::

clients: static ## the published clients against the real binary
	@for suite in tests/clients/*/; do \
	    echo "== $$suite"; \
	    (cd "$$suite" && npm ci --silent --no-audit --no-fund && PID1_BIN=$(CURDIR)/$(STATIC) npm test --silent); \
	done

guide: ## the guide to writing a service, followed to the letter
	.ci/guide

tools: ## what the tests need besides Rust: curl moves files; tini and dumb-init are what `pid1 init` is measured by, runc runs images
	@command -v node >/dev/null && command -v npm >/dev/null || \
	    { apt-get update -qq && apt-get install -y -qq --no-install-recommends nodejs npm; }
	@python3 -c 'import ensurepip, venv' 2>/dev/null || \
	    { apt-get update -qq && apt-get install -y -qq --no-install-recommends python3 python3-venv; }
	@command -v tini >/dev/null && command -v dumb-init >/dev/null || \
	    { apt-get update -qq && apt-get install -y -qq --no-install-recommends tini dumb-init; }
	@command -v curl >/dev/null || { apt-get update -qq && apt-get install -y -qq --no-install-recommends curl; }
	@command -v runc >/dev/null && command -v busybox >/dev/null || \
	    { apt-get update -qq && apt-get install -y -qq --no-install-recommends runc busybox-static; }
	@python3 -c 'import sys; assert sys.version_info >= (3, 10), "the client tests need Python 3.10 or later, this is " + sys.version'
	@node -e 'if (+process.versions.node.split(".")[0] < 20) { console.error("the client tests need Node 20 or later, this is " + process.version); process.exit(1); }'

bench: ## the speed table, ours beside the bare limit
	cargo build --quiet --release --bin pid1
	cargo run --quiet --release -p pid1-benches -- --write

soak: static ## the long forms of the tests
	PID1_LONG=1 $(PRODUCT) --skip alone:: --skip image::
	PID1_LONG=1 $(PRODUCT) alone:: --test-threads=1

# A nightly compiler, because libFuzzer needs its coverage counters. Without the address sanitizer: the code under test
# is safe Rust.
fuzz: FUZZ_SECONDS ?= 60
fuzz: ## each fuzz target for FUZZ_SECONDS (60); TARGETS=NAME for one
	@command -v cargo-fuzz >/dev/null || cargo install --quiet --locked cargo-fuzz
	cargo +nightly fuzz build --sanitizer none
	@for target in $(or $(TARGETS),$$(cargo +nightly fuzz list)); do \
	    mkdir -p fuzz/found/$$target; \
	    .ci/stage "fuzz $$target" cargo +nightly fuzz run --sanitizer none $$target fuzz/found/$$target fuzz/corpus/$$target \
	        -- -max_total_time=$(FUZZ_SECONDS) -max_len=512 -print_final_stats=1 -verbosity=0; \
	done

# The name after `make new-service` is nothing to make, not even `run`: so this stands behind all targets.
ifeq ($(firstword $(MAKECMDGOALS)),new-service)
ifneq ($(origin NAME),command line)
override NAME := $(wordlist 2,$(words $(MAKECMDGOALS)),$(MAKECMDGOALS))
$(eval $(filter-out new-service,$(NAME)):;@:)
endif
endif
