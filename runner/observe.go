package runner

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hpabench/hpabench/record"
	"github.com/hpabench/hpabench/watch"
)

// ObserveOptions say what an Observer watches.
type ObserveOptions struct {
	ID           string        // names the record; see NewID
	Namespace    string        // default: that of the cluster's context
	For          time.Duration // how long, up to record.MaxLoad; default: until ErrInterrupted, and record.MaxLoad at most
	MetricsEvery time.Duration // how often PodMetrics are polled; default 1 s
	Version      string        // of hpabench, for the record
}

// Observer watches an autoscaler that exists and what it scales, whatever load
// others send. It creates and changes nothing and sends no load.
type Observer struct {
	inspection
	ref      reference
	options  ObserveOptions
	past     time.Duration // how much older than the record events may be
	progress func(Progress)
}

// NewObserver prepares to watch the autoscaler named by ref: TYPE/NAME as kubectl
// takes it, of an HPA or of the object that it scales, or the NAME of an HPA.
// Progress is called from one goroutine at a time. The error is a BadInput.
func NewObserver(c *Cluster, ref string, o ObserveOptions, progress func(Progress)) (*Observer, error) {
	o.Namespace = cmp.Or(o.Namespace, c.Namespace)
	o.MetricsEvery = cmp.Or(o.MetricsEvery, time.Second)
	if err := checkNamespaceName("-n", o.Namespace); err != nil {
		return nil, err
	}
	if o.MetricsEvery < 0 || o.For < 0 {
		return nil, BadInput{errors.New("a duration cannot be negative")}
	}
	if o.For > record.MaxLoad {
		return nil, BadInput{fmt.Errorf("--for is %s, and a record has room for %s (31 days)", o.For, record.MaxLoad)}
	}
	named, err := parseReference(ref)
	if err != nil {
		return nil, err
	}
	return &Observer{ref: named, options: o, progress: progress, inspection: inspection{Cluster: c,
		subject: subject{namespace: o.Namespace}, report: func(c record.Check) { progress(Progress{Check: &c}) }}}, nil
}

// Autoscaler is the name of the HPA, which is known after the Preflight.
func (o *Observer) Autoscaler() string { return o.autoscaler }

// Preflight looks whether there is something to watch, and how it is. What is
// wrong with an autoscaler is a warning: to watch it is the point. The error is a
// BadInput when what was named does not exist.
func (o *Observer) Preflight(ctx context.Context) error {
	o.interrupted = func() bool { return ctx.Err() != nil }
	if o.checkServer(ctx) && (o.checkNamed(ctx, o.ref, record.Warning) || o.forbidden) && !o.badInput {
		for _, message := range o.lackingRequests(ctx) {
			o.add("target", record.Warning, message, requestHint)
		}
		o.checkRights(ctx, o.task(TaskWatch))
		o.checkMetrics(ctx, record.Warning)
		o.checkAdapters(ctx, record.Warning)
		o.checkRoom(o.readNodes(ctx))
	}
	return o.faults(ctx, "nothing was observed")
}

// Run watches, after the Preflight, and records it as one phase without load.
// That ends after ObserveOptions.For, after record.MaxLoad, or with ErrInterrupted as the cause of ctx,
// which is no error here.
func (o *Observer) Run(ctx context.Context, rec *record.Recorder) error {
	phase := record.Phase{Name: "observed", Seconds: o.options.For.Seconds(), Shape: record.ShapeObserved}
	rec.Add(record.Entry{Header: &record.Header{Format: record.Format, Run: o.options.ID, Scenario: "hpa/" + o.autoscaler, Version: o.options.Version,
		Started: rec.Clock.Start(), Phases: []record.Phase{phase}, MetricsEvery: o.options.MetricsEvery.Seconds()}})
	for _, c := range o.checks {
		rec.Add(record.Entry{Check: &c})
	}
	rec.Add(record.Entry{Cluster: o.cluster})
	up, done := o.whileUp(ctx)
	defer done()
	err := o.watch(up, rec)
	rec.Add(record.Entry{End: endOf(err, nil)})
	return err
}

