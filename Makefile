# Cofferdam. `make` alone lists what there is to do. Everything may be interrupted and run again.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory

RUNNER_TARGET := x86_64-unknown-linux-gnu
TARGET := $(abspath $(or $(CARGO_TARGET_DIR),target))
BIN := $(TARGET)/release/cofferdam
DEV := $(TARGET)/debug/cofferdam
RUNNER := $(TARGET)/$(RUNNER_TARGET)/release/cofferdam-runner
# Where the Codex that a lock file names lies once it is fetched.
locked = $(CURDIR)/data/cache/codex/$(shell sed -n 's/^version = "\(.*\)"/\1/p' $(1))/bin/codex
CODEX := $(call locked,container/codex.lock)
OLDER := $(call locked,container/codex-older.lock)

.PHONY: help engine keyring irc clients machine runner build codex codex-older codex-update image demo test chaos bench lint fmt clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | column -t -s '|'

machine:
	@[ "$$(uname -sm)" = "Linux x86_64" ] || { \
	  echo "Cofferdam's image is for x86_64 Linux only, and this machine is $$(uname -sm): use an x86_64 Linux machine" >&2; \
	  exit 1; }

engine: machine ## make sure that a Docker engine answers (YES=1: install and start it without asking)
	@scripts/engine.sh

keyring: machine
	@scripts/keyring.sh

irc: machine
	@scripts/irc.sh

clients: machine
	@scripts/clients.sh

runner: machine
	@RUSTFLAGS="-C target-feature=+crt-static" \
	  cargo build --release --locked --package cofferdam-agent-runner --target $(RUNNER_TARGET)

build: runner ## build the program and the static runner (release)
	@cargo build --release --locked --package cofferdam --bin cofferdam

codex: image ## fetch and check the pinned Codex (part of the image)
	@echo $(CODEX)

codex-older: machine
	@scripts/codex-fetch.sh container/codex-older.lock >/dev/null

codex-update: machine ## try another Codex, and pin it if the tests pass (VERSION=0.170.0)
	@scripts/codex-update.sh

image: engine build ## build the agent image, unless it is there
	@COFFERDAM_RUNNER="$(RUNNER)" "$(BIN)" --home "$(CURDIR)" image build

demo: machine ## from nothing to a first reply
	@scripts/demo.sh

test: engine keyring irc clients runner codex-older ## run all tests, on the real engine and the real Codex
	@# Together, so that the program has the hooks that the tests pull.
	@cargo build --locked --package cofferdam --package cofferdam-tests --bins
	@COFFERDAM_RUNNER="$(RUNNER)" "$(DEV)" --home "$(CURDIR)" image build
	@COFFERDAM_RUNNER="$(RUNNER)" scripts/readme.sh "$(DEV)"
	@COFFERDAM_RUNNER="$(RUNNER)" COFFERDAM_TEST_HOME="$(CURDIR)" COFFERDAM_TEST_CODEX="$(CODEX)" \
	  COFFERDAM_TEST_CODEX_OLDER="$(OLDER)" cargo test --workspace --locked

# Of the second part, with the real Codex; its turns and its pauses after a failure take longer.
CODEX_N ?= 30
CODEX_KILLS ?= 12

chaos: engine runner ## kill everything under load, then check that nothing is lost or doubled (SEED= N= KILLS=; as root)
	@cargo build --locked --package cofferdam --package cofferdam-tests --bins
	@export COFFERDAM_RUNNER="$(RUNNER)" COFFERDAM_TEST_HOME="$(CURDIR)" COFFERDAM_BIN="$(DEV)"; \
	  "$(DEV)" --home "$(CURDIR)" image build; \
	  seed="$${SEED:-$$RANDOM$$RANDOM}"; \
	  "$(TARGET)/debug/chaos" --seed "$$seed" --messages "$(or $(N),1000)" --kills "$(or $(KILLS),60)"; \
	  "$(TARGET)/debug/chaos" --seed "$$seed" --messages "$(CODEX_N)" --kills "$(CODEX_KILLS)" \
	    --agent codex --groups 1 --chats 3 --pace 5000

bench: image ## measure; a table, and target/bench/results.json
	@COFFERDAM_RUNNER="$(RUNNER)" COFFERDAM_TEST_HOME="$(CURDIR)" COFFERDAM_TEST_CODEX="$(CODEX)" \
	  cargo run --release --locked --package cofferdam-tests --bin bench

lint: ## formatting, clippy and shell scripts
	@cargo fmt --all --check
	@cargo clippy --workspace --all-targets --locked -- -D warnings
	@for f in scripts/*.sh .ci/run; do bash -n $$f; done
	@if command -v shellcheck >/dev/null; then shellcheck scripts/*.sh .ci/run; fi

fmt: ## format the code
	@cargo fmt --all

clean: ## remove what was built and fetched; groups and their state stay
	@cargo clean
	@rm -rf data/cache
