package simulate

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
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
