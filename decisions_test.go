package hpabench

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hpabench/hpabench/analysis"
	"github.com/hpabench/hpabench/model"
	"github.com/hpabench/hpabench/record"
	"github.com/hpabench/hpabench/scenarios"
	"github.com/hpabench/hpabench/simulate"
)

// rescale is what the HPA controller's log says of one of its steps.
type rescale struct {
	at       time.Duration
	from, to int32
	raw      *int32 // the recommendation by the metrics; nil where a bound alone decided
	metric   string // that decided
}

// controllerLog takes the steps out of the controller's log.
type controllerLog struct {
	logr.LogSink
	steps    []rescale
	proposed *rescale
	start    time.Time // of the record
}

func (l *controllerLog) Init(logr.RuntimeInfo)          {}
func (l *controllerLog) Enabled(level int) bool         { return level <= 4 }
func (l *controllerLog) WithValues(...any) logr.LogSink { return l }
func (l *controllerLog) WithName(string) logr.LogSink   { return l }
func (l *controllerLog) Error(error, string, ...any)    {}
func (l *controllerLog) Info(_ int, message string, pairs ...any) {
	value := map[string]any{}
	for i := 0; i+1 < len(pairs); i += 2 {
		value[fmt.Sprint(pairs[i])] = pairs[i+1]
	}
	switch {
	case strings.HasPrefix(message, "Proposing desired replicas"):
		l.proposed = &rescale{raw: new(value["desiredReplicas"].(int32)), metric: value["metric"].(string)}
	case message == "Successfully rescaled":
		s := cmp.Or(l.proposed, &rescale{})
		s.at, s.from, s.to = time.Since(l.start), value["currentReplicas"].(int32), value["desiredReplicas"].(int32)
		l.steps, l.proposed = append(l.steps, *s), nil
	case message == "Decided not to scale":
		l.proposed = nil
	}
}

