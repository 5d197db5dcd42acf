package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hpabench/hpabench/analysis"
	"github.com/hpabench/hpabench/record"
)

// disturbed is a scenario that is over in half a minute, whose replicas stay.
const disturbed = `
apiVersion: hpabench.dev/v1alpha1
kind: Scenario
metadata: {name: disturbed}
spec:
  workload:
    deployment: {image: "nginx:1.15.2", imagePullPolicy: IfNotPresent, replicas: 2, port: 80, resources: {requests: {cpu: 50m}}, template: {spec: {terminationGracePeriodSeconds: 1}}}
  autoscaler: {cpuPercent: 50, min: 2, max: 4}
  load:
    phases:
    - {name: surge, duration: 30s, rate: 2}
  expect: [replicas.peak >= 2]
`

// refusing is a webhook that nobody answers, for the pods of a namespace.
const refusing = `
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: refusing}
webhooks:
- name: refusing.example.com
  clientConfig: {url: "https://127.0.0.1:9/"}
  rules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [pods]}]
  namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: %s}}
  admissionReviewVersions: [v1]
  sideEffects: None
`

// TestOthers lets somebody act on an object of each of several runs, two at a
// time: who did what is found, the exit code is 3 where it spoils the measurement,
// and what nobody can measure without ends the load at once. Package analysis judges
// the records of more such runs.
func TestOthers(t *testing.T) {
	embeddedWillDo(t)
	file := scenario(t, disturbed)
	t.Cleanup(func() { wantNothingLeft(t) })
	for _, c := range []struct {
		act          string // of kubectl, in the namespace of the run
		before, also string // another one, and the finding of it, which names kubectl
		webhook      bool   // before that, one that refuses pods
		code         int
		kind         string
		words        string
		ends         bool // the load, early
	}{
		{act: "delete hpa disturbed", code: 3, kind: analysis.FoundDeleted, words: "Somebody deleted it", ends: true},
		{act: "delete namespace NAMESPACE --wait=false", code: 3, kind: analysis.FoundDeleted, words: "Somebody deleted it", ends: true},
		{webhook: true, before: "delete pods --all --wait=false", also: analysis.FoundQuota, act: "autoscale deployment disturbed --name=rival --cpu-percent=80 --max=3", code: 3, kind: analysis.FoundRival, words: "kubectl-autoscale"},
		{before: "create quota two --hard=pods=2", also: analysis.FoundQuota, act: "scale deployment disturbed --replicas=4", code: 3, kind: analysis.FoundForeignScale, words: "from 2 to 4"},
		{act: "label hpa disturbed team=a", code: 0, kind: analysis.FoundChanged, words: "kubectl-label"},
	} {
		t.Run(strings.Join(strings.Fields(c.act)[:2], "-"), func(t *testing.T) {
			t.Parallel()
			run := startRun(t, file)
			run.waitFor(`^surge `, 3*time.Minute)
			namespace := namespaceIn(t, run)
			if c.webhook {
				apply(t, fmt.Sprintf(refusing, namespace))
				until(t, "failed calling webhook", "run", "probe", "--image=none", "--dry-run=server", "-n", namespace)
			}
			if c.before != "" {
				kubectl(t, append(strings.Fields(c.before), "-n", namespace)...)
			}
			kubectl(t, append(strings.Fields(strings.ReplaceAll(c.act, "NAMESPACE", namespace)), "-n", namespace)...)
			run.wait(c.code, 3*time.Minute)
			r := run.result()
			there, also := false, c.also == ""
			for _, f := range r.Findings {
				also = also || f.Kind == c.also && strings.Contains(f.Seen, "field manager kubectl-c") && f.Spoils
				there = there || f.Kind == c.kind && strings.Contains(f.Seen, c.words) && f.Spoils == (c.code == 3)
			}
			if !there || !also {
				t.Errorf("not found; there are %+v", r.Findings)
			}
			if (len(r.Expectations) > 0) != (c.code == 0) {
				t.Errorf("expectations were judged: %+v", r.Expectations)
			}
			if ended := r.Outcome == record.Failed && r.EndSeconds-r.StartSeconds < 29; ended != c.ends {
				t.Errorf("the load took %.0f s, and the run %s", r.EndSeconds-r.StartSeconds, r.Outcome)
			}
		})
	}
}

// namespaceIn is the one that a run said it made.
func namespaceIn(t *testing.T, run *invocation) string {
	t.Helper()
	for _, line := range strings.Split(run.stderr(), "\n") {
		if name, found := strings.CutPrefix(line, "creating namespace "); found {
			return strings.TrimSpace(name)
		}
	}
	t.Fatal("the run made no namespace")
	return ""
}
