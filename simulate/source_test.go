package simulate

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hpabench/hpabench/model"
)

// TestInstants has the samples of a pod where they were, within the second that a record tells, and exactly as far apart as
// their windows are long, but where one is missing.
func TestInstants(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	for range 200 {
		began, missing := random.Float64()*3, random.IntN(30)
		var real []float64
		var list []sample
		at, last := began, 0.0
		for i := range 30 {
			window := 3 + 7*random.Float64()
			if at += window; i == missing {
				continue
			}
			if i == missing+1 && i > 1 {
				window = at - real[len(real)-1] - window/2 // metrics-server's is of the sample before, which nobody saw
			}
			last = math.Floor(at)
			real = append(real, at)
			list = append(list, sample{least: last, most: last + 1, window: window})
		}
		random.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
		got := instants(list)
		for i := range got {
			if off := math.Abs(got[i].Seconds() - real[i]); off > 0.5 {
				t.Fatalf("sample %d is %.3f s off", i, off)
			}
			if i > 0 && i != missing && (got[i]-got[i-1]-seconds(list[i].window)).Abs() > 2*time.Nanosecond {
				t.Fatalf("samples %d and %d are %s apart, and the window is %g s", i-1, i, got[i]-got[i-1], list[i].window)
			}
		}
	}
}

// What a plant's CPU was measured of is all containers: a sidecar is not said to use none then.
func TestAssumedOthersOfAMeasuredPlant(t *testing.T) {
	r := library(t, "spike")
	r.Pod.Containers = append(r.Pod.Containers, corev1.Container{Name: "proxy"})
	if said := strings.Join(r.Assumed(), " "); !strings.Contains(said, "(proxy): they use no CPU here") {
		t.Error(said)
	}
	p := r.Plant
	p.Workload.CPU = &model.Cost{Mean: metav1.Duration{Duration: time.Millisecond}}
	r.Like(p)
	if said := strings.Join(r.Assumed(), " "); strings.Contains(said, "no CPU") || !strings.Contains(said, "(proxy) used is counted as that of the first") {
		t.Error(said)
	}
}
