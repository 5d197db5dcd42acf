# hpabench: `make help` lists the targets.
GO ?= go
GOLANGCI_LINT_VERSION = v2.15.0
GOVULNCHECK_VERSION = v1.9.0

.PHONY: help build test e2e e2e-library lint bench fuzz cover

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "%-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## Build bin/hpabench
	$(GO) build -o bin/ ./cmd/...

test: ## Run all tests that need no cluster
	$(GO) vet ./...
	$(GO) test ./...

e2e: ## Run the end-to-end tests on the cluster of HPABENCH_E2E_KUBECONFIG, 25 minutes
	$(GO) test -tags e2e -count=1 -timeout 60m -v -p 1 ./watch ./e2e

e2e-library: ## Run every scenario of the library on the cluster of HPABENCH_E2E_KUBECONFIG, half an hour
	HPABENCH_E2E_LIBRARY=1 $(GO) test -tags e2e -count=1 -timeout 90m -v -parallel 2 -run TestLibrary ./e2e

lint: ## Run golangci-lint (with staticcheck) and, where its database can be reached, govulncheck
	$(GO) run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT_VERSION) run
	@$(GO) run golang.org/x/vuln/cmd/govulncheck@$(GOVULNCHECK_VERSION) ./... > .govulncheck.log 2>&1; code=$$?; \
	if grep -q 'fetching vulnerabilities' .govulncheck.log; then echo "govulncheck: its database cannot be reached from here; skipped"; code=0; \
	else cat .govulncheck.log; fi; rm -f .govulncheck.log; exit $$code

bench: ## Run the benchmarks
	$(GO) test -run '^$$' -bench . -benchmem ./...

fuzz: ## Fuzz the scenario reader for a minute
	$(GO) test -run '^$$' -fuzz FuzzParse -fuzztime 60s ./scenarios

cover: ## Show how much of the code the tests reach
	$(GO) test -coverprofile=coverage.out ./... && $(GO) tool cover -func=coverage.out | tail -1
