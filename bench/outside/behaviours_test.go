package outside

import (
	"fmt"
	"time"
)

// A behaviour of Kubernetes' own HPA suite, "Horizontal pod autoscaling (non-default behavior)" and "(configurable
// tolerance)": what it verifies, in the order in which it does. It waits for replicas before it changes the load;
// here each phase is long enough for that.
type behaviour struct {
	file, published string
	verify          []func(*observer)
}

// How long a decision may take (maxHPAReactionTime and maxResourceConsumerDelay of the suite), and what it waits on top.
const (
	reaction = 150 * time.Second
	buffer   = time.Minute
)

// observer looks at a run as the suite does, and has come to an instant of it.
type observer struct {
	course
	now     time.Duration // since the load's begin
	decided time.Duration // the scale's change that the replicas of now followed
	err     error
}

func (o *observer) fail(format string, args ...any) {
	if o.err == nil {
		o.err = fmt.Errorf(format, args...)
	}
}

// phase is ConsumeCPU.
func phase(name string) func(*observer) {
	return func(o *observer) {
		start, known := o.phases[name]
		if !known {
			o.fail("there is no phase %s", name)
		}
		o.now, o.decided = start, start
	}
}

// keeps is EnsureDesiredReplicasInRange.
func keeps(least, most int32, length time.Duration) func(*observer) {
	return func(o *observer) {
		for t := o.now; t < o.now+length; t += time.Second {
			if n := at(o.ready, t); n < least || n > most {
				o.fail("%d replicas at %s, want %d to %d", n, t, least, most)
			}
		}
		o.now += length
	}
}

// reaches is WaitForReplicas, and says that it took longer than a time and less than another. The suite looks
// every 20 s; here the longer one is from decision to decision, which is what the HPA promises.
func reaches(n int32, longer, less time.Duration) func(*observer) {
	return func(o *observer) {
		find := func(changes []change, from time.Duration) time.Duration {
			if at(changes, from) == n {
				return from
			}
			for _, c := range changes {
				if c.at > from && c.n == n {
					return c.at
				}
			}
			return time.Hour
		}
		ready, decided := find(o.ready, o.now), find(o.scale, o.decided)
		if waited := decided - o.decided; longer > 0 && waited < longer-100*time.Millisecond { // a watch's delay
			o.fail("%d replicas after %s, want more than %s", n, waited, longer)
		}
		if waited := ready - o.now; waited >= less {
			o.fail("%d replicas after %s, want less than %s", n, waited, less)
		}
		o.now, o.decided = ready, decided
	}
}

// A window counts from the HPA's last look before the load changed, which was up to a sync before. The suite allows nothing for
// that: its load changes some seconds after it looks at the clock.
const (
	minute   = time.Minute
	lookBack = 15 * time.Second
)

var behaviours = []behaviour{
	{"down-window", "down not before the window of 1 min, and soon after", []func(*observer){phase("three"), reaches(3, 0, reaction+buffer), phase("two"), reaches(2, minute, minute+reaction)}},
	{"up-window", "up not before the window of 3 min, and soon after", []func(*observer){phase("one"), reaches(1, 0, reaction+buffer), phase("three"), reaches(3, 3*minute, 3*minute+reaction)}},
	{"up-disabled", "stays at 1", []func(*observer){phase("eight"), keeps(1, 1, reaction+buffer)}},
	{"down-disabled", "stays at 3", []func(*observer){phase("one"), keeps(3, 3, reaction+5*minute)}},
	{"up-pods", "2, and 3 more than 1 min later", []func(*observer){phase("three"), reaches(2, 0, minute+reaction), reaches(3, minute, minute+reaction)}},
	{"down-pods", "2, and 1 more than 1 min later", []func(*observer){phase("three"), reaches(3, 0, reaction), phase("one"), reaches(2, 0, minute+reaction), reaches(1, minute, minute+reaction)}},
	{"up-percent", "3, and 5 more than 1 min later", []func(*observer){phase("eight"), reaches(3, 0, minute+reaction), reaches(5, minute, minute+reaction)}},
	{"down-percent", "5, and 3 more than 1 min later", []func(*observer){phase("seven"), reaches(7, 0, reaction+buffer), phase("one"), reaches(5, 0, minute+reaction), reaches(3, minute, minute+reaction)}},
	{"two-windows", "stays within each window of 3 min; 3 and 2 soon after", []func(*observer){
		phase("three"), keeps(1, 1, 3*minute-lookBack), reaches(3, 0, reaction+2*minute),
		phase("two"), keeps(3, 3, 3*minute-lookBack), reaches(2, 0, reaction+2*minute),
	}},
	{"window-and-pods", "2 to 3 for 2 min, then 4; stays within the window of 3 min, then 2", []func(*observer){
		phase("four"), keeps(2, 3, 2*minute), reaches(4, 0, 2*minute+reaction+2*minute),
		phase("two-again"), keeps(4, 4, 3*minute), reaches(2, 0, reaction+2*minute),
	}},
	{"large-tolerance", "stays at 1", []func(*observer){phase("eight"), keeps(1, 1, reaction+2*minute)}},
	{"two-tolerances", "11 and 12, and stays at 12", []func(*observer){
		phase("ten"), keeps(10, 10, reaction), phase("eleven"), reaches(11, 0, reaction+2*minute),
		phase("twelve"), reaches(12, 0, reaction+2*minute), phase("ten-again"), keeps(12, 12, reaction+2*minute),
	}},
}

func (b behaviour) judge(runs []course) (string, error) {
	for i, c := range runs {
		o := observer{course: c}
		for _, verify := range b.verify {
			verify(&o)
		}
		if o.err != nil {
			return fmt.Sprintf("%s at %s", path(c.steps()), times(c.steps())), fmt.Errorf("run %d: %w", i+1, o.err)
		}
	}
	s := runs[0].steps()
	if len(s) == 1 {
		return "holds: " + path(s), nil
	}
	return fmt.Sprintf("holds: %s at %s", path(s), times(s)), nil
}