// watch is the phase, from when all is known to its end.
func (o *Observer) watch(ctx context.Context, rec *record.Recorder) error {
	s, _, err := o.watched(ctx, "", "")
	if err != nil {
		return err
	}
	s.Past = o.past
	// What ends the phase must not end the watch before it.
	watching, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	early := context.AfterFunc(ctx, stop)
	w, err := watch.Start(watching, watch.Clients{Kube: o.Kube, Dynamic: o.Dynamic, Metrics: o.Metrics, Signals: o.Signals}, s, rec, o.options.MetricsEvery)
	if err == nil {
		defer w.Stop()
	}
	if !early() {
		return context.Cause(ctx)
	}
	if err != nil {
		return err
	}
	rec.Add(record.Entry{Subject: &record.Subject{Namespace: o.namespace, APIVersion: o.gvk.GroupVersion().String(), Kind: o.gvk.Kind, Name: o.name, Autoscaler: o.autoscaler, ScaledObject: o.scaled}})
	rec.Add(record.Entry{Phase: &record.PhaseMark{Name: "observed", Edge: "start"}})
	there, done := o.whileThere(ctx, w, rec)
	defer done()
	err = o.wait(there, rec, w)
	rec.Add(record.Entry{Phase: &record.PhaseMark{Name: "observed", Edge: "end"}})
	return err
}

// wait tells the progress each second until the phase is over.
func (o *Observer) wait(ctx context.Context, rec *record.Recorder, w *watch.Watcher) error {
	began := time.Now()
	over := time.After(cmp.Or(o.options.For, record.MaxLoad))
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		p := &WatchProgress{Elapsed: time.Since(began), State: stateOf(w)}
		if o.options.For > 0 {
			p.Left = new(o.options.For - p.Elapsed)
		}
		o.progress(Progress{Watch: p})
		select {
		case <-over:
			return nil
		case <-ctx.Done():
			if err := context.Cause(ctx); !errors.Is(err, ErrInterrupted) {
				return err
			}
			return nil
		case <-rec.Failed():
			return errors.New("the record could not be written")
		case <-tick.C:
		}
	}
}

// Autoscalers lists the HPAs of a namespace, that of the context if it is empty,
// as hpa/NAME.
func (c *Cluster) Autoscalers(ctx context.Context, namespace string) ([]string, error) {
	list, err := c.Kube.AutoscalingV2().HorizontalPodAutoscalers(cmp.Or(namespace, c.Namespace)).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	var names []string
	for _, h := range list.Items {
		names = append(names, "hpa/"+h.Name)
	}
	return names, nil
}

// lostError says that what a run measures is gone, and by whom.
type lostError struct{ how string }

func (l lostError) Error() string {
	return l.how + ", and so the measurement ended"
}

func deleted(object string) error {
	return lostError{fmt.Sprintf("somebody deleted %s while it was measured", object)}
}

// whileThere gives a context that is cancelled with a lostError when the watcher sees
// the end of the HPA, of the target or of one of those Services.
func (i *inspection) whileThere(ctx context.Context, w *watch.Watcher, rec *record.Recorder, services ...string) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		for {
			changed := w.Changed()
			for _, lost := range w.Lost() {
				if lost.Kind != "Service" || slices.Contains(services, lost.Name) {
					cancel(i.lost(context.WithoutCancel(ctx), lost, w.ScaledObject(), rec))
					return
				}
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
		}
	}()
	return ctx, func() { cancel(nil) }
}

// lost words the end of an object. That it went with its namespace is told by the
// namespace, which is looked at only then: to watch one takes a right in all. Scaled is the
// ScaledObject as it is then, nil without one.
func (i *inspection) lost(ctx context.Context, c record.Change, scaled *record.ScaledObject, rec *record.Recorder) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	ns, err := i.Kube.CoreV1().Namespaces().Get(ctx, i.namespace, metav1.GetOptions{})
	if err == nil && ns.DeletionTimestamp != nil {
		rec.Add(record.Entry{Change: &record.Change{Kind: "Namespace", Name: i.namespace, What: record.ChangeDeleted, Time: ns.DeletionTimestamp}})
		return deleted("namespace " + i.namespace)
	}
	if shortKind(c.Kind) == "hpa" && scaled != nil && scaled.Stopped() {
		return lostError{fmt.Sprintf("scaledobject/%s in namespace %s is paused by its annotation %s, for which KEDA deleted its HPA", scaled.Name, i.namespace, scaled.Paused)}
	}
	return deleted(fmt.Sprintf("%s/%s in namespace %s", shortKind(c.Kind), c.Name, i.namespace))
}

// shortKind is how kubectl and the findings call a kind.
func shortKind(kind string) string {
	if kind == "HorizontalPodAutoscaler" {
		return "hpa"
	}
	return strings.ToLower(kind)
}
