package analysis

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unsafe"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/labels"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/kubernetes/pkg/controller/podautoscaler"
	"k8s.io/kubernetes/pkg/controller/podautoscaler/metrics"

	"github.com/hpabench/hpabench/record"
)

// view is what the HPA controller could see at an instant. It is the pod lister and the
// metrics client of Kubernetes' ReplicaCalculator, which works out the proposals.
type view struct {
	corelisters.PodNamespaceLister
	metrics.MetricsClient
	pods    []*corev1.Pod
	usage   *readings // of metrics.k8s.io; nil before the first
	signals signals
	later   bool      // usage was read after the HPA's look: it saw that if it did not see the one before
	at      time.Time // by the clock of the cluster
	scaled  int32     // the replicas of the scale's status

	// value is that of a metric which usage does not have, in thousandths: of an object, or of
	// each pod. With same it stands for each pod's usage too.
	value int64
	same  bool
	byPod *record.Signal // stands for value of each pod

	// given are the metrics by pod that the calculator had last. It takes out those of pods
	// that it does not count, and adds pods without a metric.
	given metrics.PodMetricsInfo
	sums  *sums // of other views
}

func (v *view) List(labels.Selector) ([]*corev1.Pod, error) { return v.pods, nil }
func (v *view) Pods(string) corelisters.PodNamespaceLister  { return v }

func (v *view) GetResourceMetric(_ context.Context, name corev1.ResourceName, _ string, _ labels.Selector, container string) (metrics.PodMetricsInfo, time.Time, error) {
	if v.clear(); v.usage == nil {
		if v.same {
			return v.GetRawMetric("", "", nil, nil)
		}
		return v.given, time.Time{}, nil
	}
	for i := range v.usage.samples {
		s := &v.usage.samples[i]
		use, found := v.usage.used(s, name, container)
		if v.same {
			use = v.value
		}
		if found {
			v.given[v.usage.pod(s)] = metrics.PodMetric{Timestamp: s.timestamp(), Window: time.Duration(s.Window * float64(time.Second)), Value: use}
		}
	}
	return v.given, time.Time{}, nil
}

func (v *view) clear() {
	if v.given == nil {
		v.given = metrics.PodMetricsInfo{}
	}
	clear(v.given)
}

func (v *view) GetRawMetric(string, string, labels.Selector, labels.Selector) (metrics.PodMetricsInfo, time.Time, error) {
	v.clear()
	if v.byPod != nil {
		for _, s := range v.byPod.Pods {
			v.given[s.Pod] = metrics.PodMetric{Timestamp: v.at, Value: s.Value.MilliValue()}
		}
		return v.given, time.Time{}, nil
	}
	for _, p := range v.pods {
		v.given[p.Name] = metrics.PodMetric{Timestamp: v.at, Value: v.value}
	}
	return v.given, time.Time{}, nil
}

func (v *view) GetObjectMetric(string, string, *autoscalingv2.CrossVersionObjectReference, labels.Selector) (int64, time.Time, error) {
	return v.value, time.Time{}, nil
}

// used is the sample's usage as the controller's client has it, in thousandths of a core or
// of a byte: of all containers, or of the named one. The small term undoes what a binary
// fraction adds to a decimal one.
func (r *readings) used(s *sample, name corev1.ResourceName, container string) (use int64, found bool) {
	for _, c := range r.containersOf(s) {
		switch {
		case container != "" && r.name(&c) != container:
			continue
		case name == corev1.ResourceCPU:
			use += int64(math.Ceil(c.CPU*1000 - 1e-9))
		case name == corev1.ResourceMemory:
			use += c.Memory * 1000
		default:
			continue // metrics.k8s.io has no others
		}
		found = true
	}
	return use, found
}

// calculator looks at v. It holds the start of a pod against this process' clock, so what
// that is later than the record's is added to the period in which a pod is young.
func (v *view) calculator(f flags) *podautoscaler.ReplicaCalculator {
	return podautoscaler.NewReplicaCalculator(v, v, f.CPUInitialization.Duration+time.Since(v.at), f.InitialReadiness.Duration)
}

