# Knit: two commands do everything: `make up`, `make test`.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# One set of flags for every build, so that all share one build cache; without
# cgo every program is static.
export GOFLAGS := -trimpath -buildvcs=false
export GOTOOLCHAIN := local
GO := CGO_ENABLED=0 go

# The Kubernetes components read their version from these variables; Knative
# refuses to start on a version that it cannot parse.
KUBE := v1.35.6
KUBE_LDFLAGS := -s -w \
	-X k8s.io/component-base/version.gitVersion=$(KUBE) \
	-X k8s.io/component-base/version.gitMajor=1 \
	-X k8s.io/component-base/version.gitMinor=35 \
	-X k8s.io/component-base/version.gitCommit=knit \
	-X k8s.io/component-base/version.gitTreeState=clean \
	-X k8s.io/client-go/pkg/version.gitVersion=$(KUBE)

STATE_DIR ?= /var/lib/knit
GATEWAY_PORT ?= 80
export KUBECONFIG := $(STATE_DIR)/kubeconfig

PACKAGES := containerd runc containernetworking-plugins nftables iproute2 ca-certificates
# The race detector links with the C library; the tests of the pod network use
# iptables, those of builds with an engine dockerd, which they start themselves.
TEST_PACKAGES := gcc libc6-dev iptables procps docker.io

.PHONY: help
help: ## Show this help
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: packages
packages: ## Install the Debian packages that the cluster needs
	@missing=(); for p in $(PACKAGES) $(MORE_PACKAGES); do \
	  dpkg-query -W -f '$${Status}' "$$p" 2>/dev/null | grep -q 'ok installed' || missing+=("$$p"); done; \
	if [ $${#missing[@]} -gt 0 ]; then echo "installing $${missing[*]}"; \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$${missing[@]}"; fi

.PHONY: build
build: ## Build the programs into bin/
	@begin=$$SECONDS; echo "building bin/knit-cluster (the first time compiles Kubernetes: some minutes)"; \
	(cd deploy/cluster && $(GO) build -ldflags "$(KUBE_LDFLAGS)" -o ../../bin/knit-cluster .); \
	echo "building bin/knit ($$((SECONDS-begin))s)"; \
	$(GO) build -ldflags "-s -w" -o bin/knit .; \
	echo "built ($$((SECONDS-begin))s)"

.PHONY: up
up: packages build ## Run the main job on an embedded Kubernetes + Knative
	@bin/knit cluster up --state-dir $(STATE_DIR) --gateway-port $(GATEWAY_PORT)
	@bin/knit install --from .
	@samples/tour.sh

.PHONY: down
down: ## Stop the cluster; everything in it stays
	@bin/knit cluster down --state-dir $(STATE_DIR)

.PHONY: delete
delete: ## Remove the cluster and everything it ever made
	@bin/knit cluster delete --state-dir $(STATE_DIR)

.PHONY: test
test: MORE_PACKAGES := $(TEST_PACKAGES)
test: packages build ## Run all tests, on a cluster of their own that leaves yours alone
	@deploy/e2e/run.sh

.PHONY: test-unit
test-unit: ## Run the tests that need no cluster
	@go test -race ./...
	@cd deploy/cluster && $(GO) test ./...

.PHONY: lint
lint: ## Check formatting and the linters of .golangci.yml
	@test -z "$$(gofmt -l . | tee /dev/stderr)"
	@go vet ./... && go vet -tags e2e ./deploy/... && cd deploy/cluster && go vet ./... && go vet -tags e2e ./...
	@go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.6.2 run ./...

.PHONY: generate
generate: ## Generate deep copies and CRDs
	@$(GO) generate ./...

.PHONY: verify
verify: generate ## Fail when generated files are not up to date
	@git diff --exit-code

.PHONY: bench
bench: packages build ## Measure the figures of BENCHMARKS.md on a cluster of their own
	@deploy/bench/run.sh
