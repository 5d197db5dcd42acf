package e2e

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"sync"
	"testing"
	"time"

	custom "k8s.io/metrics/pkg/apis/custom_metrics/v1beta2"

	"github.com/hpabench/hpabench/analysis"
)

// witness is another client of the custom metrics API.
type witness struct {
	mu       sync.Mutex
	readings []map[string]int64 // in thousandths, by pod
	at       []time.Time
}

// watch reads a metric of the pods of a namespace again and again.
func (w *witness) watch(t *testing.T, namespace, metric string) {
	path := fmt.Sprintf("/apis/custom.metrics.k8s.io/v1beta2/namespaces/%s/pods/*/%s", namespace, metric)
	for ; t.Context().Err() == nil; time.Sleep(100 * time.Millisecond) {
		out, err := tryKubectl("get", "--raw", path)
		var list custom.MetricValueList
		if err != nil || json.Unmarshal([]byte(out), &list) != nil {
			continue
		}
		read := map[string]int64{}
		for _, v := range list.Items {
			read[v.DescribedObject.Name] = v.Value.MilliValue()
		}
		w.mu.Lock()
		w.readings, w.at = append(w.readings, read), append(w.at, time.Now())
		w.mu.Unlock()
	}
}

// saw says whether a value is, to 5 %, among those that a pod had within some time of an instant: a rate changes all the time.
func (w *witness) saw(pod string, value int64, at time.Time, within time.Duration) bool {
	least, most := int64(math.MaxInt64), int64(math.MinInt64)
	for i, read := range w.readings {
		if v, has := read[pod]; has && w.at[i].Sub(at).Abs() <= within {
			least, most = min(least, v), max(most, v)
		}
	}
	return float64(value) >= 0.95*float64(least) && float64(value) <= 1.05*float64(most) // between two of its readings
}

// TestSignals reads a metric of the pods where the HPA reads it: what is recorded is what another client saw then, and the
// metric's stage has the precision of a reading.
func TestSignals(t *testing.T) {
	needsKubelet(t)
	startAdapter(t, "served_per_second", servedEvery, servedOver)
	const namespace = "hpabench-e2e-signals"
	kubectl(t, "create", "namespace", namespace)
	t.Cleanup(func() { tryKubectl("delete", "namespace", "--wait=false", namespace) })
	var w witness
	go w.watch(t, namespace, "served_per_second")
	run := startRun(t, scenario(t, fmt.Sprintf(customScenario, "[{name: idle, duration: 20s, rate: 2, keepAlive: false}, {name: spike, duration: 75s, rate: 45, keepAlive: false}]")), "-n", namespace)
	run.wait(0, 5*time.Minute)

	w.mu.Lock()
	defer w.mu.Unlock()
	rec, r := run.record(), run.result()
	started, read := time.Time{}, 0
	for _, e := range rec.Entries {
		if e.Header != nil {
			started = e.Header.Started
		}
		if e.Signal == nil || e.Signal.Error != "" {
			continue
		}
		for _, p := range e.Signal.Pods {
			if read++; !w.saw(p.Pod, p.Value.MilliValue(), started.Add(time.Duration(e.At)), time.Second) {
				t.Errorf("at %.1f s %s of %s is recorded, and nobody else saw that within a second", e.At.Seconds(), p.Value.String(), p.Pod)
			}
		}
	}
	if read < 20 {
		t.Errorf("%d values were recorded, of a metric that changes every %s", read, servedEvery)
	}
	if len(r.Signals) != 1 || r.Signals[0].Name != "served_per_second" || r.Signals[0].Of != analysis.OfPods || *r.Signals[0].Target != 10 {
		t.Errorf("the signals are %+v", r.Signals)
	}
	up := r.FirstUp()
	if up == nil || up.ScaleUp == nil || up.ScaleUp.First == nil {
		t.Fatal("no scale-up was seen")
	}
	lag := up.ScaleUp.First.Stages[slices.IndexFunc(up.ScaleUp.First.Stages, func(s analysis.Stage) bool { return s.Name == analysis.StageMetrics })]
	if lag.Seconds == nil || lag.PrecisionSeconds > 1.1 {
		t.Errorf("the metric's lag is %+v, should be known to a second", lag)
	}
	for _, s := range up.Steps {
		if s.LimitedBy == analysis.LimitUnknown || !slices.ContainsFunc(s.Proposals, func(p analysis.Proposal) bool { return p.Decided }) {
			t.Errorf("the step at %.1f s is %+v", s.AtSeconds, s)
		}
	}
}
