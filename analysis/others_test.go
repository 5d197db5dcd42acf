package analysis

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hpabench/hpabench/record"
)

// TestOthers judges records of real runs in each of which somebody did one thing to an
// object of the run: kubectl's command is beside it.
func TestOthers(t *testing.T) {
	for name, want := range map[string][]string{ // kind, object, whether it spoils, and words of what was seen
		"none":     nil,
		"hpa-del":  {"deleted hpa/others true Somebody deleted it at 36.7 s"},
		"tgt-del":  {"deleted deployment/others true Somebody deleted it at 29.1 s"},
		"svc-del":  {"deleted service/others true Somebody deleted it at 31.5 s"},
		"ns-del":   {"deleted namespace/hpabench-others-6b72g true Somebody deleted it at"},
		"hpa-max":  {"changed hpa/others true At 36.4 s field manager kubectl-patch (Update at 2026-11-27T17:49:40Z by the API server's clock) changed spec.maxReplicas: 4 → 3."},
		"hparef":   {"changed hpa/others true changed spec.scaleTargetRef.name: others → gone."},
		"hpalabel": {"changed hpa/others false changed metadata.labels.hpabench.dev/run: p8xtt is gone."},
		"scale":    {"foreign-scale deployment/others true from 4 to 1 at 40.1 s", "terminating-errors pod/others-96874bc8-bxx6z false requests failed"},
		"scale0":   {"foreign-scale deployment/others true from 4 to 0 at 31.7 s", "terminating-errors pod/others-96874bc8-4kzkt false requests failed"},
		"image":    {"changed deployment/others true field manager kubectl-set", "rollout deployment/others false A rollout replaced pods of ReplicaSet others-96874bc8: ", "terminating-errors pod/others-96874bc8-nbn86 false requests failed"},
		"restart":  {"changed deployment/others true kubectl.kubernetes.io/restartedAt", "rollout deployment/others false A rollout replaced pods of ReplicaSet others-96874bc8: ", "terminating-errors pod/others-96874bc8-gvnbs false requests failed"},
		"podlabel": {"changed pod/others-96874bc8-6r95c true somebody whom the object's managedFields do not name changed metadata.labels.app: others is gone."},
		"poddel": {"pod-deleted pod/others-96874bc8-chjwh true Somebody deleted it at 39.5 s: its ReplicaSet others-96874bc8 wanted 3 pods and had 2 left.",
			"terminating-errors pod/others-96874bc8-chjwh false requests failed"},
		"poddelforce": {"pod-deleted pod/others-96874bc8-6mc5c true wanted 4 pods and had 2 left", "terminating-errors pod/others-96874bc8-6mc5c false requests failed"},
		"evict":       {"pod-deleted pod/others-96874bc8-2hv5x true evicted at 36.8 s by a call of the eviction API", "terminating-errors pod/others-96874bc8-2hv5x false requests failed"},
		"svcsel":      {"changed service/others true changed spec.selector.app: others → nobody."},
		"svcport":     {"changed service/others true changed spec.ports[http].targetPort: 80 → 81."},
		"rival":       {"rival-hpa hpa/rival true field manager kubectl-autoscale"},
	} {
		run, err := record.Open(filepath.Join("testdata", "others", name+".jsonl"))
		if err != nil {
			t.Fatal(err)
		}
		r, err := Analyze(run)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, f := range r.Findings {
			got = append(got, fmt.Sprintf("%s %s %v %s", f.Kind, f.Object, f.Spoils, f.Seen))
			if f.Seen == "" || f.Cause == "" || f.Advice == "" {
				t.Errorf("%s: an empty sentence in %+v", name, f)
			}
		}
		for i, w := range want {
			for k, g := range got {
				head := strings.Join(strings.Fields(w)[:3], " ")
				if strings.HasPrefix(g, head) && strings.Contains(g, strings.TrimPrefix(w, head+" ")) {
					got[k], want[i] = "", ""
				}
			}
		}
		if left := strings.TrimSpace(strings.Join(got, "\n")); left != "" || strings.Join(want, "") != "" {
			t.Errorf("%s: found beside what was wanted:\n%s\nwanted and not found:\n%s", name, left, strings.Join(want, "\n"))
		}
		// In watch's eyes only what it watches can be lost.
		run.Header().Phases[0].Shape = record.ShapeObserved
		if r, err = Analyze(run); err != nil {
			t.Fatal(err)
		}
		lost := name == "hpa-del" || name == "tgt-del" || name == "ns-del"
		if spoiled := r.Spoiled() != nil; spoiled != lost {
			t.Errorf("%s: watch finds it spoiled: %v, want %v", name, spoiled, lost)
		}
	}
}

