package model

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// finish lets the requests of a server end, and says when the last did.
func finish(s Server, now time.Duration) time.Duration {
	for at := s.Next(); at != Never; at = s.Next() {
		now = at
		s.Advance(at)
	}
	return now
}

// By turns a request takes its CPU time / (1 − ρ) on average, whatever the distribution of CPU times
// (M/G/1-PS; Kleinrock, Queueing Systems, vol. 2, section 4.4); first come, first served it would
// take 0.25 s less if they are constant.
func TestTurnsAreProcessorSharing(t *testing.T) {
	const mean, load, n = 500 * ms, 0.7, 40_000
	for _, distribution := range []string{"constant", "exponential", "lognormal"} {
		r := rand.New(rand.NewPCG(1, 2))
		cost := &Cost{Distribution: distribution}
		cost.Mean.Duration = mean
		s := newTurns(newAccount(&Node{Cores: 1}, 0, 0, 0), 1, math.MaxInt, 0)
		var now, sum time.Duration
		for range n {
			now += time.Duration(r.ExpFloat64() * float64(mean) / load)
			came := now
			for at := s.Next(); at < now; at = s.Next() {
				s.Advance(at)
			}
			s.Request(now, cost.Draw(r), 0, func(at time.Duration) { sum += at - came })
		}
		finish(s, now)
		if got, want := (sum / n).Seconds(), mean.Seconds()/(1-load); math.Abs(got-want) > 0.07*want {
			t.Errorf("%s: the mean is %.3f s, should be %.3f", distribution, got, want)
		}
	}
}

// A node with a server of each kind is shared: none has more than its limit, both together no more
// than the node, and each request has had its CPU time in the end. Where no request needs a second
// turn, the two kinds alone on their nodes agree.
func TestServersAgree(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 200 {
		limit := []float64{0, 0.1, 0.5, 1.5, 3}[r.IntN(5)]
		cores := []float64{0.5, 1, 2, 4}[r.IntN(4)]
		workers := []int{1, 3, 1000}[r.IntN(3)]
		longest := []time.Duration{ms, 15 * ms, 300 * ms}[r.IntN(3)]
		load := []float64{0.4, 0.8, 1.2}[r.IntN(3)]
		lanes := min(int(math.Ceil(cores)), workers)
		shared := &Node{Cores: cores}
		servers := []Server{
			newFIFO(newAccount(&Node{Cores: cores}, 0, limit, 0), lanes, workers, math.MaxInt), newTurns(newAccount(&Node{Cores: cores}, 0, limit, 0), lanes, workers, math.MaxInt),
			newFIFO(newAccount(shared, 0, limit, 0), lanes, workers, math.MaxInt), newTurns(newAccount(shared, 0, limit, 0), lanes, workers, math.MaxInt),
		}
		capacity := min(cores, float64(workers))
		if limit > 0 {
			capacity = min(capacity, limit)
		}
		const n = 300
		var now, given, last time.Duration
		took := make([][]float64, len(servers))
		for range n {
			now += time.Duration(r.ExpFloat64() * float64(longest) / 2 / load / capacity)
			cpu := time.Duration(r.Float64() * float64(longest))
			wait := time.Duration(r.IntN(2)) * 5 * ms
			given += cpu
			came := now
			for i, s := range servers {
				s.Advance(now)
				s.Request(now, cpu, wait, func(at time.Duration) {
					took[i], last = append(took[i], (at-came).Seconds()), max(last, at)
				})
				if top := max(limit, 0); top > 0 && s.Usage(now) > time.Duration(top*float64(now+CFSPeriod))+time.Microsecond {
					t.Fatalf("server %d used %v until %v at a limit of %v", i, s.Usage(now), now, limit)
				}
			}
			if sum := servers[2].Usage(now) + servers[3].Usage(now); sum > time.Duration(cores*float64(now+CFSPeriod))+time.Microsecond {
				t.Fatalf("both used %v until %v on %v cores", sum, now, cores)
			}
		}
		for i, s := range servers {
			finish(s, now)
			if got := s.Usage(max(last, now)); len(took[i]) != n || (got-given).Abs() > n {
				t.Fatalf("server %d used %v for %d requests of %v", i, got, len(took[i]), given)
			}
		}
		mean := func(v []float64) (sum float64) {
			for _, x := range v {
				sum += x / float64(len(v))
			}
			return sum
		}
		a, b := mean(took[0]), mean(took[1])
		slices.Sort(took[0])
		slices.Sort(took[1])
		p99a, p99b := took[0][n*99/100], took[1][n*99/100]
		if longest <= Turn && (math.Abs(a-b) > 0.15*max(a, b)+0.01 || math.Abs(p99a-p99b) > 0.1*max(p99a, p99b)+0.05) {
			t.Errorf("limit %v, %v cores, %d workers, requests up to %v, load %v: fifo takes %.3f s on average and %.3f s in 99 %%, turns %.3f and %.3f", limit, cores, workers, longest, load, a, p99a, b, p99b)
		}
	}
}