// tolerances makes Kubernetes' type, whose fields are not exported and of which nothing that
// is makes one. TestTolerances holds their order.
func (p policy) tolerances() podautoscaler.Tolerances {
	both := [2]float64{p.down, p.up}
	return *(*podautoscaler.Tolerances)(unsafe.Pointer(&both))
}

// counted are the sums over the pods whose metric of a resource the HPA takes as it is.
type counted struct {
	pods          int
	use, requests int64 // in thousandths
	requested     bool  // each of them has a request
	allRequested  bool  // and each other pod; without that the HPA has no metric
	oldest        time.Time

	// Pods whose metric the HPA does not take as it is: that are not ready, have no sample, or have one that
	// began before they were ready.
	unready, missing, early int
}

// uncounted says why the other pods are not.
func (c counted) uncounted() string {
	var whys []string
	for _, of := range []struct {
		n   int
		why string
	}{{c.unready, "not ready"}, {c.missing, "without a metric"}, {c.early, "with a sample that began before readiness"}} {
		switch of.n {
		case 0:
		case c.unready + c.missing + c.early:
			whys = append(whys, of.why)
		default:
			whys = append(whys, fmt.Sprintf("%d %s", of.n, of.why))
		}
	}
	return strings.Join(whys, " and ")
}

// percent is the use of what is requested.
func (c counted) percent() float64 { return 100 * float64(c.use) / float64(c.requests) }

// value is that of the metric, in the unit of goalOf. The percents are whole, as those of
// GetResourceUtilizationRatio in k8s.io/kubernetes/pkg/controller/podautoscaler/metrics.
func (c counted) value(target autoscalingv2.MetricTarget) (value int64, ok bool) {
	switch {
	case c.pods == 0:
		return 0, false
	case target.AverageUtilization == nil:
		return c.use / int64(c.pods), true
	case !c.requested || !c.allRequested:
		return 0, false
	}
	return c.use * 100 / c.requests, true
}

// sums keeps what was counted of the pods and the reading of a view.
type sums struct {
	pods  []*corev1.Pod
	usage *readings
	at    time.Time
	all   map[[2]string]counted // by resource and container
}

// counted sums up the samples of the pods whose metric of the resource the HPA takes as it is:
// not of those that are terminating, failed or pending, and for CPU not of those that are not
// ready or, while they are young, have not been for a whole window. All pods that counted once
// with a sample count with it from then on.
func (v *view) counted(name corev1.ResourceName, container string, f flags) (c counted) {
	key := [2]string{string(name), container}
	if k := v.sums; k != nil && k.all != nil && k.usage == v.usage && !v.at.Before(k.at) && slices.Equal(k.pods, v.pods) {
		if c, known := k.all[key]; known && (c.pods == len(v.pods) || v.at.Equal(k.at)) {
			return c
		}
	} else if k != nil {
		*k = sums{v.pods, v.usage, v.at, map[[2]string]counted{}}
	}
	// The calculator leaves those that count in v.given, with values without a time for missing ones; its error
	// says that none counts.
	_, _, _, _ = v.calculator(f).GetRawResourceReplicas(context.Background(), 1, math.MaxInt64, name, podautoscaler.Tolerances{}, "", labels.Everything(), container)
	c = v.sum(name, container)
	if v.sums != nil {
		v.sums.all[key] = c
	}
	return c
}

func (v *view) sum(name corev1.ResourceName, container string) counted {
	c := counted{requested: true, allRequested: true}
	var sampled map[string]bool
	for _, p := range v.pods {
		request, has := requestOf(p, name, container)
		c.allRequested = c.allRequested && has
		m, ok := v.given[p.Name]
		if !ok || m.Timestamp.IsZero() {
			if sampled == nil {
				sampled = v.sampled(name, container)
			}
			switch {
			case !ofReplicas(p):
			case p.Status.Phase != corev1.PodPending && !sampled[p.Name]:
				c.missing++
			case p.Status.Phase == corev1.PodPending || !slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
				return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
			}):
				c.unready++
			default:
				c.early++
			}
			continue
		}
		if c.pods++; c.pods == 1 || m.Timestamp.Before(c.oldest) {
			c.oldest = m.Timestamp
		}
		c.use, c.requests, c.requested = c.use+m.Value, c.requests+request, c.requested && has
	}
	c.requested = c.requested && c.requests > 0
	return c
}

