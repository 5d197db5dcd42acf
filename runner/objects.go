package runner

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"
)

// Labels on every object that a run creates, its namespace included.
const (
	ManagedByLabel = "app.kubernetes.io/managed-by"
	ManagedBy      = "hpabench"
	RunLabel       = "hpabench.dev/run"
	ScenarioLabel  = "hpabench.dev/scenario"
)

const (
	// deletionTimeout is how long the tear-down waits for what it deleted,
	// beside the pods' own grace period.
	deletionTimeout = 2 * time.Minute
	// leaseRenewal is how often a run renews its Lease.
	leaseRenewal = 10 * time.Second
)

var (
	namespaceKind = corev1.SchemeGroupVersion.WithKind("Namespace")
	leaseKind     = coordinationv1.SchemeGroupVersion.WithKind("Lease")
)

// created makes the objects of one run and remembers them until they are gone,
// from before the request: one that is interrupted may have been carried out.
// What stands in a namespace of the run's own is not remembered one by one: it
// goes with the namespace, in the order that Kubernetes chose for that.
type created struct {
	*Cluster
	labels    map[string]string
	namespace string
	own       bool

	mu      sync.Mutex
	objects []object // oldest first
}

// object names one object of a run; namespace is empty for one without.
type object struct {
	gvk             schema.GroupVersionKind
	namespace, name string
	run             string // the value of its RunLabel, without which it is not ours
}

func (o object) String() string {
	s := strings.ToLower(o.gvk.Kind) + "/" + o.name
	if o.namespace != "" {
		s += " in namespace " + o.namespace
	}
	return s
}

// add remembers an object that is about to be made.
func (c *created) add(gvk schema.GroupVersionKind, namespace, name string) {
	if c.own && namespace == c.namespace {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.objects = append(c.objects, object{gvk, namespace, name, c.labels[RunLabel]})
}

// fieldManager is another for each run, so that two runs that apply the same
// object are a conflict.
func (c *created) fieldManager() string { return "hpabench-" + c.labels[RunLabel] }

// left lists what was created and is not known to be gone.
func (c *created) left() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var names []string
	for _, o := range c.objects {
		names = append(names, o.String())
	}
	return names
}

// createNamespace makes the run's own namespace.
func (c *created) createNamespace(ctx context.Context) error {
	c.add(namespaceKind, "", c.namespace)
	_, err := c.Kube.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: c.namespace, Labels: c.labels}},
		metav1.CreateOptions{FieldManager: c.fieldManager()})
	if err != nil {
		return fmt.Errorf("creating namespace %s: %w", c.namespace, err)
	}
	return nil
}

// holdLease creates a Lease that says that the run is alive, and renews it
// until alive is done. Without it `hpabench clean` could not tell a colleague's
// run from one that died.
func (c *created) holdLease(ctx, alive context.Context) error {
	leases, name, now := c.Kube.CoordinationV1().Leases(c.namespace), c.lease(), metav1.NowMicro()
	c.add(leaseKind, c.namespace, name)
	if _, err := leases.Create(ctx, &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: c.labels},
		Spec:       coordinationv1.LeaseSpec{HolderIdentity: &name, AcquireTime: &now, RenewTime: &now},
	}, metav1.CreateOptions{FieldManager: c.fieldManager()}); err != nil {
		return fmt.Errorf("creating lease %s: %w", name, err)
	}
	go wait.UntilWithContext(alive, func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, leaseRenewal)
		defer cancel()
		patch := fmt.Sprintf(`{"spec":{"renewTime":%q}}`, time.Now().UTC().Format(metav1.RFC3339Micro))
		// The next one makes good for one that fails.
		_, _ = leases.Patch(ctx, name, types.MergePatchType, []byte(patch), metav1.PatchOptions{FieldManager: c.fieldManager()})
	}, leaseRenewal)
	return nil
}

