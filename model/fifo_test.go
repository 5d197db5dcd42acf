package model

import (
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
)

const ms = time.Millisecond

func newTestFIFO(n *Node, now time.Duration, limit, idle float64, workers, queue int) *fifo {
	return newFIFO(newAccount(n, now, limit, idle), max(1, min(int(math.Ceil(n.Cores)), workers)), workers, queue)
}

func request(s *fifo, now, cpu, wait time.Duration) (end time.Duration, ok bool) {
	ok = s.Request(now, cpu, wait, func(at time.Duration) { end = at })
	return end, ok
}

// must is a request that is not refused.
func must(t testing.TB, s *fifo, now, cpu, wait time.Duration) time.Duration {
	t.Helper()
	done, ok := request(s, now, cpu, wait)
	if !ok {
		t.Fatalf("the request at %v was refused", now)
	}
	return done
}

func TestRequestsQueueInOrder(t *testing.T) {
	s := newTestFIFO(&Node{Cores: 8}, 0, 0, 0, 2, 2)
	var got []string
	for _, at := range []time.Duration{0, 1, 2, 3, 4, 12, 30} {
		if done, ok := request(s, at*ms, 10*ms, 0); ok {
			got = append(got, fmt.Sprintf("%d+%v", at, done-at*ms))
		} else {
			got = append(got, fmt.Sprintf("%d refused", at))
		}
	}
	// Two workers, two more in the queue; the fifth is one too many.
	want := []string{"0+10ms", "1+10ms", "2+18ms", "3+18ms", "4 refused", "12+18ms", "30+10ms"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestWaitHoldsTheWorkerAndNoProcessor(t *testing.T) {
	s := newTestFIFO(&Node{Cores: 1}, 0, 0, 0, 2, 9)
	for i, want := range []time.Duration{110 * ms, 120 * ms, 220 * ms, 230 * ms} {
		if got := must(t, s, 0, 10*ms, 100*ms); got != want {
			t.Errorf("request %d is done at %v, want %v", i, got, want)
		}
	}
	if got := s.Usage(50 * ms); got != 20*ms {
		t.Errorf("CPU time %v at 50 ms, want 20ms", got)
	}
}

// With Poisson arrivals, one worker and exponential service times, a request
// waits ρ/(μ−λ) in the queue on average (M/M/1; Kleinrock, Queueing Systems,
// vol. 1, section 3.2); with constant ones half of that (M/D/1, Pollaczek-Khinchine).
func TestQueueWaitIsThatOfTheory(t *testing.T) {
	const mean, load, n = 10 * ms, 0.7, 200_000
	mm1 := load / (1 - load) * float64(mean)
	for distribution, want := range map[string]float64{"exponential": mm1, "constant": mm1 / 2} {
		r := rand.New(rand.NewPCG(1, 2))
		cost := &Cost{Distribution: distribution}
		cost.Mean.Duration = mean
		s := newTestFIFO(&Node{Cores: 64}, 0, 0, 0, 1, math.MaxInt)
		var now time.Duration
		var waited float64
		for range n {
			now += time.Duration(r.ExpFloat64() * float64(mean) / load)
			cpu := cost.Draw(r)
			waited += float64(must(t, s, now, cpu, 0) - now - cpu)
		}
		if got := waited / n; math.Abs(got-want) > 0.05*want {
			t.Errorf("%s: mean wait %v, want %v", distribution, time.Duration(got), time.Duration(want))
		}
	}
}

func TestSampleHasMeanAndDeviation(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, c := range []struct {
		cost            Cost
		mean, deviation float64
	}{
		{Cost{}, 20, 0},
		{Cost{Distribution: "exponential"}, 20, 20},
		{Cost{Distribution: "lognormal"}, 20, 20},
		{Cost{Distribution: "lognormal", Deviation: 0.5}, 20, 10},
	} {
		c.cost.Mean.Duration = 20 * ms
		const n = 200_000
		var sum, squares float64
		for range n {
			x := float64(c.cost.Draw(r)) / float64(ms)
			sum += x
			squares += x * x
		}
		mean := sum / n
		deviation := math.Sqrt(max(0, squares/n-mean*mean))
		if math.Abs(mean-c.mean) > 0.02*c.mean || math.Abs(deviation-c.deviation) > 0.05*c.mean {
			t.Errorf("%+v: mean %v ms and deviation %v ms, want %v and %v", c.cost, mean, deviation, c.mean, c.deviation)
		}
	}
}

// A demand of a whole core at a limit of 0.2 gets a fifth of it.
func TestLimitThrottles(t *testing.T) {
	s := newTestFIFO(&Node{Cores: 4}, 0, 0.2, 0, 1, math.MaxInt)
	var done []time.Duration
	for i := range 1000 { // 10 s of demand, 10 ms each
		done = append(done, must(t, s, time.Duration(i)*10*ms, 10*ms, 0))
	}
	finished := 0
	for _, d := range done {
		if d <= 10*time.Second {
			finished++
		}
	}
	if finished != 200 {
		t.Errorf("%d requests done in 10 s, want 200", finished)
	}
	if got := s.Usage(10 * time.Second); got != 2*time.Second {
		t.Errorf("CPU time %v, want 2s", got)
	}
	// The one thread runs for 20 ms and is held back for 80 ms in each period.
	if got, want := s.Stat(10*time.Second), (Stat{100, 100, 8 * time.Second}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	for _, c := range [][2]time.Duration{{10 * ms, 100 * ms}, {50 * ms, 110 * ms}} { // after the request that has the worker
		now, want := c[0], c[1]
		if got := s.Runnable(10*time.Second + now); got != 10*time.Second+want {
			t.Errorf("what comes %v into a period has run after %v, want %v", now, got-10*time.Second, want)
		}
	}
}

// Four threads use up the quota of one core in about a quarter of the period, and
// all four are held back for the rest. The ninth and tenth request get the last of
// the quota, so that two threads stop at 20 ms and two at 30 ms.
func TestManyThreadsAreThrottledTogether(t *testing.T) {
	s := newTestFIFO(&Node{Cores: 4}, 0, 1, 0, 100, 0)
	var last time.Duration
	for range 20 {
		last = must(t, s, 0, 10*ms, 0)
	}
	if last != 130*ms {
		t.Errorf("200 ms of work are done at %v, want 130ms", last)
	}
	if got, want := s.Stat(time.Second), (Stat{2, 1, 300 * ms}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestContainersShareTheirNode(t *testing.T) {
	n := &Node{Cores: 2}
	a := newTestFIFO(n, 0, 0, 0, 8, math.MaxInt)
	b := newTestFIFO(n, 0, 0, 0, 8, math.MaxInt)
	for i := range 1000 {
		must(t, a, time.Duration(i)*10*ms, 20*ms, 0)
		must(t, b, time.Duration(i)*10*ms, 20*ms, 0)
	}
	at := 10 * time.Second
	used := []time.Duration{a.Usage(at), b.Usage(at)}
	// Each wants two cores; together they have two.
	if sum := used[0] + used[1]; sum > 20*time.Second || sum < 19900*ms {
		t.Errorf("%v of CPU time in 10 s on two cores", used)
	}
	if used[0] < 9*time.Second || used[1] < 9*time.Second {
		t.Errorf("not shared: %v", used)
	}
	if got := a.Stat(at); got != (Stat{}) {
		t.Errorf("a busy node is no throttling: %+v", got)
	}

	// What one had reserved is the others' when it ends.
	a.Stop(at)
	free := newTestFIFO(n, at, 0, 0, 8, math.MaxInt)
	b.Stop(at)
	if done := must(t, free, at, 50*ms, 0); done != at+50*ms {
		t.Errorf("on an empty node 50 ms take %v", done-at)
	}
}

func TestIdleCPUIsUsedAllTheTime(t *testing.T) {
	n := &Node{Cores: 1}
	s := newTestFIFO(n, time.Second, 0.5, 0.1, 1, 0)
	if got := s.Usage(11 * time.Second); got != time.Second {
		t.Errorf("idle for 10 s: %v, want 1s", got)
	}
	// It takes its part of the limit: requests have 40 ms in a period.
	if done := must(t, s, 11*time.Second, 80*ms, 0); done != 11140*ms {
		t.Errorf("80 ms at 0.5 cores, 0.1 of them idle, are done after %v, want 140ms", done-11*time.Second)
	}
	s.Stop(12 * time.Second)
	if got := n.idle; got != 0 {
		t.Errorf("idle CPU of a node without containers: %v", got)
	}
}

// FuzzFIFO holds what must be true of any requests: usage never falls and
// never is above what limit and node allow, what is done has had its CPU time, no
// sooner than it can, in the order of the queue.
func FuzzFIFO(f *testing.F) {
	f.Add(uint64(1), 0.2, 2.0, 0.01, uint8(1))
	f.Add(uint64(2), 0.0, 0.5, 0.0, uint8(4))
	f.Add(uint64(3), 1.5, 4.0, 2.0, uint8(100))
	f.Add(uint64(4), 0.00001, 64.0, 0.5, uint8(0))
	f.Fuzz(func(t *testing.T, seed uint64, limit, cores, idle float64, workers uint8) {
		bounded := func(x, low, high float64) float64 {
			if !(x >= low) {
				return low
			}
			return min(x, high)
		}
		limit, cores, idle = bounded(limit, 0, 64), bounded(cores, 0.1, 64), bounded(idle, 0, 8)
		r := rand.New(rand.NewPCG(seed, 0))
		n := &Node{Cores: cores}
		var all []*fifo
		var ends [][]time.Duration
		var used, given []time.Duration
		for range 2 {
			all = append(all, newTestFIFO(n, 0, limit, idle, int(workers)+1, 20))
			ends = append(ends, nil)
			used, given = append(used, 0), append(given, 0)
		}
		var now time.Duration
		for range 100 {
			now += time.Duration(r.ExpFloat64() * float64(5*ms))
			i := r.IntN(2)
			s := all[i]
			cpu := time.Duration(r.ExpFloat64() * float64(10*ms))
			wait := time.Duration(r.IntN(2)) * time.Duration(r.ExpFloat64()*float64(50*ms))
			if done, ok := request(s, now, cpu, wait); ok {
				given[i] += cpu
				ends[i] = append(ends[i], done)
				if done < now+cpu+wait {
					t.Fatalf("%v of CPU and %v of waiting from %v on are done at %v", cpu, wait, now, done)
				}
			} else if len(s.starts) < 20 {
				t.Fatalf("refused with %d in the queue", len(s.starts))
			}
			inFlight := 0
			for _, d := range ends[i] {
				if d > now {
					inFlight++
				}
			}
			if got := s.Held(now); got != inFlight || got > s.workers+20 {
				t.Fatalf("%d requests held, %d are not done", got, inFlight)
			}
			var sum time.Duration
			for j, s := range all {
				u := s.Usage(now)
				if u < used[j] {
					t.Fatalf("usage fell from %v to %v", used[j], u)
				}
				// A float's rounding apart, and a period, whose quota can be used at its beginning.
				if top := max(limit, 0.01); limit > 0 && u > time.Duration(top*float64(now+CFSPeriod))+time.Microsecond {
					t.Fatalf("usage %v until %v at a limit of %v", u, now, top)
				}
				if top := float64(len(s.lanes)) + s.idle; u > time.Duration(top*float64(now))+time.Microsecond {
					t.Fatalf("usage %v until %v on %d processors", u, now, len(s.lanes))
				}
				used[j] = u
				sum += u - time.Duration(s.idle*float64(now))
			}
			if capacity := float64(n.capacity()) / float64(CFSPeriod); sum > time.Duration(capacity*float64(now+CFSPeriod))+time.Microsecond {
				t.Fatalf("both used %v until %v on %v cores", sum, now, cores)
			}
		}
		// In the end each request has had what it asked for.
		for i, s := range all {
			end := now
			for _, d := range ends[i] {
				end = max(end, d)
			}
			idle := time.Duration(s.idle * float64(end))
			if got := s.Usage(end) - idle; got != given[i] {
				t.Fatalf("%v of CPU time for requests that take %v", got, given[i])
			}
			now = end // schedulers of a node do not go back in time
			for j := i + 1; j < len(all); j++ {
				all[j].Advance(now)
			}
			s.Stop(now)
		}
		for i := 1; i < len(n.ledger.entries); i++ { // 0 is the present period
			if used := n.ledger.entries[i].used; used != 0 {
				t.Fatalf("an empty node has %v reserved", used)
			}
		}
	})
}

var update = flag.Bool("update", false, "write the golden files")

// The picture of a limit: half a core, one request of 15 ms every 20 ms for half
// a second, which is three quarters of a core.
func TestUsageOverTime(t *testing.T) {
	s := newTestFIFO(&Node{Cores: 4}, 0, 0.5, 0, 1, math.MaxInt)
	var b strings.Builder
	fmt.Fprintln(&b, "limit 0.5 cores; a request of 15 ms every 20 ms until 500 ms. Each # is 10 ms of CPU time, each . one that was asked for.")
	var asked time.Duration
	for now := time.Duration(0); now <= 900*ms; now += 20 * ms {
		used := s.Usage(now)
		stat := s.Stat(now)
		fmt.Fprintf(&b, "%4d ms %-38s held %2d  throttled %d of %d periods, %v\n", now.Milliseconds(),
			strings.Repeat("#", int(used/(10*ms)))+strings.Repeat(".", int(asked/(10*ms)-used/(10*ms))),
			s.Held(now), stat.Throttled, stat.Periods, stat.ThrottledTime)
		if now < 500*ms {
			must(t, s, now, 15*ms, 0)
			asked += 15 * ms
		}
	}
	const golden = "testdata/usage.txt"
	if *update {
		if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func BenchmarkFIFO(b *testing.B) {
	for name, limit := range map[string]float64{"unlimited": 0, "limited": 1} {
		b.Run(name, func(b *testing.B) {
			s := newTestFIFO(&Node{Cores: 4}, 0, limit, 0.001, 1000, math.MaxInt)
			var now time.Duration
			b.ReportAllocs()
			for b.Loop() {
				now += 100 * time.Microsecond
				request(s, now, 90*time.Microsecond, 10*ms)
			}
		})
	}
}

// TestRunnableIsAhead asks when a probe runs of a server with several processors, on which requests end in another order than
// they came.
func TestRunnableIsAhead(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	n := &Node{Cores: 4}
	m := Resolve(&corev1.Container{Image: "x/app"}, Model{})
	s := NewServer(n, 0, &m, 2)
	now := time.Duration(0)
	for range 5000 {
		now += time.Duration(random.ExpFloat64() * float64(8*time.Millisecond))
		s.Request(now, time.Duration(random.ExpFloat64()*float64(15*time.Millisecond)), 0, func(time.Duration) {})
		if at := s.Runnable(now); at < now {
			t.Fatalf("at %s a probe ran at %s", now, at)
		}
	}
}
