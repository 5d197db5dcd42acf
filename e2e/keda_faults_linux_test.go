package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hpabench/hpabench/analysis"
	"github.com/hpabench/hpabench/record"
)

// faulty is a scenario in which a gateway holds the requests while there is no pod.
const faulty = `
apiVersion: hpabench.dev/v1alpha1
kind: Scenario
metadata: {name: faulty}
spec:
  workload: {manifests: [gateway.yaml], target: {kind: Deployment, name: shop}}
  autoscaler: %s
  load:
    service: gateway
    timeout: 60s
    phases: %s
`

// requestsASecond is a ScaledObject with a trigger of KEDA for the requests at the gateway of a namespace; more goes on in its braces.
const requestsASecond = `{scaledObject: {pollingInterval: 5, cooldownPeriod: 300, maxReplicaCount: 4, triggers: [{type: prometheus, metadata: {serverAddress: "http://127.0.0.1:9090", query: 'sum(rate(gateway_requests_total{namespace="%s"}[1m])) or vector(0)', threshold: "3", activationThreshold: "0.1"}}]}}`

// faultyRun starts a run of faulty in a namespace that the test makes.
func faultyRun(t *testing.T, namespace string, replicas int, autoscaler, phases string, args ...string) *invocation {
	t.Helper()
	kubectl(t, "create", "namespace", namespace)
	t.Cleanup(func() { tryKubectl("delete", "namespace", "--wait=false", namespace) })
	return startRun(t, faultyScenario(t, replicas, autoscaler, phases), append([]string{"-n", namespace}, args...)...)
}

func faultyScenario(t *testing.T, replicas int, autoscaler, phases string) string {
	t.Helper()
	file := scenario(t, fmt.Sprintf(faulty, autoscaler, phases))
	manifests := strings.Replace(string(must(os.ReadFile("testdata/gateway.yaml"))), "replicas: 0", fmt.Sprintf("replicas: %d", replicas), 1)
	if err := os.WriteFile(filepath.Join(filepath.Dir(file), "gateway.yaml"), []byte(manifests), 0o666); err != nil {
		t.Fatal(err)
	}
	return file
}

// untilScaled waits until a shop that began at zero has two pods that are ready.
func untilScaled(t *testing.T, run *invocation, namespace string) {
	t.Helper()
	run.waitFor(`^busy `, 3*time.Minute)
	until(t, "2", "get", "deployment", "shop", "-n", namespace, "-o", "jsonpath={.status.readyReplicas}")
}

// wantMeasured wants what was measured before a fault in the report, nothing of the run in the cluster, and no replicas that
// anybody else is said to have set.
func wantMeasured(t *testing.T, run *invocation, namespace string) *analysis.Result {
	t.Helper()
	r := run.result()
	up := r.FirstUp()
	if up == nil || up.ScaleUp == nil || up.ScaleUp.ColdStart == nil || up.ScaleUp.ColdStart.Latency.Seconds == nil || up.ScaleUp.ColdStart.Failed > 0 {
		t.Errorf("the cold start is lost: %+v", up)
	} else if len(up.Steps) < 2 || up.Steps[0].From != 0 || up.Steps[1].To != 2 {
		t.Errorf("the steps are %+v", up.Steps)
	}
	for _, transition := range r.Transitions {
		for _, s := range transition.Steps {
			if s.Foreign {
				t.Errorf("the step %d → %d is said to be somebody else's", s.From, s.To)
			}
		}
	}
	if l := r.Load.Total; l.Answered == 0 || l.Failed > 0 || l.Sent != l.Answered+l.Failed+l.Aborted {
		t.Errorf("the load is not accounted for: %+v", l)
	}
	if !slices.ContainsFunc(r.Timeline, func(s analysis.Second) bool { return len(s.Signals) > 0 && s.Signals[0] != nil && *s.Signals[0] > 3 }) {
		t.Error("the metric is not in the timeline")
	}
	wantGone(t, namespace)
	return r
}

