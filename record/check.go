package record

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/kubernetes/pkg/apis/autoscaling"
	conversion "k8s.io/kubernetes/pkg/apis/autoscaling/v2"
	"k8s.io/kubernetes/pkg/apis/autoscaling/validation"
	"k8s.io/utils/ptr"
)

// Limits on what an entry may say. Whatever reads a record relies on them.
const (
	// MaxPods bounds the pods of one record: figures of a pod are set beside those of others.
	MaxPods = 20_000

	// maxLate is by how much an entry of the load can be earlier than one before it: those of
	// workers whose log was cut off for a while are. maxBeside is that of others, whose sources
	// run side by side.
	maxLate   = time.Hour
	maxBeside = time.Minute

	// maxAtOnce bounds the entries from one second of the run to the next. The objects and events of MaxPods that all start then are a third
	// of it.
	maxAtOnce = 500_000

	// maxAfter is how long after the planned phases a run can go on: before them it waits for
	// nodes and images, and after them for pods to end.
	maxAfter = 7 * 24 * time.Hour

	maxCount      = 1e12 // requests of a line: the largest rate for a day; and messages of a queue
	maxAge        = 1e10 // seconds of the oldest message: three centuries
	maxCores      = 1e6
	maxBytes      = 1 << 60
	maxNodes      = 15_000 // three times those of the largest cluster, https://kubernetes.io/docs/setup/best-practices/cluster-large/
	maxContainers = 1000
	maxHistogram  = 512 << 10 // of base64; all buckets take half of it
)

// between says that a value is not from 0 to a limit.
func between(name string, v, most float64) error {
	if !(v >= 0 && v <= most) {
		return fmt.Errorf("%s is %s, and must be from 0 to %s", name, Plain(v, 0), Plain(most, 0))
	}
	return nil
}

func atMost(name string, n, most int) error {
	if n > most {
		return fmt.Errorf("there are %d %s, and may be %d", n, name, most)
	}
	return nil
}

// figures are names and values, each with its limit.
type figures []struct {
	name        string
	value, most float64
}

func (f figures) check() error {
	for _, x := range f {
		if err := between(x.name, x.value, x.most); err != nil {
			return err
		}
	}
	return nil
}

// check says what an entry cannot have. What it holds together with others is of sequence.
func (d *decoder) check(e *Entry) error {
	if _, n := e.What(); n > 1 {
		return fmt.Errorf("it is %d entries in one", n)
	}
	named := func(name string, err error) error {
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return nil
	}
	switch {
	case e.Load != nil:
		if latest := e.At.Add(maxLate).Seconds(); float64(e.Load.Second) > latest {
			return fmt.Errorf("load: second is %d, and must be %.0f at most: the line is of second %.0f", e.Load.Second, latest, e.At.Seconds())
		}
		return named("load", e.Load.check())
	case e.Header != nil:
		return named("header", e.Header.Check())
	case e.Cluster != nil:
		return named("cluster", e.Cluster.check())
	case e.Phase != nil:
		if e.Phase.Edge != "start" && e.Phase.Edge != "end" {
			return fmt.Errorf("phase: edge is %q, and must be start or end", e.Phase.Edge)
		}
		return named("phase", between("index", float64(e.Phase.Index), maxPhases))
	case e.Autoscaler != nil:
		return named("autoscaler", d.checkAutoscaler(e.Autoscaler))
	case e.Target != nil:
		return named("target", replicas(e.Target.Replicas, e.Target.Status, ptr.Deref(e.Target.Ready, 0)))
	case e.ScaledObject != nil:
		return named("scaledObject", cmp.Or(replicas(e.ScaledObject.Min, e.ScaledObject.Max, e.ScaledObject.Least()), atMost("triggers", len(e.ScaledObject.Triggers), maxContainers)))
	case e.ReplicaSet != nil:
		return named("replicaSet", replicas(e.ReplicaSet.Replicas, e.ReplicaSet.Status, e.ReplicaSet.Ready))
	case e.Pod != nil:
		return named("pod", e.Pod.check())
	case e.PodMetrics != nil:
		return named("podMetrics", e.PodMetrics.check())
	case e.Signal != nil:
		return named("signal", atMost("pods", len(e.Signal.Pods), MaxPods))
	case e.Queue != nil:
		return named("queue", e.Queue.Check())
	case e.Gap != nil && e.Gap.From > e.Gap.To:
		return fmt.Errorf("gap: it is from %s to %s", e.Gap.From, e.Gap.To)
	}
	return nil
}

// Check says what a queue cannot have.
func (q *Queue) Check() error {
	return figures{{"backlog", q.Backlog, maxCount}, {"oldestSeconds", ptr.Deref(q.Oldest, 0), maxAge}, {"tookSeconds", q.Took, MaxInstant.Seconds()}}.check()
}

