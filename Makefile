# hpabench: `make help` lists the targets.
GO ?= go
GOLANGCI_LINT_VERSION = v2.15.0
ACTIONLINT_VERSION = v1.7.12
GOVULNCHECK_VERSION = v1.9.0
# Without it kustomize loads Go plugins, and the linker keeps every method: 37 MB more.
TAGS = kustomize_disable_go_plugin_support
PLATFORMS = linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64

.PHONY: help build dist image test e2e e2e-keda e2e-keda-faults e2e-keda-fidelity e2e-all e2e-library e2e-fidelity e2e-findings agree fit-real fit-embedded lint bench bench-lab bench-load decisions outside outside-latency fuzz race cover docs

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "%-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## Build bin/hpabench and bin/hpabench-lab
	$(GO) build -tags $(TAGS) -o bin/ ./cmd/...

# The archives of a commit are the same bytes wherever they are made with the
# same Go: no paths, no cgo, and the commit's time on every file.
dist: ## Build the archives of a release in dist/, with their checksums (needs GNU tar)
	rm -rf dist && mkdir dist
	set -e; for target in $(PLATFORMS); do \
	  export CGO_ENABLED=0 GOOS=$${target%/*} GOARCH=$${target#*/}; \
	  folder=hpabench-$$GOOS-$$GOARCH; mkdir dist/$$folder; \
	  $(GO) build -tags $(TAGS) -trimpath -ldflags='-s -w' -o dist/$$folder/ ./cmd/...; \
	  cp README.md LICENSE dist/$$folder/; \
	  tar -C dist --sort=name --owner=0 --group=0 --numeric-owner --mode=go=rX,u+rw,a-s \
	    --mtime=@$$(git log -1 --format=%ct) -cf - $$folder | gzip -n > dist/$$folder.tar.gz; \
	  rm -r dist/$$folder; \
	done
	cd dist && sha256sum *.tar.gz > SHA256SUMS

image: ## Build the container image of hpabench, for via: job, as dist/hpabench-image.tar; no container engine is needed
	$(GO) run ./image

test: ## Run all tests that need no cluster but the embedded one
	$(GO) vet ./...
	$(GO) test -timeout 30m ./...

e2e: ## Run the end-to-end tests on the cluster of HPABENCH_E2E_KUBECONFIG, 15 minutes
	$(GO) test -tags e2e -count=1 -timeout 60m -v -p 1 ./watch ./e2e

e2e-keda: ## Run the end-to-end tests of KEDA, which the cluster of HPABENCH_E2E_KUBECONFIG must have with Prometheus, 5 minutes
	$(GO) test -tags e2e -count=1 -timeout 30m -v -run 'TestScaleFromZero|ScaledObject' ./e2e

e2e-keda-fidelity: ## Run the scenarios of signals on the cluster of HPABENCH_E2E_KUBECONFIG and on the embedded one, and say how far they and simulations are from each other, an hour
	HPABENCH_E2E_KEDA_FIDELITY=$${HPABENCH_E2E_KEDA_FIDELITY:-$$(mktemp -d)} $(GO) test -count=1 -timeout 90m -v -run TestKEDAFidelity ./e2e

e2e-keda-faults: ## Take Prometheus, KEDA and ScaledObjects away in mid-run on the cluster of HPABENCH_E2E_KUBECONFIG, whose processes are this machine's, 15 minutes
	HPABENCH_E2E_KEDA_FAULTS=1 $(GO) test -tags e2e -count=1 -timeout 40m -v -parallel 3 -run TestKEDAFaults ./e2e

e2e-all: ## The same with those that take long or that make test runs on the embedded cluster, half an hour
	HPABENCH_E2E_ALL=1 $(MAKE) e2e

e2e-library: ## Run every scenario of the library on the cluster of HPABENCH_E2E_KUBECONFIG, half an hour
	HPABENCH_E2E_LIBRARY=1 $(GO) test -count=1 -timeout 90m -v -parallel 2 -run TestLibrary ./e2e

e2e-fidelity: ## Run scenarios of the library on the cluster of HPABENCH_E2E_KUBECONFIG, and say how well a simulation foretells them, an hour and a half
	HPABENCH_E2E_FIDELITY=1 $(GO) test -count=1 -timeout 120m -v -run 'TestFidelity|TestPlainTime' ./simulate ./e2e

e2e-findings: ## Provoke every finding on the cluster of HPABENCH_E2E_KUBECONFIG, 15 minutes
	HPABENCH_E2E_FINDINGS=1 $(GO) test -count=1 -timeout 60m -v -parallel 8 -run 'TestFindings|TestTwentyScaleUps' ./e2e

fit-real: ## Fit plants to runs on kept connections on the cluster of HPABENCH_E2E_KUBECONFIG, and run what tune recommends, 45 minutes
	HPABENCH_E2E_FITS=1 $(GO) test -count=1 -timeout 90m -v -run 'TestFitsReproduceRuns|TestTunedRunIsAsForetold' ./e2e

fit-embedded: ## The same with each scenario of the library, on kept connections and on new ones, on the embedded cluster, half an hour
	HPABENCH_E2E_FITS=all $(GO) test -count=1 -timeout 90m -v -run 'TestFitsReproduceRuns|TestTunedRunIsAsForetold' ./e2e