// scenario is a random one: all kinds of metrics and of targets, several of them, pods that
// take long to be ready or to have a metric, policies of both kinds and directions, bounds,
// zero, tolerances and windows.
func scenario(seed uint64) *simulate.Run {
	r := rand.New(rand.NewPCG(seed, 1))
	between := func(a, b int) int { return a + r.IntN(b-a+1) }
	seconds := func(a, b int) *metav1.Duration {
		return &metav1.Duration{Duration: time.Duration(between(a, b)) * time.Second}
	}
	one := func(of ...string) string { return of[r.IntN(len(of))] }

	request := corev1.ResourceList{corev1.ResourceCPU: *resource.NewMilliQuantity(int64(between(5, 60)*10), resource.DecimalSI), corev1.ResourceMemory: *resource.NewQuantity(int64(between(20, 200))<<20, resource.BinarySI)}
	pod := corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: "example.com/app", Resources: corev1.ResourceRequirements{Requests: request}}}}
	if r.IntN(3) == 0 {
		pod.Containers = append(pod.Containers, corev1.Container{Name: "sidecar", Image: "example.com/sidecar", Resources: corev1.ResourceRequirements{Requests: request}})
	}
	if whole := rand.New(rand.NewPCG(seed, 2)); whole.IntN(6) == 0 { // requests of the pod, beside its containers' or in their place
		cpu := resource.NewMilliQuantity(int64(100+whole.IntN(900)), resource.DecimalSI)
		pod.Resources = &corev1.ResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceCPU: *cpu, corev1.ResourceMemory: *resource.NewQuantity(300<<20, resource.BinarySI)}}
		for i := range pod.Containers[1:] {
			pod.Containers[i+1].Resources = corev1.ResourceRequirements{}
		}
		if whole.IntN(2) == 0 { // limits alone: the API server adds the requests
			pod.Resources = &corev1.ResourceRequirements{Limits: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("4"), corev1.ResourceMemory: resource.MustParse("8Gi")}}
			if whole.IntN(2) == 0 {
				pod.Containers[0].Resources = corev1.ResourceRequirements{}
			}
			pod = scenarios.WholePod(pod)
		}
	}
	m := model.Model{
		CPU: &model.Cost{Mean: metav1.Duration{Duration: time.Duration(between(1, 30)) * time.Millisecond}}, Start: seconds(0, 40), Workers: new(64),
		Memory: resource.NewQuantity(int64(between(10, 150))<<20, resource.BinarySI), MemoryPerRequest: resource.NewQuantity(1<<20, resource.BinarySI), MemoryHeld: seconds(1, 20),
		Metrics: map[string]model.Metric{"rps": {Of: model.OfRequests, Every: seconds(5, 15), Window: seconds(30, 60)}, "busy": {Of: model.OfInFlight, Every: seconds(5, 15)}},
	}
	hpa := autoscalingv2.HorizontalPodAutoscalerSpec{
		ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: "app"},
		MinReplicas:    new(int32(between(1, 3))), MaxReplicas: int32(between(3, 25)),
	}
	quantity := func() *resource.Quantity {
		return resource.NewMilliQuantity(int64(between(500, 30000)), resource.DecimalSI)
	}
	identifier := func() autoscalingv2.MetricIdentifier {
		return autoscalingv2.MetricIdentifier{Name: one("rps", "rps", "busy")}
	}
	for range between(1, 3) {
		target := autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, AverageValue: quantity()}
		if r.IntN(2) == 0 {
			target = autoscalingv2.MetricTarget{Type: autoscalingv2.ValueMetricType, Value: quantity()}
		}
		var spec autoscalingv2.MetricSpec
		switch r.IntN(7) {
		case 0, 1:
			spec = autoscalingv2.MetricSpec{Type: autoscalingv2.ResourceMetricSourceType, Resource: &autoscalingv2.ResourceMetricSource{Name: corev1.ResourceName(one("cpu", "cpu", "memory")),
				Target: autoscalingv2.MetricTarget{Type: autoscalingv2.UtilizationMetricType, AverageUtilization: new(int32(between(10, 150)))}}}
		case 2:
			name, amount := corev1.ResourceCPU, resource.NewMilliQuantity(int64(between(10, 400)), resource.DecimalSI)
			if r.IntN(2) == 0 {
				name, amount = corev1.ResourceMemory, resource.NewQuantity(int64(between(10, 200))<<20, resource.BinarySI)
			}
			spec = autoscalingv2.MetricSpec{Type: autoscalingv2.ResourceMetricSourceType, Resource: &autoscalingv2.ResourceMetricSource{Name: name,
				Target: autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, AverageValue: amount}}}
		case 3:
			spec = autoscalingv2.MetricSpec{Type: autoscalingv2.ContainerResourceMetricSourceType, ContainerResource: &autoscalingv2.ContainerResourceMetricSource{Name: corev1.ResourceCPU, Container: "app",
				Target: autoscalingv2.MetricTarget{Type: autoscalingv2.UtilizationMetricType, AverageUtilization: new(int32(between(10, 120)))}}}
		case 4:
			spec = autoscalingv2.MetricSpec{Type: autoscalingv2.PodsMetricSourceType, Pods: &autoscalingv2.PodsMetricSource{Metric: identifier(),
				Target: autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, AverageValue: quantity()}}}
		case 5:
			spec = autoscalingv2.MetricSpec{Type: autoscalingv2.ObjectMetricSourceType, Object: &autoscalingv2.ObjectMetricSource{Metric: identifier(), Target: target,
				DescribedObject: autoscalingv2.CrossVersionObjectReference{APIVersion: "v1", Kind: "Service", Name: "app"}}}
		case 6:
			spec = autoscalingv2.MetricSpec{Type: autoscalingv2.ExternalMetricSourceType, External: &autoscalingv2.ExternalMetricSource{Metric: identifier(), Target: target}}
		}
		hpa.Metrics = append(hpa.Metrics, spec)
		if (spec.Object != nil || spec.External != nil) && r.IntN(3) == 0 {
			hpa.MinReplicas = new(int32(0))
		}
	}
	rules := func() *autoscalingv2.HPAScalingRules {
		if r.IntN(4) == 0 {
			return nil
		}
		rules := &autoscalingv2.HPAScalingRules{}
		if r.IntN(2) == 0 {
			rules.StabilizationWindowSeconds = new(int32(between(0, 12) * 15))
		}
		if r.IntN(2) == 0 {
			rules.SelectPolicy = new(autoscalingv2.ScalingPolicySelect(one("Max", "Min", "Min", "Disabled")))
		}
		if r.IntN(4) == 0 {
			rules.Tolerance = resource.NewMilliQuantity(int64(between(0, 400)), resource.DecimalSI)
		}
		for range r.IntN(3) {
			policy := autoscalingv2.HPAScalingPolicy{Type: autoscalingv2.PodsScalingPolicy, Value: int32(between(1, 4)), PeriodSeconds: int32(between(1, 8) * 15)}
			if r.IntN(2) == 0 {
				policy.Type, policy.Value = autoscalingv2.PercentScalingPolicy, int32(between(5, 150))
			}
			rules.Policies = append(rules.Policies, policy)
		}
		return rules
	}
	if r.IntN(3) > 0 {
		hpa.Behavior = &autoscalingv2.HorizontalPodAutoscalerBehavior{ScaleUp: rules(), ScaleDown: rules()}
	}
	run := &simulate.Run{
		Plant: simulate.Guess(pod, m), Pod: pod, HPA: hpa, Name: "app", Replicas: int32(between(1, 4)), Timeout: 10 * time.Second, Seed: seed,
		Wait: time.Duration(between(0, 15000)) * time.Millisecond, Header: &record.Header{Format: record.Format, Run: "r", Scenario: "random", MetricsEvery: 1},
	}
	flags := &run.Plant.Control
	if r.IntN(2) == 0 {
		flags.Sync = *seconds(5, 30)
		flags.DownscaleStabilization = *seconds(0, 300)
		flags.Tolerance = float64(between(0, 30)) / 100
		flags.CPUInitialization, flags.InitialReadiness = *seconds(0, 300), *seconds(0, 60)
	}
	run.Plant.Nodes[0].Free, run.Plant.Nodes[0].CPU = corev1.ResourceList{}, 64
	for i := range between(2, 4) {
		run.Phases = append(run.Phases, record.Phase{Name: fmt.Sprintf("p%d", i), Seconds: float64(between(30, 300)), Shape: record.ShapeRate, From: float64(r.IntN(2) * between(1, 150))})
	}
	if outside := rand.New(rand.NewPCG(seed, 4)); *hpa.MinReplicas == 0 && outside.IntN(3) > 0 { // the pods' own metrics are gone with them
		run.Outside = map[string]string{}
		for _, name := range []string{"rps", "busy"} {
			var rows strings.Builder
			for at := 0; at < 900; at += 30 + outside.IntN(300) {
				fmt.Fprintf(&rows, "%d,%d\n", at, outside.IntN(2)*outside.IntN(100))
			}
			run.Outside[name] = rows.String()
		}
	}
	loads := rand.New(rand.NewPCG(seed, 3))
	for i := range run.Phases {
		switch p := &run.Phases[i]; loads.IntN(4) {
		case 0:
			p.Shape, p.To = record.ShapeRamp, float64(loads.IntN(150))
		case 1:
			p.Shape, p.Amplitude, p.Period = record.ShapeSine, p.From*loads.Float64(), float64(20+loads.IntN(300))
		}
	}
	return run
}