func replicas(spec, status, ready int32) error {
	return figures{{"replicas", float64(spec), math.MaxInt32}, {"status", float64(status), math.MaxInt32}, {"ready", float64(ready), math.MaxInt32}}.check()
}

func (l *LoadSecond) check() error {
	err := figures{
		{"phase", float64(l.Phase), maxPhases}, {"second", float64(l.Second), MaxInstant.Seconds()}, {"worker", float64(l.Worker), maxWorkers},
		{"offered", float64(l.Offered), maxCount}, {"sent", float64(l.Sent), maxCount}, {"unsent", float64(l.Unsent), maxCount},
		{"answered", float64(l.Answered), maxCount}, {"failed", float64(l.Failed), maxCount}, {"aborted", float64(l.Aborted), maxCount},
		{"unknown", float64(l.Unknown), maxCount}, {"late", float64(l.Late), maxCount}, {"slowConnects", float64(l.SlowConnects), maxCount},
		{"bytesIn", float64(l.BytesIn), maxBytes}, {"bytesOut", float64(l.BytesOut), maxBytes}, {"lateMaxSeconds", l.LateMax, MaxInstant.Seconds()},
	}.check()
	for _, counts := range []map[string]uint64{l.Codes, l.Errors} {
		for what, n := range counts {
			err = cmp.Or(err, between(fmt.Sprintf("the number of %q", what), float64(n), maxCount))
		}
	}
	for name, p := range l.Pods {
		err = cmp.Or(err, between("answered of pod "+name, float64(p.Answered), maxCount), between("errors of pod "+name, float64(p.Errors), maxCount))
	}
	return cmp.Or(err, atMost("pods", len(l.Pods), MaxPods))
}

// CheckHistograms says which histogram of l cannot be read.
func (l *LoadSecond) CheckHistograms() error {
	_, err := l.Latency.Counts(Fine)
	if err == nil {
		_, err = l.Lateness.Counts(Coarse)
	}
	for _, p := range l.Pods {
		if err == nil {
			_, err = p.Latency.Counts(Coarse)
		}
	}
	return err
}

func (c *Cluster) check() error {
	err := atMost("nodes", len(c.Nodes), maxNodes)
	for _, n := range c.Nodes {
		err = cmp.Or(err, between("cpu of node "+n.Name, n.CPU, maxCores), between("memoryBytes of node "+n.Name, float64(n.Memory), maxBytes))
	}
	if l := c.Lab; l != nil {
		err = cmp.Or(err, between("metricsResolutionSeconds", l.MetricsResolution, time.Hour.Seconds()))
	}
	if c.Controllers != nil {
		err = cmp.Or(err, c.Controllers.Check())
	}
	return err
}

func (p *Pod) check() error {
	err := atMost("containers", max(len(p.Containers), len(p.Status.ContainerStatuses)), maxContainers)
	all := p.Containers
	if r := p.Resources; r != nil {
		all = append(slices.Clip(all), ContainerResources{Name: "(all)", Requests: r.Requests, Limits: r.Limits})
	}
	for _, c := range all {
		for _, list := range []corev1.ResourceList{c.Requests, c.Limits} {
			for name, q := range list {
				if q.Sign() < 0 {
					err = cmp.Or(err, fmt.Errorf("container %s has %s of %s", c.Name, q.String(), name))
				}
			}
		}
	}
	return err
}

// Timestamps are within these years: before and after, nanoseconds do not fit into 64 bits.
const firstYear, lastYear = 1700, 2200

func (m *PodMetrics) check() error {
	if err := atMost("samples", len(m.Samples), MaxPods); err != nil {
		return err
	}
	for i := range m.Samples {
		s := &m.Samples[i]
		of := " of pod " + s.Pod
		if y := s.Timestamp.Year(); !s.Timestamp.IsZero() && (y < firstYear || y > lastYear) {
			return fmt.Errorf("the timestamp%s is of the year %d, and must be from %d to %d", of, y, firstYear, lastYear)
		}
		if err := cmp.Or(between("windowSeconds"+of, s.Window, MaxInstant.Seconds()), atMost("containers"+of, len(s.Containers), maxContainers)); err != nil {
			return err
		}
		for _, c := range s.Containers {
			if c.CPU < 0 || c.CPU > maxCores || c.Memory < 0 || c.Memory > maxBytes {
				return cmp.Or(between("cpu"+of, c.CPU, maxCores), between("memoryBytes"+of, float64(c.Memory), maxBytes))
			}
		}
	}
	return nil
}

