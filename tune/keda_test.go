package tune

import (
	"context"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/hpabench/hpabench/keda"
	"github.com/hpabench/hpabench/scenarios"
	"github.com/hpabench/hpabench/simulate"
)

// fromZero is the run of a scenario of the library that KEDA scales.
func fromZero(t *testing.T, name string) *simulate.Run {
	t.Helper()
	all := scenarios.Library()
	r, err := simulate.FromScenario(all[slices.IndexFunc(all, func(f *scenarios.File) bool { return f.Metadata.Name == name })])
	if err != nil {
		t.Fatal(err)
	}
	r.Replicas = AtMin
	return r
}

// Each knob of a ScaledObject is in the object that is applied, and in the HPA that KEDA makes of it.
func TestKnobsOfAScaledObject(t *testing.T) {
	for name, c := range map[string]struct {
		value   float64
		says    string
		present float64
	}{
		"pollingInterval":         {10, "pollingInterval: 10\n", 5},
		"cooldownPeriod":          {0, "cooldownPeriod: 0\n", 30},
		"threshold":               {2.5, "threshold: \"2.5\"\n", 10},
		"target":                  {7, "threshold: \"7\"\n", 10},
		"activationThreshold":     {1, "activationThreshold: \"1\"\n", 0.1},
		"min":                     {2, "minReplicaCount: 2\n", 0},
		"max":                     {7, "maxReplicaCount: 7\n", 5},
		"scaleDown.stabilization": {120, "stabilizationWindowSeconds: 120\n", 30},
		"scaleUp.pods":            {3, "value: 3\n", math.NaN()},
	} {
		t.Run(name, func(t *testing.T) {
			r := fromZero(t, "scale-from-zero")
			ranges := []Range{{Name: name}}
			if is := present(r, ranges)[0]; is != c.present && !math.IsNaN(c.present) {
				t.Errorf("present %g, want %g", is, c.present)
			}
			with, err := apply(r, ranges, Setting{c.value})
			if err != nil {
				t.Fatal(err)
			}
			if is := present(with, ranges)[0]; is != c.value {
				t.Errorf("set, it is %g, want %g", is, c.value)
			}
			text, err := (&Search{Runs: []*simulate.Run{r}, Ranges: ranges}).Manifest(Setting{c.value})
			if err != nil || !strings.Contains(string(text), c.says) || !strings.Contains(string(text), "kind: "+keda.Kind+"\n") || !strings.Contains(string(text), "scaleTargetRef:") {
				t.Errorf("without %q: %v\n%s", c.says, err, text)
			}
			switch name {
			case "threshold", "target":
				if is := with.HPA.Metrics[0].External.Target.AverageValue.AsApproximateFloat64(); is != c.value {
					t.Errorf("the HPA's target is %g", is)
				}
			case "min":
				if *with.HPA.MinReplicas != 2 || with.Replicas != 2 {
					t.Errorf("HPA min %d, begins with %d", *with.HPA.MinReplicas, with.Replicas)
				}
			case "max":
				if with.HPA.MaxReplicas != 7 {
					t.Errorf("HPA max %d", with.HPA.MaxReplicas)
				}
			case "cooldownPeriod":
				if with.Replicas != 0 || *with.HPA.MinReplicas != 1 {
					t.Errorf("begins with %d, HPA min %d", with.Replicas, *with.HPA.MinReplicas)
				}
			}
			if is := present(r, ranges)[0]; is != c.present && !math.IsNaN(c.present) {
				t.Errorf("the run itself was changed to %g", is)
			}
		})
	}
	cpu := fromZero(t, "keda-cron-and-cpu")
	with, err := apply(cpu, []Range{{Name: "target"}}, Setting{35})
	if err != nil || present(with, []Range{{Name: "target"}})[0] != 35 {
		t.Errorf("the target of a cpu trigger: %v %v", with, err)
	}
	for _, m := range with.HPA.Metrics {
		if m.Resource != nil && *m.Resource.Target.AverageUtilization != 35 {
			t.Errorf("the HPA's target is %d", *m.Resource.Target.AverageUtilization)
		}
	}
}

// Settings that KEDA or the API server would refuse are errors.
func TestSettingsThatKEDARefuses(t *testing.T) {
	idle := fromZero(t, "scale-from-zero")
	idle.KEDA.MinReplicaCount, idle.KEDA.IdleReplicaCount = new(int32(3)), new(int32(1))
	rps := fromZero(t, "rps")
	for _, c := range []struct {
		of   *simulate.Run
		knob string
		v    float64
		says string
	}{
		{idle, "min", 1, "idleReplicaCount"},
		{rps, "min", 0, "Object or External metric"},
		{rps, "pollingInterval", 5, "no ScaledObject"},
		{rps, "threshold", 5, "no ScaledObject"},
	} {
		if _, err := apply(c.of, []Range{{Name: c.knob}}, Setting{c.v}); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s=%g: %v, want %q", c.knob, c.v, err, c.says)
		}
	}
}

func TestUsualRanges(t *testing.T) {
	for name, want := range map[string]string{
		"scale-from-zero":   "target=5..20,cooldownPeriod=0s..600s,pollingInterval=5s..60s",
		"keda-cron-and-cpu": "target=30..90,scaleDown.stabilization=0s..600s",
		"rps":               "target=5..20,scaleDown.stabilization=0s..600s",
		"spike":             "target=30..90,scaleDown.stabilization=0s..600s",
	} {
		run := fromZero(t, name)
		if is := Usual(run); is != want {
			t.Errorf("%s: %s, want %s", name, is, want)
		} else if _, err := ParseRanges(run, is); err != nil {
			t.Errorf("%s: %v", is, err)
		}
	}
}

// A search of a ScaledObject's settings: a longer cooldown costs replica-hours, and a slower poll holds requests.
func TestTunesAScaledObject(t *testing.T) {
	pool, err := simulate.Start(2)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	score := func(ranges []Range, s Setting) (missed, hours float64) {
		r := fromZero(t, "scale-from-zero")
		search := Search{Runs: []*simulate.Run{r}, Ranges: ranges, SLO: SLO{Latency: 1e9, Share: 0.9}, PerDay: 24, Phases: 3, Seed: 1, Workers: 1, Do: func(ctx context.Context, r *simulate.Run) (simulate.Score, error) {
			r.SLO = 1e9
			return pool.Score(ctx, r)
		}}
		trials, err := search.try(t.Context(), s, 1, 0, 3)
		if err != nil {
			t.Fatal(err)
		}
		for _, trial := range trials {
			missed, hours = missed+trial.missed, hours+trial.hours+trial.restHours
		}
		return missed, hours
	}
	cooldown := []Range{{Name: "cooldownPeriod"}}
	_, short := score(cooldown, Setting{30})
	_, long := score(cooldown, Setting{600})
	if long < short+3*500.0/3600 {
		t.Errorf("a cooldown of 600 s costs %.3f replica-hours, one of 30 s %.3f", long, short)
	}
	polls := []Range{{Name: "pollingInterval"}}
	fast, _ := score(polls, Setting{2})
	slow, _ := score(polls, Setting{60})
	if slow <= fast {
		t.Errorf("polled each 60 s %.4f of the requests miss 1 s, each 2 s %.4f", slow, fast)
	}
	always, _ := score([]Range{{Name: "min"}}, Setting{1})
	if always >= fast {
		t.Errorf("with a replica all the time %.4f miss 1 s, from zero %.4f", always, fast)
	}
}