// wantGone wants none of the run's objects in a namespace.
func wantGone(t *testing.T, namespace string) {
	t.Helper()
	if left := strings.TrimSpace(kubectl(t, "get", "deployments,services,hpa,scaledobjects,leases.coordination.k8s.io", "-n", namespace, "-o", "name")); left != "" {
		t.Errorf("left in the cluster:\n%s", left)
	}
}

// wantSpan wants a finding from one instant to another, within some seconds.
func wantSpan(t *testing.T, r *analysis.Result, kind string, from, to time.Time, within float64) {
	t.Helper()
	for _, f := range r.Findings {
		if f.Kind != kind {
			continue
		}
		for what, at := range map[string]struct {
			is   *float64
			want time.Time
		}{"since": {f.SinceSeconds, from}, "until": {f.UntilSeconds, to}} {
			if at.want.IsZero() && at.is == nil {
				continue
			}
			if want := at.want.Sub(r.Started).Seconds(); at.is == nil || *at.is < want-1 || *at.is > want+within {
				t.Errorf("%s is found %s %s, and it was %.1f s", kind, what, seconds(at.is), want)
			}
		}
	}
}

// TestKEDAFaults takes away, one after another, what a ScaledObject's metric comes by, lets somebody hold or delete the
// ScaledObject, and runs with metrics that are not there or may not be read: each is one clear message or finding.
func TestKEDAFaults(t *testing.T) {
	if os.Getenv("HPABENCH_E2E_KEDA_FAULTS") == "" {
		t.Skip("make e2e-keda-faults runs it")
	}
	needsKEDA(t)
	pidFile := func(process string) string {
		file := filepath.Join(filepath.Dir(kubeconfig), "log", process+".pid")
		if _, err := os.Stat(file); err != nil {
			t.Skipf("NOT RUN: %s of this cluster is not a process of this machine: %v", process, err)
		}
		return file
	}
	prometheus, operator := pidFile("prometheus"), pidFile("keda-operator")
	const fromZero = "[{name: none, duration: 10s, rate: 0}, {name: busy, duration: %ds, rate: 5, keepAlive: false}]"

	// What all use is away for a time.
	for _, c := range []struct {
		name, pidFile string
		late          float64 // seconds until the adapter has values again
		words         []string
	}{
		{"prometheus", prometheus, 20, []string{"external s0-prometheus had no value for [45]", "KEDA's operator could not use the source of a trigger: Get .*127.0.0.1:9090: connect: connection refused"}},
		{"operator", operator, 60, []string{"external s0-prometheus had no value for ", "KEDA's operator"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			namespace := "hpabench-e2e-" + c.name
			run := faultyRun(t, namespace, 0, fmt.Sprintf(requestsASecond, namespace), fmt.Sprintf(fromZero, 190))
			untilScaled(t, run, namespace)
			from := time.Now()
			again := kill(t, c.pidFile)
			t.Cleanup(func() { again() })
			time.Sleep(50 * time.Second)
			again()
			to := time.Now()
			again = func() {}
			run.wait(0, 6*time.Minute)
			r := wantMeasured(t, run, namespace)
			wantFindings(t, r.Findings, finding{analysis.FoundSignalAbsent, "hpa/keda-hpa-shop", c.words})
			wantSpan(t, r, analysis.FoundSignalAbsent, from, to, c.late)
		})
	}

	t.Run("API", func(t *testing.T) {
		const group = "v1beta1.external.metrics.k8s.io"
		service := kubectl(t, "get", "apiservice", group, "-o", "json")
		kubectl(t, "delete", "apiservice", group)
		t.Cleanup(func() {
			file := filepath.Join(t.TempDir(), "apiservice.json")
			if err := os.WriteFile(file, []byte(service), 0o666); err != nil {
				t.Fatal(err)
			}
			kubectl(t, "create", "-f", file)
			kubectl(t, "wait", "--for=condition=Available", "apiservice/"+group, "--timeout=60s")
		})
		began := time.Now()
		run := faultyRun(t, "hpabench-e2e-api", 0, fmt.Sprintf(requestsASecond, "hpabench-e2e-api"), fmt.Sprintf(fromZero, 10))
		run.wait(2, time.Minute)
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("it took %s", took)
		}
		wantSaid(t, run, "fault adapter: .*from external.metrics.k8s.io, and the cluster does not serve that API group", "install an adapter")
		wantGone(t, "hpabench-e2e-api")
	})

	// These disturb no other.
	t.Run("apart", func(t *testing.T) {
		t.Run("paused", func(t *testing.T) {
			t.Parallel()
			const namespace = "hpabench-e2e-paused"
			run := faultyRun(t, namespace, 0, fmt.Sprintf(requestsASecond, namespace), fmt.Sprintf(fromZero, 150))
			untilScaled(t, run, namespace)
			from := time.Now()
			kubectl(t, "annotate", "scaledobject", "shop", "-n", namespace, "autoscaling.keda.sh/paused=true")
			run.wait(3, time.Minute)
			wantSaid(t, run, "scaledobject/shop in namespace "+namespace+" is paused by its annotation autoscaling.keda.sh/paused, .* KEDA deleted its HPA.* the measurement ended")
			r := wantMeasured(t, run, namespace)
			wantFindings(t, r.Findings, finding{analysis.FoundPaused, "scaledobject/shop", []string{"kubectl-annotate", "KEDA deleted its HPA", "autoscaling.keda.sh/paused-"}})
			wantSpan(t, r, analysis.FoundPaused, from, time.Time{}, 15)
			if r.Spoiled() == nil || r.Outcome != record.Failed {
				t.Errorf("the run %s, and nothing spoils it", r.Outcome)
			}
		})
		t.Run("paused out", func(t *testing.T) {
			t.Parallel()
			const namespace = "hpabench-e2e-paused-out"
			run := faultyRun(t, namespace, 0, fmt.Sprintf(requestsASecond, namespace), fmt.Sprintf(fromZero, 110))
			untilScaled(t, run, namespace)
			from := time.Now()
			kubectl(t, "annotate", "scaledobject", "shop", "-n", namespace, "autoscaling.keda.sh/paused-scale-out=true")
			run.wait(3, 3*time.Minute)
			r := wantMeasured(t, run, namespace)
			wantFindings(t, r.Findings, finding{analysis.FoundPaused, "scaledobject/shop", []string{"kubectl-annotate", "autoscaling.keda.sh/paused-scale-out-"}})
			wantSpan(t, r, analysis.FoundPaused, from, time.Time{}, 15)
		})
		t.Run("deleted", func(t *testing.T) {
			t.Parallel()
			const namespace = "hpabench-e2e-deleted"
			run := faultyRun(t, namespace, 0, fmt.Sprintf(requestsASecond, namespace), fmt.Sprintf(fromZero, 150))
			untilScaled(t, run, namespace)
			from := time.Now()
			kubectl(t, "delete", "scaledobject", "shop", "-n", namespace)
			run.wait(3, time.Minute)
			wantSaid(t, run, "somebody deleted scaledobject/shop in namespace "+namespace+" while it was measured")
			r := wantMeasured(t, run, namespace)
			wantFindings(t, r.Findings, finding{analysis.FoundDeleted, "scaledobject/shop", []string{"Somebody deleted it", "its HPA goes with it"}})
			wantSpan(t, r, analysis.FoundDeleted, from, time.Time{}, 15)
		})
		t.Run("query of nothing", func(t *testing.T) {
			t.Parallel()
			began := time.Now()
			run := faultyRun(t, "hpabench-e2e-nothing", 0, `{scaledObject: {pollingInterval: 5, triggers: [{type: prometheus, metadata: {serverAddress: "http://127.0.0.1:9090", query: nobody_has_this, threshold: "3", ignoreNullValues: "false"}}]}}`, fmt.Sprintf(fromZero, 10))
			run.wait(3, 2*time.Minute)
			if took := time.Since(began); took > 100*time.Second {
				t.Errorf("it took %s", took)
			}
			wantSaid(t, run, "KEDA cannot work with ScaledObject shop.*the result is empty", "kubectl describe scaledobject shop -n hpabench-e2e-nothing")
			wantGone(t, "hpabench-e2e-nothing")
		})
		t.Run("selector of nothing", func(t *testing.T) {
			t.Parallel()
			run := faultyRun(t, "hpabench-e2e-selector", 1, `{spec: {maxReplicas: 3, metrics: [{type: External, external: {metric: {name: s0-prometheus, selector: {matchLabels: {scaledobject.keda.sh/name: nobody}}}, target: {type: AverageValue, averageValue: "3"}}}]}}`, fmt.Sprintf(fromZero, 10), "--timeout", "40s")
			run.wait(3, 3*time.Minute)
			wantSaid(t, run, "after 40s still waiting for the first metric of HPA shop: .*s0-prometheus.*nobody", "whether the selector of the metric matches")
			wantGone(t, "hpabench-e2e-selector")
		})
		t.Run("no right", func(t *testing.T) {
			t.Parallel()
			const namespace = "hpabench-e2e-unread"
			kubectl(t, "create", "namespace", namespace)
			t.Cleanup(func() { tryKubectl("delete", "namespace", "--wait=false", namespace) })
			file := faultyScenario(t, 0, fmt.Sprintf(requestsASecond, namespace), fmt.Sprintf(fromZero, 80))
			text, taken := printed(t, namespace+"/unread", "-n", namespace, file), 0
			for _, r := range rulesOf(text) {
				if strings.Contains(r.text, `"external.metrics.k8s.io"`) {
					text, taken = strings.Replace(text, r.text, "", 1), taken+1
				}
			}
			if taken == 0 {
				t.Fatalf("no rule of external.metrics.k8s.io in\n%s", text)
			}
			a := newAccounts(t)
			a.create(text)
			run := startRun(t, file, "-n", namespace, "--kubeconfig", a.kubeconfig(namespace, "unread"))
			run.wait(0, 4*time.Minute)
			wantSaid(t, run, `warning +rights: no right to list \*.external.metrics.k8s.io`, "the metric is known from the HPA's status only")
			r := run.result()
			for _, f := range r.Findings {
				if f.Severity != analysis.Notice {
					t.Errorf("found %+v", f)
				}
			}
			up := r.FirstUp()
			if up == nil || len(up.Steps) < 2 || up.Steps[0].From != 0 || up.Steps[1].To != 2 || up.Steps[0].Foreign || up.Steps[1].Foreign {
				t.Errorf("the steps are %+v", up)
			} else if s := up.ScaleUp.First.Stages[0]; s.Name != analysis.StageSignal || s.Seconds != nil || !strings.Contains(s.Missing, "not observed") {
				t.Errorf("the signal, which nobody could read, is %+v", s)
			}
			wantGone(t, namespace)
		})
		t.Run("one of two", func(t *testing.T) {
			t.Parallel()
			const namespace = "hpabench-e2e-one-of-two"
			run := faultyRun(t, namespace, 1, `{spec: {maxReplicas: 3, metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 20}}}, {type: External, external: {metric: {name: s0-nothing, selector: {matchLabels: {scaledobject.keda.sh/name: nobody}}}, target: {type: AverageValue, averageValue: "3"}}}]}}`, strings.ReplaceAll(fmt.Sprintf(fromZero, 80), "rate: 5", "rate: 12"), "--timeout", "2m")
			run.wait(0, 5*time.Minute)
			wantSaid(t, run, "note: HPA shop has no value of metric external s0-nothing")
			r := run.result()
			wantFindings(t, r.Findings, finding{analysis.FoundSignalAbsent, "hpa/shop", []string{"external s0-nothing had no value for ", "takes no replica away"}})
			if up := r.FirstUp(); up == nil || len(up.Steps) == 0 || up.Steps[0].To < 2 {
				t.Errorf("it does not scale by the other metric: %+v", up)
			}
			wantGone(t, namespace)
		})
	})
}

// wantSaid wants what a run said at the terminal to match, whatever its lines are.
func wantSaid(t *testing.T, run *invocation, patterns ...string) {
	t.Helper()
	said := strings.Join(strings.Fields(run.stderr()), " ")
	for _, p := range patterns {
		if !regexp.MustCompile(p).MatchString(said) {
			t.Errorf("it does not say %q", p)
		}
	}
}
