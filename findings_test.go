package hpabench

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/hpabench/hpabench/analysis"
	"github.com/hpabench/hpabench/record"
	"github.com/hpabench/hpabench/scenarios"
	"github.com/hpabench/hpabench/simulate"
)

// TestFindings has what a simulated run shows of each scenario: these findings and no others. A change
// is a part of the spec, in YAML; a list is replaced.
func TestFindings(t *testing.T) {
	simulate.Prepare()
	const external = `autoscaler: {cpuPercent: null, min: null, max: null, spec: {minReplicas: %d, maxReplicas: %d, metrics: [{type: External, external: {metric: {name: queue}, target: {type: %s, %s: "20"}}}]}}`
	for _, c := range []struct {
		name, change string
		want         []string // kind, object and a part of what is said
	}{
		{"nothing", ``, nil},

		{"limit is request", `workload: {deployment: {resources: {limits: {cpu: 100m}}}}, autoscaler: {cpuPercent: 100}`, []string{"blocks cannot-scale hpa/web: hold cpu 100 % of requests at 100 % of its target at most | to 90 % or lower for cpu"}},
		{"limit within the tolerance", `workload: {deployment: {resources: {limits: {cpu: 110m}}}}, autoscaler: {cpuPercent: 100}`, []string{"limits cannot-scale hpa/web: at 110 % of its target at most | hardly ever adds | to 99 % or lower"}},
		{"limit at the edge", `workload: {deployment: {replicas: 2, resources: {requests: {cpu: 200m}, limits: {cpu: 221m}}}}, autoscaler: {cpuPercent: 100, max: 10}, load: {keepAlive: false, phases: [{name: idle, duration: 30s, rate: 0}, {name: surge, duration: 3m, rate: 600}]}`, []string{"limits cannot-scale hpa/web: at 110 % of its target at most | hardly ever adds"}},
		{"limit without a request", `workload: {deployment: {resources: {requests: null, limits: {cpu: 100m}}}}, autoscaler: {cpuPercent: 95}`, []string{"blocks cannot-scale hpa/web: at 105 % of its target at most"}},
		{"limit above", `workload: {deployment: {resources: {limits: {cpu: 111m}}}}, autoscaler: {cpuPercent: 100}, load: {phases: [{name: surge, duration: 3m, rate: 10}]}`, []string{"limits load-too-small"}},
		{"memory limit", `workload: {deployment: {resources: {requests: {memory: 400Mi}, limits: {memory: 400Mi}}}}, autoscaler: {cpuPercent: null, min: null, max: null, spec: {minReplicas: 1, maxReplicas: 4, metrics: [{type: Resource, resource: {name: memory, target: {type: AverageValue, averageValue: 390Mi}}}]}}, load: {phases: [{name: surge, duration: 3m, rate: 10}]}`,
			[]string{"blocks cannot-scale hpa/web: hold memory 390Mi a pod at 103 % of its target at most"}},
		{"a sidecar without a limit", `autoscaler: {cpuPercent: 100}, workload: {deployment: {resources: {limits: {cpu: 100m}}, template: {spec: {containers: [{name: sidecar, image: x/side, resources: {requests: {cpu: 10m}}}]}}}}, load: {phases: [{name: surge, duration: 3m, rate: 10}]}`, []string{"limits load-too-small"}},

		{"a limit of the whole pod", `workload: {deployment: {resources: null, template: {spec: {resources: {requests: {cpu: 100m}, limits: {cpu: 105m}}}}}}, autoscaler: {cpuPercent: 100}`, []string{"blocks cannot-scale hpa/web: hold cpu 100 % of requests at 105 % of its target at most | to 95 % or lower for cpu"}},
		{"a limit of the whole pod far above the containers' request", `workload: {deployment: {template: {spec: {resources: {limits: {cpu: 1}}}}}}, autoscaler: {cpuPercent: 95}, load: {phases: [{name: surge, duration: 4m, rate: 200, keepAlive: false}]}`, nil},
		{"a limit of the whole pod and no request", `workload: {deployment: {resources: null, template: {spec: {resources: {limits: {cpu: 200m}}}}}}`, nil},
		{"a limit of the whole pod that throttles", `autoscaler: {max: 2}, workload: {deployment: {resources: null, template: {spec: {resources: {requests: {cpu: 100m}, limits: {cpu: 120m}}}}}}, load: {phases: [{name: surge, duration: 4m, rate: 232, keepAlive: false}, {name: calm, duration: 6m, rate: 1}]}`, []string{"limits max-reached hpa/web: With its maximum of 2 replicas", "limits cpu-limit pod/web-: The pod used | and its limit is 120m"}},
		{"one kept connection and a request of the whole pod", `workload: {deployment: {resources: null, template: {spec: {resources: {requests: {cpu: 100m}}}}}}, load: {phases: [{name: surge, duration: 4m, rate: 120, keepAlive: true}, {name: calm, duration: 6m, rate: 1}]}`, []string{"limits starved deployment/web: keep-alive"}},
		{"a request of the whole pod", `workload: {deployment: {resources: null, template: {spec: {resources: {requests: {cpu: 100m}}, containers: [{name: sidecar, image: x/side}]}}}}`, nil},

		{"min is max", `autoscaler: {min: 2, max: 2}`, []string{"blocks min-is-max hpa/web: are both 2"}},
		{"up disabled", `autoscaler: {cpuPercent: null, min: null, max: null, spec: {minReplicas: 1, maxReplicas: 6, metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}}], behavior: {scaleUp: {selectPolicy: Disabled}}}}`,
			[]string{"blocks direction-disabled hpa/web: behavior.scaleUp.selectPolicy is Disabled. For | s the metric asked for up to "}},
		{"up disabled, from two replicas", `workload: {deployment: {replicas: 2, resources: {requests: {cpu: 200m}}}, model: {cpu: {mean: 2ms}}}, load: {phases: [{name: idle, duration: 30s, rate: 0}, {name: surge, duration: 5m, rate: 200, keepAlive: false}, {name: calm, duration: 6m, rate: 20, keepAlive: false}]}, autoscaler: {cpuPercent: null, min: null, max: null, spec: {minReplicas: 1, maxReplicas: 6, metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}}], behavior: {scaleUp: {selectPolicy: Disabled}}}}`,
			[]string{"blocks direction-disabled hpa/web: s the metric asked for up to 4 replicas (2 more) and it stayed at 2 (target: cpu 50 % of requests); without Disabled the window and the policies would still apply."}},
		{"down disabled", `autoscaler: {cpuPercent: null, min: null, max: null, spec: {minReplicas: 1, maxReplicas: 6, metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}}], behavior: {scaleDown: {selectPolicy: Disabled}}}}`,
			[]string{"limits direction-disabled hpa/web: behavior.scaleDown.selectPolicy is Disabled. For | s the metric asked for down to 1 replica (2 fewer) and it stayed at 3 (target: cpu 50 % of requests); without Disabled"}},

		{"an init container that takes long", `workload: {deployment: {template: {spec: {initContainers: [{name: prepare, image: busybox, command: [sleep, "45"]}]}}}}`,
			[]string{"limits init pod/web-: Init container prepare ran for 46 s"}},
		{"a readiness probe that begins late", `workload: {deployment: {readinessProbe: {httpGet: {port: 80}, initialDelaySeconds: 40}}}`,
			[]string{"blocks not-ready pod/web-: It was not ready for | Its readiness probe begins 40 s after its container has started (initialDelaySeconds) | a startup probe in its place"}},
		{"too little load", `load: {phases: [{name: idle, duration: 1m, rate: 0}, {name: surge, duration: 3m, rate: 20}]}`, []string{"limits load-too-small hpa/web: With 20 requests/s | or send more than about 5"}},
		{"load from a base", `load: {phases: [{name: base, duration: 2m, rate: 20}, {name: surge, duration: 3m, rate: 30}]}`, []string{"limits load-too-small hpa/web: With 30 requests/s | or send more than about 5"}},
		{"load from a base shorter than the samples", `load: {phases: [{name: base, duration: 10s, rate: 8}, {name: surge, duration: 3m, rate: 20}]}`, []string{"limits load-too-small hpa/web: With 20 requests/s | or send more than about 5"}},
		{"the most load after a larger rise that no sample shows", `load: {phases: [{name: early, duration: 20s, rate: 25}, {name: calm, duration: 20s, rate: 5}, {name: late, duration: 3m, rate: 24}]}`, []string{"limits load-too-small hpa/web: With 24 requests/s its metric came to 50 % | or send more than about 56 requests/s in phase late"}},
		{"a burst just before it, of which the samples are", `load: {phases: [{name: early, duration: 45s, rate: 25}, {name: calm, duration: 5s, rate: 5}, {name: late, duration: 3m, rate: 24}]}`, []string{"limits load-too-small hpa/web: With 25 requests/s its metric came to 52 % | or send more than about 54 requests/s in phase early"}},
		{"a ramp", `load: {phases: [{name: base, duration: 1m, rate: 5}, {name: rise, duration: 2m, ramp: {from: 5, to: 45}}]}`, []string{"limits load-too-small hpa/web: or send more than about 5"}},
		{"a sine", `load: {phases: [{name: base, duration: 1m, rate: 5}, {name: swing, duration: 4m, sine: {mean: 20, amplitude: 20, period: 2m}}]}`, []string{"limits load-too-small hpa/web: or send more than about 5"}},
		{"a sine for CPU beside a metric that is not of samples", `workload: {model: {metrics: {rps: {of: requests}}}}, autoscaler: {cpuPercent: null, min: null, max: null, spec: {minReplicas: 1, maxReplicas: 6, metrics: [{type: Pods, pods: {metric: {name: rps}, target: {type: AverageValue, averageValue: 1k}}}, {type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}}]}}, load: {phases: [{name: base, duration: 1m, rate: 5}, {name: swing, duration: 4m, sine: {mean: 20, amplitude: 20, period: 2m}}]}`,
			[]string{"limits load-too-small hpa/web: its highest metric, cpu, | Set a lower target for cpu, or request less CPU, or send more than about 5"}},
		{"the CPU of a sidecar", `workload: {deployment: {template: {spec: {initContainers: [{name: proxy, image: x/side, restartPolicy: Always, resources: {requests: {cpu: 100m}}}]}}}}, autoscaler: {cpuPercent: null, min: null, max: null, spec: {minReplicas: 1, maxReplicas: 6, metrics: [{type: ContainerResource, containerResource: {name: cpu, container: proxy, target: {type: Utilization, averageUtilization: 50}}}]}}`,
			[]string{"limits load-too-small hpa/web: its metric came to 0 % of the target at most (target: cpu of container proxy 50 % of requests) | does not rise with the load"}},
		{"memory", `workload: {deployment: {resources: {requests: {memory: 512Mi}}}, model: {memory: 300Mi}}, autoscaler: {cpuPercent: null, min: null, max: null, spec: {minReplicas: 1, maxReplicas: 4, metrics: [{type: Resource, resource: {name: memory, target: {type: AverageValue, averageValue: 400Mi}}}]}}`,
			[]string{"limits load-too-small hpa/web: does not rise enough with the load | Set a lower target; or scale on a metric"}},
		{"memory and CPU", `workload: {deployment: {resources: {requests: {memory: 64Mi}}}, model: {memory: 20Mi}}, autoscaler: {cpuPercent: null, min: null, max: null, spec: {minReplicas: 1, maxReplicas: 4, metrics: [{type: Resource, resource: {name: memory, target: {type: AverageValue, averageValue: 64Mi}}}, {type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 80}}}]}}, load: {phases: [{name: idle, duration: 1m, rate: 0}, {name: surge, duration: 2m, rate: 15}]}`,
			[]string{"limits load-too-small hpa/web: With 15 requests/s its highest metric, memory, came to 31 % | as many replicas | Set a lower target for cpu, or request less CPU, or send more than about 87 requests/s in phase surge, at which cpu comes to 110 % of its target."}},
		{"a rise that is about its rounding", `workload: {deployment: {resources: {requests: {cpu: 1}}}}, load: {phases: [{name: idle, duration: 1m, rate: 0}, {name: surge, duration: 2m, rate: 30}]}`,
			[]string{"limits load-too-small hpa/web: Set a lower target, or request less CPU, or send more load."}},
		{"two metrics of CPU", `workload: {deployment: {resources: {requests: {cpu: 1}}}}, autoscaler: {cpuPercent: null, min: null, max: null, spec: {minReplicas: 1, maxReplicas: 4, metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 80}}}, {type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 90}}}]}}, load: {phases: [{name: idle, duration: 1m, rate: 0}, {name: surge, duration: 2m, rate: 30}]}`,
			[]string{"limits load-too-small hpa/web: Set a lower target, or request less CPU, or send more load."}},
		{"too little load for a program that fails", `workload: {model: {fault: {errors: 0.2}}}, load: {phases: [{name: idle, duration: 1m, rate: 0}, {name: surge, duration: 3m, rate: 20}]}`,
			[]string{"limits errors deployment/web: × code 500", "limits load-too-small hpa/web: The load is too small | or send more than about"}},
		{"a server that waits", `workload: {model: {cpu: {mean: 1ms}, wait: {mean: 500ms}, workers: 1}}, load: {timeout: 2s, phases: [{name: surge, duration: 3m, rate: 40}]}`,
			[]string{"limits load-too-small hpa/web: The metric does not follow the load", "limits errors deployment/web: connection reset"}},

		{"too little load for a Pods metric", `workload: {model: {metrics: {rps: {of: requests}}}}, autoscaler: {cpuPercent: null, min: null, max: null, spec: {minReplicas: 1, maxReplicas: 6, metrics: [{type: Pods, pods: {metric: {name: rps}, target: {type: AverageValue, averageValue: "200"}}}]}}`,
			[]string{"limits load-too-small hpa/web: came to 60 % of the target at most (target: pods' rps 200 a pod) | send more than about 22"}},
		{"a container without load", `workload: {deployment: {template: {spec: {containers: [{name: sidecar, image: x/side, resources: {requests: {cpu: 50m}}}]}}}}, autoscaler: {cpuPercent: null, min: null, max: null, spec: {minReplicas: 1, maxReplicas: 6, metrics: [{type: ContainerResource, containerResource: {name: cpu, container: sidecar, target: {type: Utilization, averageUtilization: 50}}}]}}`,
			[]string{"limits load-too-small hpa/web: The metric does not rise with the load | or scale on a metric that follows the load"}},
		{"too little load, and a CPU limit", `workload: {deployment: {resources: {limits: {cpu: 100m}}, template: {spec: {initContainers: [{name: proxy, image: x/proxy, restartPolicy: Always, resources: {requests: {cpu: 100m}}}]}}}}`,
			[]string{"limits load-too-small hpa/web: a CPU limit is reached before | or raise or remove the CPU limit", "limits cpu-limit pod/web-: its limit is 100m"}},
		{"a maximum of an external metric", `workload: {model: {metrics: {queue: {of: requests}}}}, ` + fmt.Sprintf(external, 1, 2, "AverageValue", "averageValue"),
			[]string{"limits max-reached hpa/web: With its maximum of 2 replicas | up to 300 % of it (target: external queue 20 a pod) | Raise maxReplicas to 6"}},
		{"a maximum of a Value", `workload: {model: {metrics: {queue: {of: requests}}}}, ` + fmt.Sprintf(external, 1, 2, "Value", "value"),
			[]string{"limits max-reached hpa/web: With its maximum of 2 replicas | if more pods bring the metric down; else use a target of type AverageValue"}},
		{"up disabled for a Pods metric", `workload: {model: {metrics: {rps: {of: requests}}}}, autoscaler: {cpuPercent: null, min: null, max: null, spec: {minReplicas: 1, maxReplicas: 6, metrics: [{type: Pods, pods: {metric: {name: rps}, target: {type: AverageValue, averageValue: "20"}}}], behavior: {scaleUp: {selectPolicy: Disabled}}}}`,
			[]string{"blocks direction-disabled hpa/web: and it stayed at 1 (target: pods' rps 20 a pod)"}},
		{"a long window for scale-up", `autoscaler: {cpuPercent: null, min: null, max: null, spec: {minReplicas: 1, maxReplicas: 6, metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}}], behavior: {scaleUp: {stabilizationWindowSeconds: 600}}}}`,
			[]string{"blocks not-scaled hpa/web: behavior.scaleUp.stabilizationWindowSeconds is 600 | Set a smaller"}},
		{"a Value that does not fall", `workload: {model: {metrics: {queue: {of: requests}}}}, ` + fmt.Sprintf(external, 1, 20, "Value", "value"),
			[]string{"limits value-target-runs-away hpa/web: external queue was | multiplies the replicas | AverageValue"}},
		{"an AverageValue", `workload: {model: {metrics: {queue: {of: requests}}}}, ` + fmt.Sprintf(external, 1, 20, "AverageValue", "averageValue"), nil},
		{"a short calm", `load: {phases: [{name: surge, duration: 4m, rate: 120, keepAlive: false}, {name: calm, duration: 1m, rate: 1}]}`, []string{"limits window hpa/web: there was less load for 60 s only"}},
		{"a short calm after a load that fell in steps", `load: {keepAlive: false, phases: [{name: surge, duration: 4m, rate: 230}, {name: less, duration: 2m, rate: 120}, {name: calm, duration: 2m, rate: 1}]}`, []string{"limits window hpa/web: from phase less on | It last recommended 6 replicas at 135.1 s, and keeps them until 435.1 s; it goes to 3, which it recommends now, at 630.2 s at the earliest"}},
		{"a calm too short for the second of two falls", `autoscaler: {stabilization: 60s}, load: {keepAlive: false, phases: [{name: surge, duration: 4m, rate: 230}, {name: less, duration: 135s, ramp: {from: 230, to: 1}}]}`, []string{"limits window hpa/web: The scale-down could not be seen to its end | from phase less on | and its stabilization window is 60 s"}},
		{"a ramp too short for its window", `autoscaler: {stabilization: 120s}, load: {keepAlive: false, phases: [{name: high, duration: 3m, rate: 200}, {name: fall, duration: 90s, ramp: {from: 200, to: 0}}]}`, []string{"limits window hpa/web: Add a phase of the least load, of more than"}},
		{"a policy for scaling up", `workload: {deployment: {resources: {requests: {cpu: 100m}}}}, load: {phases: [{name: surge, duration: 6m, rate: 280, keepAlive: false}, {name: calm, duration: 8m, rate: 1}]}, autoscaler: {cpuPercent: null, min: null, max: null, spec: {minReplicas: 1, maxReplicas: 6, metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}}], behavior: {scaleUp: {policies: [{type: Pods, value: 2, periodSeconds: 60}]}}}}`,
			[]string{"limits scale-up-limited hpa/web: It asked for up to 6 replicas and | (its policy is 2 pods in 60 s); | s later it had them. | `behavior.scaleUp: {selectPolicy: Max, policies: [{type: Pods, value: 3, periodSeconds: 15}]}` would have let it go to 6 as soon as it asked for them."}},
		{"a policy for scaling up that takes the run", `load: {phases: [{name: surge, duration: 90s, rate: 280, keepAlive: false}]}, autoscaler: {cpuPercent: null, min: null, max: null, spec: {minReplicas: 1, maxReplicas: 6, metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}}], behavior: {scaleUp: {policies: [{type: Pods, value: 1, periodSeconds: 60}]}}}}`,
			[]string{"limits scale-up-limited hpa/web: It asked for up to 6 replicas and went from 1 to 2 | s later it still asked for more."}},
		{"a policy after the window", `workload: {deployment: {resources: {requests: {cpu: 200m}}}, model: {cpu: {mean: 5ms}}}, load: {keepAlive: false, phases: [{name: idle, duration: 65s, rate: 1}, {name: surge, duration: 400s, rate: 100}, {name: calm, duration: 60s, rate: 1}]}, autoscaler: {cpuPercent: null, min: null, max: null, spec: {minReplicas: 1, maxReplicas: 8, metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}}], behavior: {scaleUp: {stabilizationWindowSeconds: 60, policies: [{type: Pods, value: 1, periodSeconds: 60}]}}}}`,
			[]string{"limits scale-up-limited hpa/web: and went from 1 to 2 ( | its policy is 1 pod in 60 s); 180 s later it still asked for more. | Its scale-up policies limit", "limits window"}},
		{"the policy that is advised", `load: {phases: [{name: surge, duration: 6m, rate: 280, keepAlive: false}, {name: calm, duration: 8m, rate: 1}]}, autoscaler: {cpuPercent: null, min: null, max: null, spec: {minReplicas: 1, maxReplicas: 6, metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}}], behavior: {scaleUp: {selectPolicy: Max, policies: [{type: Pods, value: 5, periodSeconds: 15}]}}}}`, nil},
		{"a maximum", `autoscaler: {max: 2}, load: {phases: [{name: surge, duration: 4m, rate: 300, keepAlive: false}, {name: calm, duration: 6m, rate: 1}]}`, []string{"limits max-reached hpa/web: With its maximum of 2 replicas"}},
		{"a maximum, with the peak in a shorter time than it is reached for", `autoscaler: {max: 2, stabilization: 0s}, load: {keepAlive: false, phases: [{name: much, duration: 4m, rate: 150}, {name: calm, duration: 3m, rate: 1}, {name: most, duration: 100s, rate: 400}]}`, []string{"limits max-reached hpa/web: Raise maxReplicas to 9", "limits flapping"}},
		{"no window", `autoscaler: {stabilization: 0s}, load: {phases: [{name: a, duration: 1m, rate: 120, keepAlive: false}, {name: b, duration: 1m, rate: 1}, {name: c, duration: 1m, rate: 120, keepAlive: false}, {name: d, duration: 1m, rate: 1}, {name: e, duration: 1m, rate: 120, keepAlive: false}]}`,
			[]string{"limits flapping hpa/web: reversals | behavior.scaleDown.stabilizationWindowSeconds"}},
		{"a limit that throttles", `autoscaler: {max: 2}, workload: {deployment: {resources: {limits: {cpu: 120m}}}}, load: {phases: [{name: surge, duration: 4m, rate: 232, keepAlive: false}, {name: calm, duration: 6m, rate: 1}]}`, []string{"limits max-reached hpa/web: With its maximum of 2 replicas | or more at the peak; a CPU limit holds the metric. | and raise or remove the CPU limit.", "limits cpu-limit pod/web-: and its limit is 120m"}},
		{"one kept connection", `load: {phases: [{name: surge, duration: 4m, rate: 120, keepAlive: true}, {name: calm, duration: 6m, rate: 1}]}`, []string{"limits starved deployment/web: of CPU each, while 1 older pod used 121m. | keep-alive"}},
		{"one kept connection of pods in front", `workload: {deployment: null, target: {kind: Deployment, name: web}, manifests: [front], model: {cpu: {mean: 5ms}}}, load: {service: front, phases: [{name: surge, duration: 4m, rate: 30, keepAlive: false}, {name: calm, duration: 6m, rate: 1, keepAlive: false}]}`,
			[]string{"limits starved deployment/web: 2 new pods used | of CPU each, while 1 older pod used 15 | pods in front that call the target | Have what calls the pods close its connections"}},
		{"kept connections of pods in front, with a burst first", `workload: {deployment: null, target: {kind: Deployment, name: web}, manifests: [front], model: {cpu: {mean: 5ms}}}, load: {service: front, keepAlive: false, phases: [{name: burst, duration: 2s, rate: 120}, {name: surge, duration: 4m, rate: 30}]}`,
			[]string{"limits starved deployment/web: pods in front that call the target"}},
		{"a line that is worked off by the pods from before", `workload: {deployment: {resources: {limits: {cpu: 200m}}, readinessProbe: {tcpSocket: {port: 80}, periodSeconds: 5}}, model: {cpu: {mean: 10ms}, queue: 100000, workers: 100000}}, autoscaler: {max: 8}, load: {timeout: 60s, keepAlive: false, phases: [{name: idle, duration: 30s, rate: 2}, {name: surge, duration: 40s, rate: 80}, {name: calm, duration: 4m, rate: 6}]}`,
			[]string{"limits window hpa/web", "limits errors deployment/web: 1066 × timeout", "limits cpu-limit pod/web-"}},
		{"a new pod that does not listen yet, beside one above the target", `workload: {model: {cpu: {mean: 1ms}, start: 110s}}, autoscaler: {max: 2}, load: {keepAlive: false, phases: [{name: idle, duration: 150s, rate: 2}, {name: surge, duration: 140s, rate: 120}]}`,
			[]string{"limits errors deployment/web: Pods came into service before their programs took connections"}},
		{"kept connections of pods in front, at the maximum", `workload: {deployment: null, target: {kind: Deployment, name: web}, manifests: [front], model: {cpu: {mean: 5ms}}}, autoscaler: {max: 2}, load: {service: front, phases: [{name: surge, duration: 4m, rate: 40, keepAlive: false}, {name: calm, duration: 6m, rate: 1, keepAlive: false}]}`,
			[]string{"limits max-reached hpa/web: spread the requests over all pods first (finding starved)", "limits starved deployment/web: 1 new pod used"}},
		{"rounding", `load: {phases: [{name: surge, duration: 4m, rate: 120, keepAlive: false}, {name: calm, duration: 9m, rate: 60, keepAlive: false}]}`, []string{"notice rounding hpa/web: It stayed at 2 replicas for | /50 = 1.2 | which rounds up to 2; 1 below 26 %"}},
		{"flapping by steps, from zero and back", `workload: {deployment: null, target: {kind: Deployment, name: web}, manifests: [queue]}, load: {phases: [{name: busy, duration: 3m, rate: 60, keepAlive: false}, {name: calm, duration: 3m, rate: 0}, {name: again, duration: 3m, rate: 60, keepAlive: false}]}, ` +
			strings.Replace(fmt.Sprintf(external, 0, 10, "AverageValue", "averageValue"), "metrics:", "behavior: {scaleDown: {stabilizationWindowSeconds: 30}}, metrics:", 1),
			[]string{"limits zero-flapping hpa/web: stabilizationWindowSeconds: 210", "notice errors deployment/web: In phase again 51 of 10800 requests failed (0.47 %), between | : 51 × connection refused. | The requests came while there was no pod, and nothing in front of the target held them", "notice cold-start deployment/web: From no pod it took 0.5 ± 0.5 s to the first good answer; 0 requests were held and 51 failed meanwhile."}},
		{"errors of the server at the maximum", `workload: {deployment: {resources: {requests: {cpu: 100m}}}, model: {cpu: {mean: 1ms}, fault: {errors: 0.2}}}, autoscaler: {max: 2}, load: {keepAlive: false, phases: [{name: idle, duration: 1m, rate: 1}, {name: spike, duration: 4m, rate: 300}, {name: calm, duration: 6m, rate: 1}]}`,
			[]string{"limits errors deployment/web: in phase spike 14400 of 72000 (20 %), between | : 14400 × code 500; in phase calm | The server, or a proxy in front of it", "limits max-reached hpa/web"}},
		{"rounding of an external metric", `workload: {model: {metrics: {queue: {of: requests}}}}, load: {phases: [{name: surge, duration: 4m, rate: 120, keepAlive: false}, {name: calm, duration: 9m, rate: 28, keepAlive: false}]}, ` + fmt.Sprintf(external, 1, 20, "AverageValue", "averageValue"),
			[]string{"notice rounding hpa/web: It stayed at 2 replicas | which rounds up to 2; 1 below"}},
		{"no rounding at the minimum", `autoscaler: {min: 2}, load: {phases: [{name: surge, duration: 4m, rate: 220, keepAlive: false}, {name: calm, duration: 9m, rate: 60, keepAlive: false}]}`, nil},
		{"rounding of memory", `load: {phases: [{name: surge, duration: 4m, rate: 120, keepAlive: false}, {name: calm, duration: 9m, rate: 60, keepAlive: false}]}, workload: {deployment: {resources: {requests: {memory: 512Mi}}}, model: {memory: 300Mi}}, autoscaler: {cpuPercent: null, min: null, max: null, spec: {minReplicas: 1, maxReplicas: 4, metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}}, {type: Resource, resource: {name: memory, target: {type: AverageValue, averageValue: 400Mi}}}]}}`,
			[]string{"notice rounding hpa/web: × 300Mi/400Mi = 2.25, which rounds up to 3; 2 below 267Mi a pod"}},
		{"liveness that fails under load", `workload: {deployment: null, manifests: [livenessProbe], model: {cpu: {mean: 10ms}}}, autoscaler: {max: 3}, load: {phases: [{name: idle, duration: 30s, rate: 0}, {name: surge, duration: 3m, rate: 100}, {name: calm, duration: 3m, rate: 5}]}`,
			[]string{"blocks probe pod/web-: Container web was killed because its liveness probe failed | Liveness probe failed: context deadline exceeded | overload"}},
		{"readiness that fails under load", `workload: {deployment: null, manifests: [readinessProbe], model: {cpu: {mean: 10ms}}}, autoscaler: {max: 3}, load: {phases: [{name: idle, duration: 30s, rate: 0}, {name: surge, duration: 3m, rate: 60}]}`,
			[]string{"blocks probe pod/web-: as its probe failed: Readiness probe failed | overload", "blocks none-counted hpa/web: For 1 | s it counted no pod of the target (1 replica) | In its first 300 s | timeoutSeconds", "limits cpu-limit pod/web-: its limit is 200m | so that requests wait."}},
		{"an overload in which the HPA counts no pod", `workload: {deployment: {resources: {limits: {cpu: 200m}}, readinessProbe: {httpGet: {path: /healthz, port: 80}, periodSeconds: 1}}, model: {cpu: {mean: 5ms}}}, autoscaler: {max: 6}, load: {keepAlive: false, phases: [{name: idle, duration: 30s, rate: 2}, {name: surge, duration: 3m, rate: 300}]}`,
			[]string{"blocks probe pod/web-: as its probe failed: Readiness probe failed | overload", "blocks none-counted hpa/web: For 1 | s it counted no pod of the target (1 replica) | In its first 300 s | timeoutSeconds", "limits cpu-limit pod/web-: its limit is 200m | so that requests wait."}},
		{"an overload of 90 s in which the HPA counts no pod", `workload: {deployment: {resources: {requests: {cpu: 200m}, limits: {cpu: 200m}}, readinessProbe: {httpGet: {path: /, port: 80}, periodSeconds: 2}}, model: {cpu: {mean: 5ms}, workers: 64}}, autoscaler: {max: 6}, load: {keepAlive: false, phases: [{name: idle, duration: 15s, rate: 1}, {name: surge, duration: 90s, rate: 45}, {name: calm, duration: 15s, rate: 1}]}`,
			[]string{"blocks probe pod/web-: It was not ready, | times, for", "blocks none-counted hpa/web: it counted no pod of the target (1 replica)", "limits cpu-limit pod/web-: so that requests wait."}},
		{"a crash under load", `workload: {model: {fault: {crash: 40s}}}, load: {phases: [{name: surge, duration: 8m, rate: 120, keepAlive: false}]}`, []string{"blocks crash pod/web-"}},
		{"stuck at zero, by a metric of the pods", `workload: {deployment: {replicas: 1}, model: {metrics: {queue: {of: requests}}}}, load: {keepAlive: false, phases: [{name: busy, duration: 3m, rate: 60}, {name: calm, duration: 3m, rate: 0}, {name: again, duration: 3m, rate: 60}]}, ` +
			strings.Replace(fmt.Sprintf(external, 0, 10, "AverageValue", "averageValue"), "metrics:", "behavior: {scaleDown: {stabilizationWindowSeconds: 30}}, metrics:", 1),
			[]string{"blocks stuck-at-zero hpa/web: It stayed at 0 replicas for | while 21600 requests were sent, of which 21600 failed"}},
		{"scaled from zero by default", `workload: {deployment: {replicas: null}, model: {metrics: {queue: {of: requests}}}}, ` + fmt.Sprintf(external, 0, 10, "AverageValue", "averageValue"), nil},
		{"memory under load", `workload: {deployment: {resources: {limits: {memory: 128Mi}}}, model: {memoryPerRequest: 1Mi, memoryHeld: 4s}}`, []string{"blocks out-of-memory pod/web-"}},
		{"pods that do not listen yet, under a CPU limit", `workload: {deployment: {resources: {requests: null, limits: {cpu: 200m}}}, model: {cpu: {mean: 2ms}, start: 8s}}, autoscaler: {max: 20}, load: {keepAlive: false, phases: [{name: idle, duration: 30s, rate: 0}, {name: surge, duration: 2m, rate: 150}, {name: more, duration: 2m, rate: 400}]}`,
			[]string{"limits errors deployment/web: In phase surge 1258 of 18000 requests failed (7 %), 990 of them (5.5 %) for another reason than slow or too few pods, between | : 990 × connection refused; in phase more 2908 of 48000 (6.1 %), between | Pods came into service before their programs took connections: pod web- | s; pod web- | readinessProbe", "limits cpu-limit pod/web-: its limit is 200m"}},
		{"a surge that is over before a sample of it", `workload: {deployment: {resources: {requests: {cpu: 200m}, limits: {cpu: 500m}}}, model: {cpu: {mean: 5ms}}}, autoscaler: {cpuPercent: 60}, load: {keepAlive: false, timeout: 5s, phases: [{name: idle, duration: 1m, rate: 5}, {name: spike, duration: 10s, rate: 300}, {name: calm, duration: 8m, rate: 5}]}`,
			[]string{"limits seen-too-late hpa/web: The surge from phase spike on was over after 10 s, at 145.1 s, before the HPA added a replica: its metric was first above the target at 165.1 s, and spec.replicas rose from 1 to 4 at 165.1 s, 20 s after the end; 2242 of 3000 requests of phase spike failed | metrics-server (each 15 s) | Raise minReplicas"}},
		{"a surge that no sample shows", `workload: {deployment: {resources: {requests: {cpu: 200m}, limits: {cpu: 500m}}}, model: {cpu: {mean: 5ms}}}, autoscaler: {cpuPercent: 200}, load: {keepAlive: false, timeout: 2s, phases: [{name: idle, duration: 1m, rate: 5}, {name: spike, duration: 5s, rate: 200}, {name: calm, duration: 3m, rate: 5}]}`,
			[]string{"limits errors deployment/web: 586 of 1000 requests failed"}},
		{"a surge that the pods bear", `workload: {deployment: {resources: {requests: {cpu: 200m}}}, model: {cpu: {mean: 5ms}}}, autoscaler: {cpuPercent: 80}, load: {keepAlive: false, phases: [{name: idle, duration: 1m, rate: 5}, {name: spike, duration: 20s, rate: 90}, {name: calm, duration: 8m, rate: 5}]}`,
			[]string{"notice seen-too-late hpa/web: spec.replicas rose from 1 to 3 at 165.1 s, 10 s after the end."}},
		{"a surge of errors of the server", `workload: {deployment: {resources: {requests: {cpu: 100m}}}, model: {cpu: {mean: 1ms}, fault: {errors: 0.05}}}, autoscaler: {cpuPercent: 80}, slo: {latency: 1s}, load: {keepAlive: false, phases: [{name: idle, duration: 1m, rate: 2}, {name: burst, duration: 20s, rate: 20}, {name: low, duration: 8m, rate: 2}]}`,
			[]string{"limits errors deployment/web: × code 500", "limits load-too-small"}},
		{"a surge that a worker who waits does not serve", `workload: {deployment: {resources: {requests: {cpu: 200m}}}, model: {cpu: {mean: 1ms}, workers: 1, wait: {mean: 200ms}, queue: 5}}, autoscaler: {cpuPercent: 60}, load: {keepAlive: false, phases: [{name: idle, duration: 1m, rate: 1}, {name: high, duration: 20s, rate: 50}, {name: calm, duration: 8m, rate: 1}]}`,
			[]string{"limits errors deployment/web: × connection reset", "limits load-too-small hpa/web: The metric does not follow the load"}},
		{"a surge after which the load still needs more", `workload: {deployment: {resources: {requests: {cpu: 200m}}}, model: {cpu: {mean: 5ms}}}, autoscaler: {cpuPercent: 60, max: 9}, load: {keepAlive: false, phases: [{name: idle, duration: 1m, rate: 5}, {name: high, duration: 15s, rate: 130}, {name: steady, duration: 6m, rate: 110}, {name: calm, duration: 8m, rate: 5}]}`, nil},
		{"a surge that rises and falls in ramps", `workload: {deployment: {resources: {requests: {cpu: 100m}}}, model: {cpu: {mean: 1ms}}}, autoscaler: {cpuPercent: 50, max: 6}, load: {keepAlive: false, phases: [{name: idle, duration: 1m, rate: 1}, {name: up, duration: 12s, ramp: {from: 1, to: 300}}, {name: down, duration: 12s, ramp: {from: 300, to: 1}}, {name: calm, duration: 8m, rate: 1}]}`,
			[]string{"notice seen-too-late hpa/web: The surge from phase up on was over after 24 s, at 159."}},
		{"a surge that leaps and falls in a ramp", `workload: {deployment: {resources: {requests: {cpu: 100m}}}, model: {cpu: {mean: 1ms}}}, autoscaler: {cpuPercent: 50, max: 6}, load: {keepAlive: false, phases: [{name: idle, duration: 1m, rate: 1}, {name: burst, duration: 20s, ramp: {from: 200, to: 1}}, {name: calm, duration: 8m, rate: 1}]}`,
			[]string{"notice seen-too-late hpa/web: The surge from phase burst on was over after 20 s, at 155."}},
		{"a surge in steps", `workload: {deployment: {resources: {requests: {cpu: 100m}}}, model: {cpu: {mean: 1ms}}}, autoscaler: {cpuPercent: 50, max: 6}, load: {keepAlive: false, phases: [{name: idle, duration: 1m, rate: 1}, {name: a, duration: 10s, rate: 100}, {name: b, duration: 10s, rate: 300}, {name: c, duration: 10s, rate: 100}, {name: calm, duration: 8m, rate: 1}]}`,
			[]string{"notice seen-too-late hpa/web: The surge from phase a on was over after 30 s, at 165."}},
		{"a surge from nothing", `workload: {deployment: {resources: {requests: {cpu: 100m}}}, model: {cpu: {mean: 1ms}}}, autoscaler: {cpuPercent: 50, max: 6}, load: {keepAlive: false, phases: [{name: idle, duration: 1m, rate: 0}, {name: spike, duration: 15s, rate: 200}, {name: calm, duration: 8m, rate: 1}]}`,
			[]string{"notice seen-too-late hpa/web: The surge from phase spike on was over after 15 s"}},
		{"a surge for which a policy held the replicas", `workload: {deployment: {resources: {requests: {cpu: 100m}}}, model: {cpu: {mean: 1ms}}}, autoscaler: {cpuPercent: null, min: null, max: null, spec: {minReplicas: 1, maxReplicas: 6, metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}}], behavior: {scaleDown: {stabilizationWindowSeconds: 0}, scaleUp: {policies: [{type: Pods, value: 1, periodSeconds: 120}]}}}}, load: {keepAlive: false, phases: [{name: a, duration: 60s, rate: 100}, {name: b, duration: 30s, rate: 70}, {name: c, duration: 45s, rate: 300}, {name: d, duration: 5m, rate: 70}]}`,
			[]string{"limits scale-up-limited hpa/web: stayed at 2 (its policy is 1 pod in 120 s)", "notice rounding"}},
		{"a surge for which the window held the replicas", `workload: {deployment: {resources: {requests: {cpu: 100m}}}, model: {cpu: {mean: 1ms}}}, autoscaler: {cpuPercent: null, min: null, max: null, spec: {minReplicas: 1, maxReplicas: 6, metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}}], behavior: {scaleUp: {stabilizationWindowSeconds: 60}}}}, load: {keepAlive: false, phases: [{name: idle, duration: 30s, rate: 2}, {name: spike, duration: 40s, rate: 200}, {name: calm, duration: 3m, rate: 2}]}`,
			[]string{"limits scale-up-limited hpa/web: up to 5 replicas and stayed at 1 (the scale-up stabilization window of 60 s takes the lowest recommendation in it, 1); | s later it had 1 and asked for 1. | takes the lowest recommendation in it: a load | stabilizationWindowSeconds"}},
		{"a surge after which the load is a little more than before", `workload: {deployment: {resources: {requests: {cpu: 200m}, limits: {cpu: 500m}}}, model: {cpu: {mean: 5ms}}}, autoscaler: {cpuPercent: 60}, load: {keepAlive: false, timeout: 5s, phases: [{name: idle, duration: 1m, rate: 5}, {name: spike, duration: 10s, rate: 300}, {name: calm, duration: 34s, rate: 5.4}]}`,
			[]string{"limits seen-too-late hpa/web: The surge from phase spike on was over after 10 s"}},
		{"the most load in many short phases", `load: {keepAlive: false, phases: [{name: p0, duration: 10s, rate: 1}, {name: p1, duration: 10s, rate: 4}, {name: p2, duration: 10s, rate: 8}, {name: p3, duration: 10s, rate: 12},  {name: p4, duration: 10s, rate: 16}, {name: p5, duration: 10s, rate: 20}, {name: p6, duration: 10s, rate: 24}, {name: p7, duration: 10s, rate: 28}]}`,
			[]string{"limits load-too-small hpa/web: With 18.88 requests/s | requests/s in phases p4 to p6."}},
		{"errors of the server long after a probe failed", `workload: {deployment: null, manifests: [readinessProbe], model: {cpu: {mean: 10ms}, fault: {errors: 0.2}}}, autoscaler: {max: 3}, load: {keepAlive: false, phases: [{name: idle, duration: 30s, rate: 0}, {name: surge, duration: 30s, rate: 60}, {name: calm, duration: 4m, rate: 5}]}`,
			[]string{"blocks probe pod/web-", "blocks none-counted", "limits cpu-limit", "limits errors deployment/web: In phase calm 376 of 1200 requests failed (31 %), 114 of them (9.5 %) more than 11 s before or 30 s after the times of finding probe, between 231 and 345 s; all 376 failures: 206 × code 500, 170 × connection refused"}},
		{"errors of the server long before and after a crash", `workload: {model: {fault: {crash: 200s, errors: 0.2}}}, load: {phases: [{name: surge, duration: 8m, rate: 120, keepAlive: false}]}`,
			[]string{"blocks crash pod/web-", "limits errors deployment/web: more than 5 s before or 30 s after the times of finding crash"}},
		{"errors of the server", `workload: {model: {fault: {errors: 0.05}}}`, []string{"limits errors deployment/web: × code 500 | The server, or a proxy in front of it"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			wantFindings(t, resultOf(t, c.change), c.want)
		})
	}
}

