package simulate

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	resourcehelper "k8s.io/component-helpers/resource"
	"k8s.io/utils/ptr"

	"github.com/hpabench/hpabench/model"
	"github.com/hpabench/hpabench/record"
	"github.com/hpabench/hpabench/signals"
)

// Plant is all that the controller does not decide and that its decisions act on: the
// workload, the cluster that its pods start on, and the pipeline of the metrics. Each
// part can be measured on a real run: see Fit.
type Plant struct {
	// Workload is what a request costs, how many are served at a time and how many wait,
	// of each pod's first container: see package model. Of the others only the requests
	// count. What it leaves out is as the scenario's model and image have it.
	Workload model.Model `json:"workload,omitzero"`
	// Costs are what a request costs in a pod, relative to the Workload's: pods are not all
	// alike, by what they find out at their start or by the processor that they are on. Each
	// has one of these at random; without any all are alike.
	Costs []float64 `json:"costs,omitempty"`
	// RoundTrip is what a request takes beside the time in the pod: each has one of these at
	// random.
	RoundTrip Cases `json:"roundTrip,omitempty"`

	Pods    Stages      `json:"pods,omitzero"`
	Nodes   []Node      `json:"nodes,omitempty"`
	Metrics Pipeline    `json:"metrics,omitzero"`
	Control Controllers `json:"controlPlane,omitzero"`

	// Assumed are sentences on what nobody measured, beside the Workload.
	Assumed []string `json:"assumed,omitempty"`
}

// Stages are how long a pod takes from one point of its life to the next. Each is a list
// of cases, of which a pod has one at random; none stands for no time.
type Stages struct {
	Create   Cases `json:"create,omitempty"`   // from the scale's write to the pod's object
	Schedule Cases `json:"schedule,omitempty"` // to its node, where there is room
	Start    Cases `json:"start,omitempty"`    // to containers that run, with pulls, less what init containers wait
	// Ready is from there to the condition Ready, less what the workload's start and its
	// probes take by themselves.
	Ready        Cases `json:"ready,omitempty"`
	InService    Cases `json:"inService,omitempty"`    // to requests
	OutOfService Cases `json:"outOfService,omitempty"` // from the pod's deletion to no new requests
	Gone         Cases `json:"gone,omitempty"`         // from the end of its processes to that of the object
}

// Cases are durations that are as likely as each other. In a file they are words of a string,
// or a list.
type Cases []metav1.Duration

// MarshalJSON writes the durations as words of a string, of which there can be many.
func (c Cases) MarshalJSON() ([]byte, error) {
	words := make([]string, len(c))
	for i, d := range c {
		words[i] = d.Duration.String()
	}
	return json.Marshal(strings.Join(words, " "))
}

// UnmarshalJSON reads a string of durations or a list of them.
func (c *Cases) UnmarshalJSON(b []byte) error {
	if len(b) == 0 || b[0] != '"' {
		return json.Unmarshal(b, (*[]metav1.Duration)(c))
	}
	var words string
	if err := json.Unmarshal(b, &words); err != nil {
		return err
	}
	*c = nil
	for _, word := range strings.Fields(words) {
		d, err := time.ParseDuration(word)
		if err != nil {
			return err
		}
		*c = append(*c, metav1.Duration{Duration: d})
	}
	return nil
}

// seconds are the cases in seconds, one at least.
func (c Cases) seconds() (all []float64) {
	for _, d := range c {
		all = append(all, d.Seconds())
	}
	if len(all) == 0 {
		all = []float64{0}
	}
	return all
}

// Always is a stage that takes the same time in all cases.
func Always(d time.Duration) Cases { return Cases{{Duration: d}} }

func (c Cases) draw(r *rand.Rand) time.Duration {
	n := r.IntN(1 << 30) // in any case, so that what is drawn after it stays the same
	if len(c) == 0 {
		return 0
	}
	return c[n%len(c)].Duration
}

// Node is where pods can be: what of it is there for the workload's.
type Node struct {
	Name string              `json:"name"`
	Free corev1.ResourceList `json:"free"` // for what the pods request
	// CPU are the cores that its pods can use together.
	CPU float64 `json:"cpu"`
}

// Pipeline is how usage gets to the controller. metrics-server's part is its own code
// (sigs.k8s.io/metrics-server/pkg/storage): it needs two samples of a container, or one
// that is 10 s to a resolution old.
type Pipeline struct {
	// Housekeeping is how often the kubelet samples a container: at its start, and then
	// after one to two of these, half as long again when nothing has changed (cAdvisor).
	// 0: when it is asked (from the CRI).
	Housekeeping metav1.Duration `json:"housekeeping"`
	// Resolution is how often metrics-server asks the kubelets (--metric-resolution).
	Resolution metav1.Duration `json:"resolution"`
	// Delay is from there to when its API serves the sample.
	Delay metav1.Duration `json:"delay"`
	// Scrape is how often the Prometheus scrapes that the triggers of a ScaledObject ask. Default: signals.ScrapeEvery.
	Scrape *metav1.Duration `json:"scrape,omitempty"`
}

