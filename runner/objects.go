package runner

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
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
	leaseRenewal = 5 * time.Second
	// leaseDuration is how long a run is alive after its last renewal: an API server
	// may take 20 s for each of them, or fail five in a row.
	leaseDuration = 30 * time.Second
	// doubt is how long an object may still appear after the answer to its creation
	// was lost: the API server ends a request after that time by itself
	// (--request-timeout is a minute, but etcd answers or fails within seconds).
	doubt = 5 * time.Second
	// lastAnswer is how long an interrupt waits for the answer to a creation: the
	// first Ctrl-C is to end all work within 2 s.
	lastAnswer = time.Second
)

// ObjectsAnnotation on the Lease of a run names the objects that the run makes
// beside its namespace: a JSON list of autoscalingv2.CrossVersionObjectReference.
const ObjectsAnnotation = "hpabench.dev/objects"

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

	leaseLost func() // is called when somebody deleted the Lease; may be nil

	mu      sync.Mutex
	objects []object // oldest first
}

// object names one object of a run; namespace is empty for one without.
type object struct {
	gvk             schema.GroupVersionKind
	namespace, name string
	run             string    // the value of its RunLabel
	uid             types.UID // empty until the API server has told it
	doubted         time.Time // when the answer to its creation was lost
}

func (o object) String() string {
	s := strings.ToLower(o.gvk.Kind) + "/" + o.name
	if o.namespace != "" {
		s += " in namespace " + o.namespace
	}
	return s
}

// owns says whether current is the object o, and not another one under its name:
// an object whose creation was cut off is known by its label and by who made it.
func (o object) owns(current metav1.Object) bool {
	if o.uid != "" {
		return current.GetUID() == o.uid
	}
	return current.GetLabels()[RunLabel] == o.run && madeBy(current, o.run)
}

// madeBy says whether a run created the object, as the API server noted with the
// object's first fields. Labels can be copied to another object, and so can the
// managed fields of an export, but then they are older than the copy.
func madeBy(o metav1.Object, run string) bool {
	return slices.ContainsFunc(o.GetManagedFields(), func(m metav1.ManagedFieldsEntry) bool {
		return m.Manager == managerOf(run) && (m.Time == nil || o.GetCreationTimestamp().Sub(m.Time.Time) < slowestCreation)
	})
}

// slowestCreation is the longest that the API server takes from the note of who
// creates an object to its creation: its --request-timeout.
const slowestCreation = time.Minute

// make creates an object by request and remembers it, from before the request.
// An interrupt leaves the request time for its answer, so that it is known what
// became of it. That the object is there already is a BadInput: somebody else made it.
func (c *created) make(ctx context.Context, gvk schema.GroupVersionKind, namespace, name string, request func(context.Context) (metav1.Object, error)) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	o := object{gvk: gvk, namespace: namespace, name: name, run: c.labels[RunLabel]}
	c.remember(o)
	asked, cancel := context.WithTimeout(context.WithoutCancel(ctx), requestTimeout)
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(lastAnswer, cancel) })()
	made, err := request(asked)
	if err == nil {
		o.uid = made.GetUID()
		c.remember(o)
		return nil
	}
	if apierrors.IsAlreadyExists(err) {
		if client, _, lookup := c.resource(gvk, namespace); lookup == nil {
			if current, lookup := client.Get(asked, name, metav1.GetOptions{}); lookup == nil && o.owns(current) {
				o.uid = current.GetUID() // of an earlier request of this run
				c.remember(o)
				return nil
			}
		}
	}
	if refusal := apierrors.APIStatus(nil); errors.As(err, &refusal) && refusal.Status().Code/100 == 4 {
		c.drop(o)
	} else {
		o.doubted = time.Now()
		c.remember(o)
	}
	switch {
	case apierrors.IsAlreadyExists(err):
		return BadInput{fmt.Errorf("%s %s exists already: hpabench does not change what it did not create", gvk.Kind, name)}
	case apierrors.IsInvalid(err) || apierrors.IsBadRequest(err):
		return BadInput{fmt.Errorf("creating %s %s: %w", gvk.Kind, name, err)}
	}
	return fmt.Errorf("creating %s %s: %w", gvk.Kind, name, err)
}

