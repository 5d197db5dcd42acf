package tune

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/utils/ptr"

	"github.com/hpabench/hpabench/keda"
	"github.com/hpabench/hpabench/model"
	"github.com/hpabench/hpabench/record"
	"github.com/hpabench/hpabench/scenarios"
	"github.com/hpabench/hpabench/simulate"
)

// Range is a setting of the HPA, by the name of its knob, and the values that it may have:
// from Low to High, multiples of Step.
type Range struct {
	Name      string
	Low, High float64
	Step      float64 // the smallest difference between two values that the field can have
}

// has says whether v is a value of the range.
func (r Range) has(v float64) bool { return v >= r.Low && v <= r.High && isMultiple(v, r.Step) } // NaN is none

// multiple is the multiple of step that is nearest to v. A step below 1 is one over a whole number.
func multiple(v, step float64) float64 {
	if step < 1 {
		n := math.Round(1 / step)
		return math.Round(v*n) / n
	}
	return math.Round(v/step) * step
}

// isMultiple says whether v is one of step, but for the error of a float64.
func isMultiple(v, step float64) bool { return math.Abs(multiple(v, step)-v) <= math.Abs(v)*1e-12 }

// knob says how a setting is read, written and put into effect.
type knob struct {
	unit  time.Duration
	share bool // a fraction, tried in hundredths, and finer in a range of less than two of them
	count bool // of pods, which is not rounded
	// amount is of a metric: small ones are tried in thousandths.
	amount bool
	fine   bool // the field has thousandths of the unit
	keda   bool // of a ScaledObject alone
	least  float64
	most   float64 // 0 for maxSetting
	set    func(r *simulate.Run, v float64) error
	get    func(r *simulate.Run) float64
}

var knobs = map[string]knob{
	"target": {amount: true, least: leastAmount, most: model.MaxBytes, // memory
		set: func(r *simulate.Run, v float64) error {
			if r.KEDA != nil {
				return setTrigger(r.KEDA, "target", v)
			}
			t, milli := target(r), int64(math.Round(v*1000))
			switch {
			case t == nil:
				return fmt.Errorf("the HPA has no metric with a target")
			case t.AverageUtilization != nil && (v < 1 || v > maxSetting):
				return fmt.Errorf("%s %% of the requests is not from 1 to %d", record.Plain(v, 0), maxSetting)
			case t.AverageUtilization != nil:
				t.AverageUtilization = new(int32(v))
			case t.AverageValue != nil:
				t.AverageValue = resource.NewMilliQuantity(milli, t.AverageValue.Format)
			default:
				t.Value = resource.NewMilliQuantity(milli, t.Value.Format)
			}
			return nil
		},
		get: func(r *simulate.Run) float64 {
			if r.KEDA != nil {
				return ofTrigger(r.KEDA, "target")
			}
			switch t := target(r); {
			case t == nil:
				return math.NaN()
			case t.AverageUtilization != nil:
				return float64(*t.AverageUtilization)
			case t.AverageValue != nil:
				return t.AverageValue.AsApproximateFloat64()
			default:
				return t.Value.AsApproximateFloat64()
			}
		}},
	"min": {count: true, most: simulate.MaxPods,
		set: func(r *simulate.Run, v float64) error {
			switch {
			case r.KEDA != nil:
				r.KEDA.MinReplicaCount = new(int32(v))
			case v < 1 && !slices.ContainsFunc(r.HPA.Metrics, func(m autoscalingv2.MetricSpec) bool { return m.Object != nil || m.External != nil }):
				return errors.New("0 needs an Object or External metric, as no pod tells the others then")
			}
			r.HPA.MinReplicas = new(int32(v))
			return nil
		},
		get: func(r *simulate.Run) float64 {
			if r.KEDA != nil {
				return float64(ptr.Deref(r.KEDA.MinReplicaCount, 0))
			}
			return float64(ptr.Deref(r.HPA.MinReplicas, 1))
		}},
	"max": {count: true, least: 1, most: simulate.MaxPods,
		set: func(r *simulate.Run, v float64) error {
			if r.KEDA != nil {
				r.KEDA.MaxReplicaCount = new(int32(v))
			}
			r.HPA.MaxReplicas = int32(v)
			return nil
		},
		get: func(r *simulate.Run) float64 { return float64(r.HPA.MaxReplicas) }},
	"sync": {unit: time.Second, fine: true, least: 1, most: 3600,
		set: func(r *simulate.Run, v float64) error { r.Plant.Control.Sync.Duration = duration(v); return nil },
		get: func(r *simulate.Run) float64 { return r.Plant.Control.Sync.Seconds() }},
}

