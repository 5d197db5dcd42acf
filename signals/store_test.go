package signals

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/hpabench/hpabench/model"
)

var began = time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)

// A gateway takes 22 requests a second from 20 s on; each 15 s it is scraped.
func scraped(s *Store) {
	for t := 5; t <= 110; t += 15 {
		s.Add(labels.FromStrings("__name__", "gateway_requests_total", "pod", "gateway-a", "namespace", "shop"), began.Add(time.Duration(t)*time.Second), 22*float64(max(0, t-20)))
	}
}

// TestQuery asks what KEDA's trigger would ask.
func TestQuery(t *testing.T) {
	s := New(0, ScrapeEvery)
	scraped(s)
	for _, c := range []struct {
		query string
		at    int
		want  []float64
	}{
		{"sum(rate(gateway_requests_total[1m])) or vector(0)", 1, []float64{0}},
		{"sum(rate(gateway_requests_total[1m])) or vector(0)", 20, []float64{0}},
		{"sum(rate(gateway_requests_total[1m]))", 110, []float64{22}},
		{`sum(rate(gateway_requests_total{namespace="other"}[1m]))`, 110, nil},
		{`gateway_requests_total{pod=~"gateway-.*"}`, 110, []float64{22 * 90}},
		{"gateway_requests_total", 411, nil},
		{"scalar(gateway_requests_total) / 2", 110, []float64{22 * 45}},
	} {
		got, err := s.Query(c.query, began.Add(time.Duration(c.at)*time.Second))
		if err != nil || fmt.Sprintf("%.6g", got) != fmt.Sprintf("%.6g", c.want) {
			t.Errorf("%s at %d s: %v, %v, want %v", c.query, c.at, got, err, c.want)
		}
	}
	for _, bad := range []string{"sum(", "gateway_requests_total[1m]", `"text"`} {
		if got, err := s.Query(bad, began); err == nil {
			t.Errorf("%s: %v", bad, got)
		}
	}
}

// TestEnd: a series that ended is found no more at an instant, and its rate goes on for what the range has of it.
func TestEnd(t *testing.T) {
	s := New(0, ScrapeEvery)
	scraped(s)
	s.End(labels.FromStrings("__name__", "gateway_requests_total", "pod", "gateway-a", "namespace", "shop"), began.Add(115*time.Second))
	if got, _ := s.Query("gateway_requests_total", began.Add(120*time.Second)); len(got) > 0 {
		t.Errorf("found %v", got)
	}
	if got, _ := s.Query("rate(gateway_requests_total[1m])", began.Add(120*time.Second)); len(got) != 1 || got[0] < 10 {
		t.Errorf("the rate is %v", got)
	}
}

// TestRateOfModel holds model.Rate, which the adapter and the simulation of Pods metrics use, to Prometheus' engine: with counters
// that begin at any time, go on by any steps and begin anew.
func TestRateOfModel(t *testing.T) {
	of := labels.FromStrings("__name__", "requests")
	for seed := range uint64(2000) {
		random := rand.New(rand.NewPCG(seed, 1))
		s := New(0, ScrapeEvery)
		var readings []model.Reading
		every := time.Duration(1+random.IntN(30)) * time.Second
		v := float64(random.IntN(3)) * 50
		for at := time.Duration(random.Int64N(int64(60 * time.Second))).Truncate(time.Millisecond); at < 120*time.Second; at += every {
			if random.IntN(8) == 0 {
				v = float64(random.IntN(20))
			}
			s.Add(of, began.Add(at), v)
			readings = append(readings, model.Reading{At: at, Value: v})
			v += float64(random.IntN(100))
		}
		got, known := model.Rate(readings, 120*time.Second, time.Minute)
		want, err := s.Query("rate(requests[1m])", began.Add(120*time.Second))
		if err != nil || known != (len(want) == 1) || known && math.Abs(got-want[0]) > 1e-9*max(1, want[0]) {
			t.Fatalf("seed %d: %g, %v, and Prometheus %v, %v, of %v", seed, got, known, want, err, readings)
		}
	}
}