// sampled tells the pods with a sample of the resource.
func (v *view) sampled(name corev1.ResourceName, container string) map[string]bool {
	pods := map[string]bool{}
	if v.usage != nil {
		for i := range v.usage.samples {
			s := &v.usage.samples[i]
			if _, found := v.usage.used(s, name, container); found {
				pods[v.usage.pod(s)] = true
			}
		}
	}
	return pods
}

// ofReplicas says whether the HPA takes p as one of the replicas.
func ofReplicas(p *corev1.Pod) bool {
	return p.DeletionTimestamp == nil && p.Status.Phase != corev1.PodFailed
}

// requestOf is what a pod, or a container of it, requests of a resource, in thousandths.
func requestOf(p *corev1.Pod, name corev1.ResourceName, container string) (request int64, has bool) {
	if r := p.Spec.Resources; r != nil && container == "" {
		if q, has := r.Requests[name]; has {
			return q.MilliValue(), true
		}
	}
	has = true
	for i := range p.Spec.Containers {
		if c := &p.Spec.Containers[i]; container == "" || c.Name == container {
			q, is := c.Resources.Requests[name]
			request, has = request+q.MilliValue(), has && is
		}
	}
	return request, has
}

// ask is what Kubernetes' calculator makes of one of the HPA's metrics by what v has of it: the
// replicas that it asks for, and its value as in goalOf, with the mean by pod of one in percent.
// Where all pods count, the replicas are the rule of thumb: the calculator has that too then, and
// copies the containers of all pods for it, which is too slow for each reading of weeks.
func (v *view) ask(m autoscalingv2.MetricSpec, current, scaled int32, p policy, f flags) (n int32, value, mean int64, err error) {
	ask, ctx, all, tolerances := v.calculator(f), context.Background(), labels.Everything(), p.tolerances()
	resource, container := record.ResourceOf(m)
	_, target := record.MetricTarget(m)
	goal := goalOf(target)
	if resource != "" {
		c := v.counted(resource, container, f)
		if value, ok := c.value(target); ok && c.pods == len(v.pods) && c.pods == int(current) {
			return replicasFor(float64(value)/float64(goal), current, p), value, c.use / int64(c.pods), nil
		}
	}
	switch {
	case target.AverageUtilization != nil:
		var percent int32
		n, percent, mean, _, err = ask.GetResourceReplicas(ctx, current, int32(goal), resource, tolerances, "", all, container)
		return n, int64(percent), mean, err
	case resource != "":
		n, mean, _, err = ask.GetRawResourceReplicas(ctx, current, goal, resource, tolerances, "", all, container)
	case m.Pods != nil:
		n, mean, _, err = ask.GetMetricReplicas(current, goal, "", tolerances, "", all, all)
	case target.AverageValue != nil:
		n, mean, _, err = ask.GetObjectPerPodMetricReplicas(scaled, goal, "", tolerances, "", nil, all)
	default:
		n, mean, _, err = ask.GetObjectMetricReplicas(current, goal, "", tolerances, "", nil, all, all)
	}
	return n, mean, mean, err
}

// goalOf is a target in percent or in thousandths; 0 without one that can be met.
func goalOf(t autoscalingv2.MetricTarget) int64 {
	goal, _ := valueOf(t, autoscalingv2.MetricValueStatus{AverageUtilization: t.AverageUtilization, AverageValue: t.AverageValue, Value: t.Value})
	return max(goal, 0)
}

// valueOf is what a status has of a target, in the unit of goalOf.
func valueOf(t autoscalingv2.MetricTarget, s autoscalingv2.MetricValueStatus) (value int64, has bool) {
	switch {
	case t.AverageUtilization != nil && s.AverageUtilization != nil:
		return int64(*s.AverageUtilization), true
	case t.AverageUtilization == nil && t.AverageValue != nil && s.AverageValue != nil:
		return s.AverageValue.MilliValue(), true
	case t.AverageUtilization == nil && t.AverageValue == nil && t.Value != nil && s.Value != nil:
		return s.Value.MilliValue(), true
	}
	return 0, false
}