// wantFindings wants these findings and no others: for each its severity, kind and object, and after a colon parts of its sentences.
func wantFindings(t *testing.T, result *analysis.Result, want []string) {
	t.Helper()
	for i, f := range result.Findings {
		said := fmt.Sprintf("%s %s %s: %s\n%s\n%s", f.Severity, f.Kind, f.Object, f.Seen, f.Cause, f.Advice)
		if f.Seen == "" || f.Cause == "" || f.Advice == "" || strings.Contains(said, "%!") {
			t.Errorf("an empty sentence, or one that is not whole: %s", said)
		}
		if i >= len(want) {
			t.Errorf("found beside what was wanted: %s", said)
			continue
		}
		head, parts, _ := strings.Cut(want[i], ": ")
		for _, part := range append(strings.Split(parts, " | "), head) {
			if !strings.Contains(said, part) {
				t.Errorf("does not say %q: %s", part, said)
			}
		}
	}
	if len(result.Findings) < len(want) {
		t.Errorf("%d findings, wanted %q", len(result.Findings), want)
	}
}

// TestValueCountsReadyPods wants a step for a Value told by the pods that are ready: those that found no room are no part of it.
func TestValueCountsReadyPods(t *testing.T) {
	simulate.Prepare()
	var said []string
	for _, transition := range resultOf(t, `workload: {deployment: {resources: {requests: {cpu: 1}}}, model: {metrics: {queue: {of: requests}}}}, autoscaler: {cpuPercent: null, min: null, max: null, spec: {minReplicas: 1, maxReplicas: 20, behavior: {scaleDown: {stabilizationWindowSeconds: 0}}, metrics: [{type: External, external: {metric: {name: queue}, target: {type: Value, value: "20"}}}]}}, load: {phases: [{name: surge, duration: 4m, rate: 120, keepAlive: false}, {name: calm, duration: 8m, rate: 12}]}`).Transitions {
		for _, s := range transition.Steps {
			if s.LimitedBy == analysis.LimitPods && strings.HasPrefix(s.Limit, "for a Value the HPA multiplies the pods that are ready, not all replicas: ") {
				return
			}
			said = append(said, s.Limit)
		}
	}
	t.Errorf("no step is told so: %+v", said)
}

