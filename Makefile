# The targets that people use. Each is thin: the work is done by cargo and by the host program in tools/.

# Which kernel `make run`, `make debug` and `make suites` take: graft, linux; `make suites` also both.
KERNEL ?= graft
# Only the tests of `make suites` whose names contain this.
FILTER ?=

TOOLS := cargo run --quiet --package graft-tools --
KERNEL_ELF := target/kernel/x86_64-unknown-linux-gnu/kernel/graft-kernel

.DEFAULT_GOAL := help
.PHONY: help run test kernel debug suites boot-time rules doc setup clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 12

run: setup ## boot the kernel, see the demonstration, get a shell (KERNEL=linux: the same on Linux)
	@if [ "$(KERNEL)" = graft ]; then $(MAKE) --no-print-directory kernel; fi
	@$(TOOLS) run --kernel $(KERNEL)

test: setup ## everything that must hold: format, lints, host tests, guest suites, comparisons
	@$(TOOLS) test

# A target folder and flags of its own: the kernel has no red zone and a fixed address, host programs have both otherwise.
kernel: setup ## build the kernel alone, to target/graft-kernel
	@RUSTFLAGS="-C relocation-model=static -C no-redzone=yes" cargo build --package kernel --profile kernel \
		--target x86_64-unknown-linux-gnu --target-dir target/kernel
	@cp $(KERNEL_ELF) target/graft-kernel

debug: setup kernel ## boot the kernel halted, with a GDB stub, and say how to attach
	@$(TOOLS) run --kernel $(KERNEL) --debug

suites: setup ## run the guest suites (KERNEL=graft, linux or both; FILTER=part of a name)
	@if [ "$(KERNEL)" != linux ]; then $(MAKE) --no-print-directory kernel; fi
	@$(TOOLS) suites --kernel $(KERNEL) $(if $(FILTER),--filter $(FILTER))

boot-time: setup kernel ## how long both kernels take until init runs
	@$(TOOLS) boot-time

rules: ## hold the rules of semantics.md against the code and the tests that cite them
	@$(TOOLS) rules

doc: ## build the documentation, to target/doc
	@cargo doc --no-deps --workspace --document-private-items

setup: ## install what is missing on this machine
	@tools/setup.sh

clean: ## remove all that was built and downloaded
	@rm -rf target