// checkAutoscaler says what of an HPA the API server would not take.
func (d *decoder) checkAutoscaler(a *Autoscaler) error {
	if err := replicas(a.Status.DesiredReplicas, a.Status.CurrentReplicas, 0); err != nil {
		return fmt.Errorf("status: %w", err)
	}
	if a.Deleted || d.checked != nil && reflect.DeepEqual(*d.checked, a.Spec) {
		return nil
	}
	given := autoscalingv2.HorizontalPodAutoscaler{Spec: *a.Spec.DeepCopy()}
	given.Name, given.Namespace = "hpa", "default"
	given.Spec.ScaleTargetRef = autoscalingv2.CrossVersionObjectReference{Kind: "Deployment", Name: "hpa"} // Subject names what is scaled
	conversion.SetDefaults_HorizontalPodAutoscaler(&given)
	is := autoscaling.HorizontalPodAutoscaler{ObjectMeta: given.ObjectMeta}
	if err := conversion.Convert_v2_HorizontalPodAutoscalerSpec_To_autoscaling_HorizontalPodAutoscalerSpec(&given.Spec, &is.Spec, nil); err != nil {
		return err
	}
	lenient := validation.CrossVersionObjectReferenceValidationOptions{AllowEmptyAPIGroup: true, AllowInvalidAPIVersion: true}
	if errs := validation.ValidateHorizontalPodAutoscaler(&is, validation.HorizontalPodAutoscalerSpecValidationOptions{
		ScaleTargetRefValidationOptions: lenient, ObjectMetricsValidationOptions: lenient,
	}); len(errs) > 0 {
		return fmt.Errorf("the API server does not take it: %w", errs[0])
	}
	d.checked = &a.Spec
	return nil
}

// sequence is what the entries of a record hold together.
type sequence struct {
	latest  Instant
	since   Instant // of the second to which the last atOnce entries belong
	atOnce  int
	end     Instant // the latest that the header lets one be at
	podUIDs map[string]struct{}
	open    map[[2]int]open // by worker and phase
}

// open are the requests of a phase that were due, that were sent, and of which no line tells yet what became; second is the latest.
type open struct{ due, sent, untold, second int }

// fact is what sequence is to know of an entry.
type fact struct {
	at     Instant
	late   time.Duration // by how much it can be
	header *Header
	uid    string // of a pod
	load   *LoadSecond
}

func factOf(e *Entry) fact {
	f := fact{at: e.At, late: maxBeside, header: e.Header, load: e.Load}
	if e.Load != nil || e.Answer != nil || e.Phase != nil {
		f.late = maxLate
	}
	if e.Pod != nil {
		f.uid = e.Pod.UID
	}
	return f
}

// check takes the next entry.
func (s *sequence) check(f fact) error {
	if f.header != nil {
		if s.podUIDs != nil {
			return errors.New("it is a second header")
		}
		s.podUIDs = map[string]struct{}{}
		s.end = Instant(maxAfter)
		for _, p := range f.header.Phases {
			if s.end += Instant(p.Seconds * float64(time.Second)); p.Shape == ShapeObserved {
				s.end = Instant(MaxInstant)
			}
		}
	}
	if s.atOnce++; f.at >= s.since.Add(time.Second) {
		s.since, s.atOnce = f.at, 1
	}
	switch {
	case f.at > s.end:
		return fmt.Errorf("it is of second %.0f, and the phases of the header end by %.0f", f.at.Seconds(), s.end.Seconds())
	case s.atOnce > maxAtOnce:
		return fmt.Errorf("more than %d entries are of second %.0f, which no run has: does the file end?", maxAtOnce, s.since.Seconds())
	case f.at < s.latest.Add(-f.late):
		return fmt.Errorf("it is of second %.0f, after one of second %.0f: entries are in the order of time, and this one late by %.0f s at most", f.at.Seconds(), s.latest.Seconds(), f.late.Seconds())
	}
	s.latest = max(s.latest, f.at)
	if l := f.load; l != nil {
		if s.open == nil {
			s.open = map[[2]int]open{}
		}
		of := [2]int{l.Worker, l.Phase}
		o := s.open[of]
		s.open[of] = open{o.due + int(l.Offered-l.Unsent), o.sent + int(l.Sent), o.untold + int(l.Sent-l.Answered-l.Failed-l.Aborted-l.Unknown), max(o.second, l.Second)}
	}
	if f.uid != "" {
		s.podUIDs[f.uid] = struct{}{}
	}
	return atMost("pods", len(s.podUIDs), MaxPods)
}

// unknown is what became of the requests of a record that was cut off: of those that were sent, or that were due, its lines do not tell it all.
// With these the counts of LoadSecond add up.
func (s *sequence) unknown() (all []Entry) {
	for _, of := range slices.SortedFunc(maps.Keys(s.open), func(a, b [2]int) int { return slices.Compare(a[:], b[:]) }) {
		o := s.open[of]
		if perhaps := max(0, o.due-o.sent); perhaps+o.untold > 0 {
			all = append(all, Entry{At: s.latest, Load: &LoadSecond{Worker: of[0], Phase: of[1], Second: o.second, Sent: uint64(perhaps), Unknown: uint64(perhaps + o.untold)}})
		}
	}
	return all
}