// The HPA scales before it writes its status, on a busy machine long before: it had not seen the pods that it asked for.
func TestStatusAfterNewPods(t *testing.T) {
	s := analyzed(t, "testdata/others/hpa-max.jsonl").FirstUp().Steps[0]
	if s.Recommended == nil || *s.Recommended != 3 || s.LimitedBy != "" {
		t.Errorf("2 × 58/50 is said not to ask for 3, limited by %q: %s", s.LimitedBy, s.Limit)
	}
}

// TestOldDeletions reads a record from before there were changes: only that the HPA
// is gone is in it.
func TestOldDeletions(t *testing.T) {
	m := ill().sampled(220, "a", "b", "c")
	m.add(100, record.Entry{Autoscaler: &record.Autoscaler{Name: "web", Deleted: true, Spec: spec(nil)}})
	m.end(221)
	r := m.analyze(t)
	if s := r.Spoiled(); len(s) != 1 || s[0].Kind != FoundDeleted || s[0].Object != "hpa/web" || *s[0].SinceSeconds != 100 {
		t.Errorf("found %+v", r.Findings)
	}
}

// TestBeforeTheLoad wants a change before the load to be told, and to spoil nothing.
func TestBeforeTheLoad(t *testing.T) {
	for at, spoils := range map[float64]bool{5: false, 100: true} {
		m := ill().sampled(220, "a", "b", "c")
		m.add(at, record.Entry{Change: &record.Change{Kind: "HorizontalPodAutoscaler", Name: "web", What: record.ChangeUpdated, By: "keda",
			Fields: []record.FieldChange{{Path: "spec.maxReplicas", Was: "5", Now: "9"}}}})
		m.add(at, record.Entry{Change: &record.Change{Kind: "Deployment", Name: "web", What: record.ChangeUpdated, By: "hpabench-made",
			Fields: []record.FieldChange{{Path: "spec.template.spec.containers[web].image", Was: "a", Now: "b"}}}})
		m.end(221)
		if r := m.analyze(t); len(r.Findings) != 1 || r.Findings[0].Spoils != spoils || !strings.Contains(r.Findings[0].Seen, "keda") {
			t.Errorf("at %.0f s: found %+v", at, r.Findings)
		}
	}
}

