package runner

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
)

func newCreated(c *Cluster, namespace, run string) *created {
	return &created{Cluster: c, namespace: namespace, labels: map[string]string{ManagedByLabel: ManagedBy, RunLabel: run, ScenarioLabel: "test"}}
}

func objectOfYAML(t *testing.T, source string) *unstructured.Unstructured {
	t.Helper()
	return &unstructured.Unstructured{Object: read[map[string]any](t, source)}
}

// exists says whether the object is there, with the label that marks it as
// somebody else's.
func exists(t *testing.T, c *Cluster, o *unstructured.Unstructured, namespace string) (there, foreign bool) {
	t.Helper()
	client, _, err := c.resource(o.GroupVersionKind(), namespace)
	if err != nil {
		t.Fatal(err)
	}
	is, err := client.Get(t.Context(), o.GetName(), metav1.GetOptions{})
	if apierrors.IsNotFound(err) || err == nil && is.GetDeletionTimestamp() != nil {
		return false, false
	}
	if err != nil {
		t.Fatal(err)
	}
	return true, is.GetLabels()["foreign"] != ""
}

// makeForeign creates an object as somebody else would.
func makeForeign(t *testing.T, c *Cluster, o *unstructured.Unstructured, namespace string) {
	t.Helper()
	client, _, err := c.resource(o.GroupVersionKind(), namespace)
	if err != nil {
		t.Fatal(err)
	}
	o = o.DeepCopy()
	l := o.GetLabels()
	if l == nil {
		l = map[string]string{}
	}
	l["foreign"] = "yes"
	o.SetLabels(l)
	if _, err := client.Create(t.Context(), o, metav1.CreateOptions{FieldManager: "kubectl-client-side-apply"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Delete(context.Background(), o.GetName(), metav1.DeleteOptions{}) })
}

// TestForeignObjects has an object of each kind appear just before the run creates
// its own, and one deleted and made anew with the run's labels: both must stay.
func TestForeignObjects(t *testing.T) {
	t.Parallel()
	c := testCluster(t)
	ns := testNamespace(t, c)
	for _, source := range []string{
		`{apiVersion: v1, kind: ConfigMap, metadata: {name: foreign}, data: {a: b}}`,
		`{apiVersion: v1, kind: Service, metadata: {name: foreign}, spec: {ports: [{port: 80}]}}`,
		`{apiVersion: scheduling.k8s.io/v1, kind: PriorityClass, metadata: {name: foreign}, value: 1}`,
		`{apiVersion: v1, kind: Namespace, metadata: {name: foreign}}`,
	} {
		o := objectOfYAML(t, source)
		makeForeign(t, c, o, ns)
		run := newCreated(c, ns, "forgn")
		err := run.create(t.Context(), o)
		var bad BadInput
		if !errors.As(err, &bad) || !strings.Contains(err.Error(), o.GetKind()+" foreign exists already") {
			t.Errorf("%s: creating over it gives %v", o.GetKind(), err)
		}
		if err := run.tearDown(t.Context(), 0, func(string) {}); err != nil {
			t.Error(err)
		}
		if there, foreign := exists(t, c, o, ns); !there || !foreign {
			t.Errorf("%s of somebody else: there %v, as it was %v", o.GetKind(), there, foreign)
		}

		o.SetName("anew")
		if err := run.create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		if o.GetKind() == "Namespace" {
			continue // an empty one would have to be gone first
		}
		client, _, _ := c.resource(o.GroupVersionKind(), ns)
		if err := client.Delete(t.Context(), "anew", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		o.SetLabels(run.labels)
		makeForeign(t, c, o, ns)
		if err := run.tearDown(t.Context(), 0, func(string) {}); err != nil {
			t.Error(err)
		}
		if there, _ := exists(t, c, o, ns); !there {
			t.Errorf("%s that somebody made anew was deleted", o.GetKind())
		}
	}
}

// lossy loses the answers to what creates a kind of object, and carries that out
// after a delay.
type lossy struct {
	http.RoundTripper
	path  string
	delay time.Duration
}

func (l lossy) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method != http.MethodPost || !strings.HasSuffix(r.URL.Path, l.path) {
		return l.RoundTripper.RoundTrip(r)
	}
	later := r.Clone(context.WithoutCancel(r.Context()))
	send := func() {
		if a, err := l.RoundTripper.RoundTrip(later); err == nil {
			_ = a.Body.Close()
		}
	}
	if l.delay == 0 {
		send()
	} else {
		time.AfterFunc(l.delay, send)
	}
	return nil, errors.New("the connection is lost")
}