// TestThinkers wants requests of workers that think for a second to take what those of a shorter pause do: three of 10 ms are less
// than the 50 ms of a limit in each period.
func TestThinkers(t *testing.T) {
	simulate.Prepare()
	for _, p := range resultOf(t, `workload: {model: {cpu: {mean: 10ms}}, deployment: {resources: {requests: {cpu: 500m}, limits: {cpu: 500m}}}}, load: {phases: [{name: a, duration: 1m, workers: 3, thinkTime: 999ms}, {name: b, duration: 1m, workers: 3, thinkTime: 1s}, {name: c, duration: 1m, workers: 3, thinkTime: 5s}]}`).Load.Phases {
		if p.Latency.P50 == nil || *p.Latency.P50 > 0.03 {
			t.Errorf("phase %s: p50 %v", p.Name, p.Latency.P50)
		}
	}
}

// TestShortSurge wants a surge that is enough, and too short for the HPA to see it, told alike wherever the samples end.
func TestShortSurge(t *testing.T) {
	simulate.Prepare()
	for _, change := range []string{
		`workload: {deployment: {replicas: 2, resources: {requests: {cpu: 150m}}}}, autoscaler: {cpuPercent: 60, min: 2, max: 5}, load: {keepAlive: false, phases: [{name: base, duration: 90s, rate: 30}, {name: surge, duration: 20s, rate: 500}]}`,
		`load: {keepAlive: false, phases: [{name: base, duration: 5s, rate: 5}, {name: surge, duration: 20s, rate: 100}]}`,
	} {
		for seed := range uint64(10) {
			t.Run(fmt.Sprint(change, 1+seed), func(t *testing.T) {
				result := shown(t, changed(t, change), 1+seed, nil)
				if len(result.Transitions[1].Steps) > 0 {
					return // the HPA saw it in time
				}
				wantFindings(t, result, []string{"limits seen-too-late hpa/web: The load of phase surge, of up to | lasted 20 s | Let phase surge last"})
			})
		}
	}
}