// ratioOf is that of the value in a status to the target; NaN without one of them.
func ratioOf(t autoscalingv2.MetricTarget, s autoscalingv2.MetricValueStatus) float64 {
	value, has := valueOf(t, s)
	if goal := goalOf(t); has && goal > 0 {
		return float64(value) / float64(goal)
	}
	return math.NaN()
}

// proposal is what one of the HPA's metrics asks for.
type proposal struct {
	spec   autoscalingv2.MetricSpec
	status autoscalingv2.MetricValueStatus // zero if the HPA's status lacks the metric
	ratio  float64                         // of current to target; NaN without one of them
	total  *resource.Quantity              // the value where there are no pods to divide it by
	whole  *resource.Quantity              // the value that was divided by the pods, where it was read
	// replicas that the metric may ask for, the likeliest first: the status has rounded
	// figures, and the pods that the HPA saw may have been others. None if they are not known.
	replicas []int32
	of       []*view // that asked for the likeliest
}

// view is what the HPA most likely saw when it asked for the likeliest replicas: as many pods as it found, as those that a decision
// makes come after it.
func (m *proposal) view(current int32, views []*view) *view {
	for _, v := range m.of {
		if v.replicas() == int(current) {
			return v
		}
	}
	if len(m.of) > 0 {
		return m.of[0]
	}
	return views[max(0, slices.IndexFunc(views, func(v *view) bool { return v.usage != nil }))]
}

// replicas are the pods that are not about to end.
func (v *view) replicas() (n int) {
	for _, p := range v.pods {
		if ofReplicas(p) {
			n++
		}
	}
	return n
}

// decision is what the HPA made of its metrics before all limits.
type decision struct {
	proposals []proposal
	// Where the HPA has one metric, of a resource: all pods that are not about to end, and what was counted.
	pods     int
	counted  counted
	replicas []int32 // it may be each of them, the likeliest first; none if that is not known
}

// decide works out what an HPA with the status of a made of its metrics. views are what it
// may have seen, the likeliest first; scaled are the replicas of the scale's status.
// Without pods in a view all of them count.
func decide(a *record.Autoscaler, scaled int32, views []*view, p policy, f flags) (d decision) {
	missing := false
	for i, spec := range a.Spec.Metrics {
		m := proposal{spec: spec, status: statusOf(a, i)}
		m.propose(a.Status.CurrentReplicas, scaled, views, p, f)
		missing = missing || len(m.replicas) == 0
		d.proposals = append(d.proposals, m)
	}
	if len(a.Spec.Metrics) == 1 && len(views) > 0 {
		if name, container := record.ResourceOf(a.Spec.Metrics[0]); name != "" {
			v := d.proposals[0].view(a.Status.CurrentReplicas, views)
			d.pods, d.counted = v.replicas(), v.counted(name, container, f)
		}
	}
	for _, m := range d.proposals {
		if len(d.replicas) == 0 || len(m.replicas) == 0 {
			d.replicas = append(d.replicas, m.replicas...)
			continue
		}
		var larger []int32
		for _, n := range d.replicas {
			for _, of := range m.replicas {
				if most := max(n, of); !slices.Contains(larger, most) {
					larger = append(larger, most)
				}
			}
		}
		d.replicas = larger
	}
	if missing { // the HPA does not scale down
		d.replicas = slices.DeleteFunc(d.replicas, func(n int32) bool { return n < a.Status.CurrentReplicas })
	}
	return d
}

// statusOf is the value of the ith of the HPA's metrics in its status, zero without one. The
// HPA writes them in the order of its spec; by name alone two can be mixed up.
func statusOf(a *record.Autoscaler, i int) (value autoscalingv2.MetricValueStatus) {
	spec, list := a.Spec.Metrics, a.Status.CurrentMetrics
	if len(list) == len(spec) && list[i].Type == spec[i].Type {
		_, value = record.MetricCurrent(list[i])
		return value
	}
	name, _ := record.MetricTarget(spec[i])
	for _, m := range list {
		if is, v := record.MetricCurrent(m); is == name {
			value = v
		}
	}
	return value
}