// Serving by turns makes a difference only where requests are longer than a turn.
// What a container of a node used does not fall when idle CPU of another begins within a CFS period.
func TestUsageNeverFalls(t *testing.T) {
	n := &Node{Cores: 1}
	s := newTurns(newAccount(n, 0, 0, 0), 1, 10, 10)
	s.Request(0, 150*time.Millisecond, 0, func(time.Duration) {})
	before := s.Usage(90 * time.Millisecond)
	newTurns(newAccount(n, 90*time.Millisecond, 0, 0.5), 1, 10, 10)
	if after := s.Usage(95 * time.Millisecond); after < before {
		t.Errorf("CPU used fell from %v to %v", before, after)
	}
}

func TestInTurns(t *testing.T) {
	for text, want := range map[string]bool{
		`{"cpu": {"mean": "20ms"}}`:                                                        false,
		`{"cpu": {"mean": "21ms"}}`:                                                        true,
		`{"cpu": {"mean": "21ms"}, "serving":"fifo"}`:                                      false,
		`{"preset": "nginx", "cpu": {"mean": "1s"}}`:                                       false,
		`{"cpu": {"mean": "15ms"}, "connectionCPU": "6ms"}`:                                true,
		`{"cpu": {"mean": "2ms", "distribution": "exponential"}}`:                          false,
		`{"cpu": {"mean": "3ms", "distribution": "exponential"}}`:                          true,
		`{"cpu": {"mean": "1ms", "distribution": "lognormal"}}`:                            false,
		`{"cpu": {"mean": "15ms", "distribution": "lognormal", "deviation": 0.05}}`:        false,
		`{"cpu": {"mean": "15ms", "distribution": "lognormal"}}`:                           true,
		`{"cpu": {"mean": "15ms", "distribution": "lognormal"}, "serving": "fifo"}`:        false,
		`{"preset": "hpa-example", "cpu": {"mean": "25ms"}, "connectionCPU": "0s"}`:        true,
		`{"preset": "nginx", "cpu": {"mean": "25ms"}, "serving": "turns", "workers": 100}`: true,
	} {
		m, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if r := Resolve(&corev1.Container{Image: ""}, m); r.InTurns() != want {
			t.Errorf("%s: in turns %v", text, !want)
		}
	}
	if _, err := Parse(`{"serving": "lifo"}`); err == nil {
		t.Error("serving: lifo is no error")
	}
}

// Several servers of a node come to the end of a period together, and one that is called later than another is still
// in an earlier period: each request has its CPU time all the same.
func TestManyServersOfANode(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for _, kinds := range [][]bool{{true, true}, {true, false}, {true, true, true, false, false}} { // by turns
		for _, wait := range []time.Duration{0, 250 * ms} {
			node := &Node{Cores: 2}
			var servers []Server
			for _, byTurns := range kinds {
				if a := newAccount(node, 0, 1, 0); byTurns {
					servers = append(servers, newTurns(a, 2, 1000, 1000))
				} else {
					servers = append(servers, newFIFO(a, 2, 1000, 1000))
				}
			}
			const n = 500
			cpu := make([]time.Duration, len(servers))
			now, ended := time.Duration(0), 0
			for range n {
				now += time.Duration(r.ExpFloat64() * float64(80*ms))
				k := r.IntN(len(servers))
				cost := time.Duration(1 + r.Int64N(int64(90*ms)))
				cpu[k] += cost
				servers[k].Request(now, cost, wait, func(time.Duration) { ended++ })
			}
			now += time.Minute
			for k, s := range servers {
				if used := s.Usage(now); used != cpu[k] {
					t.Errorf("%v: server %d used %s for %s", kinds, k, used, cpu[k])
				}
			}
			if ended != n {
				t.Errorf("%v: %d of %d requests ended", kinds, ended, n)
			}
		}
	}
}

// Runnable is when a request that costs nothing ends.
func TestRunnableIsWhenAProbeEnds(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for range 300 {
		limit := []float64{0, 0.1, 0.5}[r.IntN(3)]
		for _, fifo := range []bool{true, false} {
			a := newAccount(&Node{Cores: 1}, 0, limit, 0)
			var s Server = newTurns(a, 1, 1000, 0)
			if fifo {
				s = newFIFO(a, 1, 1000, 0)
			}
			now := time.Duration(0)
			for range r.IntN(40) {
				now += time.Duration(r.IntN(30)) * ms
				s.Request(now, time.Duration(1+r.IntN(100))*ms, 0, func(time.Duration) {})
			}
			now += time.Duration(r.IntN(200)) * ms
			foretold, end := s.Runnable(now), time.Duration(0)
			s.Request(now, 1, 0, func(at time.Duration) { end = at })
			finish(s, now)
			if (foretold - end).Abs() > time.Microsecond {
				t.Errorf("fifo %v, limit %g: a probe at %v ends at %v, foretold %v", fifo, limit, now, end, foretold)
			}
		}
	}
}