agree: ## Run each scenario of the library at 0.5, 0.9 and 1.2 of its pods' capacity on the embedded cluster, and hold it against its simulation, 40 minutes
	HPABENCH_E2E_AGREE=1 $(GO) test -count=1 -timeout 90m -v -parallel 6 -run IsTheSameSimulated ./e2e

lint: ## Run golangci-lint (with staticcheck), actionlint and, where its database can be reached, govulncheck
	$(GO) run github.com/rhysd/actionlint/cmd/actionlint@$(ACTIONLINT_VERSION)
	$(GO) run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT_VERSION) run
	@$(GO) run golang.org/x/vuln/cmd/govulncheck@$(GOVULNCHECK_VERSION) ./... > .govulncheck.log 2>&1; code=$$?; \
	if grep -q 'fetching vulnerabilities' .govulncheck.log; then echo "govulncheck: its database cannot be reached from here; skipped"; code=0; \
	else cat .govulncheck.log; fi; rm -f .govulncheck.log; exit $$code

bench-lab: ## Measure the embedded cluster (needs wrk)
	$(GO) test -run "^$$" -bench 'Start|NodePort|Pods|Autoscalers' -benchtime 1x -count 3 -timeout 30m ./bench

bench-load: ## Compare the load generator with vegeta, hey and wrk (needs nginx and wrk), 12 minutes
	$(GO) run ./bench/load

bench: ## Run the benchmarks
	$(GO) test -run '^$$' -bench . -benchmem -timeout 60m ./...

# Each target by itself. Coverage is counted in our packages and in those that parse for them
# alone: go test -fuzz counts it in every package, and sends all counters from process to
# process with each input that reaches new code, which takes most of its time. The fuzzer
# makes such inputs shorter, for up to a minute each: -test.fuzzminimizetime 1x leaves them.
# Until Go 1.27 the end of the time itself can fail, without an input (go.dev/issue/75804).
FUZZTIME ?= 60s
FUZZPARALLEL ?= $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
COUNTED = ./... encoding/csv github.com/go-json-experiment/json/... go.yaml.in/yaml/... sigs.k8s.io/yaml cel.dev/cel-go/...
decisions: ## Hold what the analysis says of each step against the HPA controller's log in 6,000 random scenarios, 3 minutes
	HPABENCH_SCENARIOS=6000 go test -count=1 -timeout 20m -run TestStepsAreTheControllers -v . | grep -v '^ *--- PASS\|^=== '

outside: ## Hold hpabench against what others published, simulated and on the embedded cluster, and write bench/outside/README.md anew, half an hour
	HPABENCH_OUTSIDE=1 $(GO) test -count=1 -timeout 90m -v -parallel 9 ./bench/outside -update

outside-latency: ## The same of the latency of kubernetes/kubernetes issue 110317 alone, without writing it, 20 minutes
	HPABENCH_OUTSIDE=1 $(GO) test -count=1 -timeout 60m -v -run '^TestForetold$$/latency|^TestEmbedded$$/cluster/latency' ./bench/outside

fuzz: ## Fuzz every parser for FUZZTIME (60s) each, and say how many inputs a minute each target took (FUZZTIME=200s takes an hour)
	@set -e; temp=$$(mktemp -d); trap 'rm -rf $$temp' EXIT; cache=$$($(GO) env GOCACHE)/fuzz/hpabench; \
	for file in $$(grep -rl '^func Fuzz' --include='*_test.go' . | sort); do \
	  dir=$${file%/*}; $(GO) test -c $(COUNTED:%=-gcflags=%=-d=libfuzzer) -o $$temp/fuzz $$dir; \
	  for target in $$(sed -n 's/^func \(Fuzz[A-Za-z]*\)(.*/\1/p' $$file); do \
	    (cd $$dir && $$temp/fuzz -test.run '^$$' -test.fuzz "^$$target$$" -test.fuzztime $(FUZZTIME) -test.fuzzminimizetime 1x -test.parallel $(FUZZPARALLEL) \
	      -test.fuzzcachedir $$cache/$$dir >$$temp/log 2>&1) || grep -qx '    context deadline exceeded' $$temp/log || { cat $$temp/log; exit 1; }; \
	    awk -v target="$${dir#./} $$target" '/^fuzz: elapsed:/ && /execs:/ {t = $$3; sub(",", "", t); n = $$5; s = 0; \
	      if (match(t, /[0-9]+h/)) s += 3600 * substr(t, RSTART, RLENGTH - 1); if (match(t, /[0-9]+m/)) s += 60 * substr(t, RSTART, RLENGTH - 1); \
	      if (match(t, /[0-9]+s/)) s += substr(t, RSTART, RLENGTH - 1)} END {printf "%-32s %9d inputs, %9.0f a minute\n", target, n, s ? n * 60 / s : 0}' $$temp/log; \
	  done; \
	done

race: ## Run all tests under the race detector, package by package, an hour
	$(GO) test -race -p 1 -timeout 60m ./...

cover: ## Show how much of the code the tests reach
	$(GO) test -coverprofile=coverage.out ./... && $(GO) tool cover -func=coverage.out | tail -1

docs: ## Write docs/expectations.md anew, from the code
	{ sed '/^| variable/,$$d' docs/expectations.md; $(GO) run ./cmd/hpabench explain -o markdown; } > docs/.expectations.md
	mv docs/.expectations.md docs/expectations.md