// propose fills in what m asks for. current are the replicas that the HPA found.
func (m *proposal) propose(current, scaled int32, views []*view, p policy, f flags) {
	_, target := record.MetricTarget(m.spec)
	resource, container := record.ResourceOf(m.spec)
	m.ratio = ratioOf(target, m.status)
	if math.IsNaN(m.ratio) || resource == "" && target.AverageUtilization != nil { // a share of no request
		return
	}
	add := func(n int32, err error) {
		if err == nil && !slices.Contains(m.replicas, n) {
			m.replicas = append(m.replicas, n)
		}
	}
	status, _ := valueOf(target, m.status)
	for _, v := range m.seen(views, scaled) {
		if v.later && m.settled(current, p) {
			break
		}
		n, value, mean, err := v.ask(m.spec, current, scaled, p, f)
		if m.total != nil || value == status && (m.status.AverageValue == nil || mean == m.status.AverageValue.MilliValue()) {
			if add(n, err); err == nil && n == m.replicas[0] {
				m.of = append(m.of, v)
			}
		}
	}
	if len(m.replicas) == 0 && len(views) > 0 && (resource != "" || m.spec.Pods != nil) {
		add(views[0].alike(status, goalOf(target), current, resource, container, p.tolerances(), f))
	}
	if len(m.replicas) == 0 && !math.IsNaN(m.ratio) {
		m.replicas = []int32{replicasFor(m.ratio, current, p)}
	}
}

// seen are what the HPA may have seen of m: each view with each reading that it has of the metric, or with
// the value in the status.
func (m *proposal) seen(views []*view, scaled int32) (all []*view) {
	name, target := record.MetricTarget(m.spec)
	if resource, _ := record.ResourceOf(m.spec); resource != "" {
		return views
	}
	var readings []*record.Signal // with a value
	for _, v := range views {
		for _, s := range v.signals[name] {
			if s.v.Value != nil {
				readings = append(readings, s.v)
			}
			if m.spec.Pods != nil && s.v.Error == "" {
				all = append(all, &view{pods: v.pods, at: v.at, later: v.later, given: v.given, byPod: s.v})
			}
		}
		if target.AverageValue == nil {
			all = append(all, &view{pods: v.pods, at: v.at, value: m.status.Value.MilliValue()})
		}
	}
	switch {
	case m.spec.Pods != nil || target.AverageValue == nil:
	case scaled == 0: // the status has the value divided by no pods, which is no number
		m.ratio = math.NaN()
		for _, s := range readings {
			m.total = cmp.Or(m.total, s.Value)
			m.ratio = float64(s.Value.MilliValue()) / float64(target.AverageValue.MilliValue())
			all = append(all, &view{value: s.Value.MilliValue()})
		}
	default:
		// The status has the mean by pod, rounded up: the value itself is among as many as
		// there are pods, and most likely a whole one.
		most := m.status.AverageValue.MilliValue() * int64(scaled)
		least := most - int64(scaled) + 1
		values := []int64{most / 1000 * 1000, least, most}
		for _, s := range readings {
			if v := s.Value.MilliValue(); v >= least && v <= most {
				values, m.whole = []int64{v}, s.Value
			}
		}
		for _, v := range values {
			all = append(all, &view{value: max(v, least)})
		}
	}
	return all
}

// settled says that all pods were counted, so that a later reading makes no difference.
func (m *proposal) settled(current int32, p policy) bool {
	return len(m.replicas) == 1 && m.replicas[0] == replicasFor(m.ratio, current, p)
}