func init() {
	for name, rules := range map[string]func(*simulate.Run) *autoscalingv2.HPAScalingRules{"scaleUp": up, "scaleDown": down} {
		window := func(r *simulate.Run) float64 { return 0 }
		if name == "scaleDown" {
			window = func(r *simulate.Run) float64 { return r.Plant.Control.DownscaleStabilization.Seconds() }
		}
		knobs[name+".stabilization"] = knob{unit: time.Second, most: 3600, // the API server's
			set: func(r *simulate.Run, v float64) error {
				rules(r).StabilizationWindowSeconds = new(int32(v))
				return nil
			},
			get: func(r *simulate.Run) float64 {
				if s := rules(r).StabilizationWindowSeconds; s != nil {
					return float64(*s)
				}
				return window(r)
			}}
		knobs[name+".tolerance"] = knob{share: true, most: 10,
			set: func(r *simulate.Run, v float64) error {
				rules(r).Tolerance = resource.NewScaledQuantity(int64(math.Round(v/leastShare)), resource.Nano)
				return nil
			},
			get: func(r *simulate.Run) float64 {
				if t := rules(r).Tolerance; t != nil {
					return t.AsApproximateFloat64()
				}
				return r.Plant.Control.Tolerance
			}}
		for kind, policy := range map[string]autoscalingv2.HPAScalingPolicyType{"percent": autoscalingv2.PercentScalingPolicy, "pods": autoscalingv2.PodsScalingPolicy} {
			knobs[name+"."+kind] = knob{least: 1, count: kind == "pods",
				set: func(r *simulate.Run, v float64) error {
					rules(r).Policies = []autoscalingv2.HPAScalingPolicy{{Type: policy, Value: int32(v), PeriodSeconds: scenarios.PolicyPeriod}}
					return nil
				},
				get: func(r *simulate.Run) float64 {
					if p := rules(r).Policies; len(p) == 1 && p[0].Type == policy && p[0].PeriodSeconds == scenarios.PolicyPeriod {
						return float64(p[0].Value)
					}
					return math.NaN()
				}}
		}
	}
}

// target is that of the first metric with one in percent, else of the first.
func target(r *simulate.Run) *autoscalingv2.MetricTarget {
	if len(r.HPA.Metrics) == 0 { // the API server's default
		r.HPA.Metrics = []autoscalingv2.MetricSpec{{Type: autoscalingv2.ResourceMetricSourceType, Resource: &autoscalingv2.ResourceMetricSource{
			Name: corev1.ResourceCPU, Target: autoscalingv2.MetricTarget{Type: autoscalingv2.UtilizationMetricType, AverageUtilization: new(int32(80))}}}}
	}
	var first *autoscalingv2.MetricTarget
	for i := range r.HPA.Metrics {
		t := targetOf(&r.HPA.Metrics[i])
		if t != nil && t.AverageUtilization != nil {
			return t
		}
		first = cmp.Or(first, t)
	}
	return first
}

