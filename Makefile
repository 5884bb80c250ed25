# make help says what there is.
SHELL       := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

CLUSTER     ?= local
NAMESPACE   ?= desk
IMAGE_REPOSITORY ?= ghcr.io/three-rivers-tech/trading-operator
VERSION     ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
GO          ?= go
BIN         := $(CURDIR)/bin
LDFLAGS     := -s -w -X main.version=$(VERSION)
# Everything is static and built with the same settings, so that the operator, its
# tests and the Kubernetes of "make up" share one build cache.
export CGO_ENABLED := 0
# Packages with tests that need no root. test/e2e, test/e2e-tls and test/faults have build tags of their own.
PACKAGES    ?= ./...
CLUSTER_TOOL := $(GO) -C hack/cluster run .

##@ Use

.PHONY: help
help: ## Say what there is.
	@awk 'BEGIN {FS = ":.*##"} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z0-9-]+:.*##/ {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: up
up: ## Build everything, start a Kubernetes on this machine and let the sample desk trade (CLUSTER=local|kind).
	@$(CLUSTER_TOOL) up --cluster=$(CLUSTER)

.PHONY: down
down: ## Stop what "make up" started and remove what it left.
	@$(CLUSTER_TOOL) down --cluster=$(CLUSTER)

.PHONY: deploy
deploy: ## Install the operator into the cluster of the current kubeconfig (MANAGER_IMAGE=…:tag AGENT_IMAGE=…:tag).
	@$(CLUSTER_TOOL) deploy --manager-image='$(MANAGER_IMAGE)' --agent-image='$(AGENT_IMAGE)'

.PHONY: build
build: ## Build the manager, the agent and the kubectl plugin into bin/.
	$(GO) build -ldflags '$(LDFLAGS)' -o $(BIN)/ ./cmd/manager ./cmd/trading-agent ./cmd/kubectl-trading

.PHONY: docker-build
docker-build: ## Build both images with Docker or Podman.
	docker build --build-arg VERSION=$(VERSION) --target manager -t $(IMAGE_REPOSITORY)/manager:$(VERSION) .
	docker build --build-arg VERSION=$(VERSION) --target trading-agent -t $(IMAGE_REPOSITORY)/trading-agent:$(VERSION) .

##@ Test

.PHONY: test
test: ## Run every test that needs no root, against a real API server and a real PostgreSQL.
	KUBEBUILDER_ASSETS="$${KUBEBUILDER_ASSETS:-$$($(CLUSTER_TOOL) assets)}" $(GO) test $(PACKAGES)
	$(GO) -C hack/cluster test ./...
# Go's test cache does not watch what these read, which is outside their module.
	$(GO) -C test/charts test -count=1 ./...
	$(GO) -C test/prometheus test -count=1 ./...
	@$(MAKE) --no-print-directory faults
	@$(MAKE) --no-print-directory crash KILLS=100 ARGS=--per-run=8
	@$(MAKE) --no-print-directory fence RUNS=50
	@$(MAKE) --no-print-directory soak SPAN=2m
	@$(MAKE) --no-print-directory sim

.PHONY: faults
faults: ## Kill the operator at each of its writes, and spoil its view of the cluster (FAULTS=long, FAULTS_SEED=…).
	KUBEBUILDER_ASSETS="$${KUBEBUILDER_ASSETS:-$$($(CLUSTER_TOOL) assets)}" $(GO) -C test/faults test -tags faults -count 1 -timeout 60m

.PHONY: sim
sim: ## Simulate agents, ledger, venues and network from SEEDS=10000 seeds, each in one goroutine, and judge by the venue's book.
	$(GO) test ./test/sim -count 1 -timeout 30m -v -args -seeds $${SEEDS:-10000} $(ARGS)

.PHONY: crash
crash: ## Kill agents, databases and lines at every durable step, KILLS=1200 times, and compare exchange and ledger (ARGS=--help).
	$(GO) run ./test/crash kill --kills=$${KILLS:-1200} $(ARGS)

.PHONY: crash-long
crash-long: ## The same with 10,000 kills; it takes most of a day.
	@$(MAKE) --no-print-directory crash KILLS=10000

.PHONY: fence
fence: ## Stop owners at every step, let others take over, and let the owners go on, RUNS=500 times (ARGS=--help).
	$(GO) run ./test/crash fence --runs=$${RUNS:-500} $(ARGS)

.PHONY: soak
soak: ## Break an agent's market data off 10,000 times an hour for SPAN=60m, and compare goroutines, descriptors and heap.
	$(GO) run ./test/soak --span $${SPAN:-60m} $(ARGS)

.PHONY: e2e
e2e: ## Run the desk on the local cluster and break each part once (needs root).
	$(CLUSTER_TOOL) up --cluster=local --test
	$(GO) test -tags e2e -count 1 -timeout 30m -v ./test/e2e/... -ginkgo.v -ginkgo.no-color || { $(CLUSTER_TOOL) down --cluster=local; exit 1; }
	$(CLUSTER_TOOL) down --cluster=local

.PHONY: e2e-tls
e2e-tls: ## Give the desk addresses by cert-manager, ACME, Traefik and a DNS provider's API, and break that chain (needs root).
	$(CLUSTER_TOOL) up --cluster=local --test --tls
	$(GO) test -tags e2etls -count 1 -timeout 40m -v ./test/e2e-tls -ginkgo.v -ginkgo.no-color || { $(CLUSTER_TOOL) down --cluster=local; exit 1; }
	$(CLUSTER_TOOL) down --cluster=local