// TestBounds has ResourceQuotas, LimitRanges, webhooks, admission policies and levels of pod
// security that somebody made, changed or took away, or that were there before.
func TestBounds(t *testing.T) {
	wrote := func(kind, what string, fields ...record.FieldChange) *record.Change {
		at := metav1.NewTime(time.Date(2026, 3, 1, 12, 1, 40, 0, time.UTC))
		c := &record.Change{Kind: kind, Name: "two", What: what, Fields: fields}
		if what != record.ChangeDeleted {
			c.By, c.Operation, c.Time = "kubectl-create", "Update", &at
		}
		return c
	}
	const quota = `Error creating: pods "web-x" is forbidden: exceeded quota: two, requested: pods=1, used: pods=3, limited: pods=3`
	const cpu = `Error creating: pods "web-x" is forbidden: maximum cpu usage per Container is 10m, but request is 50m`
	pods := record.FieldChange{Path: "spec.hard.pods", Now: "3"}
	const webhook = `Error creating: admission webhook "two.example.com" denied the request: not today`
	const unreachable = `Error creating: Internal error occurred: failed calling webhook "two.example.com": failed to call webhook: Post "https://127.0.0.1:9/?timeout=10s": dial tcp 127.0.0.1:9: connect: connection refused`
	const policy = `pods "web-x" is forbidden: ValidatingAdmissionPolicy 'two' with binding 'two' denied request: not today`
	const mutation = `Error creating: pods "web-x" is forbidden: policy 'two' with binding 'two' denied request: no such key: limits`
	const level = `Error creating: pods "web-x" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot != true`
	const rescale = "New size: 4; reason: cpu resource utilization (percentage of request) above target; error: "
	const hook, other = "ValidatingWebhookConfiguration", "MutatingWebhookConfiguration"
	named := record.FieldChange{Path: "webhooks[two.example.com]"}
	renewal := record.FieldChange{Path: "webhooks[two.example.com].clientConfig.caBundle"}
	restricted := record.FieldChange{Path: "metadata.labels.pod-security.kubernetes.io/enforce", Now: "restricted"}
	for _, test := range []struct {
		name    string
		change  *record.Change
		at      float64
		refused string // the message of an event at 110 s
		other   bool   // a pod with other limits comes at 110 s
		want    string // kind, object, severity and whether it spoils
		words   string
	}{
		{"a quota from before", nil, 0, quota, false, "quota replicaset/web-1 blocks false", "is forbidden"},
		{"a new quota", wrote(quotaKind, record.ChangeCreated, pods), 100, quota, false, "quota replicaset/web-1 blocks true",
			"At 100.0 s field manager kubectl-create (Update at 2026-03-01T12:01:40Z by the API server's clock) made ResourceQuota two, with spec.hard.pods: 3."},
		{"a new quota before the load", wrote(quotaKind, record.ChangeCreated, pods), 5, quota, false, "quota replicaset/web-1 blocks false", "At 5.0 s"},
		{"a quota that must be named", wrote(quotaKind, record.ChangeCreated, pods), 100, `Error creating: pods "web-x" is forbidden: failed quota: two: must specify limits.cpu for: web`, false, "quota replicaset/web-1 blocks true", "made ResourceQuota two"},
		{"a quota that nobody has counted yet", wrote(quotaKind, record.ChangeCreated, pods), 100, `Error creating: pods "web-x" is forbidden: status unknown for quota: two, resources: pods`, false, "quota replicaset/web-1 blocks true", "made ResourceQuota two"},
		{"a quota made smaller", wrote(quotaKind, record.ChangeUpdated, record.FieldChange{Path: "spec.hard.pods", Was: "9", Now: "3"}), 100, quota, false, "quota replicaset/web-1 blocks true", "changed ResourceQuota two: spec.hard.pods: 9 → 3."},
		{"a quota taken away", wrote(quotaKind, record.ChangeDeleted), 150, quota, false, "quota replicaset/web-1 blocks true", "Somebody deleted ResourceQuota two at 150.0 s"},
		{"a new quota of another name", wrote(quotaKind, record.ChangeCreated, pods), 100, strings.ReplaceAll(quota, "two", "twofold"), false, "quota replicaset/web-1 blocks false, changed resourcequota/two notice false", "twofold"},
		{"a quota that came later", wrote(quotaKind, record.ChangeCreated, pods), 150, quota, false, "quota replicaset/web-1 blocks false, changed resourcequota/two notice false", "is forbidden"},
		{"a new quota with room", wrote(quotaKind, record.ChangeCreated, pods), 100, "", false, "changed resourcequota/two notice false", "made ResourceQuota two"},
		{"a new LimitRange", wrote(rangeKind, record.ChangeCreated, record.FieldChange{Path: "spec.limits[0].max.cpu", Now: "10m"}), 100, cpu, false, "quota replicaset/web-1 blocks true", "made LimitRange two, with spec.limits[0].max.cpu: 10m."},
		{"a new LimitRange with other limits", wrote(rangeKind, record.ChangeCreated), 100, "", true, "changed limitrange/two limits true", "made LimitRange two"},
		{"a new LimitRange without effect", wrote(rangeKind, record.ChangeCreated), 100, "", false, "changed limitrange/two notice false", "made LimitRange two"},
		{"pods with other limits of themselves", nil, 0, "", true, "", ""},
		{"a webhook from before", nil, 0, webhook, false, "quota replicaset/web-1 blocks false", "denied the request"},
		{"a new webhook", wrote(hook, record.ChangeCreated, named), 100, webhook, false, "quota replicaset/web-1 blocks true",
			"At 100.0 s field manager kubectl-create (Update at 2026-03-01T12:01:40Z by the API server's clock) made ValidatingWebhookConfiguration two, with webhooks[two.example.com]."},
		{"a new webhook before the load", wrote(other, record.ChangeCreated, named), 5, webhook, false, "quota replicaset/web-1 blocks false", "At 5.0 s"},
		{"a new webhook that nobody answers", wrote(other, record.ChangeCreated, named), 100, unreachable, false, "quota replicaset/web-1 blocks true", "made MutatingWebhookConfiguration two"},
		{"a webhook that may fail no more", wrote(hook, record.ChangeUpdated, record.FieldChange{Path: "webhooks[two.example.com].failurePolicy", Was: "Ignore", Now: "Fail"}), 100, unreachable, false,
			"quota replicaset/web-1 blocks true", "changed ValidatingWebhookConfiguration two: webhooks[two.example.com].failurePolicy: Ignore → Fail."},
		{"a webhook taken away", wrote(hook, record.ChangeDeleted, named), 150, webhook, false, "quota replicaset/web-1 blocks true",
			"Somebody deleted ValidatingWebhookConfiguration two at 150.0 s; Kubernetes keeps who deletes an object in the audit log alone. Admission webhook two.example.com refuses"},
		{"another certificate of a webhook that refuses", wrote(hook, record.ChangeUpdated, renewal), 100, webhook, false, "quota replicaset/web-1 blocks false", "Admission webhook two.example.com refuses"},
		{"another certificate of a webhook that is not reached", wrote(hook, record.ChangeUpdated, renewal), 100, unreachable, false, "quota replicaset/web-1 blocks true", "Somebody changed what is allowed"},
		{"a webhook that speaks like a LimitRange", wrote(rangeKind, record.ChangeCreated), 100, webhook + ": cpu must be less than or equal to 1", false,
			"quota replicaset/web-1 blocks false, changed limitrange/two notice false", "denied"},
		{"a webhook that speaks like a quota", wrote(quotaKind, record.ChangeCreated, pods), 100, webhook + ": exceeded quota: two, requested: pods=1", false,
			"quota replicaset/web-1 blocks false, changed resourcequota/two notice false", "denied"},
		{"a new webhook of another name", wrote(hook, record.ChangeCreated, record.FieldChange{Path: "webhooks[two.example.com.de]"}), 100, webhook, false, "quota replicaset/web-1 blocks false", "denied"},
		{"a new webhook that refuses nothing", wrote(other, record.ChangeCreated, named), 100, "", false, "", ""},
		{"a new webhook that gives other limits", wrote(other, record.ChangeCreated, named), 100, "", true, "changed mutatingwebhookconfiguration/two limits true", "made MutatingWebhookConfiguration two"},
		{"another certificate beside other limits", wrote(other, record.ChangeUpdated, renewal), 100, "", true, "", ""},
		{"a new webhook beside other limits", wrote(hook, record.ChangeCreated, named), 100, "", true, "", ""},
		{"a new policy", wrote("ValidatingAdmissionPolicy", record.ChangeCreated), 100, "Error creating: " + policy, false, "quota replicaset/web-1 blocks true", "made ValidatingAdmissionPolicy two."},
		{"a binding that denies now", wrote("ValidatingAdmissionPolicyBinding", record.ChangeUpdated, record.FieldChange{Path: "spec.validationActions[0]", Was: "Warn", Now: "Deny"}), 100, "Error creating: " + policy, false,
			"quota replicaset/web-1 blocks true", "changed ValidatingAdmissionPolicyBinding two: spec.validationActions[0]: Warn → Deny."},
		{"a new policy of the other kind", wrote("MutatingAdmissionPolicy", record.ChangeCreated), 100, "Error creating: " + policy, false, "quota replicaset/web-1 blocks false", "denied"},
		{"a new policy that cannot change the pods", wrote("MutatingAdmissionPolicyBinding", record.ChangeCreated), 100, mutation, false, "quota replicaset/web-1 blocks true", "made MutatingAdmissionPolicyBinding two."},
		{"a new policy that gives other limits", wrote("MutatingAdmissionPolicy", record.ChangeCreated), 100, "", true, "changed mutatingadmissionpolicy/two limits true", "made MutatingAdmissionPolicy two"},
		{"a new policy against scaling", wrote("ValidatingAdmissionPolicy", record.ChangeCreated), 100, rescale + policy, false, "quota hpa/web blocks true", "made ValidatingAdmissionPolicy two."},
		{"a new webhook against scaling", wrote(hook, record.ChangeCreated, named), 100, rescale + webhook, false, "quota hpa/web blocks true", "The HPA could not set the replicas of its target"},
		{"a conflict of two writers", wrote(hook, record.ChangeCreated, named), 100, rescale + "Operation cannot be fulfilled", false, "", ""},
		{"a level of pod security", wrote(namespaceKind, record.ChangeUpdated, restricted), 112, level, false, "quota replicaset/web-1 blocks true",
			"At 101.0 s field manager kubectl-create (Update at 2026-03-01T12:01:40Z by the API server's clock) changed Namespace two: metadata.labels.pod-security.kubernetes.io/enforce: restricted, which was not there."},
		{"a level from before", nil, 0, level, false, "quota replicaset/web-1 blocks false", "violates"},
	} {
		m := ill().sampled(220, "a", "b", "c", "d")
		if test.change != nil {
			m.add(test.at, record.Entry{Change: test.change})
		}
		if strings.HasPrefix(test.refused, rescale) {
			m.event(110, "HorizontalPodAutoscaler", "web", "FailedRescale", test.refused)
		} else if test.refused != "" {
			m.event(110, "ReplicaSet", "web-1", "FailedCreate", test.refused)
		}
		p := life{name: "d", created: 110, scheduled: 110.1, started: 111, ready: 112}
		m.pod(p)
		if test.other {
			for _, e := range m.entries {
				if e.Pod != nil && e.Pod.Name == "d" {
					e.Pod.Containers = []record.ContainerResources{{Name: "nginx", Limits: corev1.ResourceList{"cpu": resource.MustParse("1")}}}
				}
			}
		}
		m.end(221)
		var got []string
		var seen string
		for _, f := range m.analyze(t).Findings {
			got = append(got, fmt.Sprintf("%s %s %s %v", f.Kind, f.Object, f.Severity, f.Spoils))
			seen += f.Seen + " " + f.Cause
		}
		if strings.Join(got, ", ") != test.want || !strings.Contains(seen, test.words) {
			t.Errorf("%s: %v: %s", test.name, got, seen)
		}
	}
}

