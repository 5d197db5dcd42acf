package simulate

import (
	"math"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/hpabench/hpabench/model"
	"github.com/hpabench/hpabench/record"
)

// chained is testdata/chain.yaml with a rate for a minute, on two pods: a request takes 2 × 8 ms in web and 6 × 4 ms in stock, which has 2 pods
// with some CPU each and room for 20 requests in each line.
func chained(t *testing.T, rate float64, timeout time.Duration, stock string) *Run {
	t.Helper()
	r, err := fromText(t, strings.ReplaceAll(testdata(t, "chain.yaml"), "CPU}", stock+"}"))
	if err != nil {
		t.Fatal(err)
	}
	r.Phases, r.Timeout = []record.Phase{{Name: "busy", Seconds: 60, Shape: record.ShapeRate, From: rate}}, timeout
	r.Replicas, r.HPA.MinReplicas, r.HPA.MaxReplicas = 2, new(int32(2)), 2
	r.Chain.Calls[0].Model.Queue = new(20)
	r.Chain.Calls[0].Pod.Containers[0].ReadinessProbe = nil
	if r.Ignored != "" {
		t.Error(r.Ignored)
	}
	r.Header, r.SLO = &record.Header{MetricsEvery: 1}, time.Second
	return r
}

// Each request of the load costs the target twice what one does, and takes as long as all that are made for it.
func TestChain(t *testing.T) {
	r := chained(t, 20, 10*time.Second, `"1"`)
	entries, score := simulate(t, r)
	answers, median := latencies(t, entries)
	for i := 5; i < 55; i++ {
		if answers[i] != 20 || median[i] < 0.040 || median[i] > 0.048 { // 2 × (8 + 3 × 4) ms, and a round trip
			t.Errorf("in second %d %g are answered, half of them in %.4f s", i, answers[i], median[i])
		}
	}
	if score.Missed > 0 {
		t.Errorf("%g missed the SLO", score.Missed)
	}
	cpu, n := 0.0, 0.0
	for _, e := range entries {
		if e.PodMetrics != nil && e.At.Seconds() > score.Onset+30 {
			for _, s := range e.PodMetrics.Samples {
				cpu, n = cpu+s.Containers[0].CPU, n+1
			}
		}
	}
	if each := cpu / n; math.Abs(each-0.16) > 0.01 {
		t.Errorf("a pod uses %.3f cores, should use 20 × 2 × 8 ms / 2 pods", each)
	}
}

// Where the pods that are called are too slow, the target's CPU does not tell: the requests take longer, and fail.
func TestChainThatIsTooSlow(t *testing.T) {
	r := chained(t, 20, 10*time.Second, "100m") // 120 requests a second of 50
	entries, score := simulate(t, r)
	codes := map[string]float64{}
	failed := 0.0
	for _, e := range entries {
		if e.Load != nil {
			for code, n := range e.Load.Codes {
				codes[code] += float64(n)
			}
			failed += float64(e.Load.Failed)
		}
	}
	if codes["200"]+codes["502"]+failed != 1200 || codes["502"] < 100 || math.Abs(score.Requests-1200) > 1e-6 || score.Missed < codes["502"]+failed-1 {
		t.Errorf("of %.0f requests %v are answered, %.0f failed, %.1f missed the SLO", score.Requests, codes, failed, score.Missed)
	}
	r = chained(t, 5, time.Second, "100m") // 30 of 50, with all calls in one period of 100 ms
	if _, score := simulate(t, r); score.Missed > 3 {
		t.Errorf("%.1f of %.0f requests missed", score.Missed, score.Requests)
	}
	r = chained(t, 20, time.Second, "100m")
	r.Chain.Calls[0].Model.Queue = new(10000)
	timeouts, all := 0.0, 0.0
	entries, _ = simulate(t, r)
	for _, e := range entries {
		if e.Load != nil {
			timeouts, all = timeouts+float64(e.Load.Errors["timeout"]), all+float64(e.Load.Answered+e.Load.Failed)
		}
	}
	if all != 1200 || timeouts < 900 {
		t.Errorf("of %.0f requests %.0f timed out", all, timeouts)
	}
}