// TestDueBefore wants replicas that were too many before the load fell, and fell just after it, not told as the work of that fall:
// metrics-server needs 15 s or more to show it.
func TestDueBefore(t *testing.T) {
	simulate.Prepare()
	seen := false
	for _, length := range []string{"6s", "10s", "13500ms", "14s", "14500ms"} {
		r := resultOf(t, fmt.Sprintf(`workload: {deployment: {replicas: 4}}, autoscaler: {stabilization: 60s}, load: {keepAlive: false, phases: [{name: some, duration: %s, rate: 40}, {name: less, duration: 4m, rate: 20}]}`, length))
		down := r.LastDown()
		if len(down.Steps) == 0 {
			continue
		}
		first := down.Steps[0]
		switch latency := down.ScaleDown.Latency; {
		case first.Earlier != (latency.Seconds == nil):
			t.Errorf("%s: the first fall is %+v, and the latency %+v", length, first, latency)
		case first.AfterSeconds > 2: // of one of the pods a sample may be later than the load
		case latency.Seconds == nil && strings.Contains(latency.Missing, "on samples from before the load changed"):
			seen = true
		case latency.Seconds == nil || *latency.Seconds < 2:
			t.Errorf("%s: the first fall after %.1f s is told as latency %+v", length, first.AfterSeconds, latency)
		}
	}
	risen := false // the same of a rise, after which another one is the work of the second load
	for _, length := range []string{"13s", "14s", "28s", "29s"} {
		r := resultOf(t, fmt.Sprintf(`load: {keepAlive: false, phases: [{name: some, duration: %s, rate: 70}, {name: more, duration: 4m, rate: 200}]}`, length))
		more := r.Transitions[len(r.Transitions)-1]
		if len(more.Steps) < 2 || !more.Steps[0].Earlier {
			continue
		}
		risen = true
		up := more.ScaleUp
		if lag := up.First.Stages[0]; up.Latency.Seconds == nil || *up.Latency.Seconds < more.Steps[1].AfterSeconds || !strings.Contains(lag.Missing, "already when the load changed") {
			t.Errorf("%s: after the rises %+v the latency is %+v and the metrics lag %+v", length, more.Steps, up.Latency, lag)
		}
	}
	if !risen {
		t.Error("in none of them do the replicas rise just after the load")
	}
	r := resultOf(t, `workload: {deployment: null, target: {kind: Deployment, name: web}, manifests: [queue]}, autoscaler: {cpuPercent: null, min: null, max: null, spec: {minReplicas: 0, maxReplicas: 10, metrics: [{type: External, external: {metric: {name: queue}, target: {type: AverageValue, averageValue: "20"}}}], behavior: {scaleDown: {stabilizationWindowSeconds: 0}}}}, load: {phases: [{name: busy, duration: 3m, rate: 60, keepAlive: false}]}`)
	if up := r.FirstUp(); up == nil || up.Steps[0].From != 0 || up.ScaleUp.Latency.Seconds == nil || *up.ScaleUp.Latency.Seconds-up.Steps[0].AfterSeconds > 2 {
		t.Errorf("the first rise, by a metric that is not of samples, is %+v", up)
	}
	if !seen {
		t.Error("in none of them do the replicas fall just after the load")
	}
}

