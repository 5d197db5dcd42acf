package outside

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"
)

// spread is "median (least to most)" of seconds.
func spread(values []float64) string {
	slices.Sort(values)
	n := len(values)
	if n == 1 {
		return fmt.Sprintf("%.0f s", values[0])
	}
	return fmt.Sprintf("%.0f s (%.0f to %.0f)", values[n/2], values[0], values[n-1])
}

// vectorPath is 1 → 2 → 3 → 5. The guide's clock begins when the HPA is created, with the load there before; ours
// with the load. So its steps are compared with each other, by what a probe as the guide's sees: the HPA's
// status.currentReplicas, which is one sync behind the decision, every 15.3 s.
func vectorPath(runs []course) (string, error) {
	const every = 15300 * time.Millisecond
	took := 0
	var first, second, third []float64
	other := ""
	for i, c := range runs {
		s := c.steps()
		if p := path(s); p != "1 → 2 → 3 → 5" {
			other = p
			continue
		}
		took++
		seen := map[int32]float64{}
		offset := time.Duration(float64(every) * float64(i) / float64(len(runs)))
		for t := offset; t < 5*time.Minute; t += every {
			if n := at(c.status, t); seen[n] == 0 {
				seen[n] = t.Seconds()
			}
		}
		first, second, third = append(first, s[1].at.Seconds()), append(second, seen[3]-seen[2]), append(third, seen[5]-seen[3])
	}
	if took == 0 {
		return "", fmt.Errorf("no run took the path; one took %s", other)
	}
	outcome := fmt.Sprintf("%d of %d: 1 → 2 → 3 → 5; first step %s after the load, by such a probe the next %s and the last %s later (published: 31, 46 s)", took, len(runs), spread(first), spread(second), spread(third))
	switch {
	case took < len(runs):
		return outcome, fmt.Errorf("%d of %d runs took another path, such as %s", len(runs)-took, len(runs), other)
	case len(runs) > 10 && (second[0] > 31 || second[len(second)-1] < 31 || third[0] > 46 || third[len(third)-1] < 46):
		return outcome, errors.New("the published steps are outside of what is foretold")
	}
	return outcome, nil
}

// milli is by how much the HPA takes pods at a limit of 10m to use more than that: it reads each in whole millicores, rounded up
// (MilliValue in its metrics client), so that 10.01m are 11m.
const milli = 11. / 10

// grows is a scale-up at the limit, by a factor at most but for milli, until there are so many pods; and how long a cycle takes,
// from and to so many seconds.
func grows(factor float64, until int32, least, most float64) func([]course) (string, error) {
	return func(runs []course) (string, error) {
		var took []float64
		cycles := 0.
		for _, c := range runs {
			s := c.steps()
			reached := time.Duration(0)
			for i, step := range s[1:] {
				if float64(step.n) > math.Ceil(float64(s[i].n)*factor*milli-1e-9) {
					return path(s), fmt.Errorf("%d → %d is more than %g times as many", s[i].n, step.n, factor*milli)
				}
				if step.n >= until && reached == 0 {
					reached = step.at
				}
			}
			if reached == 0 {
				return path(s), fmt.Errorf("there were never %d", until)
			}
			cycles = math.Ceil(math.Log(float64(until)/float64(s[0].n))/math.Log(factor) - 1e-9)
			took = append(took, reached.Seconds())
		}
		words := spread(took)
		cycle := took[len(took)/2] / cycles
		outcome := fmt.Sprintf("%s; %d pods after %s: %.0f cycles of %.0f %% more, of %.0f s each", path(runs[0].steps()), until, words, cycles, (factor-1)*100, cycle)
		if cycle < least || cycle > most {
			return outcome, fmt.Errorf("a cycle takes %.0f s, not %.0f to %.0f", cycle, least, most)
		}
		return outcome, nil
	}
}