// alike is the proposal if each pod's metric is the mean value; pods without a sample of the
// resource have none.
func (v *view) alike(value, target int64, current int32, resource corev1.ResourceName, container string, t podautoscaler.Tolerances, f flags) (int32, error) {
	is := &view{pods: v.pods, at: v.at, value: value, same: true, given: v.given}
	if resource != "" {
		is.usage = v.usage
		n, _, _, err := is.calculator(f).GetRawResourceReplicas(context.Background(), current, target, resource, t, "", labels.Everything(), container)
		return n, err
	}
	n, _, _, err := is.calculator(f).GetMetricReplicas(current, target, "", t, "", labels.Everything(), labels.Everything())
	return n, err
}

// formula is the recommendation by the rule of thumb ceil(replicas × current/target), which
// counts all pods: https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/#algorithm-details.
// want is what the HPA recommended, where the value of an object's or external metric by pod
// is rounded in the status.
func (d decision) formula(current, want int32, p policy) (n int32) {
	for _, m := range d.proposals {
		_, target := record.MetricTarget(m.spec)
		switch {
		case math.IsNaN(m.ratio):
		case target.AverageValue != nil && (m.spec.Object != nil || m.spec.External != nil) && slices.Contains(m.replicas, want):
			n = max(n, want)
		default:
			n = max(n, replicasFor(m.ratio, current, p))
		}
	}
	return n
}

// replicasFor is the rule of thumb for one ratio of current to target.
// From 0 replicas it is the ratio itself.
func replicasFor(ratio float64, current int32, p policy) int32 {
	if current > 0 && p.within(ratio) {
		return current
	}
	return int32(min(math.Ceil(float64(max(current, 1))*ratio), math.MaxInt32))
}

// withinTolerance says whether a metric is off its target, and none by more than the tolerance.
func (d decision) withinTolerance(p policy) bool {
	off := false
	for _, m := range d.proposals {
		if !p.within(m.ratio) {
			return false
		}
		off = off || m.ratio != 1
	}
	return off
}

// rounding is that of the first metric that asks for want.
func (d decision) rounding(current, want int32, p policy) string {
	for _, m := range d.proposals {
		if len(m.replicas) > 0 && m.replicas[0] == want {
			return m.rounding(current, want, p)
		}
	}
	return ""
}

// why says in words what makes want of the metrics' values, where it is not plain; empty where
// it is.
func (d decision) why(current, want int32, p policy) string {
	if formula := d.formula(current, want, p); d.proposals != nil && formula != want {
		return d.uncounted(current, formula, want)
	}
	return d.rounding(current, want, p)
}

// uncounted says why the HPA's recommendation want is not the rule of thumb's formula for current replicas.
func (d decision) uncounted(current, formula, want int32) string {
	for _, m := range d.proposals {
		if _, target := record.MetricTarget(m.spec); target.Value != nil && slices.Contains(m.replicas, want) {
			return fmt.Sprintf("for a Value the HPA multiplies the pods that are ready, not all replicas: %d become %d", formula, want)
		}
	}
	is, as := "pods that are not ready or have no metric", "as at their target or request when it removes"
	switch {
	case formula > want && want < current:
		as = "not into account when it removes"
	case formula > want:
		as = "as idle when it adds"
	}
	if left := d.pods - d.counted.pods; left > 0 {
		is = fmt.Sprintf("%d of %d pods, %s,", left, d.pods, d.counted.uncounted())
	}
	return fmt.Sprintf("the HPA takes %s %s: %d become %d", is, as, formula, want)
}

// results are the proposals to an HPA that found current replicas.
func (d decision) results(current int32, p policy) (list []Proposal) {
	for _, m := range d.proposals {
		is := Proposal{}
		is.Metric, is.Current, is.Target = m.texts()
		if len(m.replicas) > 0 {
			is.Replicas = &m.replicas[0]
			is.Rounding = m.rounding(current, m.replicas[0], p)
		}
		list = append(list, is)
	}
	return list
}

// decide marks the proposal that a step's raw recommendation is. Where a metric may have
// asked for that or another number of replicas, it asked for that.
func (s *Step) decide(want int32, or []int32) {
	for i, p := range s.Proposals {
		if p.Replicas != nil && *p.Replicas == want {
			s.Proposals[i].Decided, s.Proposals[i].Or = true, or
			return
		}
	}
	most := -1
	for i, p := range s.Proposals {
		if p.Replicas != nil && (most < 0 || *p.Replicas > *s.Proposals[most].Replicas) {
			most = i
		}
	}
	if most >= 0 {
		s.Proposals[most].Replicas, s.Proposals[most].Decided, s.Proposals[most].Or = &want, true, or
	}
}