// What a chain cannot be is told with what it is.
func TestChainThatIsNotSimulated(t *testing.T) {
	f := func(stock, more string) (*Run, error) {
		source := strings.ReplaceAll(`
apiVersion: hpabench.dev/v1alpha1
kind: Scenario
metadata: {name: web}
spec:
  workload: {target: {kind: Deployment, name: web}, model: {calls: [{to: stock}]}}
  autoscaler: {max: 2, cpuPercent: 50}
  load: {phases: [{name: busy, duration: 60s, rate: 1}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {type: NodePort, selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: c, image: example.com/c, resources: {requests: {cpu: 50m}}}]}
---
apiVersion: v1
kind: Service
metadata: {name: stock}
spec: {selector: {app: stock}, ports: [{port: 80}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: stock}
spec:
  selector: {matchLabels: {app: stock}}
  template:
    metadata: {labels: {app: stock}, annotations: {hpabench.dev/model: 'STOCK'}}
    spec: {containers: [{name: c, image: example.com/c}]}`, "STOCK", stock) + more
		return fromText(t, source)
	}
	for stock, want := range map[string]string{
		`{}`:                               "",
		`{"calls": [{"to": "web"}]}`:       "the pods call each other in a circle: the target → stock → web",
		`{"calls": [{"to": "stock"}]}`:     "the pods call each other in a circle: the target → stock → stock",
		`{"fault": {"crash": "5s"}}`:       "Deployment stock has faults",
		`{"holds": true}`:                  "Deployment stock is a queue or a worker",
		`{"fault": {"errors": 0.5}}`:       "",
		`{"forwards": {"to": "prices"}}`:   "pods that forward to prices are simulated in front of the target alone",
		`{"calls": [{"to": "web.other"}]}`: "", // of another namespace
	} {
		if _, err := f(stock, ""); want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", stock, err, want)
		}
	}
	r, err := f(`{"calls": [{"to": "prices"}]}`, "") // as the embedded cluster answers where there is no such Service
	if err != nil || len(r.Chain.Calls) != 2 || r.Chain.Calls[1].To != "Service prices" {
		t.Fatal(err, r)
	}
	r.Header = &record.Header{MetricsEvery: 1}
	entries, _ := simulate(t, r)
	codes := codesOf(entries, -1)
	if len(codes) != 1 || codes["502"] != 60 {
		t.Errorf("calls to a Service that there is not: %v", codes)
	}
	canary := `
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: canary}
spec:
  selector: {matchLabels: {app: stock}}
  template: {metadata: {labels: {app: stock}}, spec: {containers: [{name: c, image: example.com/c}]}}`
	if _, err := f("{}", canary); err == nil || !strings.Contains(err.Error(), "Service stock selects the pods of Deployment stock") {
		t.Error(err)
	}
	scaled := `
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: stock}
spec: {scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: stock}, minReplicas: 3, maxReplicas: 9, metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}}]}`
	if r, err := f("{}", scaled); err != nil || r.Chain.Calls[0].Replicas != 3 || !strings.Contains(r.Ignored, "HorizontalPodAutoscaler stock: there are always 3 replicas of Deployment stock") {
		t.Error(err, r)
	}
}