// TestLoadRising wants the time in which the load rises told apart from the metrics lag: a pod's metric is
// above target and tolerance from 55 requests/s on. A ramp, a sine or a curve comes to that at a known time;
// the lag after it is at most the window of a sample, its age and its way, as after a step.
func TestLoadRising(t *testing.T) {
	simulate.Prepare()
	for _, c := range []struct {
		load  string
		rises float64 // s; NaN without the stage
	}{
		{`{duration: 4m, rate: 120}`, math.NaN()},
		{`{duration: 4m, ramp: {from: 0, to: 120}}`, 110},
		{`{duration: 4m, ramp: {from: 30, to: 130}}`, 60},
		{`{duration: 2m, ramp: {from: 60, to: 120}}`, 0},
		{`{duration: 8m, sine: {mean: 40, amplitude: 30, period: 8m}}`, 40},
		{`{duration: 10m, sine: {mean: 60, amplitude: 50, period: 10m}}`, 0},
	} {
		r := resultOf(t, fmt.Sprintf("load: {keepAlive: false, phases: [{name: idle, duration: 1m, rate: 0}, {name: up, %s]}", c.load[1:]))
		up := r.FirstUp()
		if up == nil || up.ScaleUp.First == nil {
			t.Fatalf("%s: no scale-up: %+v", c.load, r.Transitions)
		}
		afterLoad(t, c.load, up.ScaleUp.First.Stages, analysis.StageRising, c.rises, 40)
	}
}

