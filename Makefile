# The targets that people use. Each is thin: the work is done by cargo and by the host program in tools/.

# Which kernel `make run`, `make debug` and `make suites` take: graft, linux; `make suites` also host, both (graft and linux), all.
KERNEL ?= graft
# Only the tests of `make suites` whose names, or whose suites' names, contain this.
FILTER ?=

# What `make walk` walks, and how far `make bench` goes.
SEEDS ?= 1..20
STEPS ?= 200
LARGEST ?= 1000
LARGEST_GRAFT ?= $(LARGEST)
ROWS ?=

# Quiet but for the first time, which takes a while.
TOOLS := cargo run $(if $(wildcard target/debug/graft-tools),--quiet) --package graft-tools --

# The kernel has flags of its own (a fixed address in the top 2 GiB, no red zone), and therefore a target folder of its own.
KERNEL_FLAGS := RUSTFLAGS="-C relocation-model=static -C code-model=kernel -C no-redzone=yes"
KERNEL_PACKAGE := --package kernel --profile kernel --target x86_64-unknown-linux-gnu --target-dir target/kernel
KERNEL_ELF := target/kernel/x86_64-unknown-linux-gnu/kernel/graft-kernel

# Where rustup puts cargo, for a shell that was started before.
export PATH := $(PATH):$(HOME)/.cargo/bin

.DEFAULT_GOAL := help
.PHONY: help run test kernel kernel-lints debug suites containers boot-time walk bench bench-crate mutations rules doc setup clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 12

run: setup ## boot the kernel, see the demonstration, get a shell (KERNEL=linux: the same on Linux)
	@if [ "$(KERNEL)" = graft ]; then $(MAKE) --no-print-directory kernel; fi
	@$(TOOLS) run --kernel $(KERNEL)

test: setup ## everything that must hold: format, lints, host tests, guest suites, comparisons
	@$(TOOLS) test

kernel: setup ## build the kernel alone, to target/graft-kernel
	@$(KERNEL_FLAGS) cargo build $(KERNEL_PACKAGE)
	@cp $(KERNEL_ELF) target/graft-kernel

kernel-lints:
	@$(KERNEL_FLAGS) cargo clippy $(KERNEL_PACKAGE) -- -D warnings

debug: setup kernel ## boot the kernel halted, with a GDB stub, and say how to attach
	@$(TOOLS) run --kernel $(KERNEL) --debug

suites: setup ## run the guest suites (KERNEL=graft, linux, host, both or all; FILTER=part of a name)
	@if [ "$(KERNEL)" != linux ] && [ "$(KERNEL)" != host ]; then $(MAKE) --no-print-directory kernel; fi
	@$(TOOLS) suites --kernel $(KERNEL) $(if $(FILTER),--filter $(FILTER))

containers: setup ## run util-linux, bubblewrap, crun and runc through the container scenarios (KERNEL=graft, linux or both; FILTER=part of a name)
	@if [ "$(KERNEL)" != linux ]; then $(MAKE) --no-print-directory kernel; fi
	@$(TOOLS) containers --kernel $(KERNEL) $(if $(FILTER),--filter $(FILTER))

boot-time: setup kernel ## how long both kernels take until init runs
	@$(TOOLS) boot-time

walk: setup kernel ## random mount operations on both kernels side by side (SEEDS=1..20 STEPS=200)
	@$(TOOLS) walk --seeds $(SEEDS) --steps $(STEPS)

bench: setup kernel ## what mount operations cost on both kernels, in instructions (LARGEST=1000 LARGEST_GRAFT=1000 ROWS=part of a name)
	@$(TOOLS) bench --largest $(LARGEST) --largest-graft $(LARGEST_GRAFT) $(if $(ROWS),--rows $(ROWS))

mutations: setup ## break the kernel on purpose, place after place, and see which tests notice (FILTER=part of a name, or fuse, overlayfs, …)
	@$(TOOLS) mutations $(if $(FILTER),--filter "$(FILTER)")

bench-crate: ## what the library's operations cost by themselves, in instructions a mount (needs valgrind)
	@cargo bench --quiet --package graft --bench operations

rules: ## hold the rules of semantics.md against the code and the tests that cite them
	@$(TOOLS) rules

doc: ## build the documentation, to target/doc
	@cargo doc --no-deps --workspace --document-private-items

setup: ## install what is missing on this machine
	@tools/setup.sh

clean: ## remove all that was built and downloaded
	@rm -rf target