// checkStages holds the stages of each pod against their definitions: none is negative, they add up to
// the latency, and the stabilization window holds a pod for its own length at most.
func checkStages(t *testing.T, result *analysis.Result, count map[string]int) {
	for _, tr := range result.Transitions {
		var pods []analysis.PodStages
		if tr.ScaleUp != nil {
			pods = tr.ScaleUp.Pods
		} else if tr.ScaleDown != nil {
			pods = tr.ScaleDown.Pods
		}
		for _, p := range pods {
			sum := 0.0
			for _, s := range p.Stages {
				if s.Seconds == nil {
					continue
				}
				count["stage "+s.Name]++
				sum += *s.Seconds
				if *s.Seconds < 0 || s.Name == analysis.StageWindow && *s.Seconds > result.Autoscaler.ScaleDownWindowSeconds+1e-6 {
					t.Errorf("%s from %.1f s, pod %s: %s lasted %.3f s; the window is %.0f s", tr.Direction, tr.OnsetSeconds, p.Pod, s.Name, *s.Seconds, result.Autoscaler.ScaleDownWindowSeconds)
				}
			}
			if p.Latency.Seconds != nil && math.Abs(sum-*p.Latency.Seconds) > 1e-3 {
				t.Errorf("%s from %.1f s, pod %s: its stages add up to %.3f s, not to %.3f: %+v", tr.Direction, tr.OnsetSeconds, p.Pod, sum, *p.Latency.Seconds, p.Stages)
			}
		}
	}
}

