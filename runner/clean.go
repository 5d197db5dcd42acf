package runner

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/discovery"
	"k8s.io/utils/ptr"
)

// CleanOptions say what Clean removes beside the namespaces that runs made.
type CleanOptions struct {
	Namespace string        // also objects that runs left in this namespace
	DryRun    bool          // only say what would be removed
	All       bool          // also what belongs to a run that is still alive
	Finalize  bool          // take the finalizers off namespaces that do not go
	Timeout   time.Duration // for each object to go; default 1 min
}

// ErrLeft is Clean's error when something is still there.
var ErrLeft = errors.New("not everything is gone")

// Clean removes what earlier runs left behind: their namespaces, the objects
// without a namespace that their Leases name, and with CleanOptions.Namespace those
// in a namespace that a run was told to use. A label is not enough: the object must
// be the one that the run made. What belongs to a run that renews its Lease is left
// alone. Clean says what it does, line by line, and goes on with the next object
// when one cannot be removed. Where it has no right to look, the error says so.
func (c *Cluster) Clean(ctx context.Context, o CleanOptions, say func(string)) error {
	if err := checkNamespaceName("-n", o.Namespace); err != nil {
		return err
	}
	o.Timeout = cmp.Or(o.Timeout, time.Minute)
	found, err := c.leftovers(ctx, o)
	if err != nil {
		return err
	}
	alive := map[string]bool{}
	if !o.All {
		if alive, err = c.aliveRuns(ctx, found, say); err != nil {
			return err
		}
	}
	errs := c.removeAll(ctx, found, alive, o, say)
	for _, l := range found.copies {
		say(fmt.Sprintf("%s: left alone; it has the label of run %s, but nothing proves that the run made it", l, l.run))
	}
	switch {
	case errs != nil || len(found.objects) > 0:
	case len(found.unlisted) > 0:
		// Without a Lease nothing is removed in any case.
		say("nothing to remove, by the Leases of runs; objects with the labels of runs and without a Lease were not looked for, for lack of the right to list " + some(found.unlisted))
	case len(found.copies) == 0:
		say("nothing to remove")
	}
	return errs
}

// removeAll removes what runs made that are not alive. The proof of what a run made,
// its Lease, goes last, and stays when something else of the run does.
func (c *Cluster) removeAll(ctx context.Context, found leftovers, alive map[string]bool, o CleanOptions, say func(string)) error {
	errs := errors.Join(found.unseen...)
	left := found.unread // runs that left something that is still there
	for i, l := range found.objects {
		holds := i >= len(found.objects)-found.holders
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case alive[l.run]:
			say(fmt.Sprintf("%s: left alone, its run is still going on (--all removes it too)", l))
		case holds && left[l.run]:
			say(fmt.Sprintf("%s: left until all else of its run is gone, as the run's Lease names that", l))
		case o.DryRun:
			say(fmt.Sprintf("%s: would be removed", l))
		default:
			if err := c.remove(ctx, l, o, say); err != nil {
				errs, left[l.run] = errors.Join(errs, err), true
			}
		}
	}
	return errs
}

// remove deletes one object and waits until it is gone. When a namespace does
// not go, it says what holds it and, if told so, takes its finalizers off. The
// error is ErrLeft when the object is still there in the end.
func (c *Cluster) remove(ctx context.Context, l object, o CleanOptions, say func(string)) error {
	err := c.waitGone(ctx, l, o.Timeout)
	if err == nil {
		say(l.String() + ": removed")
		return nil
	}
	if !wait.Interrupted(err) {
		return fmt.Errorf("deleting %s: %w", l, err)
	}
	left := fmt.Errorf("%w: %s", ErrLeft, l)
	if l.gvk != namespaceKind {
		say(fmt.Sprintf("%s: still there after %s; its finalizers: %s", l, o.Timeout, strings.Join(c.finalizers(ctx, l), ", ")))
		return left
	}
	ns, err := c.Kube.CoreV1().Namespaces().Get(ctx, l.name, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("reading namespace %s: %w", l.name, err)
	}
	// What keeps it Terminating: the conditions that the namespace controller sets name
	// kinds, counts and finalizers.
	for _, condition := range ns.Status.Conditions {
		if condition.Status == corev1.ConditionTrue {
			say(fmt.Sprintf("%s: held by %s", l, condition.Message))
		}
	}
	for _, f := range ns.Finalizers {
		say(fmt.Sprintf("%s: held by the namespace's own finalizer %s", l, f))
	}
	if !o.Finalize {
		say(fmt.Sprintf("%s: still Terminating after %s; remove what holds it, or use --finalize to give the namespace up with whatever is left in it", l, o.Timeout))
		return left
	}
	if err := c.finalize(ctx, ns); err != nil {
		return err
	}
	if c.waitGone(ctx, l, o.Timeout) != nil {
		say(l.String() + ": still there although its finalizers are off")
		return left
	}
	say(l.String() + ": removed by taking its finalizers off")
	return nil
}