// afterLoad wants that stages begin with that of the load, which lasts so many seconds (NaN: with none), and that
// metrics lag, which follows, lasts so long at most. It gives the stages with one of the load in any case.
func afterLoad(t *testing.T, load string, stages []analysis.Stage, name string, want, most float64) []analysis.Stage {
	t.Helper()
	if math.IsNaN(want) {
		stages = append([]analysis.Stage{{}}, stages...)
	} else if s := stages[0]; s.Name != name || s.Seconds == nil || math.Abs(*s.Seconds-want) > 8 {
		t.Errorf("%s: %s is %+v %v, want %.0f s", load, name, s, s.Seconds, want)
	}
	if s := stages[1]; s.Name != analysis.StageMetrics || s.Seconds == nil || *s.Seconds > most {
		t.Errorf("%s: metrics lag is %+v %v", load, s, s.Seconds)
	}
	return stages
}

// TestLoadFalling is the same of a scale-down: of 3 pods that serve 120 requests/s the load asks for 2 from
// 96 on: a request takes 1 ms, a pod 2m at rest, and 33 % of 100m are two thirds of the target.
func TestLoadFalling(t *testing.T) {
	simulate.Prepare()
	for _, c := range []struct {
		load, window string
		falls        float64 // s; NaN without the stage
	}{
		{`{duration: 6m, rate: 60}`, "0s", math.NaN()},
		{`{duration: 4m, ramp: {from: 120, to: 0}}`, "0s", 48},
		{`{duration: 12m, ramp: {from: 120, to: 0}}`, "0s", 144},
		{`{duration: 12m, ramp: {from: 120, to: 0}}`, "300s", 144},
		{`{duration: 4m, ramp: {from: 80, to: 0}}`, "0s", 0},
	} {
		r := resultOf(t, fmt.Sprintf("autoscaler: {stabilization: %s}, load: {keepAlive: false, phases: [{name: surge, duration: 4m, rate: 120}, {name: down, %s]}", c.window, c.load[1:]))
		down := r.LastDown()
		if down == nil || down.ScaleDown.First == nil {
			t.Fatalf("%s: no scale-down: %+v", c.load, r.Transitions)
		}
		stages := afterLoad(t, c.load, down.ScaleDown.First.Stages, analysis.StageFalling, c.falls, 45)
		if s, held := stages[2], down.ScaleDown.HeldByWindow; s.Name != analysis.StageWindow || s.Seconds == nil || math.Abs(*s.Seconds-*held.Seconds) > 0.001 {
			t.Errorf("%s: the window's stage is %+v %v, and held by it %v", c.load, s, s.Seconds, *held.Seconds)
		}
	}
}