// remember keeps what is known of an object, in place of what was known before.
func (c *created) remember(o object) {
	if c.own && o.namespace == c.namespace {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if i := c.find(o); i >= 0 {
		c.objects[i] = o
	} else {
		c.objects = append(c.objects, o)
	}
}

func (c *created) drop(gone object) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if i := c.find(gone); i >= 0 {
		c.objects = slices.Delete(c.objects, i, i+1)
	}
}

func (c *created) find(o object) int {
	return slices.IndexFunc(c.objects, func(is object) bool {
		return is.gvk == o.gvk && is.namespace == o.namespace && is.name == o.name
	})
}

// managerOf is the field manager of a run: it says in an object which run made it.
func managerOf(run string) string { return "hpabench-" + run }

// by are the options with which the run creates its objects.
func (c *created) by() metav1.CreateOptions {
	return metav1.CreateOptions{FieldManager: managerOf(c.labels[RunLabel]), FieldValidation: metav1.FieldValidationStrict}
}

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
	return c.make(ctx, namespaceKind, "", c.namespace, func(ctx context.Context) (metav1.Object, error) {
		return c.Kube.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: c.namespace, Labels: c.labels}}, c.by())
	})
}

// holdLease creates a Lease that says that the run is alive and what it makes,
// and renews it until alive is done. Without it `hpabench clean` could not tell a
// colleague's run from one that died, nor the run's objects from their copies.
func (c *created) holdLease(ctx, alive context.Context, objects []*unstructured.Unstructured) error {
	names := []autoscalingv2.CrossVersionObjectReference{}
	for _, o := range objects {
		if _, mapping, err := c.resource(o.GroupVersionKind(), c.namespace); c.own && err == nil && mapping.Scope.Name() == meta.RESTScopeNameNamespace {
			continue // it goes with the namespace
		}
		names = append(names, autoscalingv2.CrossVersionObjectReference{APIVersion: o.GetAPIVersion(), Kind: o.GetKind(), Name: o.GetName()})
	}
	record, err := json.Marshal(names)
	if err != nil {
		return err
	}
	leases, name, now := c.Kube.CoordinationV1().Leases(c.namespace), c.lease(), metav1.NowMicro()
	create := func(ctx context.Context) (metav1.Object, error) {
		return leases.Create(ctx, &coordinationv1.Lease{
			ObjectMeta: metav1.ObjectMeta{Name: name, Labels: c.labels, Annotations: map[string]string{ObjectsAnnotation: string(record)}},
			Spec:       coordinationv1.LeaseSpec{HolderIdentity: &name, AcquireTime: &now, RenewTime: &now, LeaseDurationSeconds: new(int32(leaseDuration.Seconds()))},
		}, c.by())
	}
	if err := c.make(ctx, leaseKind, c.namespace, name, create); err != nil {
		return err
	}
	// A renewal does not wait for the one before, so that they arrive as often as they
	// are sent, however slow the API server is. One that fails is ignored: the next
	// ones succeed before the lease expires.
	var anew sync.Mutex
	go wait.UntilWithContext(alive, func(alive context.Context) {
		go func() {
			alive, cancel := context.WithTimeout(alive, leaseDuration)
			defer cancel()
			err := c.patchLease(alive, fmt.Sprintf(`{"spec":{"renewTime":%q}}`, time.Now().UTC().Format(metav1.RFC3339Micro)))
			// It is made anew while the run goes on, and not once it is removed.
			if apierrors.IsNotFound(err) && ctx.Err() == nil {
				if c.leaseLost != nil {
					c.leaseLost()
				}
				if anew.TryLock() { // of two renewals that see this, one makes it
					defer anew.Unlock()
					_ = c.make(ctx, leaseKind, c.namespace, name, create)
				}
			}
		}()
	}, leaseRenewal)
	return nil
}