// TestLostAnswer loses the answer to a creation, which is carried out all the same,
// and interrupts one.
func TestLostAnswer(t *testing.T) {
	t.Parallel()
	ns := testNamespace(t, testCluster(t))
	o := objectOfYAML(t, `{apiVersion: v1, kind: ConfigMap, metadata: {name: lost}}`)
	for _, delay := range []time.Duration{0, time.Second} {
		c := testCluster(t, func(config *rest.Config) {
			config.Wrap(func(rt http.RoundTripper) http.RoundTripper { return lossy{rt, "/configmaps", delay} })
		})
		run := newCreated(c, ns, "lostx")
		if err := run.create(t.Context(), o); err == nil {
			t.Fatal("the answer was not lost")
		}
		if err := run.tearDown(t.Context(), 0, func(string) {}); err != nil {
			t.Error(err)
		}
		time.Sleep(delay)
		if there, _ := exists(t, c, o, ns); there {
			t.Errorf("what was created %s after the loss is still there", delay)
		}
	}
	interrupted, cancel := context.WithCancelCause(t.Context())
	cancel(ErrInterrupted)
	run := newCreated(testCluster(t), ns, "intrr")
	if err := run.create(interrupted, o); !errors.Is(err, ErrInterrupted) || len(run.left()) > 0 {
		t.Errorf("creating after an interrupt: %v, left %v", err, run.left())
	}
}

// cleaned runs Clean and returns what it said.
func cleaned(t *testing.T, c *Cluster, o CleanOptions) (said string, err error) {
	t.Helper()
	err = c.Clean(t.Context(), o, func(line string) { said += line + "\n" })
	return said, err
}