// releaseLease removes the Lease, so that what a run leaves on purpose does not
// look like one that goes on.
func (c *created) releaseLease(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	err := c.Kube.CoordinationV1().Leases(c.namespace).Delete(ctx, c.lease(), metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("deleting lease %s: %w", c.lease(), err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.objects = slices.DeleteFunc(c.objects, func(o object) bool { return o.gvk == leaseKind })
	return nil
}

func (c *created) lease() string { return "hpabench-" + c.labels[RunLabel] }

// apply creates an object by server-side apply, with the run's labels. It
// refuses to touch one that exists already.
func (c *created) apply(ctx context.Context, o *unstructured.Unstructured) error {
	client, mapping, err := c.waitForKind(ctx, o.GroupVersionKind())
	if err != nil {
		return fmt.Errorf("creating %s %s: %w", o.GetKind(), o.GetName(), err)
	}
	o = o.DeepCopy()
	namespace := ""
	if mapping.Scope.Name() == meta.RESTScopeNameNamespace {
		namespace = c.namespace
		o.SetNamespace(namespace)
	}
	labels := maps.Clone(c.labels)
	for k, v := range o.GetLabels() {
		if _, ours := labels[k]; !ours {
			labels[k] = v
		}
	}
	o.SetLabels(labels)
	if !c.own && o.GetKind() == "StatefulSet" {
		// Its claims would outlive it in a namespace that is not the run's.
		policy := []string{"spec", "persistentVolumeClaimRetentionPolicy", "whenDeleted"}
		if err := unstructured.SetNestedField(o.Object, "Delete", policy...); err != nil {
			return err
		}
	}
	switch _, err := client.Get(ctx, o.GetName(), metav1.GetOptions{}); {
	case err == nil:
		return BadInput{fmt.Errorf("%s %s exists already: hpabench does not change what it did not create", o.GetKind(), o.GetName())}
	case !apierrors.IsNotFound(err):
		return fmt.Errorf("looking for another %s %s: %w", o.GetKind(), o.GetName(), err)
	}
	body, err := json.Marshal(o)
	if err != nil {
		return err
	}
	c.add(o.GroupVersionKind(), namespace, o.GetName())
	_, err = client.Patch(ctx, o.GetName(), types.ApplyPatchType, body,
		metav1.PatchOptions{FieldManager: c.fieldManager(), FieldValidation: metav1.FieldValidationStrict})
	if err != nil {
		err = fmt.Errorf("creating %s %s: %w", o.GetKind(), o.GetName(), err)
		if apierrors.IsInvalid(err) || apierrors.IsBadRequest(err) {
			err = BadInput{err}
		}
	}
	return err
}

// waitForKind gives a CustomResourceDefinition that was created just before
// the seconds that the API server takes until it serves the kind.
func (c *created) waitForKind(ctx context.Context, gvk schema.GroupVersionKind) (client dynamic.ResourceInterface, mapping *meta.RESTMapping, err error) {
	waitErr := wait.PollUntilContextTimeout(ctx, 500*time.Millisecond, 10*time.Second, true, func(context.Context) (bool, error) {
		client, mapping, err = c.resource(gvk, c.namespace)
		return !meta.IsNoMatchError(err), nil
	})
	if err == nil {
		err = waitErr
	}
	return client, mapping, err
}

// tearDown deletes what was created, newest first, and waits until it is gone,
// which may take the pods their grace period. The error names what is left.
func (c *created) tearDown(ctx context.Context, grace time.Duration, progress func(string)) error {
	ctx, cancel := context.WithTimeoutCause(ctx, deletionTimeout+grace,
		fmt.Errorf("it took longer than %s", deletionTimeout+grace))
	defer cancel()
	c.mu.Lock()
	objects := slices.Clone(c.objects)
	c.mu.Unlock()
	slices.Reverse(objects)
	said := ""
	var last error
	err := wait.PollUntilContextCancel(ctx, 250*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		last = nil
		objects = slices.DeleteFunc(objects, func(o object) bool {
			gone, err := c.delete(ctx, o)
			if gone {
				c.drop(o)
			} else if err != nil {
				last = err
			}
			return gone
		})
		if len(objects) > 0 && said != objects[0].String() {
			said = objects[0].String()
			progress("waiting until " + said + " is gone")
		}
		return len(objects) == 0, refused(last)
	})
	if err == nil {
		return nil
	}
	return fmt.Errorf("deleting %s: %w", strings.Join(c.left(), ", "), cmp.Or(last, context.Cause(ctx), err))
}

// refused returns err if it is one that does not pass by waiting.
func refused(err error) error {
	if apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) {
		return err
	}
	return nil
}

// delete asks for the end of o unless that has been asked, and reports whether
// it is gone.
func (c *Cluster) delete(ctx context.Context, o object) (gone bool, err error) {
	client, _, err := c.resource(o.gvk, o.namespace)
	if err != nil {
		return meta.IsNoMatchError(err), err
	}
	current, err := client.Get(ctx, o.name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err) || err == nil && current.GetLabels()[RunLabel] != o.run:
		return true, nil
	case err != nil || current.GetDeletionTimestamp() != nil:
		return false, err
	}
	foreground, uid := metav1.DeletePropagationForeground, current.GetUID()
	return false, client.Delete(ctx, o.name, metav1.DeleteOptions{PropagationPolicy: &foreground, Preconditions: &metav1.Preconditions{UID: &uid}})
}

func (c *created) drop(gone object) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.objects = slices.DeleteFunc(c.objects, func(o object) bool { return o == gone })
}
