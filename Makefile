# What people type here. Each target is one line of intent; the how is in the scripts.

GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)

.PHONY: build test check race demo hosts bench bench-server bench-cluster bench-releases bench-ui shots lint sim soak fuzz man clean

build: ## the program, in ./sluice
	$(GO) build -trimpath -o sluice ./cmd/sluice

demo: ## a real rollout, live, on a fleet that it brings along; no root, nothing installed
	$(GO) run ./internal/lab/demo

hosts: ## a shell with hosts to try something on, HOSTS (web1 web2 web3 lb1); needs root
	$(GO) run ./internal/lab/hosts $(or $(HOSTS),web1 web2 web3 lb1)

# Most of what the tests do is to wait, for hosts, servers and each other: more of them at once than there are processors take less time.
# The race detector would sleep for a second at the end of each process. It does not look into scrypt, which is not ours, shares nothing,
# and is made to be slow: watched, it takes minutes for what takes seconds.
test: ## install what the tests need, and run them all
	.ci/install-test-deps
	$(GO) vet ./...
	GORACE="$$GORACE atexit_sleep_ms=10" $(GO) test -race -gcflags=golang.org/x/crypto/scrypt=-race=false -timeout 35m -p 3 ./...

check: ## the quick loop: no race detector, few cases
	$(GO) vet ./...
	$(GO) test -short ./...

lint: ## what CI lints with
	.ci/lint

bench: ## one table, side by side with peers; writes docs/benchmarks.md
	.ci/install-test-deps --bench
	$(GO) run ./internal/lab/bench -write docs/benchmarks.md

sim: ## the simulation, for SIMTIME (5m): seed after seed, and every planted bug
	SLUICE_SIM_TIME=$(or $(SIMTIME),5m) $(GO) test ./internal/lab/sim -v -timeout 30m

bench-server: ## a server on simulated hosts; writes docs/benchmarks-server.md
	$(GO) run ./internal/lab/serverbench -write docs/benchmarks-server.md

bench-cluster: ## three servers beside one, and KILLS (30) times the owner killed; writes docs/benchmarks-cluster.md
	$(GO) run ./internal/lab/serverbench -cluster $(or $(KILLS),30) -write docs/benchmarks-cluster.md

bench-releases: ## versions of an application, side by side with peers; writes docs/benchmarks-releases.md; ROUNDS=1 is a first look
	.ci/install-test-deps --bench
	$(GO) run ./internal/lab/bench -only releases -rounds $(or $(ROUNDS),3) -write docs/benchmarks-releases.md

bench-ui: ## the page of a job in a browser; writes docs/benchmarks-ui.md
	$(GO) run ./internal/lab/serverbench -ui 10m -write docs/benchmarks-ui.md

shots: ## pictures of all pages; writes docs/ui/
	SLUICE_PICTURES=../../../docs/ui $(GO) test ./internal/front/webui -run '^TestPictures' -count=1 -v

soak: ## servers, workers and command lines that are killed at random, for ROUNDS jobs (200)
	SLUICE_SOAK_ROUNDS=$(or $(ROUNDS),200) $(GO) test ./internal/lab/soak -v -timeout 3h

fuzz: ## every fuzz target for FUZZTIME each
	.ci/fuzz $(FUZZTIME)

man: ## man pages, in ./dist/man
	mkdir -p dist/man && $(GO) run ./cmd/sluice man dist/man

clean:
	rm -rf sluice dist
