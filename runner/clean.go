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

// leftover is one object that carries a run's label.
type leftover struct {
	object
	run string
}

// Clean removes what earlier runs left behind, found by its labels: their
// namespaces, objects without a namespace, and with Options.Namespace the
// objects in a namespace that a run was told to use. What belongs to a run whose
// Lease is fresh is left alone. It says what it does, line by line.
func (c *Cluster) Clean(ctx context.Context, o CleanOptions, say func(string)) error {
	if o.Timeout == 0 {
		o.Timeout = time.Minute
	}
	leftovers, err := c.leftovers(ctx, o.Namespace)
	if err != nil {
		return err
	}
	alive, err := c.aliveRuns(ctx)
	if err != nil {
		return err
	}
	if len(leftovers) == 0 {
		say("nothing to remove")
	}
	var left error
	for _, l := range leftovers {
		switch {
		case alive[l.run] && !o.All:
			say(fmt.Sprintf("%s: left alone, run %s is still alive (--all removes it too)", l, l.run))
		case o.DryRun:
			say(fmt.Sprintf("%s: would be removed", l))
		default:
			if err := c.remove(ctx, l, o, say); err != nil {
				return err
			} else if gone, _ := c.delete(ctx, l.object); !gone {
				left = ErrLeft
			}
		}
	}
	return left
}

// remove deletes one object and waits until it is gone. When a namespace does
// not go, it says what holds it and, if told so, takes its finalizers off.
func (c *Cluster) remove(ctx context.Context, l leftover, o CleanOptions, say func(string)) error {
	waitGone := func(timeout time.Duration) error {
		return wait.PollUntilContextTimeout(ctx, 250*time.Millisecond, timeout, true, func(ctx context.Context) (bool, error) {
			gone, err := c.delete(ctx, l.object)
			if apierrors.IsForbidden(err) {
				return false, err
			}
			return gone, nil
		})
	}
	err := waitGone(o.Timeout)
	if err == nil {
		say(fmt.Sprintf("%s: removed", l))
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if !wait.Interrupted(err) {
		return fmt.Errorf("deleting %s: %w", l, err)
	}
	if l.gvk != namespaceKind {
		say(fmt.Sprintf("%s: still there after %s; finalizers: %s", l, o.Timeout, strings.Join(c.finalizers(ctx, l.object), ", ")))
		return nil
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
		return nil
	}
	if err := c.finalize(ctx, l.name); err != nil {
		return err
	}
	if err := waitGone(o.Timeout); err != nil {
		say(fmt.Sprintf("%s: still there although its finalizers are off", l))
		return nil
	}
	say(fmt.Sprintf("%s: removed by taking its finalizers off", l))
	return nil
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
	if _, err := c.Kube.CoreV1().Namespaces().Finalize(ctx, ns, metav1.UpdateOptions{FieldManager: fieldManager}); err != nil {
		return fmt.Errorf("taking the finalizers off namespace %s: %w", name, err)
	}
	return nil
}

// aliveRuns returns the ids of the runs whose Lease was renewed lately.
func (c *Cluster) aliveRuns(ctx context.Context) (map[string]bool, error) {
	leases, err := c.Kube.CoordinationV1().Leases("").List(ctx, metav1.ListOptions{LabelSelector: RunLabel})
	if err != nil {
		return nil, fmt.Errorf("listing the leases of runs that are alive: %w", err)
	}
	alive := map[string]bool{}
	for _, l := range leases.Items {
		if l.Spec.RenewTime != nil && time.Since(l.Spec.RenewTime.Time) < leaseSeconds*time.Second {
			alive[l.Labels[RunLabel]] = true
		}
	}
	return alive, nil
}

// leftovers finds what carries a run's label: namespaces, the other objects
// without a namespace, and the objects in the given namespace. Objects that
// another object owns are left to Kubernetes.
func (c *Cluster) leftovers(ctx context.Context, namespace string) ([]leftover, error) {
	lists, err := c.Kube.Discovery().ServerPreferredResources()
	if err != nil && !discovery.IsGroupDiscoveryFailedError(err) {
		return nil, fmt.Errorf("asking the cluster for its kinds: %w", err)
	}
	var found []leftover
	for _, list := range lists {
		gv, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			continue
		}
		for _, r := range list.APIResources {
			if !slices.Contains(r.Verbs, "list") || !slices.Contains(r.Verbs, "delete") || r.Namespaced && namespace == "" || r.Name == "events" {
				continue
			}
			client := c.Dynamic.Resource(gv.WithResource(r.Name))
			options := metav1.ListOptions{LabelSelector: RunLabel + "," + ManagedByLabel + "=" + ManagedBy}
			listed, err := client.Namespace(map[bool]string{true: namespace}[r.Namespaced]).List(ctx, options)
			if apierrors.IsForbidden(err) || apierrors.IsNotFound(err) || apierrors.IsMethodNotSupported(err) {
				continue
			}
			if err != nil {
				return nil, fmt.Errorf("listing %s: %w", r.Name, err)
			}
			for _, item := range listed.Items {
				if len(item.GetOwnerReferences()) == 0 {
					found = append(found, leftover{object{gv.WithKind(r.Kind), item.GetNamespace(), item.GetName(), item.GetUID()}, item.GetLabels()[RunLabel]})
				}
			}
		}
	}
	return found, nil
}