// texts are a metric's name, value and target, as kubectl get hpa shows them.
func (m *proposal) texts() (name, current, target string) {
	name, t := record.MetricTarget(m.spec)
	switch {
	case t.AverageUtilization != nil:
		target = fmt.Sprintf("%d %%", *t.AverageUtilization)
		if now := m.status.AverageUtilization; now != nil {
			current = fmt.Sprintf("%d %%", *now)
		}
	case t.AverageValue != nil && (m.total != nil || m.whole != nil):
		target, current = t.AverageValue.String()+" a pod", cmp.Or(m.total, m.whole).String()+" in all"
	case t.AverageValue != nil && m.status.AverageValue != nil && m.status.AverageValue.Sign() < 0:
		target = t.AverageValue.String() + " a pod"
	case t.AverageValue != nil:
		target, current = t.AverageValue.String()+" a pod", optional(m.status.AverageValue)
	case t.Value != nil:
		target, current = t.Value.String(), optional(m.status.Value)
	}
	return name, current, target
}

// rounding says in words how the metric's value asks for want replicas by rounding up, and, where
// that leaves the replicas as they are, from what value on there is one fewer. It is empty
// where nothing is rounded, or not all pods count.
func (m *proposal) rounding(current, want int32, p policy) string {
	exact := float64(current) * m.ratio
	if !(exact > 0) || want <= max(p.min, 1) || float64(want) != math.Ceil(exact) || want == int32(exact) || p.within(m.ratio) {
		return ""
	}
	digits, result := 3, record.Plain(exact, 3)
	for ; digits < mostDigits && !strings.Contains(result, "."); result = record.Plain(exact, digits) { // it is no whole number
		digits++
	}
	_, target := record.MetricTarget(m.spec)
	part := min(float64(current-1)/float64(current), 1-p.down)
	var values, below string
	if target.AverageUtilization != nil {
		values = fmt.Sprintf("%d/%d", *m.status.AverageUtilization, *target.AverageUtilization)
		below = fmt.Sprintf("%.0f %%", math.Floor(part*float64(*target.AverageUtilization))+1)
	} else {
		goal, now, unit := target.Value, m.status.Value, ""
		if target.AverageValue != nil {
			goal, now, unit = target.AverageValue, m.status.AverageValue, " a pod"
		}
		values = amountOf(now.AsApproximateFloat64(), goal, func(v float64) bool {
			return record.Plain(float64(current)*v/goal.AsApproximateFloat64(), digits) == result
		}) + "/" + goal.String()
		below = amount(part*goal.AsApproximateFloat64(), goal) + unit
	}
	text := fmt.Sprintf("%d × %s = %s, which rounds up to %d", current, values, result, want)
	if want == current {
		text += fmt.Sprintf("; %d below %s", current-1, below)
	}
	return text
}

// mostDigits are all that a float64 has.
const mostDigits = 17

// amountOf writes v in the unit of another quantity, with as many digits as exact takes of what is written.
func amountOf(v float64, like *resource.Quantity, exact func(float64) bool) string {
	unit, size := "Mi", float64(1<<20)
	switch {
	case like.Format != resource.BinarySI:
		return amount(v, like)
	case v < 10<<20:
		unit, size = "Ki", 1<<10
	}
	text := ""
	for digits := 4; digits <= mostDigits; digits++ {
		text = record.Plain(v/size, digits)
		if written, _ := strconv.ParseFloat(text, 64); exact(written * size) {
			break
		}
	}
	return text + unit
}

// amount writes v in the unit of another quantity, rounded up.
func amount(v float64, like *resource.Quantity) string {
	if like.Format == resource.BinarySI && v < 10<<20 {
		return fmt.Sprintf("%.0fKi", math.Ceil(v/(1<<10)))
	}
	if like.Format == resource.BinarySI {
		return fmt.Sprintf("%.0fMi", math.Ceil(v/(1<<20)))
	}
	return resource.NewMilliQuantity(int64(math.Ceil(v*1000)), like.Format).String()
}

