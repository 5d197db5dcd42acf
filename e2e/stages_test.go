package e2e

import (
	"fmt"
	"math"
	"reflect"
	"testing"
	"time"

	"github.com/hpabench/hpabench/analysis"
)

// TestTwentyScaleUps has five runs at a time that each go from one replica to
// five or more: of every new pod the stages must add up to the latency, and the
// instants agree with the pod's own.
func TestTwentyScaleUps(t *testing.T) {
	inFindings(t)
	pods := make([]int, 5)
	t.Run("runs", func(t *testing.T) {
		for i := range pods {
			t.Run(fmt.Sprint(i+1), func(t *testing.T) {
				t.Parallel()
				// Apart by a part of the controllers' periods of 15 s.
				time.Sleep(time.Duration(i) * 3 * time.Second)
				run := startRun(t, changed(t, fmt.Sprintf("scale-up-%d", i+1), `spec: {load: {phases: [{name: surge, duration: 75s, rate: 10, keepAlive: false}]}}`))
				run.wait(0, 5*time.Minute)
				r := run.result()
				pods[i] = wantStagesAddUp(t, r)
				wantPodTimes(t, r)
				t.Logf("replicas went %v, %d new pods in service", steps(r), pods[i])
			})
		}
	})
	sum := 0
	for _, n := range pods {
		sum += n
	}
	if t.Logf("%d scale-ups", sum); sum < 20 {
		t.Errorf("there were %d scale-ups, want 20", sum)
	}
}

// wantStagesAddUp wants the stages of every pod to sum up to its latency, to the
// millisecond, and returns how many new pods got in service.
func wantStagesAddUp(t *testing.T, r *analysis.Result) (inService int) {
	t.Helper()
	addUp := func(pods []analysis.PodStages) {
		for _, p := range pods {
			if p.Latency.Seconds == nil {
				continue
			}
			sum := 0.0
			for _, s := range p.Stages {
				if s.Seconds != nil {
					sum += *s.Seconds
				}
			}
			if math.Abs(sum-*p.Latency.Seconds) > 0.001 {
				t.Errorf("the stages of %s sum up to %.6f s, its latency is %.6f s: %+v", p.Pod, sum, *p.Latency.Seconds, p.Stages)
			}
		}
	}
	for _, transition := range r.Transitions {
		if up := transition.ScaleUp; up != nil {
			addUp(up.Pods)
			for _, p := range up.Pods {
				if p.Latency.Seconds != nil {
					inService++
				}
			}
			for _, p := range []*analysis.PodStages{up.First, up.Median, up.Slowest} {
				if p != nil {
					addUp([]analysis.PodStages{*p})
				}
			}
			if up.First != nil && !reflect.DeepEqual(up.First.Latency, up.Latency) {
				t.Errorf("the first pod's latency %+v is not that of the scale-up, %+v", up.First.Latency, up.Latency)
			}
		}
		if down := transition.ScaleDown; down != nil {
			addUp(down.Pods)
		}
	}
	return inService
}

// wantPodTimes wants each instant of a new pod to lie within the second that the
// pod's own condition names, or 0.1 s later: what the watch took. The node is this
// machine, so both are of one clock. With more at a time the kubelet itself tells
// a condition half a second after it came about.
func wantPodTimes(t *testing.T, r *analysis.Result) {
	t.Helper()
	for _, p := range r.Pods {
		if p.Before {
			continue
		}
		agree := func(what string, seen *float64, own *time.Time) {
			t.Helper()
			if seen == nil || own == nil {
				if (seen == nil) != (own == nil) {
					t.Errorf("%s %s: seen %v, its own %v", p.Name, what, seen, own)
				}
				return
			}
			after := r.Started.Add(time.Duration(*seen * float64(time.Second))).Sub(*own)
			if after < 0 || after > 1100*time.Millisecond {
				t.Errorf("%s was %s %s after the second of its own condition", p.Name, what, after)
			}
		}
		agree("created", p.Created, &p.Object.Created)
		agree("scheduled", p.Scheduled, p.Object.Scheduled)
		agree("initialized", p.Initialized, p.Object.Initialized)
		agree("ready", p.Ready, p.Object.Ready)
		agree("ready as to its containers", p.Ready, p.Object.ContainersReady)
	}
}