func (c *created) patchLease(ctx context.Context, patch string) error {
	_, err := c.Kube.CoordinationV1().Leases(c.namespace).Patch(ctx, c.lease(), types.MergePatchType, []byte(patch), metav1.PatchOptions{FieldManager: c.by().FieldManager})
	return err
}

// releaseLease takes the holder off the Lease, so that what a run leaves on purpose
// does not look like one that goes on. The Lease stays: clean goes by it.
func (c *created) releaseLease(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if err := c.patchLease(ctx, `{"spec":{"holderIdentity":null}}`); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("releasing lease %s: %w", c.lease(), err)
	}
	return nil
}

func (c *created) lease() string { return leaseOf(c.labels[RunLabel]) }

func leaseOf(run string) string { return "hpabench-" + run }

// create creates an object with the run's labels. The error is a BadInput when
// there is one of that name, which it does not touch.
func (c *created) create(ctx context.Context, o *unstructured.Unstructured) error {
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
	o.SetLabels(labels.Merge(o.GetLabels(), c.labels))
	if !c.own && o.GetKind() == "StatefulSet" {
		// Its claims would outlive it in a namespace that is not the run's.
		policy := []string{"spec", "persistentVolumeClaimRetentionPolicy", "whenDeleted"}
		if err := unstructured.SetNestedField(o.Object, "Delete", policy...); err != nil {
			return err
		}
	}
	return c.make(ctx, o.GroupVersionKind(), namespace, o.GetName(), func(ctx context.Context) (metav1.Object, error) {
		return client.Create(ctx, o, c.by())
	})
}

// waitForKind gives a CustomResourceDefinition that was created just before
// the seconds that the API server takes until it serves the kind.
func (c *created) waitForKind(ctx context.Context, gvk schema.GroupVersionKind) (client dynamic.ResourceInterface, mapping *meta.RESTMapping, err error) {
	waitErr := wait.PollUntilContextTimeout(ctx, 500*time.Millisecond, 10*time.Second, true, func(context.Context) (bool, error) {
		client, mapping, err = c.resource(gvk, c.namespace)
		return !meta.IsNoMatchError(err), nil
	})
	return client, mapping, cmp.Or(err, waitErr)
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

// poll looks again until it is done, a look ends with a BadInput or a refusal, or the time is over: then
// the error has that of the last look, if there is one, and else is one of wait's.
func poll(ctx context.Context, every, timeout time.Duration, look func(context.Context) (done bool, err error)) error {
	var last error
	err := wait.PollUntilContextTimeout(ctx, every, timeout, true, func(ctx context.Context) (done bool, err error) {
		if done, last = look(ctx); errors.As(last, new(BadInput)) {
			return false, last
		}
		return done, refused(last)
	})
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case wait.Interrupted(err) && last != nil:
		return fmt.Errorf("after %s: %w", timeout, last)
	}
	return err
}

// refused returns err if it is one that does not pass by waiting.
func refused(err error) error {
	if apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) {
		return err
	}
	return nil
}

// delete asks for the end of o unless that has been asked, and reports whether
// it is gone. What somebody else made under its name is not o, and stays.
func (c *Cluster) delete(ctx context.Context, o object) (gone bool, err error) {
	client, _, err := c.resource(o.gvk, o.namespace)
	if err != nil {
		return meta.IsNoMatchError(err), err
	}
	current, err := client.Get(ctx, o.name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return time.Since(o.doubted) > doubt, nil
	case err != nil:
		return false, err
	case !o.owns(current):
		return true, nil
	case current.GetDeletionTimestamp() != nil:
		return false, nil
	}
	foreground, uid := metav1.DeletePropagationForeground, current.GetUID()
	return false, client.Delete(ctx, o.name, metav1.DeleteOptions{PropagationPolicy: &foreground, Preconditions: &metav1.Preconditions{UID: &uid}})
}
