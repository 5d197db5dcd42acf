package keda

import (
	"strings"
	"testing"
)

// TestRefused follows KEDA's admission webhook.
func TestRefused(t *testing.T) {
	const prometheus, cpu = "{type: prometheus, name: a, metadata: {query: up}}", `{type: cpu, metricType: Utilization, metadata: {value: "60"}}`
	for spec, want := range map[string]string{
		"triggers: [" + prometheus + "]":                                                                                                "",
		"{idleReplicaCount: 0, minReplicaCount: 0, triggers: [" + prometheus + "]}":                                                     "",
		"{idleReplicaCount: 1, minReplicaCount: 0, triggers: [" + prometheus + "]}":                                                     "idleReplicaCount is 1, and must be less than minReplicaCount, which counts as 1",
		"triggers: [" + cpu + "]":                                                                                                       "minReplicaCount is 0",
		"{scaleTargetRef: {name: web, kind: Rollout, apiVersion: argoproj.io/v1alpha1}, triggers: [" + cpu + "]}":                       "", // KEDA looks at no other kinds
		"{advanced: {scalingModifiers: {target: \"1\"}}, triggers: [" + prometheus + "]}":                                               "scalingModifiers need a formula",
		"{advanced: {scalingModifiers: {formula: a}}, triggers: [" + prometheus + "]}":                                                  "needs a target",
		"{advanced: {scalingModifiers: {formula: a, target: \"0\"}}, triggers: [" + prometheus + "]}":                                   "needs a target",
		"{advanced: {scalingModifiers: {formula: a, target: \"2\"}}, triggers: [" + prometheus + "]}":                                   "",
		"{minReplicaCount: 1, advanced: {scalingModifiers: {}}, fallback: {failureThreshold: 1, replicas: 2}, triggers: [" + cpu + "]}": "fallback needs a trigger",
		"{fallback: {failureThreshold: 1, replicas: 2, behavior: scalingModifiers}, triggers: [" + prometheus + "]}":                    "needs a formula of scalingModifiers",
	} {
		var told []string
		for _, r := range scaledObject(t, spec).Refused() {
			told = append(told, r.Message)
		}
		if got := strings.Join(told, "; "); (want == "") != (got == "") || !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", spec, got, want)
		}
	}
}
