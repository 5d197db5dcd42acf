# hpabench: `make help` lists the targets.
GO ?= go
GOLANGCI_LINT_VERSION = v2.15.0
GOVULNCHECK_VERSION = v1.9.0

.PHONY: help build test e2e lint bench fuzz cover

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9]+:.*## /{printf "%-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## Build bin/hpabench
	$(GO) build -o bin/ ./cmd/...

test: ## Run all tests that need no cluster
	$(GO) vet ./...
	$(GO) test ./...

e2e: build ## Run the end-to-end tests; needs HPABENCH_E2E_KUBECONFIG, a cluster that may be used for tests
	$(GO) test -tags e2e -count=1 -timeout 60m -v ./e2e/... ./watch/...

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