.PHONY: mutate
mutate: ## Change the risk gate in one place at a time and count how many changes its tests notice (at least 95 %).
	$(GO) run ./hack/mutate

# Go minimizes every new input for a minute where nothing else is said, and fuzzes nothing meanwhile.
.PHONY: fuzz
fuzz: ## Fuzz every decoder and validator for a short while each (FUZZTIME=30s).
	@grep -roE --include='*_test.go' '^func Fuzz[A-Za-z0-9]+' . | sort | while IFS=: read -r file target; do \
		echo "$$(dirname $$file) $${target#func }"; \
		$(GO) test "$$(dirname $$file)" -run '^$$' -fuzz "^$${target#func }$$" -fuzztime $${FUZZTIME:-30s} -fuzzminimizetime 10x </dev/null; \
	done

.PHONY: bench
bench: ## Run the benchmarks of the gate, the backtest and the readers.
	$(GO) test -run '^$$' -bench . -benchmem ./internal/risk ./internal/trader ./internal/market/...

# backtesting.py is installed into an environment of its own.
.PHONY: bench-runtime
bench-runtime: ## Measure gate, backtests, ticks, durable orders, reconciliation and start-up, beside their targets (ARGS=--help).
	@test -x $(BIN)/python/bin/python || { python3 -m venv $(BIN)/python && $(BIN)/python/bin/pip install -q -r test/runtime/requirements.txt; }
	@$(GO) build -o $(BIN)/bench-runtime ./test/runtime
	@$(BIN)/bench-runtime --python $(BIN)/python/bin/python $(ARGS)

.PHONY: bench-operator
bench-operator: build ## Measure the operator with AGENTS=1000,10000 agents on a real API server, beside a bare client and StatefulSets.
	$(GO) run ./test/scale --agents=$${AGENTS:-1000,10000} --manager=$(BIN)/manager \
		--programs="$$($(CLUSTER_TOOL) path kubernetes etcd kwok)" $(ARGS)

.PHONY: bench-halt
bench-halt: ## Measure how fast a halt reaches AGENTS=1000 agents on a loaded API server, and that nobody undoes it.
	$(GO) build -o $(BIN)/bench-halt ./test/halt
	KUBEBUILDER_ASSETS="$${KUBEBUILDER_ASSETS:-$$($(CLUSTER_TOOL) assets)}" $(BIN)/bench-halt --agents=$${AGENTS:-1000} $(ARGS)

.PHONY: bench-halt-pods
bench-halt-pods: ## The same on the local cluster, PODS=20 of the agents in pods of its kubelet (needs root).
	$(GO) build -o $(BIN)/bench-halt ./test/halt
	$(CLUSTER_TOOL) up --cluster=local --test
	$(BIN)/bench-halt --cluster=.cluster/kubeconfig --agents=$${AGENTS:-1000} --pods=$${PODS:-20} $(ARGS) || { $(CLUSTER_TOOL) down --cluster=local; exit 1; }
	$(CLUSTER_TOOL) down --cluster=local

.PHONY: bench-auth
bench-auth: ## Measure what 10,000 wrong keys cost a client of the API that has a right one, pair by pair.
	$(GO) run ./test/auth $(ARGS)

.PHONY: bench-stream
bench-stream: ## Measure the WebSocket stream with 2,000 clients on two cores, beside a plain gorilla/websocket server.
	$(GO) build -o $(BIN)/bench-stream ./test/stream
	$$(command -v taskset >/dev/null && echo taskset -c 0,1) $(BIN)/bench-stream $(ARGS)

.PHONY: test-browser
test-browser: ## Let Debian's Chromium, headless, use the WebSocket stream (installs it as root).
	@command -v chromium >/dev/null || { apt-get update && apt-get install -y --no-install-recommends chromium; }
	$(GO) test -tags browser -count 1 ./test/stream/browser

##@ Develop

.PHONY: generate
generate: $(BIN)/controller-gen ## Generate deepcopy, apply configurations, CRDs, RBAC, the chart's copies and the reference.
	$(BIN)/controller-gen object:headerFile=hack/boilerplate.go.txt applyconfiguration:headerFile=hack/boilerplate.go.txt paths=./api/v1alpha1
	$(BIN)/controller-gen crd paths=./api/v1alpha1 output:crd:dir=config/crd/bases
	$(BIN)/controller-gen rbac:roleName=trading-operator paths=./controllers/... output:rbac:dir=config/rbac
	cp config/crd/bases/*.yaml charts/trading-operator/crds/
	$(GO) run ./hack/reference

.PHONY: verify
verify: ## Check that generated files, modules and formatting are as they should be.
	hack/verify.sh

.PHONY: lint
lint: $(BIN)/lint ## Lint the code and the API, in every module.
	@for module in . hack/cluster test/charts test/prometheus; do \
		echo "lint $$module"; (cd $$module && $(BIN)/lint run --config $(CURDIR)/.golangci.yml ./...); \
	done

$(BIN)/controller-gen: hack/tools/go.mod
	$(GO) -C hack/tools build -o $@ sigs.k8s.io/controller-tools/cmd/controller-gen

$(BIN)/lint: hack/lint/go.mod hack/lint/main.go
	$(GO) -C hack/lint build -ldflags '-s -w' -o $@ .

.PHONY: clean
clean: ## Remove bin/ (caches outside the tree stay).
	rm -rf $(BIN)