// TestCleanByProof keeps the objects of a run, and has copies of them beside.
func TestCleanByProof(t *testing.T) {
	t.Parallel()
	c := testCluster(t)
	ns, other := testNamespace(t, c), testNamespace(t, c)
	config := objectOfYAML(t, `{apiVersion: v1, kind: ConfigMap, metadata: {name: mine}}`)
	class := objectOfYAML(t, `{apiVersion: scheduling.k8s.io/v1, kind: PriorityClass, metadata: {name: mine}, value: 1}`)

	run := newCreated(c, ns, "proof")
	if err := run.holdLease(t.Context(), cancelled(t), []*unstructured.Unstructured{config, class}); err != nil {
		t.Fatal(err)
	}
	own := newCreated(c, "hpabench-test-owner", "owner")
	own.own = true
	if err := own.createNamespace(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := own.holdLease(t.Context(), cancelled(t), nil); err != nil {
		t.Fatal(err)
	}
	for _, o := range []*unstructured.Unstructured{config, class} {
		if err := run.create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range []*created{run, own} {
		if err := r.releaseLease(t.Context()); err != nil {
			t.Fatal(err)
		}
	}

	// As of kubectl get -o yaml | sed | kubectl apply, also with its managed fields.
	copyOf := func(o *unstructured.Unstructured, from, to, name string, managed bool) *unstructured.Unstructured {
		client, _, _ := c.resource(o.GroupVersionKind(), from)
		is, err := client.Get(t.Context(), o.GetName(), metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		fields := is.GetManagedFields()
		for i := range fields {
			fields[i].Time = &metav1.Time{Time: fields[i].Time.Add(-5 * time.Minute)} // the copy is made later
		}
		is.SetManagedFields(nil)
		if managed {
			is.SetManagedFields(fields)
		}
		is.SetName(name)
		is.SetNamespace("")
		is.SetResourceVersion("")
		makeForeign(t, c, is, to)
		return is
	}
	namespaceOfRun := &unstructured.Unstructured{}
	namespaceOfRun.SetGroupVersionKind(namespaceKind)
	namespaceOfRun.SetName(own.namespace)
	lease := &unstructured.Unstructured{}
	lease.SetGroupVersionKind(leaseKind)
	lease.SetName(run.lease())
	copies := []*unstructured.Unstructured{
		copyOf(config, ns, ns, "copied", false), copyOf(config, ns, ns, "managed", true), copyOf(class, "", "", "copied", true),
		copyOf(namespaceOfRun, "", "", "copied-ns", true), copyOf(namespaceOfRun, "", "", "hpabench-test-ownez", false),
	}
	elsewhere := copyOf(config, ns, other, "mine", true)
	copyOf(lease, ns, other, run.lease(), true)

	if said, err := cleaned(t, c, CleanOptions{Namespace: other}); err != nil || strings.Contains(said, "configmap/mine in namespace "+other+": removed") {
		t.Errorf("clean where there are only copies: %v\n%s", err, said)
	}
	if there, _ := exists(t, c, elsewhere, other); !there {
		t.Error("a copy in another namespace was removed")
	}
	said, err := cleaned(t, c, CleanOptions{Namespace: ns})
	if err != nil {
		t.Error(err)
	}
	for _, gone := range []struct {
		o  *unstructured.Unstructured
		in string
	}{{config, ns}, {class, ""}, {lease, ns}, {namespaceOfRun, ""}} {
		if there, _ := exists(t, c, gone.o, gone.in); there {
			t.Errorf("%s %s, which the run made, is still there\n%s", gone.o.GetKind(), gone.o.GetName(), said)
		}
	}
	for _, o := range copies {
		if there, _ := exists(t, c, o, ns); !there {
			t.Errorf("%s %s, a copy, was removed\n%s", o.GetKind(), o.GetName(), said)
		}
		if !strings.Contains(said, o.GetName()) || !strings.Contains(said, "left alone; it has the label of run") {
			t.Errorf("clean does not name the copy %s:\n%s", o.GetName(), said)
		}
	}
}

func cancelled(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}

// slow delays the renewals of Leases, and loses the first.
type slow struct {
	http.RoundTripper
	lose *bool
}

func (s slow) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method == http.MethodPatch && strings.Contains(r.URL.Path, "/leases/") {
		if *s.lose {
			*s.lose = false
			return nil, errors.New("lost")
		}
		select {
		case <-time.After(9 * time.Second):
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
	return s.RoundTripper.RoundTrip(r)
}

// TestCleanBesideASlowRun has renewals that take 9 s, the first of which fails.
func TestCleanBesideASlowRun(t *testing.T) {
	t.Parallel()
	c := testCluster(t)
	lose := true
	run := newCreated(testCluster(t, func(config *rest.Config) {
		config.Wrap(func(rt http.RoundTripper) http.RoundTripper { return slow{rt, &lose} })
	}), "hpabench-test-slowr", "slowr")
	run.own = true
	if err := run.createNamespace(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := run.holdLease(t.Context(), t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second)                                // the renewal at the start
	said, err := cleaned(t, c, CleanOptions{DryRun: true}) // what other tests keep stays
	if err != nil || !strings.Contains(said, "namespace/"+run.namespace+": left alone, its run is still going on") {
		t.Errorf("clean beside a run: %v\n%s", err, said)
	}
	if err := run.tearDown(t.Context(), 0, func(string) {}); err != nil {
		t.Error(err)
	}
}

// TestCleanWithoutRights takes away one right after another.
func TestCleanWithoutRights(t *testing.T) {
	t.Parallel()
	admin := testCluster(t)
	ns := testNamespace(t, admin)
	config := objectOfYAML(t, `{apiVersion: v1, kind: ConfigMap, metadata: {name: kept}}`)
	run := newCreated(admin, ns, "right")
	if err := run.holdLease(t.Context(), cancelled(t), []*unstructured.Unstructured{config}); err != nil {
		t.Fatal(err)
	}
	if err := run.create(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	if err := run.releaseLease(t.Context()); err != nil {
		t.Fatal(err)
	}
	own := newCreated(admin, "hpabench-test-rightown", "rightown")
	own.own = true
	// It stays alive: TestCleanByProof removes, beside this test, what ended runs left.
	if err := errors.Join(own.createNamespace(t.Context()), own.holdLease(t.Context(), t.Context(), nil)); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := own.tearDown(t.Context(), 0, func(string) {}); err != nil {
			t.Error(err)
		}
	}()
	for i, test := range []struct{ lacking, words string }{
		{"namespaces leases configmaps", "leases.coordination.k8s.io is forbidden"},
		{"namespaces", "namespaces is forbidden"},
		{"leases", "leases.coordination.k8s.io is forbidden"},
		{"configmaps", "reading ConfigMap kept, which run right made"},
		{"", ""},
	} {
		user := fmt.Sprintf("cleaner-%d", i)
		role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: user}, Rules: []rbacv1.PolicyRule{ // the last: what other tests keep
			{APIGroups: []string{"scheduling.k8s.io"}, Resources: []string{"priorityclasses"}, Verbs: []string{"get"}}}}
		for _, resource := range []string{"namespaces", "leases", "configmaps"} {
			if !strings.Contains(test.lacking, resource) {
				role.Rules = append(role.Rules, rbacv1.PolicyRule{APIGroups: []string{"", "coordination.k8s.io"}, Resources: []string{resource}, Verbs: []string{"get", "list", "delete"}})
			}
		}
		if _, err := admin.Kube.RbacV1().ClusterRoles().Create(t.Context(), role, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		if _, err := admin.Kube.RbacV1().ClusterRoleBindings().Create(t.Context(), &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: user},
			RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: user}, Subjects: []rbacv1.Subject{{Kind: "User", APIGroup: rbacv1.GroupName, Name: user}}}, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		c := testCluster(t, func(config *rest.Config) {
			config.Impersonate = rest.ImpersonationConfig{UserName: user, Groups: []string{"system:authenticated"}}
		})
		// The authorizer sees a new role some time later, and a new lab makes the default ones.
		if err := wait.PollUntilContextTimeout(t.Context(), 100*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
			_, err := c.Kube.SchedulingV1().PriorityClasses().Get(ctx, "none", metav1.GetOptions{})
			_, kinds := c.Kube.Discovery().ServerGroups()
			return apierrors.IsNotFound(err) && kinds == nil, nil
		}); err != nil {
			t.Fatal(err)
		}
		said, err := cleaned(t, c, CleanOptions{Namespace: ns, DryRun: true})
		if (err == nil) != (test.words == "") || err != nil && !strings.Contains(err.Error(), test.words) || strings.Contains(said, "nothing to remove") {
			t.Errorf("without the right to %s: %v, want %q\n%s", test.lacking, err, test.words, said)
		}
		if leaseKept := !strings.Contains(said, run.lease()+" in namespace "+ns+": would be removed"); test.lacking == "configmaps" && !leaseKept {
			t.Errorf("the Lease would go although what it names could not be read:\n%s", said)
		}
		// Its Lease may name what else that run made, without a namespace.
		said, err = cleaned(t, c, CleanOptions{All: true, DryRun: true})
		if removed := strings.Contains(said, own.namespace+": would be removed"); removed != (test.lacking == "" || test.lacking == "configmaps") {
			t.Errorf("clean --all without the right to %s: %v\n%s", test.lacking, err, said)
		} else if test.lacking == "leases" && !strings.Contains(err.Error(), own.namespace+": left, since its run's Lease could not be looked at") {
			t.Errorf("clean --all without the right to Leases: %v", err)
		}
		if test.lacking == "" {
			if said, err := cleaned(t, c, CleanOptions{Namespace: testNamespace(t, admin), DryRun: true}); err != nil || !strings.Contains(said, own.namespace+": left alone, its run is still going on") {
				t.Errorf("clean that may not list more: %v\n%s", err, said)
			}
		}
		var bad BadInput
		if errors.As(err, &bad) {
			t.Errorf("a missing right is no bad input: %v", err)
		}
	}
}

// TestLeaseMadeTwice has two renewals make the Lease anew: the second keeps it.
func TestLeaseMadeTwice(t *testing.T) {
	t.Parallel()
	c := testCluster(t)
	ns := testNamespace(t, c)
	run := newCreated(c, ns, "twice")
	for range 2 {
		if err := run.holdLease(t.Context(), cancelled(t), nil); err != nil {
			t.Error(err)
		}
	}
	if left := run.left(); len(left) != 1 {
		t.Errorf("the run knows of %v", left)
	}
	if err := run.tearDown(t.Context(), 0, func(string) {}); err != nil {
		t.Error(err)
	}
	if _, err := c.Kube.CoordinationV1().Leases(ns).Get(t.Context(), run.lease(), metav1.GetOptions{}); err == nil {
		t.Error("the Lease is left")
	}
}

// TestCleanKeepsProof has an object of a run that does not go: the run's own namespace
// stays, with the Lease that names the object. It is not parallel, as clean removes what
// other tests keep.
func TestCleanKeepsProof(t *testing.T) {
	c := testCluster(t)
	class := objectOfYAML(t, `{apiVersion: scheduling.k8s.io/v1, kind: PriorityClass, metadata: {name: held, finalizers: [example.com/held]}, value: 1}`)
	run := newCreated(c, "hpabench-test-keeps", "keeps")
	run.own = true
	if err := run.createNamespace(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := run.holdLease(t.Context(), cancelled(t), []*unstructured.Unstructured{class}); err != nil {
		t.Fatal(err)
	}
	if err := run.create(t.Context(), class); err != nil {
		t.Fatal(err)
	}
	if err := run.releaseLease(t.Context()); err != nil {
		t.Fatal(err)
	}
	said, err := cleaned(t, c, CleanOptions{Timeout: time.Second})
	if !errors.Is(err, ErrLeft) || !strings.Contains(said, "namespace/hpabench-test-keeps: left until all else of its run is gone") {
		t.Errorf("%v\n%s", err, said)
	}
	client, _, _ := c.resource(class.GroupVersionKind(), "")
	if _, err := client.Patch(t.Context(), "held", types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := run.tearDown(t.Context(), 0, func(string) {}); err != nil {
		t.Error(err)
	}
}