// probed are manifests of the short form's workload with a CPU limit and a probe, which is their name.
const probed = `apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: web
        image: x/app
        ports: [{containerPort: 80}]
        resources: {requests: {cpu: 100m}, limits: {cpu: 200m}}
        %s: {httpGet: {path: /, port: 80}, periodSeconds: 5, failureThreshold: 2}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
`

// bare are manifests of the short form's workload.
const bare = `{apiVersion: apps/v1, kind: Deployment, metadata: {name: web}, spec: {selector: {matchLabels: {app: web}}, template: {metadata: {labels: {app: web}}, spec: {containers: [{name: web, image: x/app, resources: {requests: {cpu: 100m}}}]}}}}
---
{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {selector: {app: web}, ports: [{port: 80}]}}
---
`

// besides are manifests of what stands beside it: a pod in front that calls it, and a source of the metric queue.
var besides = map[string]string{
	"front": `{apiVersion: apps/v1, kind: Deployment, metadata: {name: front}, spec: {selector: {matchLabels: {app: front}}, template: {metadata: {labels: {app: front}, annotations: {hpabench.dev/model: '{"cpu": {"mean": "0.1ms"}, "calls": [{"to": "web"}]}'}}, spec: {containers: [{name: front, image: x/front}]}}}}
---
{apiVersion: v1, kind: Service, metadata: {name: front}, spec: {selector: {app: front}, type: NodePort, ports: [{port: 80}]}}
`,
	"queue": `{apiVersion: v1, kind: ConfigMap, metadata: {name: queue, labels: {hpabench.dev/signals: ""}}, data: {queue: "t < 1.0 || t > 180.0 && t < 360.0 ? 0.0 : 60.0"}}
`,
}

