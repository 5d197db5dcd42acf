// Package runner makes one run of a scenario, from start to end: it looks
// whether the run can work (preflight), creates what the scenario describes,
// waits until it is ready, sends the load while it watches the cluster, and
// removes what it created.
//
// It never changes or deletes an object that it did not create, and it removes
// what it created however the run ends.
package runner

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/utils/ptr"

	"github.com/hpabench/hpabench/loadgen"
	"github.com/hpabench/hpabench/record"
	"github.com/hpabench/hpabench/scenarios"
	"github.com/hpabench/hpabench/watch"
)

// ErrInterrupted is the cause with which a context is cancelled when the user
// ends a run early: the load stops, and all else goes on to its end.
var ErrInterrupted = errors.New("interrupted")

var errEnded = errors.New("the embedded cluster ended while it was in use (by hpabench lab down?), and with it all that was in it")

// Options of a run.
type Options struct {
	ID           string        // names the run in labels and in its namespace; see NewID
	Namespace    string        // an existing one to create the objects in; default: one of the run's own
	Keep         bool          // leave what was created
	MetricsEvery time.Duration // how often PodMetrics, and the queue of the load, are polled; default 1 s
	Timeout      time.Duration // for the pods to get ready, and then for the HPA's first metric, which gets 90 s at least where it is of a resource; default 5 min
	Version      string        // of hpabench, for the record

	// SkipUnknown leaves out objects of kinds that the embedded cluster does not have.
	SkipUnknown bool

	// WorkerImage is the image of via: job, default WorkerImage; WorkerPullPolicy is
	// when nodes pull it, empty for Kubernetes' own default.
	WorkerImage      string
	WorkerPullPolicy corev1.PullPolicy

	// FixedReplicas says that the HPA has one number of replicas on purpose, which is not to be told as a finding.
	FixedReplicas bool

	// Part is the share of the HPA's sync period that the load waits when all else is ready.
	// That the HPA has its first metric is seen just after one of its syncs, so that without
	// it every load would begin at the same point of the period.
	Part float64

	// Ends is done when the cluster is about to end, with all that is in it: from then on
	// the run removes nothing. Default: a cluster that stays.
	Ends context.Context

	// Beside is how many runs like this one go on at the same time: the preflight looks
	// for the room of all their pods.
	Beside int
}

// NewID returns a random name for a run: five characters that are hard to
// mistake for one another.
func NewID() string { return rand.String(5) }

// Progress is what the runner tells while it works: one of its fields.
type Progress struct {
	Check   *record.Check  // a line of the preflight
	Message string         // a new stage, or what is being waited for
	Load    *LoadProgress  // every second while the load runs
	Watch   *WatchProgress // every second while an Observer watches
}

// LoadProgress is the state of the run during the load.
type LoadProgress struct {
	Phase     string
	PhaseLeft time.Duration
	RunLeft   time.Duration
	Rate      float64  // answers a second, over the last second
	Offered   *float64 // requests a second by schedule, now; nil in a closed loop
	Failed    uint64   // requests without an answer so far
	State
}

// WatchProgress is the state while nothing but others' load goes on.
type WatchProgress struct {
	Elapsed time.Duration
	Left    *time.Duration // nil: until it is ended by hand
	State
}

// State is that of the autoscaler and its target.
type State struct {
	Metrics  string // current/target, as kubectl get hpa shows it
	Replicas int32  // wanted by the target's scale
	Ready    int
}

// Runner makes one run.
type Runner struct {
	options  Options
	progress func(Progress)
	pre      *preflight
	created  *created
}

// New prepares a run of the scenario on the cluster. Progress is called from
// one goroutine at a time. The error is a BadInput.
func New(c *Cluster, file *scenarios.File, o Options, progress func(Progress)) (*Runner, error) {
	o.MetricsEvery = cmp.Or(o.MetricsEvery, time.Second)
	o.Timeout = cmp.Or(o.Timeout, 5*time.Minute)
	o.Ends = cmp.Or(o.Ends, context.Background())
	if o.MetricsEvery < 0 || o.Timeout < 0 {
		return nil, BadInput{errors.New("a duration cannot be negative")}
	}
	if err := checkNamespaceName("-n", o.Namespace); err != nil {
		return nil, err
	}
	if err := checkCredentials(file); err != nil {
		return nil, err
	}
	s, err := subjectOf(file, o.Namespace)
	if err != nil {
		return nil, err
	}
	if s.own {
		s.namespace = namespaceOf(file.Metadata.Name, o.ID)
	}
	var telling sync.Mutex
	r := &Runner{options: o, progress: func(p Progress) {
		telling.Lock()
		defer telling.Unlock()
		progress(p)
	}}
	r.pre = &preflight{file: file, options: o, inspection: inspection{Cluster: c, subject: s, beside: o.Beside, report: func(c record.Check) { r.progress(Progress{Check: &c}) }}}
	r.created = &created{Cluster: c, namespace: s.namespace, own: s.own, labels: map[string]string{
		ManagedByLabel: ManagedBy, RunLabel: o.ID, ScenarioLabel: file.Metadata.Name}}
	return r, nil
}

