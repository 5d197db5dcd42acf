package analysis

import (
	"strings"
	"testing"

	"github.com/hpabench/hpabench/record"
)

func TestSyncPeriod(t *testing.T) {
	for _, c := range []struct {
		gaps   []float64
		period float64
	}{
		{[]float64{15.01, 15.02, 30.04, 45.05, 15.01}, 15},
		{[]float64{30.01, 30.02, 60.04, 90.05, 30.01}, 15}, // which it may be: these are too few
		{[]float64{30.01, 30.02, 60.04, 90.05, 30.01, 30.01, 30.01, 30.01}, 30},
		{[]float64{60.01, 60.02, 120.04, 60.05, 60.01, 60.01, 60.01, 60.01}, 60},
		{[]float64{15.01, 30.02, 60.04, 30.05, 30.01, 30.01, 60.01, 15.01, 30.01}, 15},
		{[]float64{20.01, 20.02, 40.04, 60.05, 20.01}, 20},
		{[]float64{10.01, 20.02, 10.04, 30.05, 10.01}, 10},
		{[]float64{5.01, 10.02, 5.01, 5.02, 25.05, 5.01}, 5},
		{[]float64{15.014, 15.066, 15.049, 15.139, 15.182, 15.011, 15.057, 15.167, 15.047, 15.081, 15.062, 15.028, 30.052, 15.236, 45.041}, 15}, // of a busy machine
		{[]float64{15.01, 15.02, 30.04}, 0},                                                                                                     // too few
		{[]float64{15.01, 18.3, 22.7, 7.2, 15.01, 3.9}, 0},
	} {
		if got, n := SyncPeriod(c.gaps); got != c.period || (n > 0) != (c.period > 0) {
			t.Errorf("%v: %g by %d, want %g", c.gaps, got, n, c.period)
		}
	}
}

// The status that is there when the watch opens is of an unknown time: the next one tells no period.
func TestSyncPeriodOfARecord(t *testing.T) {
	m := newMade(record.Phase{Name: "load", Seconds: 90, Shape: record.ShapeRate, To: 10, From: 10})
	m.phase(0, "load", 1, 90)
	for i, at := range []float64{0.04, 5.1, 20.12, 35.16, 50.21, 65.3, 80.32} {
		m.hpa(at, 2, 2, int32(10+i))
	}
	r, err := Analyze(record.Run{Entries: m.entries})
	if err != nil || len(r.Assumed) == 0 || !strings.Contains(r.Assumed[0], "its sync period is 15s by") {
		t.Errorf("%q (%v)", r.Assumed, err)
	}
	m.add(0.01, record.Entry{Cluster: &record.Cluster{ControllersUnknown: "this user has no right to read"}})
	if r, err = Analyze(record.Run{Entries: m.entries}); err != nil || !strings.HasPrefix(r.Assumed[0], "the HPA controller's flags, which this user has no right to read, are those of Kubernetes: ") {
		t.Errorf("%q (%v)", r.Assumed, err)
	}
}

// An adapter that is away hides its metric, and nothing of the target.
func TestGapOfASignal(t *testing.T) {
	for source, want := range map[string]string{"metric external queue": "metric external queue", "podmetrics": metricsSource, "pods": podSource, "deployments": targetSource, "widgets": targetSource} {
		if got := sourceOf(record.Gap{Source: source}); got != want {
			t.Errorf("a gap of %q hides %s, should %s", source, got, want)
		}
	}
}

// On a real cluster only what is worked out from the flags rests on them; where pods are
// modelled on what nobody measured, all that was measured of them does.
func TestRestsOnAssumed(t *testing.T) {
	real := &Result{Cluster: &record.Cluster{}, Assumed: []string{"the HPA controller's flags"}}
	modelled := &Result{Cluster: &record.Cluster{Assumed: []string{"the model"}}, Assumed: []string{"the model"}}
	known := &Result{Cluster: &record.Cluster{}}
	for figure, want := range map[string][2]bool{
		"scaleUp.stage.metricsLag":      {true, true},
		"scaleUp.stage.decision":        {true, true},
		"scaleDown.stage.stabilization": {true, true},
		"scaleDown.heldByWindow":        {true, true},
		"transition.2.lessWindow":       {true, true},
		"scaleUp.inService":             {false, true},
		"scaleUp.stage.ready":           {false, true},
		"load.total.p99":                {false, true},
		"hpa.max":                       {false, false},
	} {
		if got := [2]bool{real.restsOnAssumed(figure), modelled.restsOnAssumed(figure)}; got != want {
			t.Errorf("%s: %v on a real cluster and of modelled pods, want %v", figure, got, want)
		}
		if known.restsOnAssumed(figure) {
			t.Errorf("%s rests on what is known", figure)
		}
	}
}