// Scrapes is how often that Prometheus does.
func (p Pipeline) Scrapes() time.Duration {
	if p.Scrape == nil {
		return signals.ScrapeEvery
	}
	return p.Scrape.Duration
}

// Controllers are the flags of the controller manager, and how long its calls take.
type Controllers struct {
	record.Controllers
	// Latency is that of a call to the API server. Each sync is later by the calls of the
	// one before; without any, a sync that falls exactly one window after another would be
	// decided otherwise than in reality.
	Latency metav1.Duration `json:"latency"`
}

// DefaultControllers have the flags as Kubernetes sets them, and the latency of a cluster
// whose control plane is on one machine and has little to do: hpabench fit gives 4.5 ms for
// recorded-demo-nginx.jsonl of reports/testdata, and 7 to 16 ms for 16 real runs on a busy one. The curves of six
// library scenarios are the same within 1 % from 1.5 to 12 ms.
func DefaultControllers() Controllers {
	return Controllers{record.DefaultControllers(), metav1.Duration{Duration: 3 * time.Millisecond}}
}

// lab says the metrics pipeline as a record does.
func (p *Plant) lab() *record.Lab {
	return &record.Lab{Timing: record.SimulatedTiming, MetricsResolution: p.Metrics.Resolution.Seconds()}
}

// Guess is a plant of which nothing has been measured: a pod of the template on one
// node, with the defaults of Kubernetes, cAdvisor and metrics-server, the model of the
// template's image, and stages as they are on a node that has the image.
func Guess(pod corev1.PodSpec, m model.Model) Plant {
	ms := func(n int) time.Duration { return time.Duration(n) * time.Millisecond }
	first := corev1.Container{}
	if len(pod.Containers) > 0 {
		first = pod.Containers[0]
	}
	return Plant{
		Workload:  model.Resolve(&first, m),
		RoundTrip: Always(ms(1)),
		// Of a node that has little else to do: near the shortest that hpabench fit gives for 18 real runs on a busy node of two
		// cores (55 to 73 pods a stage), whose medians are 61, 24, 1640, 16, 79 and 1970 ms. With these the curves of the library's
		// scenarios differ by 1.9 % in the median; by up to 17 %, of flapping, where decisions hang on chance.
		Pods: Stages{
			Create: Always(ms(25)), Schedule: Always(ms(15)), Start: Always(ms(600)),
			InService: Always(ms(15)), OutOfService: Always(ms(20)), Gone: Always(ms(800)),
		},
		Nodes: []Node{{Name: "node-1", CPU: 4, Free: corev1.ResourceList{
			corev1.ResourceCPU: *resource.NewQuantity(4, resource.DecimalSI), corev1.ResourceMemory: *resource.NewQuantity(16<<30, resource.BinarySI), corev1.ResourcePods: *resource.NewQuantity(110, resource.DecimalSI),
		}}},
		Metrics: Pipeline{
			Housekeeping: metav1.Duration{Duration: model.Housekeeping},
			Resolution:   metav1.Duration{Duration: 15 * time.Second},
			// hpabench fit gives up to 170 ms for 16 of 18 real runs, with bounds of ± 0.5 s and more. From 1 to 150 ms the
			// curves of six library scenarios are the same.
			Delay: metav1.Duration{Duration: ms(50)},
		},
		Control: DefaultControllers(),
		Assumed: []string{"one node with 4 cores, 16Gi and the image; containers run 600ms after scheduling; round trips of 1ms; metrics every 15s; the HPA controller's flags are those of Kubernetes. Given --like RECORD, those of a real run are taken."},
	}
}

// Upper bounds of a plant, far beyond what clusters do.
const (
	maxPeriod = time.Hour      // of what comes again and again
	maxStage  = 24 * time.Hour // in the life of a pod, and of the controller's windows
	maxNodes  = 5000           // https://kubernetes.io/docs/setup/best-practices/cluster-large/
	maxFaults = 20             // that are listed

	// minCost and maxCost bound what a request costs in one pod, relative to all.
	minCost, maxCost = 1e-6, 1e6

	// MaxCases bounds the cases of a stage, the costs and the round trips: fit writes 200 of
	// the last.
	MaxCases = 10_000

	// MaxPods bounds the pods of one simulation. Each is followed by itself.
	MaxPods = 10_000
)