// waitGone deletes an object and waits until it is gone. The error is one of
// wait's when that took too long.
func (c *Cluster) waitGone(ctx context.Context, o object, timeout time.Duration) error {
	return poll(ctx, 250*time.Millisecond, timeout, func(ctx context.Context) (bool, error) { return c.delete(ctx, o) })
}

func (c *Cluster) finalizers(ctx context.Context, o object) []string {
	client, _, err := c.resource(o.gvk, o.namespace)
	if err != nil {
		return nil
	}
	current, err := client.Get(ctx, o.name, metav1.GetOptions{})
	if err != nil {
		return nil
	}
	return current.GetFinalizers()
}

// finalize empties spec.finalizers by the finalize subresource, and only of a
// namespace that carries hpabench's label.
func (c *Cluster) finalize(ctx context.Context, ns *corev1.Namespace) error {
	if ns.Labels[ManagedByLabel] != ManagedBy || ns.DeletionTimestamp == nil {
		return fmt.Errorf("namespace %s is not one that hpabench made and that is Terminating: its finalizers stay", ns.Name)
	}
	ns.Spec.Finalizers = nil
	if _, err := c.Kube.CoreV1().Namespaces().Finalize(ctx, ns, metav1.UpdateOptions{FieldManager: ManagedBy}); err != nil {
		return fmt.Errorf("taking the finalizers off namespace %s: %w", ns.Name, err)
	}
	return nil
}

// leftovers are the objects with the labels of runs.
type leftovers struct {
	objects  []object               // that runs made, in the order in which to remove them
	holders  int                    // the last of the objects: Leases, and the namespaces that hold them
	copies   []object               // of which nothing proves that a run made them
	leases   []coordinationv1.Lease // of runs
	where    string                 // the namespace in which Leases were looked for; empty: in all
	ending   map[string]bool        // runs whose namespace is being deleted
	unseen   []error                // what could not be looked at
	unread   map[string]bool        // runs whose Lease names what could not be read
	unlisted []string               // resources that may not be listed
}