// TestStepsAreTheControllers simulates random scenarios and holds what the analysis says of
// each step, by the record alone, against the log of the HPA controller that made it: the
// raw recommendation, the metric that decided and what limited it.
func TestStepsAreTheControllers(t *testing.T) {
	simulate.Prepare()
	scenarios := 200
	if n, err := strconv.Atoi(os.Getenv("HPABENCH_SCENARIOS")); err == nil {
		scenarios = n
	}
	first := 0
	if n, err := strconv.Atoi(os.Getenv("HPABENCH_FIRST")); err == nil {
		first = n
	}
	count, ofPolled := map[string]int{}, map[string]int{}
	for seed := range scenarios {
		t.Run(strconv.Itoa(first+seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log := &controllerLog{start: time.Now()}
				run := scenario(uint64(first + seed))
				run.Logger = logr.New(log)
				var b analysis.Builder
				var entries []record.Entry
				if _, err := simulate.Simulate(run, func(e record.Entry) {
					if e.Target != nil && e.Target.Manager != "" && seed%2 == 1 { // the program of the HPA controller is not everywhere that of upstream
						target := *e.Target
						target.Manager, e.Target = "k3s", &target
					}
					b.AddEntry(e)
					entries = append(entries, e)
				}); err != nil {
					count["not begun: "+strings.SplitN(err.Error(), ":", 2)[0]]++
					return
				}
				result, err := b.Result()
				if err != nil {
					t.Fatal(err)
				}
				check(t, result, log.steps, count)
				checkStages(t, result, count)
				checkLimited(t, result, count)
				if asked := polled(entries); asked != nil {
					if result, err = asked.Result(); err != nil {
						t.Fatal(err)
					}
					check(t, result, log.steps, ofPolled)
				}
			})
		})
	}
	t.Log(count)
	t.Log("with metrics that hpabench reads:", ofPolled)
	if ofPolled["no reading"] > 1+ofPolled["steps"]/1000 || ofPolled["or"] > 1+ofPolled["steps"]/100 {
		t.Errorf("%d steps: no reading tells %d, %d may be others", ofPolled["steps"], ofPolled["no reading"], ofPolled["or"])
	}
	if count["steps"] < scenarios {
		t.Errorf("%d steps in %d scenarios", count["steps"], scenarios)
	}
	if count["no reading"] > 1+count["steps"]/5000 {
		t.Errorf("no reading tells %d of %d recommendations", count["no reading"], count["steps"])
	}
	if count["or"] > 1+count["steps"]/1000 {
		t.Errorf("%d of %d recommendations are another of those that the record allows", count["or"], count["steps"])
	}
}