func targetOf(m *autoscalingv2.MetricSpec) *autoscalingv2.MetricTarget {
	switch {
	case m.Resource != nil:
		return &m.Resource.Target
	case m.ContainerResource != nil:
		return &m.ContainerResource.Target
	case m.Pods != nil:
		return &m.Pods.Target
	case m.Object != nil:
		return &m.Object.Target
	case m.External != nil:
		return &m.External.Target
	}
	return nil
}

// orMade is what p points to, which is made if there is none.
func orMade[T any](p **T) *T {
	*p = cmp.Or(*p, new(T))
	return *p
}

func up(r *simulate.Run) *autoscalingv2.HPAScalingRules {
	return orMade(&orMade(&r.HPA.Behavior).ScaleUp)
}

func down(r *simulate.Run) *autoscalingv2.HPAScalingRules {
	return orMade(&orMade(&r.HPA.Behavior).ScaleDown)
}

// Usual are the ranges of a search that says none, as ParseRanges reads them.
func Usual(r *simulate.Run) string {
	ranges := []string{"scaleDown.stabilization=0s..600s"}
	if r.KEDA != nil && r.Least() == 0 {
		ranges = []string{"cooldownPeriod=0s..600s", "pollingInterval=5s..60s"}
	}
	switch v := present(r, []Range{{Name: "target"}})[0]; {
	case inPercent(r):
		ranges = slices.Insert(ranges, 0, "target=30..90")
	case v > 0:
		text := func(v float64) string {
			return resource.NewMilliQuantity(int64(math.Round(max(v, leastAmount)*1000)), resource.DecimalSI).String()
		}
		ranges = slices.Insert(ranges, 0, "target="+text(v/2)+".."+text(v*2))
	}
	return strings.Join(ranges, ",")
}

// inPercent says whether the target is a utilization.
func inPercent(r *simulate.Run) bool {
	if r.KEDA != nil {
		t, _ := triggerOf(r.KEDA, "target")
		return t != nil && t.InPercent()
	}
	copied := *r
	copied.HPA = *r.HPA.DeepCopy()
	t := target(&copied)
	return t != nil && t.AverageUtilization != nil
}

// Knobs are the names that a Range may have.
func Knobs() []string { return slices.Sorted(maps.Keys(knobs)) }