// resultOf is what a run of a scenario shows: of a server of 1 ms, a target of 50 % of 100m, and a change.
func resultOf(t *testing.T, change string) *analysis.Result {
	t.Helper()
	return shown(t, changed(t, change), 0, nil)
}

// changed is the scenario of TestFindings with a change.
func changed(t *testing.T, change string) *scenarios.File {
	t.Helper()
	spec := map[string]any{}
	for _, text := range []string{`
workload: {deployment: {image: x/app, port: 80, resources: {requests: {cpu: 100m}}}, model: {cpu: {mean: 1ms}, start: 0s}}
autoscaler: {cpuPercent: 50, min: 1, max: 6}
load: {phases: [{name: surge, duration: 4m, rate: 120, keepAlive: false}, {name: calm, duration: 6m, rate: 1}]}`, "{" + change + "}"} {
		var fields map[string]any
		if err := yaml.Unmarshal([]byte(text), &fields); err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		merge(spec, fields)
	}
	source, err := yaml.Marshal(map[string]any{"apiVersion": "hpabench.dev/v1alpha1", "kind": "Scenario", "metadata": map[string]any{"name": "web"}, "spec": spec})
	if err != nil {
		t.Fatal(err)
	}
	file, err := scenarios.Parse("s.yaml", source, func(name string) (string, []byte, error) {
		if beside := besides[name]; beside != "" {
			return name, []byte(bare + beside), nil
		}
		return name, []byte(fmt.Sprintf(probed, name)), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// shown is what a run of a scenario shows, by a seed if it is not 0, of whose record the entries may be changed.
func shown(t *testing.T, file *scenarios.File, seed uint64, edit func(*record.Entry)) *analysis.Result {
	t.Helper()
	r, err := simulate.FromScenario(file)
	if err != nil {
		t.Fatal(err)
	}
	r.Header = file.Header()
	r.Header.MetricsEvery = 1
	if seed != 0 {
		r.Seed = seed
	}
	var b analysis.Builder
	synctest.Test(t, func(t *testing.T) {
		if _, err := simulate.Simulate(r, func(e record.Entry) {
			if edit != nil {
				edit(&e)
			}
			b.AddEntry(e)
		}); err != nil {
			t.Fatal(err)
		}
	})
	result, err := b.Result()
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// merge puts the fields of change into base; null takes one away.
func merge(base, change map[string]any) {
	for name, is := range change {
		old, _ := base[name].(map[string]any)
		fields, nested := is.(map[string]any)
		switch {
		case is == nil:
			delete(base, name)
		case nested && old != nil:
			merge(old, fields)
		default:
			base[name] = is
		}
	}
}

// TestSignalFindings has what a simulated run from zero by KEDA shows where its trigger is set or its record changed as a fault of its
// source does: these findings and no others.
func TestSignalFindings(t *testing.T) {
	simulate.Prepare()
	var source []byte
	for _, f := range scenarios.Library() {
		if f.Metadata.Name == "scale-from-zero" {
			source = f.Source
		}
	}
	signals := func(from, to float64, change func(*record.Signal)) func(*record.Entry) {
		return func(e *record.Entry) {
			if at := e.At.Seconds(); e.Signal != nil && at >= from && at < to {
				s := *e.Signal
				e.Signal = &s
				change(&s)
			}
		}
	}
	for _, c := range []struct {
		name, threshold string
		edit            func(*record.Entry)
		want            []string // severity, kind, object and parts of what is said
	}{
		{"as it is", "0.1", nil, []string{"notice cold-start"}},
		{"a trigger that does not activate", "1000", nil, []string{"blocks never-activated"}},
		{"an adapter without a value", "0.1", signals(90, 200, func(s *record.Signal) { s.Value, s.Timestamp, s.Error = nil, nil, "unable to get external metric" }), []string{"blocks signal-absent", "notice cold-start"}},
		{"old values", "0.1", signals(60, 1000, func(s *record.Signal) { s.Timestamp = new(time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC)) }), []string{"limits signal-stale", "notice cold-start"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			file, err := scenarios.Parse("s.yaml", bytes.Replace(source, []byte(`activationThreshold: "0.1"`), []byte(fmt.Sprintf("activationThreshold: %q", c.threshold)), 1), nil)
			if err != nil {
				t.Fatal(err)
			}
			wantFindings(t, shown(t, file, 0, c.edit), c.want)
		})
	}
}