// subjectOf says in which namespace a scenario is run when the command line says
// namespace, which may be empty. The error is a BadInput.
func subjectOf(file *scenarios.File, namespace string) (subject, error) {
	e := file.Spec.Workload.Existing
	if e == nil {
		return subject{namespace: namespace, own: namespace == ""}, nil
	}
	if err := checkExistingNames(file, e); err != nil {
		return subject{}, err
	}
	if e.Namespace != "" && namespace != "" && e.Namespace != namespace {
		return subject{}, BadInput{file.Fault("spec.workload.existing.namespace", fmt.Sprintf("the scenario says %q, -n says %q", e.Namespace, namespace), "leave one of them out")}
	}
	return subject{namespace: cmp.Or(e.Namespace, namespace, metav1.NamespaceDefault)}, nil
}

// Preflight looks whether the run can work. It creates nothing. The error is a
// BadInput when the scenario or the command line is at fault.
func (r *Runner) Preflight(ctx context.Context) error { return r.pre.check(ctx) }

// Left lists the objects that the run created and that are not known to be
// gone. It may be called at any time.
func (r *Runner) Left() []string {
	select {
	case <-r.pre.Ended:
		return nil // it went with the cluster
	case <-r.options.Ends.Done():
		return nil // it goes with the cluster
	default:
		return r.created.left()
	}
}

func (r *Runner) say(message string) { r.progress(Progress{Message: message}) }

// header is that of a record of file.
func header(file *scenarios.File, o Options, rec *record.Recorder) *record.Header {
	h := file.Header()
	h.Run, h.Version, h.Started, h.MetricsEvery = o.ID, o.Version, rec.Clock.Start(), o.MetricsEvery.Seconds()
	h.FixedReplicas = o.FixedReplicas
	return h
}

// Run makes the run, after its Preflight, and records it. When ctx is
// cancelled the load stops and what was created is removed all the same, unless
// Options.Ends says that it goes with the cluster: the tear-down has a context of
// its own.
//
// The error is the first of: what ended the measurement early (the cause of
// ctx, ErrInterrupted among them), and what could not be removed.
func (r *Runner) Run(ctx context.Context, rec *record.Recorder) error {
	file := r.pre.file
	rec.Add(record.Entry{Header: header(file, r.options, rec)})
	for _, c := range r.pre.checks {
		rec.Add(record.Entry{Check: &c})
	}
	rec.Add(record.Entry{Cluster: r.pre.cluster})
	for _, text := range r.pre.cluster.Assumed {
		r.say("assumed: " + text)
	}
	for _, text := range r.pre.notes {
		r.say("note: " + text)
		rec.Add(record.Entry{Note: &record.Note{Text: text}})
	}

	up, done := r.pre.whileUp(ctx)
	defer done()
	measuring, stop := context.WithCancelCause(up)
	defer stop(nil)
	go func() {
		select {
		case <-rec.Failed():
			stop(errors.New("the record could not be written"))
		case <-measuring.Done():
		}
	}()
	alive, dead := context.WithCancel(context.WithoutCancel(ctx))
	defer dead()
	r.created.leaseLost = func() {
		r.say("warning: somebody deleted the Lease of the run, by which hpabench clean knows that it goes on; it is made anew")
		rec.Add(record.Entry{Change: &record.Change{Kind: "Lease", Name: r.created.lease(), What: record.ChangeDeleted}})
	}
	err := r.measure(measuring, alive, rec)
	if err != nil && measuring.Err() != nil {
		err = context.Cause(measuring) // and not what each client made of it
	}
	stop(nil)

	if r.options.Keep && r.pre.creates() && len(r.Left()) > 0 {
		dead()
		err = errors.Join(err, r.created.releaseLease(context.WithoutCancel(ctx)))
	} else if len(r.Left()) > 0 {
		r.say("removing what the run created")
		removing, done := r.pre.whileUp(context.WithoutCancel(ctx))
		defer context.AfterFunc(r.options.Ends, done)()
		removed := r.created.tearDown(removing, r.grace(), r.say)
		if len(r.Left()) == 0 {
			removed = nil
		}
		if cause := context.Cause(removing); errors.Is(cause, errEnded) {
			removed = nil
			if !errors.Is(err, errEnded) {
				removed = cause // and not what became of the last request
			}
		}
		err = errors.Join(err, removed)
		done()
	}
	end := endOf(err, r.Left())
	end.Kept = r.options.Keep && len(end.Left) > 0
	rec.Add(record.Entry{End: end})
	return err
}