// ParseRanges reads target=40..80,scaleDown.stabilization=0s..600s, the ranges of settings that the
// autoscaler of run can have.
func ParseRanges(run *simulate.Run, text string) (ranges []Range, err error) {
	for part := range strings.SplitSeq(text, ",") {
		name, values, ok := strings.Cut(strings.TrimSpace(part), "=")
		low, high, _ := strings.Cut(values, "..")
		if !ok || low == "" || high == "" {
			return nil, fmt.Errorf("%q is not like target=40..80", part)
		}
		k, name, err := knobOf(name, ranges)
		if err != nil {
			return nil, err
		}
		r := Range{Name: name, Step: stepOf(name, run)}
		if r.Low, err = k.parse(low, r.Step); err == nil {
			r.High, err = k.parse(high, r.Step)
		}
		if err == nil && r.Low > r.High {
			err = fmt.Errorf("%s is more than %s", low, high)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		ranges = append(ranges, r)
	}
	return ranges, nil
}

// MaxSettings bounds the settings of a Search.
const MaxSettings = 100_000

// maxSetting bounds a setting: the fields of an HPA have 32 bits.
const maxSetting = math.MaxInt32

func (k knob) highest() float64 { return cmp.Or(k.most, maxSetting) }

// stepOf is the smallest difference between two values that the field of a setting can have in run.
func stepOf(name string, run *simulate.Run) float64 {
	switch k := knobs[name]; {
	case k.share:
		return leastShare
	case k.fine || k.amount && (name != "target" || !inPercent(run)):
		return 0.001
	}
	return 1
}

// leastShare is the least that a resource.Quantity has above 0.
const leastShare = 1e-9

// parse reads a value that the setting may have, a multiple of step.
func (k knob) parse(text string, step float64) (v float64, err error) {
	if k.unit == 0 {
		var q resource.Quantity
		if q, err = model.ParseQuantity(text); err != nil { // 24Mi too
			err = fmt.Errorf("%s is no number: write it like %s", text, map[bool]string{true: "0.05, which is 5 %", false: "40 or 24Mi, without %"}[k.share])
		}
		v = q.AsApproximateFloat64()
	} else {
		var d time.Duration
		if d, err = time.ParseDuration(text); err != nil {
			err = fmt.Errorf("%s is no duration: write it like 90s or 5m", text)
		}
		v = d.Seconds()
	}
	switch {
	case err != nil:
	case !(v >= k.least):
		least := k.least
		if least > 0 {
			least = max(least, step)
		}
		err = fmt.Errorf("%s must be %s at least", text, k.show(least))
	case !(v <= k.highest()):
		err = fmt.Errorf("%s must be %s at most", text, k.show(k.highest()))
	case !isMultiple(v, step):
		below := multiple(v-step/2, step)
		write := k.show(multiple(below+step, step))
		if below >= k.least {
			write = k.show(math.Abs(below)) + " or " + write // 0, and not -0
		}
		err = fmt.Errorf("%s is not one of the values that it can have, which are %s: write %s", text, k.values(step), write)
	}
	return v, err
}

// values says what the values of the setting are, which are multiples of step.
func (k knob) values(step float64) string {
	switch {
	case k.unit > 0 && step == 1:
		return "whole seconds"
	case k.unit > 0:
		return "milliseconds"
	case k.count:
		return "whole numbers of pods"
	case step == 1:
		return "whole percents"
	}
	return "thousandths"
}

func (k knob) show(v float64) string {
	switch {
	case math.IsNaN(v):
		return "–"
	case k.unit > 0:
		return record.Plain(v, 0) + "s"
	case v >= mebi:
		return resource.NewQuantity(int64(v), resource.BinarySI).String()
	}
	return record.Plain(v, 0)
}

// rounder are the values beside v that are multiples of round steps, the roundest first, and of one
// step the nearest first; none that is no rounder than v.
func (k knob) rounder(v float64) (values []float64) {
	var steps []float64
	switch {
	case k.count || math.IsNaN(v):
	case k.unit > 0:
		steps = []float64{300, 60, 30} // seconds
	case v < 10:
		steps = []float64{0.1, 0.05}
	case v >= mebi:
		for step := math.Exp2(math.Floor(math.Log2(v))); step > mebi && step >= v/16; step /= 2 {
			steps = append(steps, step)
		}
	default:
		for step := math.Pow(10, math.Floor(math.Log10(v))); step >= 10; step /= 10 {
			steps = append(steps, step, step/2)
		}
	}
	for _, step := range steps {
		below, above := math.Floor(v/step), math.Ceil(v/step)
		if below == above {
			break
		}
		near, far := below*step, above*step
		if v-near > far-v {
			near, far = far, near
		}
		values = append(values, math.Round(near*1000)/1000, math.Round(far*1000)/1000)
	}
	return values
}

// leastAmount is what an HPA's target has at least: a quantity has thousandths there.
const leastAmount = 0.001

// mebi is what targets in bytes are whole numbers of.
const mebi = 1 << 20

func duration(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// Setting are values, in the order of the ranges; NaN is what the HPA has, where that is no single value.
type Setting []float64

// MarshalJSON writes null for NaN.
func (s Setting) MarshalJSON() ([]byte, error) {
	values := make([]*float64, len(s))
	for i := range s {
		if !math.IsNaN(s[i]) {
			values[i] = &s[i]
		}
	}
	return json.Marshal(values)
}

// Values are those of a setting, for people.
func Values(ranges []Range, s Setting) (values []string) {
	for i, r := range ranges {
		values = append(values, knobs[r.Name].show(s[i]))
	}
	return values
}

// Show is a setting as name=value.
func Show(ranges []Range, s Setting) string {
	values := Values(ranges, s)
	for i, r := range ranges {
		values[i] = r.Name + "=" + values[i]
	}
	return strings.Join(values, " ")
}

// AtMin stands, as the Replicas of a run, for those that a load finds after a rest: the fewest that KEDA leaves, or the min of the HPA
// and 1 at least.
const AtMin = -1

// apply gives a run with the setting; what is NaN stays as it is.
func apply(r *simulate.Run, ranges []Range, s Setting) (*simulate.Run, error) {
	with := *r
	with.HPA, with.KEDA = *r.HPA.DeepCopy(), r.KEDA.DeepCopy()
	for i, of := range ranges {
		if math.IsNaN(s[i]) {
			continue
		}
		if err := knobs[of.Name].set(&with, s[i]); err != nil {
			return nil, fmt.Errorf("%s: %w", of.Name, err)
		}
	}
	if with.KEDA != nil && len(s) > 0 {
		with.Remake(slices.ContainsFunc(ranges, func(r Range) bool { return strings.HasPrefix(r.Name, "scale") }))
		if refused := with.KEDA.Refused(); len(refused) > 0 {
			return nil, fmt.Errorf("KEDA does not take the ScaledObject: %s", refused[0].Message)
		}
	}
	if with.Replicas == AtMin {
		if with.Replicas = with.Least(); with.KEDA == nil {
			with.Replicas = max(1, with.Replicas)
		}
	}
	return &with, nil
}

// Variant is a run with some settings, which are its name.
type Variant struct {
	Name string
	Run  *simulate.Run
}

// Variants are the runs with each combination of the values that the texts give, such as
// target=40,60; without any, r alone.
func Variants(r *simulate.Run, texts []string) (all []Variant, err error) {
	var ranges []Range
	settings := []Setting{nil}
	for _, text := range texts {
		name, values, ok := strings.Cut(text, "=")
		if !ok {
			return nil, fmt.Errorf("%q is not like target=40,60", text)
		}
		k, name, err := knobOf(name, ranges)
		if err != nil {
			return nil, err
		}
		of := Range{Name: name, Step: stepOf(name, r)}
		ranges = append(ranges, of)
		var longer []Setting
		for _, s := range settings {
			for value := range strings.SplitSeq(values, ",") {
				v, err := k.parse(value, of.Step)
				if err != nil {
					return nil, fmt.Errorf("%s: %w", name, err)
				}
				if longer = append(longer, append(slices.Clone(s), v)); len(longer) > scenarios.MaxVariants {
					return nil, fmt.Errorf("the settings up to %s have more than %d combinations", name, scenarios.MaxVariants)
				}
			}
		}
		settings = longer
	}
	for _, s := range settings {
		with, err := apply(r, ranges, s)
		if err == nil && tooMany(with) {
			err = fmt.Errorf("%s: min is more than max", Show(ranges, s))
		}
		if err != nil {
			return nil, err
		}
		if len(s) > 0 {
			with.Used = nil // is of the pods that there were with the setting of the record
		}
		all = append(all, Variant{Show(ranges, s), with})
	}
	return all, nil
}

// tooMany says whether min is more than max: there is no such HPA.
func tooMany(r *simulate.Run) bool { return ptr.Deref(r.HPA.MinReplicas, 0) > r.HPA.MaxReplicas }

// knobOf is the one of a name, or of another name of it, which the ranges must not have yet.
func knobOf(name string, ranges []Range) (knob, string, error) {
	canonical := scenarios.SettingName(name)
	k, known := knobs[canonical]
	if !known {
		return k, "", fmt.Errorf("there is no setting %q: there are %s", name, scenarios.ListSettings())
	}
	if slices.ContainsFunc(ranges, func(r Range) bool { return r.Name == canonical }) {
		return k, "", fmt.Errorf("%s is there twice", name)
	}
	for _, r := range ranges {
		if err := scenarios.CheckPolicies(r.Name, canonical); err != nil {
			return k, "", err
		}
	}
	return k, canonical, nil
}

// present is the setting that r has.
func present(r *simulate.Run, ranges []Range) (s Setting) {
	copied := *r
	copied.HPA, copied.KEDA = *r.HPA.DeepCopy(), r.KEDA.DeepCopy()
	for _, of := range ranges {
		s = append(s, knobs[of.Name].get(&copied))
	}
	return s
}

// Manifest is the HPA or the ScaledObject of a search with a setting, in YAML to be applied.
func (s *Search) Manifest(setting Setting) ([]byte, error) {
	with, err := apply(s.Runs[0], s.Ranges, setting)
	if err != nil {
		return nil, err
	}
	object := map[string]any{"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": map[string]any{"name": with.Name}, "spec": with.HPA}
	if of := with.HPA.ScaleTargetRef; with.KEDA != nil {
		ref := keda.ScaleTargetRef{APIVersion: of.APIVersion, Kind: of.Kind, Name: of.Name}
		if was := with.KEDA.ScaleTargetRef; was != nil {
			ref.EnvSourceContainerName = was.EnvSourceContainerName
		}
		with.KEDA.ScaleTargetRef = &ref
		object = map[string]any{"apiVersion": keda.APIVersion, "kind": keda.Kind, "metadata": map[string]any{"name": with.ScaledObject}, "spec": with.KEDA}
	}
	manifest, err := scenarios.YAML(object)
	if bytes.Contains(manifest, []byte(record.Hidden)) {
		manifest = append([]byte("# "+record.Hidden+" stands for what the record does not have, as it may be secret.\n"), manifest...)
	}
	for i, r := range s.Ranges {
		if of := map[string]string{"sync": "kube-controller-manager --horizontal-pod-autoscaler-sync-period=", "scrape": "scrape_interval of Prometheus "}[r.Name]; of != "" {
			manifest = append([]byte("# with "+of+Values(s.Ranges, setting)[i]+"\n"), manifest...)
		}
	}
	return manifest, err
}

// sample are n settings spread evenly over the ranges, without those that are twice: the
// Halton sequence, whose points fill a space of few dimensions without clusters (Halton
// 1960), and the corners of the ranges first.
func sample(ranges []Range, n int) (settings []Setting) {
	seen := map[string]bool{}
	add := func(at func(i int) float64) {
		s := make(Setting, len(ranges))
		for i, r := range ranges {
			v := r.Low + (r.High-r.Low)*at(i)
			step := 1.0
			switch {
			case knobs[r.Name].share:
				step = max(leastShare, min(0.01, math.Pow10(int(math.Floor(math.Log10((r.High-r.Low)/2))))))
			case knobs[r.Name].amount && r.High < 10: // 500m a pod, say
				step = r.Step
			case v >= mebi:
				step = mebi
			case knobs[r.Name].unit > 0 && r.High-r.Low >= 10*scenarios.PolicyPeriod: // the HPA decides once in a sync period
				step = scenarios.PolicyPeriod
			}
			if s[i] = v; v > r.Low && v < r.High { // a bound stays as it is
				s[i] = min(r.High, max(r.Low, multiple(v, step)))
			}
		}
		if key := fmt.Sprint(s); !seen[key] && len(settings) < n {
			seen[key] = true
			settings = append(settings, s)
		}
	}
	if len(ranges) <= 4 {
		for corner := range 1 << len(ranges) {
			add(func(i int) float64 { return float64(corner >> i & 1) })
		}
	}
	primes := []int{2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37}
	for point := 1; point < 20*n && len(settings) < n; point++ {
		add(func(i int) float64 { return radicalInverse(point, primes[i%len(primes)]) })
	}
	return settings
}

func radicalInverse(n, base int) (v float64) {
	f := 1.0
	for ; n > 0; n /= base {
		f /= float64(base)
		v += f * float64(n%base)
	}
	return v
}
