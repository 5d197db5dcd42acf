package runner

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
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

// Clean removes what earlier runs left behind, found by its labels: their
// namespaces, objects without a namespace, and with CleanOptions.Namespace the
// objects in a namespace that a run was told to use. What belongs to a run that
// renews its Lease is left alone. It says what it does, line by line, and goes on
// with the next object when one cannot be removed.
func (c *Cluster) Clean(ctx context.Context, o CleanOptions, say func(string)) error {
	if o.Timeout == 0 {
		o.Timeout = time.Minute
	}
	leftovers, err := c.leftovers(ctx, o.Namespace)
	if err != nil {
		return err
	}
	if len(leftovers) == 0 {
		say("nothing to remove")
		return nil
	}
	alive := map[string]bool{}
	if !o.All {
		if alive, err = c.aliveRuns(ctx, o.Namespace, say); err != nil {
			return err
		}
	}
	var errs error
	for _, l := range leftovers {
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case alive[l.run]:
			say(fmt.Sprintf("%s: left alone, its run is still going on (--all removes it too)", l))
		case o.DryRun:
			say(fmt.Sprintf("%s: would be removed", l))
		default:
			errs = errors.Join(errs, c.remove(ctx, l, o, say))
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
	blockers, err := c.blockers(ctx, l.name)
	if err != nil {
		return err
	}
	for _, b := range blockers {
		say(fmt.Sprintf("%s: held by %s", l, b))
	}
	if !o.Finalize {
		say(fmt.Sprintf("%s: still Terminating after %s; remove what holds it, or use --finalize to give the namespace up with whatever is left in it", l, o.Timeout))
		return left
	}
	if err := c.finalize(ctx, l.name); err != nil {
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
	var last error
	err := wait.PollUntilContextTimeout(ctx, 250*time.Millisecond, timeout, true, func(ctx context.Context) (gone bool, err error) {
		gone, last = c.delete(ctx, o)
		return gone, refused(last)
	})
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil && last != nil {
		return last
	}
	return err
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

// blockers says in words what keeps a namespace Terminating: the conditions
// that the namespace controller sets, which name kinds, counts and finalizers.
func (c *Cluster) blockers(ctx context.Context, name string) ([]string, error) {
	ns, err := c.Kube.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("reading namespace %s: %w", name, err)
	}
	var held []string
	for _, condition := range ns.Status.Conditions {
		if condition.Status == corev1.ConditionTrue {
			held = append(held, condition.Message)
		}
	}
	for _, f := range ns.Finalizers {
		held = append(held, "the namespace's own finalizer "+f)
	}
	return held, nil
}

// finalize empties spec.finalizers by the finalize subresource, and only of a
// namespace that carries hpabench's label.
func (c *Cluster) finalize(ctx context.Context, name string) error {
	ns, err := c.Kube.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("reading namespace %s: %w", name, err)
	}
	if ns.Labels[ManagedByLabel] != ManagedBy || ns.DeletionTimestamp == nil {
		return fmt.Errorf("namespace %s is not one that hpabench made and that is Terminating: its finalizers stay", name)
	}
	ns.Spec.Finalizers = nil
	if _, err := c.Kube.CoreV1().Namespaces().Finalize(ctx, ns, metav1.UpdateOptions{FieldManager: ManagedBy}); err != nil {
		return fmt.Errorf("taking the finalizers off namespace %s: %w", name, err)
	}
	return nil
}

// aliveRuns returns the ids of the runs that renew their Lease, which it watches
// for a little longer than a run takes between two renewals: that compares no two
// clocks. Without the right to list the Leases of all namespaces it looks in the
// one that is cleaned.
func (c *Cluster) aliveRuns(ctx context.Context, namespace string, say func(string)) (map[string]bool, error) {
	list := func(where string) (map[string]metav1.MicroTime, error) {
		leases, err := c.Kube.CoordinationV1().Leases(where).List(ctx, metav1.ListOptions{LabelSelector: RunLabel})
		if err != nil {
			return nil, fmt.Errorf("listing the leases of runs: %w", err)
		}
		renewed := map[string]metav1.MicroTime{}
		for _, l := range leases.Items {
			if l.Spec.RenewTime != nil {
				renewed[l.Labels[RunLabel]] = *l.Spec.RenewTime
			}
		}
		return renewed, nil
	}
	where := ""
	before, err := list(where)
	if apierrors.IsForbidden(err) && namespace != "" {
		where = namespace
		before, err = list(where)
	}
	if err != nil || len(before) == 0 {
		return nil, err
	}
	const look = leaseRenewal + 2*time.Second
	say(fmt.Sprintf("looking for %s whether a run is still going on", look))
	select {
	case <-time.After(look):
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	after, err := list(where)
	alive := map[string]bool{}
	for run, renewed := range after {
		was, known := before[run]
		alive[run] = !known || !was.Equal(&renewed) // one that began meanwhile is alive as well
	}
	return alive, err
}

// leftovers finds what carries a run's label: namespaces, the other objects
// without a namespace, and the objects in the given namespace. Objects that
// another object owns are left to Kubernetes.
func (c *Cluster) leftovers(ctx context.Context, namespace string) ([]object, error) {
	lists, err := c.Kube.Discovery().ServerPreferredResources()
	if err != nil && !discovery.IsGroupDiscoveryFailedError(err) {
		return nil, fmt.Errorf("asking the cluster for its kinds: %w", err)
	}
	var found []object
	for _, list := range lists {
		gv, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			continue
		}
		for _, r := range list.APIResources {
			if !slices.Contains(r.Verbs, "list") || !slices.Contains(r.Verbs, "delete") || r.Namespaced && namespace == "" || r.Name == "events" {
				continue
			}
			var client dynamic.ResourceInterface = c.Dynamic.Resource(gv.WithResource(r.Name))
			if r.Namespaced {
				client = c.Dynamic.Resource(gv.WithResource(r.Name)).Namespace(namespace)
			}
			listed, err := client.List(ctx, metav1.ListOptions{LabelSelector: RunLabel + "," + ManagedByLabel + "=" + ManagedBy})
			if apierrors.IsForbidden(err) || apierrors.IsNotFound(err) || apierrors.IsMethodNotSupported(err) {
				continue
			}
			if err != nil {
				return nil, fmt.Errorf("listing %s: %w", r.Name, err)
			}
			for _, item := range listed.Items {
				if len(item.GetOwnerReferences()) == 0 {
					found = append(found, object{gv.WithKind(r.Kind), item.GetNamespace(), item.GetName(), item.GetLabels()[RunLabel]})
				}
			}
		}
	}
	return found, nil
}