// grace is how long the pods may take to end.
func (r *Runner) grace() time.Duration {
	seconds := int64(corev1.DefaultTerminationGracePeriodSeconds)
	if t := r.pre.template; t != nil {
		seconds = ptr.Deref(t.Spec.TerminationGracePeriodSeconds, seconds)
	}
	return time.Duration(seconds) * time.Second
}

// measure does all of a run between preflight and tear-down.
func (r *Runner) measure(ctx, alive context.Context, rec *record.Recorder) error {
	if err := r.create(ctx, alive); err != nil {
		return err
	}
	p := r.pre
	subject, service, err := r.findSubject(ctx)
	if err != nil {
		return err
	}
	// The watch outlives an interrupt: what the load leaves in flight is seen to its end.
	watching, stopWatching := context.WithCancel(alive)
	defer stopWatching()
	interrupted := context.AfterFunc(ctx, stopWatching)
	watcher, err := watch.Start(watching, watch.Clients{Kube: p.Kube, Dynamic: p.Dynamic, Metrics: p.Metrics, Signals: p.Signals}, subject, rec, r.options.MetricsEvery)
	interrupted()
	if err != nil {
		return err
	}
	defer watcher.Stop()
	var taking []string
	if service != nil {
		taking = append(taking, service.Name)
	}
	there, done := p.whileThere(ctx, watcher, rec, taking...)
	defer done()
	if err := r.readyAndLoad(there, rec, watcher, service); err != nil {
		if there.Err() != nil {
			err = context.Cause(there) // and not what each client made of it
		}
		return err
	}
	return nil
}