// leftovers looks for what runs made: by the labels of namespaces, and by the
// Leases that name the rest.
func (c *Cluster) leftovers(ctx context.Context, o CleanOptions) (found leftovers, err error) {
	forbidden := func(err error) bool {
		if apierrors.IsForbidden(err) {
			found.unseen = append(found.unseen, fmt.Errorf("no right to look for all that runs left: %w", err))
			return true
		}
		return false
	}
	if found.leases, err = c.leases(ctx, ""); forbidden(err) {
		found.where = o.Namespace
		if err = nil; found.where != "" {
			if found.leases, err = c.leases(ctx, found.where); forbidden(err) {
				err = nil
			}
		}
	}
	if err != nil {
		return found, err
	}
	namespaces, err := c.Kube.CoreV1().Namespaces().List(ctx, metav1.ListOptions{LabelSelector: ourLabels})
	if err != nil && !forbidden(err) {
		return found, fmt.Errorf("listing the namespaces of runs: %w", err)
	}
	known, within := map[types.UID]bool{}, o.Namespace
	found.unread = map[string]bool{}
	var holders []object // of Leases, and so the last to go
	found.ending = map[string]bool{}
	for _, n := range namespaces.Items {
		is := objectOf(namespaceKind, &n)
		switch {
		case is.name != namespaceOf(n.Labels[ScenarioLabel], is.run) || !madeBy(&n, is.run):
			found.copies = append(found.copies, is)
			continue
		case len(found.unseen) > 0:
			// Its Lease tells whether the run goes on, and what else it made.
			found.unseen = append(found.unseen, fmt.Errorf("%s: left, since its run's Lease could not be looked at", is))
			continue
		}
		holders, found.ending[is.run] = append(holders, is), n.DeletionTimestamp != nil
		if is.name == within {
			within = "" // all in it goes with it
		}
	}
	for _, l := range found.leases {
		objects, unread, err := c.named(ctx, &l, within)
		if err != nil {
			return found, err
		}
		found.objects = append(found.objects, objects...)
		for _, err := range unread {
			forbidden(err)
			found.unread[l.Labels[RunLabel]] = true
		}
		if l.Namespace == within {
			holders = append(holders, objectOf(leaseKind, &l))
		}
	}
	found.objects, found.holders = append(found.objects, holders...), len(holders)
	for _, is := range found.objects {
		known[is.uid] = true
	}
	others, unlisted, err := c.labelled(ctx, within)
	found.unlisted = unlisted
	found.copies = append(found.copies, slices.DeleteFunc(others, func(is object) bool { return known[is.uid] })...)
	return found, err
}

func objectOf(gvk schema.GroupVersionKind, o metav1.Object) object {
	return object{gvk: gvk, namespace: o.GetNamespace(), name: o.GetName(), run: o.GetLabels()[RunLabel], uid: o.GetUID()}
}

// ourLabels selects what carries the labels of runs.
const ourLabels = RunLabel + "," + ManagedByLabel + "=" + ManagedBy

// leases lists those of runs, without copies.
func (c *Cluster) leases(ctx context.Context, namespace string) ([]coordinationv1.Lease, error) {
	list, err := c.Kube.CoordinationV1().Leases(namespace).List(ctx, metav1.ListOptions{LabelSelector: ourLabels})
	if err != nil {
		return nil, fmt.Errorf("listing the leases of runs: %w", err)
	}
	return slices.DeleteFunc(list.Items, func(l coordinationv1.Lease) bool {
		run := l.Labels[RunLabel]
		return l.Name != leaseOf(run) || !madeBy(&l, run)
	}), nil
}

// named finds the objects that a run's Lease names, newest first: those without a
// namespace, and those in the Lease's own if that is the one to clean.
func (c *Cluster) named(ctx context.Context, l *coordinationv1.Lease, namespace string) (objects []object, unread []error, err error) {
	var names []autoscalingv2.CrossVersionObjectReference
	if text := l.Annotations[ObjectsAnnotation]; text != "" {
		if err := json.Unmarshal([]byte(text), &names); err != nil {
			return nil, nil, fmt.Errorf("reading annotation %s of lease %s in namespace %s: %w", ObjectsAnnotation, l.Name, l.Namespace, err)
		}
	}
	for _, n := range slices.Backward(names) {
		gvk := schema.FromAPIVersionAndKind(n.APIVersion, n.Kind)
		client, mapping, err := c.resource(gvk, l.Namespace)
		if meta.IsNoMatchError(err) || err == nil && mapping.Scope.Name() == meta.RESTScopeNameNamespace && l.Namespace != namespace {
			continue // it went with its kind, or is not to be cleaned
		}
		if err != nil {
			return nil, nil, err
		}
		current, err := client.Get(ctx, n.Name, metav1.GetOptions{})
		switch {
		case apierrors.IsForbidden(err):
			unread = append(unread, fmt.Errorf("reading %s %s, which run %s made: %w", n.Kind, n.Name, l.Labels[RunLabel], err))
		case apierrors.IsNotFound(err):
		case err != nil:
			return nil, nil, fmt.Errorf("reading %s %s: %w", n.Kind, n.Name, err)
		default:
			if o := objectOf(gvk, current); o.run == l.Labels[RunLabel] && madeBy(current, o.run) {
				objects = append(objects, o)
			}
		}
	}
	return objects, unread, nil
}