// Errors of the target make no calls, and those of pods that are called are the target's.
func TestChainWithErrors(t *testing.T) {
	r := chained(t, 20, 10*time.Second, `"1"`)
	r.Plant.Workload.Fault = &model.Fault{Errors: 0.1}
	r.Chain.Calls[0].Model.Fault = &model.Fault{Errors: 0.02}
	entries, score := simulate(t, r)
	codes := map[string]float64{}
	for _, e := range entries {
		if e.Load != nil {
			for code, n := range e.Load.Codes {
				codes[code] += float64(n)
			}
		}
	}
	want := 1200 * (1 - 0.9*0.9*math.Pow(0.98, 6))
	if codes["200"]+codes["502"] != 1200 || math.Abs(codes["502"]-want) > 60 || math.Abs(score.Missed-codes["502"]) > 2 {
		t.Errorf("%v are answered, should be %.0f × 502, and %.1f missed the SLO", codes, want, score.Missed)
	}
}

// A pod that is called and is not ready gets no new connection.
func TestPodsThatAreCalled(t *testing.T) {
	r := chained(t, 20, 2*time.Second, "50m") // 120 requests a second of 25, so that the probes time out
	r.Chain.Calls[0].Pod.Containers[0].ReadinessProbe = &corev1.Probe{PeriodSeconds: 1, ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/healthz", Port: intstr.FromInt32(80)}}}
	r.Chain.Calls[0].Model.Queue = new(10000)
	entries, _ := simulate(t, r)
	refused, all := 0.0, 0.0
	for _, e := range entries {
		if e.Load != nil {
			refused, all = refused+float64(e.Load.Codes["502"]), all+float64(e.Load.Answered+e.Load.Failed)
		}
	}
	if all != 1200 || refused < 100 {
		t.Errorf("of %.0f requests %.0f are refused as no pod is ready", all, refused)
	}
}

// A gateway's connection that brings a request less often than every 5 s is another one each time, to a pod at random. A front
// without a pod is refused.
func TestFrontThatHasLittleToDo(t *testing.T) {
	r := chained(t, 0.1, 10*time.Second, `"1"`)
	r.Phases[0].Seconds, r.Plant.Workload.CPU.Mean.Duration = 300, time.Second
	entries, _ := simulate(t, r)
	used := map[string]float64{}
	for _, e := range entries {
		if e.PodMetrics != nil {
			for _, s := range e.PodMetrics.Samples {
				used[s.Pod] += s.Containers[0].CPU
			}
		}
	}
	if len(used) != 2 {
		t.Fatalf("CPU is known of %v, and not of two pods", used)
	}
	for pod, cpu := range used {
		if cpu < 0.5 {
			t.Errorf("pod %s has little of what %v have together", pod, used)
		}
	}
	text := strings.Replace(strings.ReplaceAll(testdata(t, "chain.yaml"), "CPU}", "1}"), "  selector: {matchLabels: {app: front}}", "  replicas: 0\n  selector: {matchLabels: {app: front}}", 1)
	if _, err := fromText(t, text); err == nil || !strings.Contains(err.Error(), "Deployment front in front of the target has 0 replicas") {
		t.Error(err)
	}
}

// However many pods call, they call as evenly as the load comes, and each call takes the time of a whole one.
func TestCallsOfManyPods(t *testing.T) {
	for _, rate := range []float64{0.4, 1.4, 20} {
		r := chained(t, rate, 10*time.Second, `"1"`)
		r.Replicas, r.HPA.MinReplicas, r.HPA.MaxReplicas = 20, new(int32(20)), 20
		r.Chain.Calls[0].Replicas = 1
		entries, score := simulate(t, r)
		h, answered := record.NewHistogram(), 0.0
		for _, e := range entries {
			if e.Load != nil {
				if err := e.Load.Latency.AddTo(h); err != nil {
					t.Fatal(err)
				}
				answered += float64(e.Load.Codes["200"])
			}
		}
		if least, most := h.ValueAtQuantile(1), h.ValueAtQuantile(99); math.Abs(answered-60*rate) > 1 || least < 40_000 || most > 60_000 || score.Missed > 0 {
			t.Errorf("of %.0f requests %.0f are answered in %d to %d µs, and %g missed the SLO", 60*rate, answered, least, most, score.Missed)
		}
	}
}
