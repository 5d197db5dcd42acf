package keda

import (
	"strings"
	"testing"
)

// TestRefused follows KEDA's admission webhook.
func TestRefused(t *testing.T) {
	const prometheus, cpu = "{type: prometheus, name: a, metadata: {serverAddress: http://p, query: up, threshold: \"1\"}}", `{type: cpu, metricType: Utilization, metadata: {value: "60"}}`
	for spec, want := range map[string]string{
		"triggers: [" + prometheus + "]":                                                                                                "",
		"{idleReplicaCount: 0, minReplicaCount: 0, triggers: [" + prometheus + "]}":                                                     "",
		"{minReplicaCount: 3, maxReplicaCount: 2, triggers: [" + prometheus + "]}":                                                      "minReplicaCount is 3, and must not be more than maxReplicaCount, which is 2",
		"{minReplicaCount: 101, triggers: [" + prometheus + "]}":                                                                        "minReplicaCount is 101, and must not be more than maxReplicaCount, which is 100",
		"{idleReplicaCount: 1, minReplicaCount: 0, triggers: [" + prometheus + "]}":                                                     "idleReplicaCount is 1, and must be less than minReplicaCount, which counts as 1",
		"triggers: [" + cpu + "]":                                                                                                       "minReplicaCount is 0",
		"{scaleTargetRef: {name: web, kind: Rollout, apiVersion: argoproj.io/v1alpha1}, triggers: [" + cpu + "]}":                       "", // KEDA looks at no other kinds
		"{advanced: {scalingModifiers: {target: \"1\"}}, triggers: [" + prometheus + "]}":                                               "scalingModifiers need a formula",
		"{advanced: {scalingModifiers: {formula: a}}, triggers: [" + prometheus + "]}":                                                  "needs a target",
		"{advanced: {scalingModifiers: {formula: a, target: \"0\"}}, triggers: [" + prometheus + "]}":                                   "needs a target",
		"{advanced: {scalingModifiers: {formula: a, target: \"2\"}}, triggers: [" + prometheus + "]}":                                   "",
		"{minReplicaCount: 1, advanced: {scalingModifiers: {}}, fallback: {failureThreshold: 1, replicas: 2}, triggers: [" + cpu + "]}": "fallback needs a trigger",
		`triggers: [{type: prometheus, metadata: {serverAddress: http://p, query: up}}]`:                                                "metadata has no threshold",
		`triggers: [{type: prometheus, metadata: {serverAddress: http://p, query: up, threshold: " 5 "}}]`:                              "",
		`triggers: [{type: prometheus, metadata: {serverAddress: http://p, query: up, threshold: "1", ignoreNullValues: maybe}}]`:       "ignoreNullValues",
		`triggers: [{type: cron, metadata: {timezone: Europe/Berlin, start: "0 8 * * *", end: "0 9 * * *", desiredReplicas: "1"}}]`:     "",
		`triggers: [{type: cron, metadata: {timezone: Europe/Berlinn, start: "0 8 * * *", end: "0 9 * * *", desiredReplicas: "1"}}]`:    "timezone is \"Europe/Berlinn\"",
		`{minReplicaCount: 1, triggers: [{type: cpu, metadata: {value: "50"}}]}`:                                                        "metricType must be Utilization or AverageValue",
		`{minReplicaCount: 1, triggers: [{type: cpu, metricType: Utilization, metadata: {value: 50m}}]}`:                                "value is \"50m\"",
		`{minReplicaCount: 1, triggers: [{type: memory, metricType: AverageValue, metadata: {value: 50Mi}}]}`:                           "",
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