// aliveRuns returns the ids of the runs that renew their Lease, of those that left
// something. It watches a Lease for longer than the run may go without a renewal, or
// until all are seen to be alive: that compares no two clocks.
func (c *Cluster) aliveRuns(ctx context.Context, found leftovers, say func(string)) (alive map[string]bool, err error) {
	alive = map[string]bool{}
	var never metav1.MicroTime
	renewed, look := map[string]metav1.MicroTime{}, leaseDuration // renewed: when each Lease was last, as the run says
	for _, o := range found.objects {
		if !found.ending[o.run] {
			renewed[o.run] = never // it may be about to make its Lease
		}
	}
	for _, l := range found.leases {
		run := l.Labels[RunLabel]
		if l.Spec.HolderIdentity == nil {
			delete(renewed, run) // it ended, and kept what it made
		} else if slices.ContainsFunc(found.objects, func(o object) bool { return o.run == run }) {
			renewed[run] = ptr.Deref(l.Spec.RenewTime, never)
			look = max(look, time.Duration(ptr.Deref(l.Spec.LeaseDurationSeconds, 0))*time.Second)
		}
	}
	if len(renewed) == 0 {
		return alive, nil
	}
	look += leaseRenewal
	say(fmt.Sprintf("looking for up to %s whether a run still renews its Lease: %s", look, some(slices.Sorted(maps.Keys(renewed)))))
	err = wait.PollUntilContextTimeout(ctx, time.Second, look, false, func(ctx context.Context) (bool, error) {
		leases, err := c.leases(ctx, found.where)
		for _, l := range leases {
			run := l.Labels[RunLabel]
			if before, open := renewed[run]; open && !ptr.Deref(l.Spec.RenewTime, never).Time.Equal(before.Time) {
				alive[run] = true
				delete(renewed, run)
			}
		}
		return len(renewed) == 0, err
	})
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if wait.Interrupted(err) {
		err = nil
	}
	return alive, err
}

// labelled lists what carries a run's labels, as far as it may be listed: objects
// without a namespace, and those in the given namespace. Objects that another
// object owns and endpoints, which follow their Service, are left to Kubernetes.
// Unlisted are the resources within the namespace that may not be listed.
func (c *Cluster) labelled(ctx context.Context, namespace string) (found []object, unlisted []string, err error) {
	lists, err := c.Kube.Discovery().ServerPreferredResources()
	if err != nil && !discovery.IsGroupDiscoveryFailedError(err) {
		return nil, nil, fmt.Errorf("asking the cluster for its kinds: %w", err)
	}
	for _, list := range discovery.FilteredBy(discovery.SupportsAllVerbs{Verbs: []string{"list", "delete"}}, lists) {
		gv, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			continue
		}
		for _, r := range list.APIResources {
			if r.Namespaced && namespace == "" || slices.Contains([]string{"events", "endpoints", "namespaces"}, r.Name) {
				continue
			}
			within := metav1.NamespaceNone
			if r.Namespaced {
				within = namespace
			}
			listed, err := c.Dynamic.Resource(gv.WithResource(r.Name)).Namespace(within).List(ctx, metav1.ListOptions{LabelSelector: ourLabels})
			if apierrors.IsForbidden(err) && r.Namespaced {
				unlisted = append(unlisted, r.Name)
			}
			if apierrors.IsForbidden(err) || apierrors.IsNotFound(err) || apierrors.IsMethodNotSupported(err) {
				continue
			}
			if err != nil {
				return nil, nil, fmt.Errorf("listing %s: %w", r.Name, err)
			}
			for _, item := range listed.Items {
				if len(item.GetOwnerReferences()) == 0 {
					found = append(found, objectOf(gv.WithKind(r.Kind), &item))
				}
			}
		}
	}
	return found, unlisted, nil
}
