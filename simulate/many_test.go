package simulate

import (
	"testing"
	"time"

	"github.com/hpabench/hpabench/model"
	"github.com/hpabench/hpabench/record"
)

// A record of many pods has them in as many EndpointSlices as Kubernetes makes, and every answer in
// the latencies of its second, however many counts these are made of.
func TestManyPods(t *testing.T) {
	const pods, rate, length = 250, 5000, 10
	r := limited(t, "500m", 5*time.Millisecond, 1<<16, record.Phase{Name: "many", Seconds: length, Shape: record.ShapeRate, From: rate})
	r.Replicas, r.HPA.MinReplicas, r.HPA.MaxReplicas = pods, new(int32(pods)), pods
	node := r.Plant.Nodes[0]
	r.Plant.Nodes = nil
	for range pods / 10 {
		r.Plant.Nodes = append(r.Plant.Nodes, node)
	}
	entries, _ := simulate(t, r)
	ready, answered := map[string]int{}, uint64(0) // by slice
	for _, e := range entries {
		switch {
		case e.Endpoints != nil:
			if ready[e.Endpoints.Slice] = len(e.Endpoints.Endpoints); len(e.Endpoints.Endpoints) > sliceSize {
				t.Fatalf("slice %s has %d endpoints", e.Endpoints.Slice, len(e.Endpoints.Endpoints))
			}
		case e.Load != nil:
			counts, err := e.Load.Latency.Counts(record.Fine)
			if err != nil || counts.Total() != e.Load.Answered {
				t.Errorf("second %d has %d latencies of %d answers: %v", e.Load.Second, counts.Total(), e.Load.Answered, err)
			}
			answered += e.Load.Answered
		}
	}
	sum := 0
	for _, n := range ready {
		sum += n
	}
	if sum != pods || len(ready) != (pods+sliceSize-1)/sliceSize || answered < rate*length-1 {
		t.Errorf("%d slices have %d endpoints, and %d requests are answered", len(ready), sum, answered)
	}
}

// What is worked out once and kept is bounded.
func TestKeptIsBounded(t *testing.T) {
	w := &world{Run: &Run{}, trips: []float64{0}, overs: map[*model.Latencies]float64{}}
	for range maxOvers + 2 {
		w.over(&model.Latencies{Sorted: []float64{1, 2, 3}})
	}
	if n := len(w.overs); n > maxOvers {
		t.Errorf("%d shares are kept", n)
	}
	j := newJournal(limited(t, "1", 0, 1, record.Phase{}), nil)
	for range 2 * mostUnmerged {
		j.answered(0, 0, "200", points, &model.Latencies{Sorted: []float64{0.001, 0.0011, 0.0012}}, 1, []float64{0.001})
	}
	if n := len(j.load(0, 0).latency); n > mostUnmerged+points {
		t.Errorf("%d counts of a second are kept", n)
	}
}