// Check says what in a plant cannot be, for one that people wrote.
func (p *Plant) Check() error {
	var faults []error
	must := func(ok bool, format string, args ...any) {
		if !ok {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	faults = append(faults, p.Workload.Check())
	within := func(name string, d metav1.Duration, least, most time.Duration) {
		must(d.Duration >= least && d.Duration <= most, "plant.%s is %s and must be from %s to %s", name, d.Duration, least, most)
	}
	few := func(name string, n, most int) bool {
		must(n <= most, "plant.%s has %d values and may have %d", name, n, most)
		return n <= most
	}
	within("metrics.resolution", p.Metrics.Resolution, time.Second, maxPeriod)
	within("metrics.housekeeping", p.Metrics.Housekeeping, 0, maxPeriod)
	h := p.Metrics.Housekeeping.Duration
	must(h == 0 || h >= time.Second, "plant.metrics.housekeeping is %s and must be 0 or 1s or more", h)
	within("metrics.delay", p.Metrics.Delay, 0, maxPeriod)
	within("metrics.scrape", metav1.Duration{Duration: p.Metrics.Scrapes()}, time.Second, maxPeriod)
	within("controlPlane.horizontalPodAutoscalerSyncPeriod", p.Control.Sync, time.Second, maxPeriod)
	within("controlPlane.latency", p.Control.Latency, time.Millisecond, maxPeriod)
	if err := p.Control.Check(); err != nil {
		faults = append(faults, fmt.Errorf("plant.controlPlane.%w", err))
	}
	if few("costs", len(p.Costs), MaxCases) {
		for i, c := range p.Costs {
			must(c >= minCost && c <= maxCost, "plant.costs[%d] is %s and must be from %s to %s", i, record.Plain(c, 0), record.Plain(minCost, 0), record.Plain(maxCost, 0))
		}
	}
	must(len(p.Nodes) > 0, "plant.nodes must name one at least")
	if few("nodes", len(p.Nodes), maxNodes) {
		for i, n := range p.Nodes {
			must(n.CPU > 0 && n.CPU <= model.MaxCPU, "plant.nodes[%d].cpu is %s and must be more than 0, %d at most", i, record.Plain(n.CPU, 0), model.MaxCPU)
		}
	}
	for name, cases := range map[string]Cases{
		"roundTrip": p.RoundTrip, "pods.create": p.Pods.Create, "pods.schedule": p.Pods.Schedule, "pods.start": p.Pods.Start, "pods.ready": p.Pods.Ready,
		"pods.inService": p.Pods.InService, "pods.outOfService": p.Pods.OutOfService, "pods.gone": p.Pods.Gone,
	} {
		if few(name, len(cases), MaxCases) {
			for i, c := range cases {
				within(fmt.Sprintf("%s[%d]", name, i), c, 0, maxStage)
			}
		}
	}
	if len(faults) > maxFaults {
		faults = append(faults[:maxFaults:maxFaults], fmt.Errorf("and %d faults more", len(faults)-maxFaults))
	}
	return errors.Join(faults...)
}

// CheckRoom says why the load could never begin: the nodes are too small for the pods that
// there are before.
func (r *Run) CheckRoom() error {
	first := min(max(r.Replicas, ptr.Deref(r.HPA.MinReplicas, 1)), max(r.HPA.MaxReplicas, 1))
	n := r.Fitting(first)
	if n == first {
		return nil
	}
	most := slices.MaxFunc(r.Plant.Nodes, func(a, b Node) int { return cmp.Compare(a.CPU, b.CPU) })
	what := "a pod fits no node of the simulation"
	if n > 0 {
		what = fmt.Sprintf("%d of the first %d pods fit the nodes of the simulation", n, first)
	}
	return fmt.Errorf("%s: a pod requests %s; %s has room for %s", what, amounts(r.requests()), most.Name, amounts(most.Free))
}

// Fitting is how many pods fit the nodes, most of them at most.
func (r *Run) Fitting(most int32) (n int32) {
	requests, used := r.requests(), make([]int, len(r.Plant.Nodes))
	for ; n < most; n++ {
		node := room(r.Plant.Nodes, used, requests)
		if node < 0 {
			break
		}
		used[node]++
	}
	return n
}

// requests are those of a pod, as the scheduler sums them up.
func (r *Run) requests() corev1.ResourceList {
	return resourcehelper.PodRequests(&corev1.Pod{Spec: r.Pod}, resourcehelper.PodResourcesOptions{})
}

// amounts lists resources, such as cpu 100m, memory 64Mi.
func amounts(list corev1.ResourceList) string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(list)) {
		q := list[name]
		all = append(all, fmt.Sprintf("%s %s", name, q.String()))
	}
	return strings.Join(all, ", ")
}

// room is the first node, of those with the fewest of the pods, that fits one more.
func room(nodes []Node, used []int, requests corev1.ResourceList) int {
	best := -1
	for i, n := range nodes {
		if best >= 0 && used[i] >= used[best] {
			continue
		}
		fits := func(name corev1.ResourceName, each float64) bool {
			free, limited := n.Free[name]
			return !limited || float64(used[i]+1)*each <= free.AsApproximateFloat64()*(1+rounding)
		}
		all := fits(corev1.ResourcePods, 1)
		for name, q := range requests {
			all = all && fits(name, q.AsApproximateFloat64())
		}
		if all {
			best = i
		}
	}
	return best
}