// readyAndLoad waits until there is something to measure, and measures.
func (r *Runner) readyAndLoad(ctx context.Context, rec *record.Recorder, watcher *watch.Watcher, service *corev1.Service) error {
	for _, wait := range []func(context.Context, *watch.Watcher) error{
		r.awaitReady,
		func(ctx context.Context, w *watch.Watcher) error { return r.awaitMetric(ctx, w, rec) },
		r.awaitReady, // its first metric can have made the HPA scale at once
		func(ctx context.Context, w *watch.Watcher) error { return r.awaitEntrance(ctx, w, service) },
	} {
		if err := wait(ctx, watcher); err != nil {
			return err
		}
	}
	if wait := offset(r.options.Part, r.pre.cluster); wait > 0 {
		r.say(fmt.Sprintf("waiting for %s, so that the loads of the trials begin all over the HPA's sync period", wait.Round(100*time.Millisecond)))
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return r.load(ctx, rec, watcher, service)
}

// offset is a part of the cluster's sync period: of the default one where it is not known.
func offset(part float64, c *record.Cluster) time.Duration {
	flags := record.DefaultControllers()
	if c != nil && c.Controllers != nil {
		flags = *c.Controllers
	}
	return time.Duration(part * float64(flags.Sync.Duration))
}

// namespaceOf names the namespace that a run makes for itself.
func namespaceOf(scenario, run string) string { return "hpabench-" + scenario + "-" + run }

func (r *Runner) create(ctx, alive context.Context) error {
	if !r.pre.creates() && !r.pre.viaJob() {
		return nil
	}
	if r.pre.own {
		r.say("creating namespace " + r.pre.namespace)
		if err := r.created.createNamespace(ctx); err != nil {
			return err
		}
	}
	objects := r.pre.objects()
	named := objects
	if r.pre.viaJob() {
		job := &unstructured.Unstructured{}
		job.SetGroupVersionKind(jobKind)
		job.SetName(jobOf(r.options.ID))
		named = append(slices.Clip(objects), job)
	}
	if err := r.pre.alone(ctx); err != nil {
		return err
	}
	if err := r.created.holdLease(ctx, alive, named); err != nil {
		return err
	}
	for _, o := range objects {
		r.say(fmt.Sprintf("creating %s %s", o.GetKind(), o.GetName()))
		if err := r.created.create(ctx, o); err != nil {
			return err
		}
	}
	return nil
}

// findSubject says what is to be watched, and which Service takes the load.
func (r *Runner) findSubject(ctx context.Context) (watch.Subject, *corev1.Service, error) {
	p := r.pre
	if p.gvr.Empty() { // a kind that the manifests defined
		_, mapping, err := p.Cluster.resource(p.gvk, p.namespace)
		if err != nil {
			return watch.Subject{}, nil, err
		}
		p.gvr = mapping.Resource
	}
	// A custom kind's selector is set by its controller, some time after creation.
	err := wait.PollUntilContextTimeout(ctx, 250*time.Millisecond, r.options.Timeout, true, func(ctx context.Context) (bool, error) {
		scale, err := p.scale(ctx, p.gvr, p.namespace, p.name)
		if err != nil {
			return false, err
		}
		p.selector = scale.Status.Selector
		return p.selector != "", nil
	})
	if wait.Interrupted(err) {
		err = errors.New("it has no selector: without it neither the HPA nor hpabench can find the pods")
	}
	if err != nil {
		return watch.Subject{}, nil, fmt.Errorf("reading the scale of %s %s: %w", p.gvk.Kind, p.name, err)
	}
	if err := p.alsoSelected(ctx, p.selector); err != nil {
		return watch.Subject{}, nil, err
	}
	named, _ := p.file.Service()
	ours := ""
	if p.creates() && p.template != nil {
		ours = RunLabel + "=" + r.options.ID // and no Service that somebody has made since the preflight
	}
	return p.watched(ctx, ours, named)
}

// load sends the load of all phases, telling the progress each second.
func (r *Runner) load(ctx context.Context, rec *record.Recorder, watcher *watch.Watcher, service *corev1.Service) error {
	p := r.pre
	phases := p.file.Phases()
	authorization, err := p.authorization(ctx, p.file, p.namespace)
	if err != nil {
		return err
	}
	subject := &record.Subject{Namespace: p.namespace, APIVersion: p.gvk.GroupVersion().String(), Kind: p.gvk.Kind, Name: p.name, Autoscaler: p.autoscaler, ScaledObject: p.scaled}
	tell := func(g loadgen.Progress) {
		r.progress(Progress{Load: loadProgress(g, phases, stateOf(watcher))})
	}
	begin := func() {
		if subject.Way != "" {
			r.say(fmt.Sprintf("load goes by %s to %s: %s", subject.Way, subject.URL, subject.Why))
		}
		rec.Add(record.Entry{Subject: subject})
	}
	if p.viaJob() {
		defer func() {
			if err := r.removeJob(context.WithoutCancel(ctx)); err != nil {
				r.say("warning: " + err.Error())
			}
		}()
		workers, url, err := r.job(ctx, service)
		if err != nil {
			return err
		}
		subject.Way, subject.URL, subject.Why = scenarios.ViaJob, record.ShownURL(url), "the scenario says so"
		begin()
		if err := r.beginCourses(ctx); err != nil {
			return err
		}
		return send(ctx, loadgen.NewFleet(workers, phases, request(p.file, authorization), url, rec, r.options.Version, r.say), tell)
	}
	var way loadgen.Way
	if p.file.HasLoad() {
		for tries := time.Now(); ; { // a kube-proxy takes up to some seconds to serve a pod that has just become ready
			way, subject.Why, err = p.way(ctx, service, watcher)
			if err == nil || ctx.Err() != nil || service == nil || slices.Contains(watcher.Services(), service.Name) || time.Since(tries) > entranceTimeout {
				break
			}
			select {
			case <-ctx.Done():
			case <-time.After(reachEvery):
			}
		}
		if way != nil {
			defer way.Close()
		}
		if err != nil {
			return err
		}
		subject.Way, subject.URL = way.Kind(), way.URL()
	}
	begin()
	if err := r.beginCourses(ctx); err != nil {
		return err
	}
	generator, err := loadgen.New(phases, request(p.file, authorization), way, rec)
	if err != nil {
		return BadInput{err}
	}
	stop, err := readQueue(ctx, p.file, way, request(p.file, authorization), r.options.MetricsEvery, rec, r.say)
	if err != nil {
		return err
	}
	defer stop()
	return send(ctx, generator, tell)
}
