package model

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// Latencies are those of as many pods as there are: of one more or less they would be those of
// other chance, which is up to half.
func TestLatenciesAreOfAllPods(t *testing.T) {
	for _, pods := range []int{1, 2, 20, 21, 30, 31, 60, 999, 1000} {
		if a := OpenArrivals(0.5, 100, pods); a.Pods != pods || a.Every != seconds(1/(50*float64(pods))) {
			t.Errorf("%d pods are taken as %d, with a request each %v", pods, a.Pods, a.Every)
		}
	}
}

// A time that is just the limit is not above it, whatever else there is.
func TestAbove(t *testing.T) {
	for want, c := range map[float64]struct {
		sorted []float64
		limit  float64
	}{
		0:    {[]float64{2, 2, 2}, 2},
		1:    {[]float64{2, 2, 2}, 1.9},
		0.5:  {[]float64{2, 2, 3}, 2},
		0.25: {[]float64{1, 2, 3}, 2.5},
	} {
		if got := (&Latencies{Sorted: c.sorted}).Above(c.limit); got != want {
			t.Errorf("of %v the share above %g is %g, should be %g", c.sorted, c.limit, got, want)
		}
	}
}

// Sojourns that are kept are bounded.
func TestSojournCacheIsBounded(t *testing.T) {
	m := Resolve(&corev1.Container{Image: ""}, Model{})
	p := Pod{Model: &m, Spec: &corev1.PodSpec{Containers: []corev1.Container{{}}}, Cores: 4}
	c := SojournCache{kept: map[sojournKey]*Latencies{}}
	for i := range maxSojourns {
		c.kept[sojournKey{Arrivals: Arrivals{Pods: i}}] = nil
	}
	kept := p.Sojourns(&c, OpenArrivals(0.5, 97, 1), true, 1, 1)
	if len(c.kept) != 1 || p.Sojourns(&c, OpenArrivals(0.5, 97, 1), true, 1, 1) != kept {
		t.Errorf("%d sojourns are kept", len(c.kept))
	}
}