// TestRenewedAndChanged has a webhook that gets another certificate before a pod with other
// limits comes, and is changed after it.
func TestRenewedAndChanged(t *testing.T) {
	m := ill().sampled(220, "a", "b", "c", "d")
	for at, path := range map[float64]string{100: "clientConfig.caBundle", 150: "failurePolicy"} {
		m.add(at, record.Entry{Change: &record.Change{Kind: "MutatingWebhookConfiguration", Name: "two", What: record.ChangeUpdated, By: "me", Fields: []record.FieldChange{{Path: "webhooks[two.example.com]." + path}}}})
	}
	m.pod(life{name: "d", created: 110, scheduled: 110.1, started: 111, ready: 112})
	for _, e := range m.entries {
		if e.Pod != nil && e.Pod.Name == "d" {
			e.Pod.Containers = []record.ContainerResources{{Name: "nginx", Limits: corev1.ResourceList{"cpu": resource.MustParse("1")}}}
		}
	}
	m.end(221)
	if f := m.analyze(t).Findings; len(f) != 0 {
		t.Errorf("found %+v", f)
	}
}

// TestRefusedUnseen wants it said that nobody could see who made what refuses the pods.
func TestRefusedUnseen(t *testing.T) {
	for refused, want := range map[string]string{
		`admission webhook "two.example.com" denied the request`:                  "validatingwebhookconfigurations and mutatingwebhookconfigurations",
		`ValidatingAdmissionPolicy 'two' with binding 'two' denied request: none`: "validatingadmissionpolicies and validatingadmissionpolicybindings",
		`exceeded quota: two, requested: pods=1`:                                  "resourcequotas",
		`violates PodSecurity "restricted:latest"`:                                "",
	} {
		m := ill().sampled(220, "a", "b", "c")
		m.add(0, record.Entry{Check: &record.Check{Name: "rights", Outcome: record.Warning, Message: "no right to list resourcequotas, list mutatingwebhookconfigurations.admissionregistration.k8s.io, " +
			"list validatingwebhookconfigurations.admissionregistration.k8s.io, list validatingadmissionpolicies.admissionregistration.k8s.io, list validatingadmissionpolicybindings.admissionregistration.k8s.io"}})
		m.event(110, "ReplicaSet", "web-1", "FailedCreate", refused)
		m.end(221)
		f := m.analyze(t).Findings
		if _, told, _ := strings.Cut(f[0].Seen, "there was no right to list and watch "); len(f) != 1 || f[0].Spoils || strings.TrimSuffix(told, ".") != want {
			t.Errorf("%s: %+v", refused, f)
		}
	}
}