// latency is from a change of the usage to the scale's, where metrics-server asks and the HPA syncs at such
// periods, in seconds. The comment takes the kubelet to sample every 10 s. cAdvisor samples each
// container 10 to 20 s after the last time, evenly (model.NextSample), so that the time to the next sample after
// an instant has the density P(interval > t) / E(interval), and a mean of E(interval²) / 2E(interval) = 7.78 s. The
// phases of the scrape and of the sync are independent of it and of each other: U(0, scrape) and U(0, sync)
// come on top.
//
// A steady kubelet samples each 10 s, as the comment has it: U(0, 10).
func latency(scrape, sync float64, steady bool) func([]course) (string, error) {
	return func(runs []course) (string, error) {
		var took []float64
		sum := 0.
		for _, c := range runs {
			t := -1.
			for _, s := range c.steps()[1:] {
				if t < 0 {
					t = (s.at - c.phases["change"]).Seconds()
				}
			}
			if t < 0 {
				return "", errors.New("a run has no decision")
			}
			took = append(took, t)
			sum += t
		}
		slices.Sort(took)
		n := float64(len(took))
		const step = 0.05 // of the grid
		longest, wait, form := 20., 700./3/30, "cAdvisor's intervals"
		density := make([]float64, int(20/step))
		for i := range density {
			density[i] = min(1, (20-(float64(i)+0.5)*step)/10) / 15
		}
		if steady {
			longest, wait, form = 10, 5, "an interval of 10 s"
			density = slices.Repeat([]float64{0.1}, int(10/step))
		}
		mean := wait
		for _, period := range []float64{scrape, sync} {
			width := int(period / step)
			sum := make([]float64, len(density)+width)
			for i, d := range density {
				for j := range width {
					sum[i+j] += d / float64(width)
				}
			}
			density = sum
			mean += period / 2
		}
		// Kolmogorov–Smirnov: the greatest distance between the two distributions.
		distance, cumulated, below := 0., 0., 0
		for i, d := range density {
			cumulated += d * step
			for below < len(took) && took[below] <= float64(i+1)*step {
				below++
			}
			distance = max(distance, math.Abs(cumulated-float64(below)/n))
		}
		most := longest + scrape + sync
		outcome := fmt.Sprintf("mean %.1f s, at most %.1f s in %.0f runs; the closed form with %s: mean %.1f s (%.1f for the kubelet, %.1f for metrics-server, %.1f for the HPA), at most %.0f s",
			sum/n, took[len(took)-1], n, form, mean, wait, scrape/2, sync/2, most)
		// 1.63/√n is passed by one sample of a hundred; a call of the controller comes on top of each sync.
		if limit := 1.63 / math.Sqrt(n); distance > limit || took[len(took)-1] > most+0.5 {
			return outcome, fmt.Errorf("the distribution is %.3f from the closed form, at most %.3f is chance", distance, limit)
		}
		return outcome, nil
	}
}

// follows is PerfKitBenchmarker's ramp: the replicas rise with the load and not otherwise, are what 70 % of
// a CPU each asks for, with the HPA's tolerance, where the load stays for two minutes or more, and are 5 again at the end.
func follows(runs []course) (string, error) {
	c := runs[0]
	s := c.steps()
	for i := range s[1:] {
		if rise := s[i+1].at < c.phases["users-1-again"]; rise != (s[i+1].n > s[i].n) {
			return path(s), fmt.Errorf("%d → %d at %s", s[i].n, s[i+1].n, s[i+1].at)
		}
	}
	outcome := path(s)
	for _, stage := range []struct {
		rate float64
		end  string
		at   time.Duration
	}{{20, "users-40", 0}, {120, "users-150", 0}, {150, "users-1-again", 0}, {1, "users-1-again", 2 * time.Minute}} {
		n := float64(at(c.scale, c.phases[stage.end]+stage.at))
		asks := stage.rate * 0.150 / 0.7
		outcome += fmt.Sprintf("; %.0f at the end of %.0f/s", n, stage.rate)
		if least, most := max(5, math.Ceil(asks/1.1)), max(5, math.Ceil(asks*1.1)); n < least || n > most {
			return outcome, fmt.Errorf("%.0f/s ask for %.1f replicas", stage.rate, asks)
		}
	}
	return outcome, nil
}