// polled is the record as it is where hpabench reads the HPA's custom and external metrics itself, once a second and not when the
// HPA does; nil without such metrics.
func polled(entries []record.Entry) *analysis.Builder {
	var b analysis.Builder
	began, found := entries[0].Header.Started, false
	for i, e := range entries {
		if e.Signal == nil {
			continue
		}
		const phase = 370 * time.Millisecond
		e.At = (e.At+record.Instant(time.Second-phase))/record.Instant(time.Second)*record.Instant(time.Second) + record.Instant(phase)
		read := *e.Signal
		read.Timestamp = new(began.Add(time.Duration(e.At)))
		e.Signal, found = &read, true
		entries[i] = e
	}
	slices.SortStableFunc(entries, func(a, b record.Entry) int { return cmp.Compare(a.At, b.At) })
	for _, e := range entries {
		b.AddEntry(e)
	}
	if !found {
		return nil
	}
	return &b
}

func check(t *testing.T, result *analysis.Result, want []rescale, count map[string]int) {
	var steps []analysis.Step
	for _, tr := range result.Transitions {
		steps = append(steps, tr.Steps...)
	}
	for _, s := range steps {
		i := slices.IndexFunc(want, func(w rescale) bool { return math.Abs(w.at.Seconds()-s.AtSeconds) < 0.02 })
		if i < 0 || s.From != want[i].from || s.To != want[i].to {
			t.Fatalf("step %d → %d at %.3f s: the controller's are %v", s.From, s.To, s.AtSeconds, want)
		}
		w := want[i]
		count["steps"]++
		count[s.LimitedBy]++
		if strings.HasPrefix(s.Limit, "no reading tells") {
			count["no reading"]++
		}
		if s.LimitedBy == analysis.LimitUnknown || s.Disagrees != "" || s.Foreign {
			t.Errorf("step %+v", s)
		}
		switch decided := slices.IndexFunc(s.Proposals, func(p analysis.Proposal) bool { return p.Decided }); {
		case (s.Recommended == nil) != (w.raw == nil) || (decided < 0) != (w.raw == nil):
			t.Errorf("%.3f s: %d → %d recommended %v, by the log %v: %+v", s.AtSeconds, s.From, s.To, show(s.Recommended), show(w.raw), s.Proposals)
		case w.raw == nil || *s.Recommended == *w.raw && *s.Proposals[decided].Replicas == *w.raw:
		case slices.Contains(s.Proposals[decided].Or, *w.raw):
			count["or"]++
		default:
			t.Errorf("%.3f s: %d → %d recommended %d, by the log %d (%s; %s: %s)", s.AtSeconds, s.From, s.To, *s.Recommended, *w.raw, s.Metric, s.LimitedBy, s.Limit)
		}
	}
}

// checkLimited wants the finding that policies or the window held a scale-up only of a time in which they limited each rise,
// and in its advice a policy that allows more than the first one did.
func checkLimited(t *testing.T, result *analysis.Result, count map[string]int) {
	for _, f := range result.Findings {
		if f.Kind != analysis.FoundUpLimited {
			continue
		}
		count[f.Kind]++
		value, until := math.MaxInt, math.Inf(1)
		if _, advised, policy := strings.Cut(f.Advice, "value: "); policy {
			value = 0
			_, _ = fmt.Sscan(advised, &value)
		}
		if f.UntilSeconds != nil {
			until = *f.UntilSeconds
		}
		for _, tr := range result.Transitions {
			for _, s := range tr.Steps {
				held := s.To > s.From && s.AtSeconds > *f.SinceSeconds-0.02 && s.AtSeconds < until-0.02
				if held && (s.LimitedBy != analysis.LimitUpPolicy && s.LimitedBy != analysis.LimitStabilization || value <= int(s.To-s.From) && s.AtSeconds < *f.SinceSeconds+0.02) {
					t.Errorf("%+v\nwith step %+v", f, s)
				}
			}
		}
		if value < 1 || *f.SinceSeconds >= until {
			t.Errorf("%+v", f)
		}
	}
}

func show(n *int32) string {
	if n == nil {
		return "nothing"
	}
	return strconv.Itoa(int(*n))
}