// ratios are those of current to target of the HPA's metrics by the readings of v. They are
// not known if the HPA has metrics that are not in the readings, or if a pod lacks a request. first
// are the sums of the first metric, its pods alone where that is not of metrics.k8s.io.
func (v *view) ratios(of []autoscalingv2.MetricSpec, f flags) (ratios []float64, first counted, ok bool) {
	for i, m := range of {
		name, container := record.ResourceOf(m)
		if name == "" {
			signal, pods, known := v.signal(m)
			if !known {
				return nil, first, false
			}
			if ratios = append(ratios, signal); i == 0 {
				first.pods = pods
			}
			continue
		}
		c := v.counted(name, container, f)
		if i == 0 {
			first = c
		}
		_, target := record.MetricTarget(m)
		value, has := c.value(target)
		goal := goalOf(target)
		if !has || goal == 0 {
			return nil, first, false
		}
		ratios = append(ratios, float64(value)/float64(goal))
	}
	return ratios, first, len(of) > 0
}

// signal is the ratio to its target of a metric that hpabench read where the HPA reads it, and of how many pods it is: of all that
// there are, or, where it has a value for each, of those that the HPA takes.
func (v *view) signal(m autoscalingv2.MetricSpec) (ratio float64, pods int, known bool) {
	name, target := record.MetricTarget(m)
	goal := float64(goalOf(target))
	if len(v.signals[name]) == 0 || goal == 0 {
		return 0, 0, false
	}
	s := v.signals[name][0].v
	pods = int(v.scaled)
	switch {
	case !s.Polled() || s.Error != "":
		return 0, 0, false
	case m.Pods != nil:
		left := map[string]bool{} // out by the HPA, see groupPods in k8s.io/kubernetes/pkg/controller/podautoscaler/replica_calculator.go
		for _, p := range v.pods {
			left[p.Name] = !ofReplicas(p) || p.Status.Phase == corev1.PodPending
		}
		sum := int64(0)
		pods = 0
		for _, p := range s.Pods {
			if !left[p.Pod] {
				pods, sum = pods+1, sum+p.Value.MilliValue()
			}
		}
		return float64(sum) / float64(max(pods, 1)) / goal, pods, pods > 0
	case target.AverageValue != nil:
		ratio = float64(s.Value.MilliValue()) / goal / float64(max(v.scaled, 1))
	default:
		ratio = float64(s.Value.MilliValue()) / goal
	}
	return ratio, pods, true
}

// asked are the replicas that the HPA's metrics ask for by the readings of v; not known as for ratios, and of metrics that
// metrics.k8s.io does not have.
func (v *view) asked(spec autoscalingv2.HorizontalPodAutoscalerSpec, current int32, p policy, f flags) (replicas int32, ok bool) {
	custom := func(m autoscalingv2.MetricSpec) bool { return record.CustomMetric(m) != "" }
	if _, _, ok := v.ratios(spec.Metrics, f); !ok || slices.ContainsFunc(spec.Metrics, custom) {
		return 0, false
	}
	for _, m := range spec.Metrics {
		n, _, _, err := v.ask(m, current, 0, p, f)
		if err != nil {
			return 0, false
		}
		replicas = max(replicas, n)
	}
	return replicas, true
}

// api is the pod as the HPA controller has it, as far as that looks.
func api(p *record.Pod) *corev1.Pod {
	is := &corev1.Pod{Status: corev1.PodStatus{Phase: p.Status.Phase, StartTime: p.Status.StartTime, Conditions: p.Status.Conditions}}
	is.Name, is.DeletionTimestamp, is.Spec.Resources = p.Name, p.Deleting, p.Resources
	for _, c := range p.Containers {
		is.Spec.Containers = append(is.Spec.Containers, corev1.Container{Name: c.Name, Resources: corev1.ResourceRequirements{Requests: c.Requests}})
	}
	return is
}