// TestStuck has a Deployment whose ReplicaSet does not follow after 100 s: of that there is no event.
func TestStuck(t *testing.T) {
	for _, test := range []struct {
		name    string
		kind    string
		at      float64
		follows float64 // 0: never
		rollout bool    // a second ReplicaSet gets replicas at 100.1 s
		want    string
	}{
		{"a new policy", "ValidatingAdmissionPolicy", 90, 0, false, "quota deployment/web true Its spec.replicas were 4 for 120 s, and those of its ReplicaSets 3. At 90.0 s field manager me made ValidatingAdmissionPolicy two."},
		{"a webhook for a while", "MutatingWebhookConfiguration", 90, 140, false, "quota deployment/web true Its spec.replicas were 4 for 40 s, and those of its ReplicaSets 3. At 90.0 s field manager me made MutatingWebhookConfiguration two."},
		{"a new policy before the load", "ValidatingAdmissionPolicy", 5, 0, false, "quota deployment/web false Its spec.replicas were 4 for 120 s, and those of its ReplicaSets 3. At 5.0 s field manager me made ValidatingAdmissionPolicy two."},
		{"a ReplicaSet that follows", "ValidatingAdmissionPolicy", 90, 100.1, false, ""},
		{"a rollout from before", "ValidatingAdmissionPolicy", 90, 0, true, ""},
		{"a policy that came later", "ValidatingAdmissionPolicy", 150, 0, false, ""},
		{"a quota", quotaKind, 90, 0, false, "changed resourcequota/two false At 90.0 s field manager me made ResourceQuota two."},
	} {
		m := ill().sampled(220, "a", "b", "c")
		m.add(1, record.Entry{ReplicaSet: &record.ReplicaSet{Name: "web-1", Replicas: 2}})
		m.add(60.05, record.Entry{ReplicaSet: &record.ReplicaSet{Name: "web-1", Replicas: 3}})
		m.add(test.at, record.Entry{Change: &record.Change{Kind: test.kind, Name: "two", What: record.ChangeCreated, By: "me"}})
		m.target(100, 4)
		m.hpa(100.01, 3, 4, 30)
		m.event(100.02, "HorizontalPodAutoscaler", "web", "SuccessfulRescale", "New size: 4; reason: cpu")
		if test.rollout {
			m.add(100.1, record.Entry{ReplicaSet: &record.ReplicaSet{Name: "web-2", Replicas: 2}})
		}
		if test.follows > 0 {
			m.add(test.follows, record.Entry{ReplicaSet: &record.ReplicaSet{Name: "web-1", Replicas: 4}})
		}
		m.end(221)
		var got []string
		for _, f := range m.analyze(t).Findings {
			got = append(got, fmt.Sprintf("%s %s %v %s", f.Kind, f.Object, f.Spoils, f.Seen))
		}
		if strings.Join(got, ", ") != test.want {
			t.Errorf("%s: %q", test.name, got)
		}
	}
}

// A pod of others that succeeded has no sample: for a target of type AverageValue it counts as at the target on the way down.
func TestSucceededCountsAs(t *testing.T) {
	for target, want := range map[string]string{"Utilization": "as at 100 % of its request", "AverageValue": "as at the target when"} {
		m := owned("Job/migrate").lacking(corev1.PodSucceeded)
		for i := range m.entries {
			if a := m.entries[i].Autoscaler; a != nil && target == "AverageValue" {
				a.Spec.Metrics[0].Resource.Target = autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, AverageValue: new(resource.MustParse("10m"))}
			}
		}
		found := m.analyze(t).Findings
		if i := slices.IndexFunc(found, func(f Finding) bool { return f.Kind == FoundOverlap }); i < 0 || !strings.Contains(found[i].Cause, want) {
			t.Errorf("%s: %+v", target, found)
		}
	}
}
