package scenarios

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	apischema "k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/component-base/version"
	"sigs.k8s.io/yaml"
)

// What a test's manifests have beside what it is about, each of them as one document.
const (
	shop = `{apiVersion: apps/v1, kind: Deployment, metadata: {name: shop}, spec: {selector: {matchLabels: {app: shop}}, template: {metadata: {labels: {app: shop}},
  spec: {containers: [{name: c, image: nginx, ports: [{containerPort: 80}], resources: {requests: {cpu: 20m}}}]}}}}
`
	front = `{apiVersion: v1, kind: Service, metadata: {name: shop}, spec: {selector: {app: shop}, ports: [{port: 80}]}}
`
	scaler = `{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {name: shop}, spec: {minReplicas: 1, maxReplicas: 5, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: shop},
  metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}}]}}
`
)

// written puts the files of a scenario into a folder and reads it. manifests is what
// workload.manifests has.
func written(t *testing.T, manifests string, files map[string]string) (*File, error) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	if err := os.WriteFile("s.yaml", []byte("apiVersion: hpabench.dev/v1alpha1\nkind: Scenario\nmetadata: {name: s}\nspec:\n  workload: {manifests: ["+manifests+"]}\n  load: {phases: [{name: a, duration: 30s, rate: 5}]}\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	return Read("s.yaml")
}

// ofShop reads a Deployment, a Service and an HPA of which one text is replaced by another.
func ofShop(t *testing.T, old, replacement string) (*File, error) {
	t.Helper()
	all := strings.Join([]string{shop, front, scaler}, "---\n")
	if !strings.Contains(all, old) {
		t.Fatalf("there is no %q to replace", old)
	}
	return written(t, "m.yaml", map[string]string{"m.yaml": strings.Replace(all, old, replacement, 1)})
}

// Objects to put values into.
const (
	ofCRD      = "{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: %s}, spec: {group: example.com, scope: Namespaced, names: {plural: widgets, kind: Widget}, versions: [{name: v1, served: true, storage: true%s}]}}"
	ofWebhook  = "{apiVersion: admissionregistration.k8s.io/v1, kind: %sWebhookConfiguration, metadata: {name: w}, webhooks: [{name: %s, sideEffects: None, admissionReviewVersions: [v1], clientConfig: {url: '%s://x'}}]}"
	withSchema = ", schema: {openAPIV3Schema: {type: object}}"
	ofService  = "{apiVersion: v1, kind: Service, metadata: {name: other}, spec: {%s, ports: [{port: 80}]}}"
)

// hostile are objects that an API server refuses, made of those above: what is replaced,
// by what, and what is wrong then.
var hostile = map[string][3]string{
	"period 0":         {"metrics:", "behavior: {scaleUp: {policies: [{type: Pods, value: 2, periodSeconds: 0}]}}, metrics:", "m.yaml:7: spec.behavior.scaleUp.policies[0].periodSeconds: Invalid value: 0"},
	"period too long":  {"metrics:", "behavior: {scaleUp: {policies: [{type: Pods, value: 2, periodSeconds: 1801}]}}, metrics:", "m.yaml:7: spec.behavior.scaleUp.policies[0].periodSeconds: Invalid value: 1801"},
	"value 0":          {"metrics:", "behavior: {scaleDown: {policies: [{type: Percent, value: 0, periodSeconds: 60}]}}, metrics:", "m.yaml:7: spec.behavior.scaleDown.policies[0].value: Invalid value: 0"},
	"no policies":      {"metrics:", "behavior: {scaleDown: {policies: []}}, metrics:", "m.yaml:7: spec.behavior.scaleDown.policies: Required value"},
	"policy type":      {"metrics:", "behavior: {scaleDown: {policies: [{type: pods, value: 1, periodSeconds: 60}]}}, metrics:", "m.yaml:7: spec.behavior.scaleDown.policies[0].type: Unsupported value: \"pods\""},
	"selectPolicy":     {"metrics:", "behavior: {scaleDown: {selectPolicy: disabled}}, metrics:", "m.yaml:7: spec.behavior.scaleDown.selectPolicy: Unsupported value: \"disabled\""},
	"tolerance":        {"metrics:", "behavior: {scaleDown: {tolerance: -0.1}}, metrics:", "m.yaml:7: spec.behavior.scaleDown.tolerance: Invalid value"},
	"window":           {"metrics:", "behavior: {scaleDown: {stabilizationWindowSeconds: 3601}}, metrics:", "m.yaml:7: spec.behavior.scaleDown.stabilizationWindowSeconds: Invalid value: 3601"},
	"External in %":    {"{type: Resource, resource: {name: cpu, ", "{type: External, external: {metric: {name: q}, ", "m.yaml:7: spec.metrics[0].external.target"},
	"min over max":     {"minReplicas: 1", "minReplicas: 9", "m.yaml:6: spec.maxReplicas: Invalid value: 5"},
	"0 without a cue":  {"minReplicas: 1", "minReplicas: 0", "m.yaml:7: spec.metrics: Forbidden: must specify at least one Object or External metric"},
	"no selector":      {"selector: {matchLabels: {app: shop}}, ", "", "m.yaml:1: spec.selector: Required value"},
	"selector":         {"{matchLabels: {app: shop}}", "{matchLabels: {app: shop, tier: x}}", "m.yaml:1: spec.template.metadata.labels: Invalid value"},
	"limit":            {"requests: {cpu: 20m}", "requests: {cpu: 20m}, limits: {cpu: 10m}", "m.yaml:2: spec.template.spec.containers[0].resources.requests: Invalid value: \"20m\": must be less than or equal to cpu limit of 10m"},
	"no image":         {"image: nginx, ", "", "m.yaml:2: spec.template.spec.containers[0].image: Required value"},
	"capitals":         {"Deployment, metadata: {name: shop}", "Deployment, metadata: {name: Shop}", "m.yaml:1: metadata.name: Invalid value: \"Shop\""},
	"port 0":           {"containerPort: 80", "containerPort: 0", "m.yaml:2: spec.template.spec.containers[0].ports[0].containerPort: Required value"},
	"Service port":     {"ports: [{port: 80}]", "ports: [{port: 99999}]", "m.yaml:4: spec.ports[0].port: Invalid value: 99999"},
	"Service name":     {"Service, metadata: {name: shop}", "Service, metadata: {name: shop_1}", "m.yaml:4: metadata.name: Invalid value: \"shop_1\""},
	"label":            {"labels: {app: shop}", "labels: {app: shop, b: \"a b\"}", "m.yaml:1: spec.template.labels: Invalid value: \"a b\""},
	"restartPolicy":    {"spec: {containers:", "spec: {restartPolicy: Never, containers:", "m.yaml:2: spec.template.spec.restartPolicy: Unsupported value: \"Never\""},
	"pull policy":      {"image: nginx,", "image: nginx, imagePullPolicy: always,", "m.yaml:2: spec.template.spec.containers[0].imagePullPolicy: Unsupported value: \"always\""},
	"mount":            {"image: nginx,", "image: nginx, volumeMounts: [{name: data, mountPath: /data}],", "m.yaml:2: spec.template.spec.containers[0].volumeMounts[0].name: Not found: \"data\""},
	"rolling update":   {"spec: {selector: {matchLabels: {app: shop}}, template", "spec: {strategy: {rollingUpdate: {maxSurge: 0, maxUnavailable: 0}}, selector: {matchLabels: {app: shop}}, template", "m.yaml:1: spec.strategy.rollingUpdate.maxUnavailable: Invalid value"},
	"negative replica": {"spec: {selector", "spec: {replicas: -1, selector", "m.yaml:1: spec.replicas: Invalid value: -1"},
	"PDB":              {front, front + "---\n{apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {name: shop}, spec: {minAvailable: 1, maxUnavailable: 1, selector: {}}}\n", "m.yaml:6: spec: Invalid value"},
	"Ingress":          {front, front + "---\n{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: shop}, spec: {rules: [{host: UPPER}]}}\n", "m.yaml:6: spec.rules[0].host: Invalid value: \"UPPER\""},
	"ConfigMap":        {front, front + "---\n{apiVersion: v1, kind: ConfigMap, metadata: {name: shop}, data: {\"a b\": c}}\n", "m.yaml:6: data[a b]: Invalid value"},
	"Secret":           {front, front + "---\n{apiVersion: v1, kind: Secret, metadata: {name: shop}, type: kubernetes.io/tls, stringData: {}}\n", "m.yaml:6: data[tls.crt]: Required value"},
	"PVC":              {front, front + "---\n{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: shop}, spec: {resources: {requests: {storage: 1Gi}}}}\n", "m.yaml:6: spec.accessModes: Required value"},
	"LimitRange":       {front, front + "---\n{apiVersion: v1, kind: LimitRange, metadata: {name: shop}, spec: {limits: [{type: Container, min: {cpu: 2}, max: {cpu: 1}}]}}\n", "m.yaml:6: spec.limits[0].min[cpu]: Invalid value: \"2\""},
	"ResourceQuota":    {front, front + "---\n{apiVersion: v1, kind: ResourceQuota, metadata: {name: shop}, spec: {hard: {cpu: -1}}}\n", "m.yaml:6: spec.hard[cpu]: Invalid value"},
	"Role":             {front, front + "---\n{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: shop}, rules: [{verbs: [get], resources: [pods]}]}\n", "m.yaml:6: rules[0].apiGroups: Required value"},
	"RoleBinding":      {front, front + "---\n{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: shop}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Rolle, name: r}}\n", "m.yaml:6: roleRef.kind: Unsupported value: \"Rolle\""},
	"CronJob":          {front, front + "---\n{apiVersion: batch/v1, kind: CronJob, metadata: {name: shop}, spec: {schedule: whenever, jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: i}]}}}}}}\n", "m.yaml:6: spec.schedule: Invalid value: \"whenever\""},

	"CRD name":            beside(fmt.Sprintf(ofCRD, "widget", withSchema), `metadata.name: Invalid value: "widget": must be spec.names.plural+"."+spec.group (the API server refuses this Custom`),
	"CRD without schema":  beside(fmt.Sprintf(ofCRD, "widgets.example.com", ""), "spec.versions[0].schema.openAPIV3Schema: Required value"),
	"CRD field":           beside(fmt.Sprintf(ofCRD, "widgets.example.com", ", schema: {openAPIV3Schema: {typ: object}}"), `unknown field "typ" in spec.versions[0].schema.openAPIV3Schema (did you mean "type"?)`),
	"CRD rule":            beside(fmt.Sprintf(ofCRD, "widgets.example.com", ", schema: {openAPIV3Schema: {type: object, x-kubernetes-validations: [{rule: self.x}]}}"), "spec.versions[0].schema.openAPIV3Schema.x-kubernetes-validations[0].rule: Invalid value"),
	"APIService":          beside("{apiVersion: apiregistration.k8s.io/v1, kind: APIService, metadata: {name: v1.a}, spec: {group: a, version: v1, versionPriority: 5}}", "spec.groupPriorityMinimum: Invalid value: 0"),
	"webhook name":        beside(fmt.Sprintf(ofWebhook, "Validating", "a", "https"), `webhooks[0].name: Invalid value: "a": should be a domain`),
	"webhook URL":         beside(fmt.Sprintf(ofWebhook, "Mutating", "a.b.c", "http"), `webhooks[0].clientConfig.url: Invalid value: "http"`),
	"admission policy":    beside("{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingAdmissionPolicy, metadata: {name: w}, spec: {matchConstraints: {resourceRules: [{apiGroups: [''], apiVersions: [v1], operations: [CREATE], resources: [pods]}]}, validations: [{expression: 'object.x +'}]}}", `spec.validations[0].expression: Invalid value: "object.x +"`),
	"its binding":         beside("{apiVersion: admissionregistration.k8s.io/v1, kind: MutatingAdmissionPolicyBinding, metadata: {name: w}, spec: {}}", "spec.policyName: Required value"),
	"FlowSchema":          beside("{apiVersion: flowcontrol.apiserver.k8s.io/v1, kind: FlowSchema, metadata: {name: w}, spec: {}}", "spec.priorityLevelConfiguration.name: Required value"),
	"certificate":         beside("{apiVersion: certificates.k8s.io/v1, kind: CertificateSigningRequest, metadata: {name: w}, spec: {request: YQ==, usages: [client auth], signerName: a.b/c}}", "spec.request: Invalid value"),
	"CSIDriver":           beside("{apiVersion: storage.k8s.io/v1, kind: CSIDriver, metadata: {name: w_}}", "metadata.name: Invalid value"),
	"clusterIP":           beside(fmt.Sprintf(ofService, "clusterIP: foo"), `spec.clusterIPs[0]: Invalid value: "foo": must be a valid IP address`),
	"clusterIP, no bytes": beside(fmt.Sprintf(ofService, "clusterIP: 10.0.0.300"), `spec.clusterIPs[0]: Invalid value: "10.0.0.300"`),
	"clusterIPs":          beside(fmt.Sprintf(ofService, "clusterIP: 10.0.0.1, clusterIPs: [10.0.0.1, x]"), `spec.clusterIPs`),
	"ConfigMap's size":    beside("{apiVersion: v1, kind: ConfigMap, metadata: {name: l}, data: {a: "+strings.Repeat("x", 1<<20+1)+"}}", "the ConfigMap: Too long: may not be more than 1048576 bytes (the API server refuses this ConfigMap)"),
	"many rules":          beside(fmt.Sprintf(ofCRD, "widgets.example.com", ", schema: {openAPIV3Schema: {type: object, x-kubernetes-validations: ["+strings.Repeat("{rule: 'true'}, ", 1001)+"]}}"), "the expressions up to the end of this object have 200200 characters, each counted as 200 at least, and may have 200000"),
	"long rules":          beside(fmt.Sprintf(ofCRD, "widgets.example.com", ", schema: {openAPIV3Schema: {type: object, x-kubernetes-validations: [{rule: '"+strings.Repeat("true && ", 30_000)+"true'}]}}"), "the expressions up to the end of this object have 240004 characters"),
	"an Ingress":          beside("{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: l}, spec: {}}", "spec: Invalid value: null: either `defaultBackend` or `rules` must be specified (the API server refuses this Ingress)"),
}

// beside puts an object behind those of the shop.
func beside(object, want string) [3]string {
	return [3]string{front, front + "---\n" + object + "\n", "m.yaml:6: " + want}
}

// What follows from one fault is not a fault of its own.
func TestOneFault(t *testing.T) {
	for name, c := range map[string][3]string{
		"negative request":        {"cpu: 20m", "cpu: -20m", "m.yaml:2: spec.template.spec.containers[0].resources.requests[cpu]: Invalid value"},
		"negative limit":          {"requests: {cpu: 20m}", "limits: {cpu: -20m}", "m.yaml:2: spec.template.spec.containers[0].resources.limits[cpu]: Invalid value"},
		"no version":              beside("{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: shops.example.com}, spec: {group: example.com, scope: Cluster, names: {kind: Shop, plural: shops}}}", "spec.versions: Invalid value"),
		"LimitRange's defaults":   beside("{apiVersion: v1, kind: LimitRange, metadata: {name: l}, spec: {limits: [{type: Container, min: {cpu: 2}, max: {cpu: 1}}]}}", "spec.limits[0].min[cpu]: Invalid value"),
		"LimitRange's default of": beside("{apiVersion: v1, kind: LimitRange, metadata: {name: l}, spec: {limits: [{type: Container, min: {cpu: 1}, default: {cpu: 500m}}]}}", "spec.limits[0].default[cpu]: Invalid value"),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ofShop(t, c[0], c[1])
			var faults Faults
			if !errors.As(err, &faults) || len(faults) != 1 || !strings.Contains(err.Error(), c[2]) {
				t.Errorf("%v\nwant %s alone", err, c[2])
			}
		})
	}
	for _, name := range []string{"Bad_Name", "a.b", strings.Repeat("a", 82), "''", "5"} {
		for _, workload := range []string{"{deployment: {image: a, port: 80, resources: {requests: {cpu: 1}}}}", "{existing: {kind: Deployment, name: a}}"} {
			source := "apiVersion: hpabench.dev/v1alpha1\nkind: Scenario\nmetadata: {name: " + name + "}\nspec:\n  workload: " + workload + "\n  load: {phases: [{name: a, duration: 30s, rate: 5}]}\n"
			if strings.HasPrefix(workload, "{deployment") {
				source += "  autoscaler: {cpuPercent: 50, max: 3}\n"
			}
			_, err := Parse("s.yaml", []byte(source), nowhere)
			var faults Faults
			if !errors.As(err, &faults) || len(faults) != 1 || faults[0].Line != 3 {
				t.Errorf("name %s of %s: %v\nwant one fault, of line 3", name, workload, err)
			}
		}
	}
}

func TestWhatTheServerRefuses(t *testing.T) {
	for name, c := range hostile {
		t.Run(name, func(t *testing.T) {
			_, err := ofShop(t, c[0], c[1])
			if err == nil || !strings.Contains("\n"+err.Error(), "\n"+c[2]) {
				t.Errorf("%v\nwant %s", err, c[2])
			}
		})
	}
	if _, err := ofShop(t, shop, shop); err != nil {
		t.Errorf("what the API server takes: %v", err)
	}
}

// What an API server takes with what its storage adds, a cluster IP or a port of the nodes, and with its flags.
func TestWhatTheServerTakes(t *testing.T) {
	for _, spec := range []string{"clusterIP: None, selector: {app: x}", "clusterIP: None, selector: {app: x}, ports: [{port: 80}]",
		"clusterIP: None, clusterIPs: [None], selector: {app: x}", "type: ExternalName, externalName: a.example",
		"type: LoadBalancer, externalTrafficPolicy: Local, selector: {app: x}, ports: [{port: 80}]"} {
		service := "{apiVersion: v1, kind: Service, metadata: {name: other}, spec: {" + spec + "}}\n"
		if _, err := written(t, "m.yaml", map[string]string{"m.yaml": strings.Join([]string{shop, front, scaler, service}, "---\n")}); err != nil {
			t.Errorf("%s: %v", spec, err)
		}
	}
	if _, err := ofShop(t, "requests: {cpu: 20m}}", "requests: {cpu: 20m}}, securityContext: {privileged: true}"); err != nil {
		t.Errorf("a privileged container: %v", err)
	}
}

// The short form is judged as the objects that it stands for, in its own words.
func TestShortFormAsTheServer(t *testing.T) {
	for text, want := range map[string]string{
		"{image: a, port: 80, resources: {requests: {cpu: 2}, limits: {cpu: 1}}}":                                                                           "s.yaml:5: spec.workload.deployment.resources.requests: Invalid value: \"2\"",
		"{image: a, port: 80, resources: {requests: {cpu: 1}}, livenessProbe: {}}":                                                                          "s.yaml:5: spec.workload.deployment.livenessProbe: Required value",
		"{image: a, port: 80, resources: {requests: {cpu: 1}}, template: {spec: {containers: [{name: b, image: b, workingDir: ''}, {name: b, image: b}]}}}": "s.yaml:5: spec.workload.deployment.template.spec.containers[1].name: Duplicate value: \"b\"",
		"{image: a, port: 80, resources: {requests: {cpu: 1}}, template: {spec: {hostname: A B}}}":                                                          "s.yaml:5: spec.workload.deployment.template.spec.hostname: Invalid value: \"A B\"",
		"{image: a, port: 80, resources: {limits: {cpu: 1}}}":                                                                                               "",
	} {
		f, err := Parse("s.yaml", []byte("apiVersion: hpabench.dev/v1alpha1\nkind: Scenario\nmetadata: {name: s}\nspec:\n  workload: {deployment: "+text+"}\n  autoscaler: {cpuPercent: 50, max: 3}\n  load: {phases: [{name: a, duration: 30s, rate: 5}]}\n"), nowhere)
		switch {
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: %v\nwant %s", text, err, want)
		case want == "" && err != nil:
			t.Errorf("%s: %v", text, err)
		case want == "":
			if got := f.PodTemplate().Spec.Containers[0].Resources.Requests.Cpu().String(); got != "1" {
				t.Errorf("%s: the request is %s, want that of the limit", text, got)
			}
		}
	}
}

func TestRemovedAPIs(t *testing.T) {
	for name, c := range map[string][3]string{
		"v2beta2":                  {"autoscaling/v2,", "autoscaling/v2beta2,", "m.yaml:6: HorizontalPodAutoscaler: autoscaling/v2beta2 is not served since Kubernetes 1.26: write autoscaling/v2 (its fields are the same)"},
		"v2beta1":                  {"autoscaling/v2,", "autoscaling/v2beta1,", "since Kubernetes 1.25: write autoscaling/v2 (its metrics have target"},
		"apps":                     {"apps/v1, kind: Deployment, metadata", "apps/v1beta1, kind: Deployment, metadata", "m.yaml:1: Deployment: apps/v1beta1 is not served since Kubernetes 1.16: write apps/v1 (spec.selector"},
		"apps 2":                   {"apps/v1, kind: Deployment, metadata", "apps/v1beta2, kind: Deployment, metadata", "apps/v1beta2 is not served since Kubernetes 1.16: write apps/v1 (spec.selector"},
		"extensions":               {"apps/v1, kind: Deployment, metadata", "extensions/v1beta1, kind: Deployment, metadata", "extensions/v1beta1 is not served since Kubernetes 1.16: write apps/v1 (spec.selector"},
		"Ingress":                  {front, front + "---\n{apiVersion: networking.k8s.io/v1beta1, kind: Ingress, metadata: {name: shop}}\n", "m.yaml:6: Ingress: networking.k8s.io/v1beta1 is not served since Kubernetes 1.22: write networking.k8s.io/v1 (spec.backend"},
		"old Ingress":              {front, front + "---\n{apiVersion: extensions/v1beta1, kind: Ingress, metadata: {name: shop}}\n", "since Kubernetes 1.22: write networking.k8s.io/v1 (spec.backend"},
		"PDB":                      {front, front + "---\n{apiVersion: policy/v1beta1, kind: PodDisruptionBudget, metadata: {name: shop}}\n", "since Kubernetes 1.25: write policy/v1 (an empty"},
		"PSP":                      {front, front + "---\n{apiVersion: policy/v1beta1, kind: PodSecurityPolicy, metadata: {name: shop}}\n", "policy/v1beta1 is not served since Kubernetes 1.25 (nothing took its place"},
		"CronJob":                  {front, front + "---\n{apiVersion: batch/v1beta1, kind: CronJob, metadata: {name: shop}}\n", "since Kubernetes 1.25: write batch/v1 (its fields"},
		"RBAC":                     {front, front + "---\n{apiVersion: rbac.authorization.k8s.io/v1beta1, kind: Role, metadata: {name: shop}}\n", "since Kubernetes 1.22: write rbac.authorization.k8s.io/v1"},
		"CRD":                      {front, front + "---\n{apiVersion: apiextensions.k8s.io/v1beta1, kind: CustomResourceDefinition, metadata: {name: shop}}\n", "since Kubernetes 1.22: write apiextensions.k8s.io/v1 (spec.versions"},
		"RBAC v1alpha1":            {front, front + "---\n{apiVersion: rbac.authorization.k8s.io/v1alpha1, kind: ClusterRoleBinding, metadata: {name: shop}, spec: {}}\n", "m.yaml:6: ClusterRoleBinding: rbac.authorization.k8s.io/v1alpha1 is not served since Kubernetes 1.23: write rbac.authorization.k8s.io/v1"},
		"RuntimeClass":             {front, front + "---\n{apiVersion: node.k8s.io/v1alpha1, kind: RuntimeClass, metadata: {name: shop}, spec: {}}\n", "m.yaml:6: RuntimeClass: node.k8s.io/v1alpha1 is not served by Kubernetes " + version.DefaultKubeBinaryVersion + ": write node.k8s.io/v1 (handler"},
		"TPR":                      {front, front + "---\n{apiVersion: extensions/v1beta1, kind: ThirdPartyResource, metadata: {name: shop}}\n", "since Kubernetes 1.8 (a CustomResourceDefinition"},
		"AuditSink":                {front, front + "---\n{apiVersion: auditregistration.k8s.io/v1alpha1, kind: AuditSink, metadata: {name: shop}}\n", "since Kubernetes 1.19 (nothing took its place"},
		"HPA's target":             {"apiVersion: apps/v1, kind: Deployment, name", "apiVersion: extensions/v1beta1, kind: Deployment, name", "m.yaml:6: spec.scaleTargetRef: Kubernetes " + version.DefaultKubeBinaryVersion + " serves no Deployment of extensions/v1beta1: write apps/v1 (the HPA"},
		"HPA's target of the core": {"apiVersion: apps/v1, kind: Deployment, name", "apiVersion: v1, kind: Deployment, name", "m.yaml:6: spec.scaleTargetRef.apiVersion: Invalid value: \"v1\": apiVersion must specify API group"},
		"HPA's target of no kind":  {"apiVersion: apps/v1, kind: Deployment, name", "apiVersion: batch/v1, kind: Deployment, name", "m.yaml:6: spec.scaleTargetRef: Kubernetes " + version.DefaultKubeBinaryVersion + " serves no Deployment of batch/v1: write apps/v1"},
		"the HPA":                  {"autoscaling/v2", "extensions/v1beta1", "m.yaml:6: Kubernetes " + version.DefaultKubeBinaryVersion + " serves no HorizontalPodAutoscaler of extensions/v1beta1: write autoscaling/v2"},
		"HPA v2alpha1":             {"autoscaling/v2", "autoscaling/v2alpha1", "m.yaml:6: Kubernetes " + version.DefaultKubeBinaryVersion + " serves no HorizontalPodAutoscaler of autoscaling/v2alpha1: write autoscaling/v2"},
		"the Deployment":           {"apps/v1, kind: Deployment, metadata", "v1, kind: Deployment, metadata", "m.yaml:1: Kubernetes " + version.DefaultKubeBinaryVersion + " serves no Deployment of v1: write apps/v1"},
		"EndpointSlice":            unserving("discovery.k8s.io/v1alpha1", "EndpointSlice", ": write discovery.k8s.io/v1"),
		"FlowSchema":               unserving("flowcontrol.apiserver.k8s.io/v1alpha1", "FlowSchema", ": write flowcontrol.apiserver.k8s.io/v1"),
		"ClusterCIDR":              unserving("networking.k8s.io/v1alpha1", "ClusterCIDR", ""),
		"ResourceClaim":            unserving("resource.k8s.io/v1alpha2", "ResourceClaim", ": write resource.k8s.io/v1"),
		"old migration":            unserving("storagemigration.k8s.io/v1alpha1", "StorageVersionMigration", ": write storagemigration.k8s.io/v1"),
		"Job":                      unserving("extensions/v1beta1", "Job", ": write batch/v1"),
		"definition":               unserving("apiextensions.k8s.io/v2", "CustomResourceDefinition", ": write apiextensions.k8s.io/v1"),
		"misspelt":                 {"kind: Service", "kind: Servic", `m.yaml:4: v1 has no kind "Servic" (did you mean "Service"?)`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ofShop(t, c[0], c[1])
			var faults Faults
			if !errors.As(err, &faults) || len(faults) != 1 || !strings.Contains(err.Error(), c[2]) {
				t.Errorf("%v\nwant %s alone", err, c[2])
			}
		})
	}
}

func unserving(api, kind, write string) [3]string {
	return [3]string{front, front + "---\n{apiVersion: " + api + ", kind: " + kind + ", metadata: {name: x}, spec: {}}\n", "m.yaml:6: Kubernetes " + version.DefaultKubeBinaryVersion + " serves no " + kind + " of " + api + write}
}

// Custom kinds may be in groups whose names are like Kubernetes' own, or be defined beside; an
// HPA may name any version of a group that is served.
func TestCustomKindsAreKnown(t *testing.T) {
	const defined = "{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: shops.storage.k8s.io, annotations: {api-approved.kubernetes.io: 'https://github.com/kubernetes/kubernetes/pull/1'}}, spec: {group: storage.k8s.io, scope: Namespaced, names: {kind: Shop, plural: shops}, versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}]}}"
	for _, object := range []string{
		"{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: a}}", "{apiVersion: snapshot.storage.k8s.io/v1, kind: VolumeSnapshot, metadata: {name: a}}",
		"{apiVersion: metrics.k8s.io/v1beta1, kind: PodMetrics, metadata: {name: a}}", "{apiVersion: autoscaling.k8s.io/v1, kind: VerticalPodAutoscaler, metadata: {name: a}}",
		"{apiVersion: storage.k8s.io/v1, kind: Shop, metadata: {name: a}}\n---\n" + defined,
	} {
		if _, err := ofShop(t, front, front+"---\n"+object+"\n"); err != nil {
			t.Errorf("%s: %v", object, err)
		}
	}
	if _, err := ofShop(t, "apiVersion: apps/v1, kind: Deployment, name", "apiVersion: apps/v1beta2, kind: Deployment, name"); err != nil {
		t.Error(err)
	}
}

// Nothing is told to become what is removed as well, and what is served has no fault.
func TestReplacementsAreServed(t *testing.T) {
	removed := 0
	check := func(gvk apischema.GroupVersionKind) {
		message, _ := removedIn(gvk)
		if message == "" {
			return
		}
		removed++
		_, to, is := strings.Cut(message, ": write ")
		gv, err := apischema.ParseGroupVersion(to)
		if !is || err != nil {
			return
		}
		if strings.Contains(gv.Version, "alpha") || strings.Contains(gv.Version, "beta") {
			t.Errorf("%v: %s", gvk, message)
		}
		if again, _ := removedIn(gv.WithKind(gvk.Kind)); again != "" {
			t.Errorf("%v: %s; %s", gvk, message, again)
		}
		if _, err := typesOf(gv).New(gv.WithKind(gvk.Kind)); err != nil && gvk.Kind != "Scale" {
			t.Errorf("%v: %s: %v", gvk, message, err)
		}
	}
	for gvk := range scheme.Scheme.AllKnownTypes() {
		check(gvk)
	}
	for key := range removedTypes {
		api, kind, _ := strings.Cut(key, " ")
		gv, err := apischema.ParseGroupVersion(api)
		if err != nil {
			t.Fatal(err)
		}
		check(gv.WithKind(kind))
	}
	if removed < 80 {
		t.Errorf("only %d API versions are removed", removed)
	}
	for from, want := range map[string]string{"flowcontrol.apiserver.k8s.io/v1beta2 FlowSchema": "1.29: write flowcontrol.apiserver.k8s.io/v1", "storage.k8s.io/v1alpha1 CSIStorageCapacity": "1.24: write storage.k8s.io/v1", "node.k8s.io/v1beta1 RuntimeClass": "1.25: write node.k8s.io/v1"} {
		api, kind, _ := strings.Cut(from, " ")
		gv, _ := apischema.ParseGroupVersion(api)
		if message, _ := removedIn(gv.WithKind(kind)); !strings.HasSuffix(message, want) {
			t.Errorf("%s: %s, want %s", from, message, want)
		}
	}
}

// An exported List loses what the server set, and what the cluster makes itself.
func TestExported(t *testing.T) {
	const meta = `annotations: {kubectl.kubernetes.io/last-applied-configuration: '{}', deployment.kubernetes.io/revision: '3', autoscaling.alpha.kubernetes.io/conditions: '[]', mine: kept},
      creationTimestamp: '2024-05-01T10:00:00Z', generation: 3, namespace: prod, resourceVersion: '123', selfLink: /x, uid: 5d3c, finalizers: [foregroundDeletion], managedFields: [{manager: kubectl}]`
	f, err := written(t, "m.yaml", map[string]string{"m.yaml": `
apiVersion: v1
kind: List
metadata: {resourceVersion: ''}
items:
- apiVersion: apps/v1
  kind: Deployment
  metadata: {name: shop, ` + meta + `}
  spec: {selector: {matchLabels: {app: shop}}, template: {metadata: {creationTimestamp: null, labels: {app: shop}}, spec: {containers: [{name: c, image: nginx, env: [{name: URL, value: "http://shop.prod.svc.cluster.local/x"}], resources: {requests: {cpu: 20m}}}]}}}
  status: {replicas: 2, conditions: [{type: Available}]}
- apiVersion: apps/v1
  kind: ReplicaSet
  metadata: {name: shop-7f, ownerReferences: [{apiVersion: apps/v1, kind: Deployment, name: shop, uid: 5d3c, controller: true}], ` + meta + `}
  spec: {selector: {matchLabels: {app: shop}}, template: {metadata: {labels: {app: shop}}, spec: {containers: [{name: c, image: nginx}]}}}
- apiVersion: v1
  kind: Service
  metadata: {name: shop, ` + meta + `}
  spec: {type: NodePort, clusterIP: 10.96.12.7, clusterIPs: [10.96.12.7], ipFamilies: [IPv4], healthCheckNodePort: 0, ports: [{port: 80, nodePort: 31000}], selector: {app: shop}}
- apiVersion: v1
  kind: Service
  metadata: {name: headless, ` + meta + `}
  spec: {clusterIP: None, clusterIPs: [None], ports: [{port: 80}]}
- apiVersion: v1
  kind: PersistentVolumeClaim
  metadata: {name: data, ` + meta + `}
  spec: {accessModes: [ReadWriteOnce], volumeName: pvc-1, resources: {requests: {storage: 1Gi}}}
- {apiVersion: v1, kind: ConfigMap, metadata: {name: kube-root-ca.crt, ` + meta + `}}
- {apiVersion: v1, kind: ServiceAccount, metadata: {name: default, ` + meta + `}}
- {apiVersion: v1, kind: Endpoints, metadata: {name: shop, ` + meta + `}, subsets: [{addresses: [{ip: 10.244.0.9}], ports: [{port: 80}]}]}
- {apiVersion: v1, kind: Endpoints, metadata: {name: headless, ` + meta + `}, subsets: [{addresses: [{ip: 10.244.0.9}], ports: [{port: 80}]}]}
- {apiVersion: v1, kind: ServiceAccount, metadata: {name: shop, ` + meta + `}, secrets: [{name: shop-token}]}
- {apiVersion: v1, kind: Namespace, metadata: {name: prod, ` + strings.Replace(meta, "namespace: prod,", "", 1) + `}, spec: {finalizers: [kubernetes]}}
- {apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: shop, ` + meta + `}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: r}, subjects: [{kind: ServiceAccount, name: shop, namespace: prod}, {kind: ServiceAccount, name: other, namespace: elsewhere}]}
- apiVersion: batch/v1
  kind: Job
  metadata: {name: load, labels: {controller-uid: x, job-name: load, mine: kept}, ` + meta + `}
  spec: {selector: {matchLabels: {controller-uid: x}}, template: {metadata: {labels: {controller-uid: x, job-name: load, mine: kept}}, spec: {restartPolicy: Never, containers: [{name: c, image: nginx}]}}}
- apiVersion: autoscaling/v2
  kind: HorizontalPodAutoscaler
  metadata: {name: shop, ` + meta + `}
  spec: {maxReplicas: 6, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: shop}}
  status: {currentMetrics: null, currentReplicas: 2, desiredReplicas: 2}
`})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, o := range f.Objects() {
		f.Move(o, "run")
		b, err := yaml.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, o.GetKind()+" "+o.GetName())
		for _, bad := range []string{"uid", "prod", "resourceVersion", "generation", "10.96", "nodePort", "healthCheck", "status:", "last-applied", "volumeName", "shop-token", "finalizers", "conditions", "revision", "2024", "managed", "selfLink", "ipFamilies", "job-name"} {
			if strings.Contains(string(b), bad) {
				t.Errorf("%s %s still has %s:\n%s", o.GetKind(), o.GetName(), bad, b)
			}
		}
		if o.GetAnnotations()["mine"] != "kept" {
			t.Errorf("%s %s lost the user's annotation", o.GetKind(), o.GetName())
		}
		switch o.GetKind() + " " + o.GetName() {
		case "Deployment shop":
			if !strings.Contains(string(b), "http://shop.run.svc.cluster.local/x") {
				t.Errorf("the URL of the Service is not in the run's namespace:\n%s", b)
			}
		case "Service headless":
			if ip, _, _ := unstructured.NestedString(o.Object, "spec", "clusterIP"); ip != "None" {
				t.Errorf("the headless Service has the address %q", ip)
			}
		case "RoleBinding shop":
			if !strings.Contains(string(b), "namespace: run") || !strings.Contains(string(b), "namespace: elsewhere") {
				t.Errorf("subjects:\n%s", b)
			}
		case "Job load":
			if l, _, _ := unstructured.NestedStringMap(o.Object, "spec", "template", "metadata", "labels"); !cmp.Equal(l, map[string]string{"mine": "kept"}) {
				t.Errorf("the Job's pods have the labels %v", l)
			}
		}
	}
	want := []string{"Deployment shop", "Service shop", "Service headless", "PersistentVolumeClaim data", "Endpoints headless", "ServiceAccount shop", "RoleBinding shop", "Job load", "HorizontalPodAutoscaler shop"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("objects (-want +got):\n%s", diff)
	}
	notes := strings.Join(f.Notes, "\n")
	for _, want := range []string{"ReplicaSet shop-7f, ConfigMap kube-root-ca.crt, ServiceAccount default, Endpoints shop: left out", "resourceVersion", "The manifests are for namespace prod; the run's namespace takes its place."} {
		if !strings.Contains(notes, want) {
			t.Errorf("notes:\n%s\nwant %s", notes, want)
		}
	}
}

func TestNamespaces(t *testing.T) {
	_, err := ofShop(t, "Service, metadata: {name: shop}", "Service, metadata: {name: shop, namespace: web}")
	if err != nil {
		t.Errorf("one namespace: %v", err)
	}
	all := strings.Replace(strings.Join([]string{shop, front, scaler}, "---\n"), "Service, metadata: {name: shop}", "Service, metadata: {name: shop, namespace: web}", 1)
	all = strings.Replace(all, "Deployment, metadata: {name: shop}", "Deployment, metadata: {name: shop, namespace: db}", 1)
	_, err = written(t, "m.yaml", map[string]string{"m.yaml": all})
	if want := "m.yaml:4: the manifests are for 2 namespaces: db (Deployment shop, m.yaml:1), web (Service shop, m.yaml:4)"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("two namespaces: %v\nwant %s", err, want)
	}
}

func TestInputs(t *testing.T) {
	const base = "resources: [shop.yaml, front.yaml, scaler.yaml]\n"
	in := func(dir string, more map[string]string) map[string]string {
		files := map[string]string{dir + "shop.yaml": shop, dir + "front.yaml": front, dir + "scaler.yaml": scaler}
		for name, text := range more {
			files[name] = text
		}
		return files
	}
	for name, c := range map[string]struct {
		manifests string
		files     map[string]string
		want      string // a fault, or none
	}{
		"directory":            {"k8s", in("k8s/", map[string]string{"k8s/README.md": "# no manifest", "k8s/deeper/x.yaml": "{"}), ""},
		"pattern":              {"'k8s/*.yaml'", in("k8s/", nil), ""},
		"pattern in d[1]":      {"'d[1]/*.yaml'", in("d[1]/", map[string]string{"d1/other.yaml": "{"}), ""},
		"patterns in d[*]":     {"'d[*]/v?/*.yaml'", in("d[*]/v1/", nil), ""},
		"pattern of one of d1": {"'d[1]/*.yaml'", in("d1/", nil), ""},
		"pattern of nothing":   {"'k8s/*.json'", in("k8s/", nil), "s.yaml:5: no file fits the pattern k8s/*.json"},
		"empty directory":      {"k8s", map[string]string{"k8s/README.md": ""}, "s.yaml:5: folder k8s holds no file *.yaml, *.yml or *.json"},
		"typed list":           {"m.yaml", map[string]string{"m.yaml": "{apiVersion: apps/v1, kind: DeploymentList, items: [" + strings.Replace(strings.TrimSpace(shop), "apiVersion: apps/v1, kind: Deployment, ", "", 1) + "]}\n---\n" + front + "---\n" + scaler}, ""},
		"JSON":                 {"m.json", map[string]string{"m.json": "{\"apiVersion\": \"v1\", \"kind\": \"List\", \"items\": [" + shop + "," + front + "," + scaler + "]}"}, ""},
		"kustomization":        {"k8s", in("k8s/", map[string]string{"k8s/kustomization.yaml": base}), ""},
		"its file":             {"k8s/kustomization.yaml", in("k8s/", map[string]string{"k8s/kustomization.yaml": base}), ""},
		"overlay":              {"prod", in("k8s/", map[string]string{"k8s/kustomization.yaml": base, "prod/kustomization.yaml": "resources: [../k8s]\nnamespace: prod\nnamePrefix: my-\nconfigMapGenerator: [{name: c, literals: [url=https://example.com/x]}]\n"}), ""},
		"remote base":          {"k8s", in("k8s/", map[string]string{"k8s/kustomization.yaml": "resources:\n- shop.yaml\n- https://127.0.0.1:1/x//base?ref=v1\n"}), "k8s/kustomization.yaml:3: \"https://127.0.0.1:1/x//base?ref=v1\" is not on this machine"},
		"remote repository":    {"k8s", in("k8s/", map[string]string{"k8s/kustomization.yaml": "resources:\n- github.com/a/b\n"}), "k8s/kustomization.yaml:2: \"github.com/a/b\" is not on this machine"},
		"by ssh":               {"k8s", in("k8s/", map[string]string{"k8s/kustomization.yaml": "resources:\n- git@127.0.0.1:a/b\n"}), "k8s/kustomization.yaml:2: \"git@127.0.0.1:a/b\" is not on this machine"},
		"remote in a base":     {"prod", in("k8s/", map[string]string{"k8s/kustomization.yaml": "components:\n- https://127.0.0.1:1/x.git\n", "prod/kustomization.yaml": "resources: [../k8s]\n"}), "k8s/kustomization.yaml:2: \"https://127.0.0.1:1/x.git\" is not on this machine"},
		"remote file of a map": {"k8s", in("k8s/", map[string]string{"k8s/kustomization.yaml": base + "configMapGenerator:\n- name: c\n  files: [a=https://127.0.0.1:1/a]\n"}), "k8s/kustomization.yaml:4: \"a=https://127.0.0.1:1/a\" is not on this machine"},
		"chart in it":          {"k8s", in("k8s/", map[string]string{"k8s/kustomization.yaml": base + "helmCharts: [{name: c}]\n"}), "k8s/kustomization.yaml:2: helmCharts of a kustomization are not rendered here"},
		"outside of its root":  {"prod", in("k8s/", map[string]string{"prod/kustomization.yaml": "resources: [../k8s/shop.yaml]\n"}), "prod/kustomization.yaml:1: kustomize cannot build it: "},
		"fault in what it builds": {"k8s", in("k8s/", map[string]string{"k8s/kustomization.yaml": base + "patches: [{target: {kind: Deployment}, patch: '[{\"op\": \"remove\", \"path\": \"/spec/template/spec/containers/0/image\"}]'}]\n"}),
			"k8s/kustomization.yaml:1: the Deployment shop that it builds: spec.template.spec.containers[0].image: Required value"},
		"chart":             {"chart", map[string]string{"chart/Chart.yaml": "name: c\n", "chart/templates/d.yaml": "{{ .Values.x }}"}, "s.yaml:5: chart is a Helm chart"},
		"template":          {"m.yaml", map[string]string{"m.yaml": "# {{ .Values.not }}\n" + strings.Replace(shop, "image: nginx", "image: '{{ .Values.image }}'", 1)}, `m.yaml:3: this is a template that is not rendered: "{{ .Values.image }}" (render it: helm template`},
		"template, no YAML": {"m.yaml", map[string]string{"m.yaml": "apiVersion: v1\nkind: ConfigMap\n{{- include \"a.labels\" . | nindent 4 }}\n"}, `m.yaml:3: this is a template that is not rendered: "{{- include`},
		"other templates":   {"m.yaml", map[string]string{"m.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{ name }}}\n"}, `m.yaml:3: this is a template that is not rendered: "{{ name }}"`},
		"alerts are none":   {"m.yaml", map[string]string{"m.yaml": shop + "---\n" + front + "---\n" + scaler + "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {rule: \"on {{ $labels.pod }}: {{ .Labels }}\"}\n"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := written(t, c.manifests, c.files)
			if c.want != "" {
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("%v\nwant %s", err, c.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var kinds []string
			for _, o := range f.Objects() {
				kinds = append(kinds, o.GetKind())
			}
			for _, kind := range []string{"Deployment", "Service", "HorizontalPodAutoscaler"} {
				if !slices.Contains(kinds, kind) {
					t.Errorf("the objects are %v", kinds)
				}
			}
		})
	}
}

// What autoscaling/v1 keeps in annotations counts, by Kubernetes' own conversion.
func TestV1Annotations(t *testing.T) {
	const hpa = `apiVersion: autoscaling/v1
kind: HorizontalPodAutoscaler
metadata:
  name: shop
  annotations:
    autoscaling.alpha.kubernetes.io/metrics: '[{"type":"External","external":{"metricName":"queue","targetAverageValue":"10"}}]'
    autoscaling.alpha.kubernetes.io/behavior: '{"ScaleDown":{"StabilizationWindowSeconds":60,"SelectPolicy":"Max","Policies":[{"Type":"Percent","Value":100,"PeriodSeconds":15}]}}'
spec: {maxReplicas: 5, targetCPUUtilizationPercentage: 70, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: shop}}
`
	f, err := written(t, "m.yaml", map[string]string{"m.yaml": shop + "---\n" + front + "---\n" + hpa})
	if err != nil {
		t.Fatal(err)
	}
	spec := f.Autoscaling()
	if len(spec.Metrics) != 2 || *spec.Behavior.ScaleDown.StabilizationWindowSeconds != 60 || len(spec.Behavior.ScaleUp.Policies) != 2 {
		t.Errorf("the HPA is %+v", spec)
	}
	for _, m := range spec.Metrics {
		switch m.Type {
		case autoscalingv2.ExternalMetricSourceType:
			if m.External.Target.AverageValue.String() != "10" {
				t.Errorf("metric %+v", m.External)
			}
		case autoscalingv2.ResourceMetricSourceType:
			if *m.Resource.Target.AverageUtilization != 70 {
				t.Errorf("metric %+v", m.Resource)
			}
		}
	}
}

// A custom kind's pods are those of its template, or of the object that it refers to.
func TestCustomKinds(t *testing.T) {
	const template = `template: {metadata: {labels: {app: shop}}, spec: {containers: [{name: c, image: nginx, resources: {limits: {cpu: 20m}}}]}}`
	rollout := func(spec string) map[string]string {
		return map[string]string{"m.yaml": "{apiVersion: argoproj.io/v1alpha1, kind: Rollout, metadata: {name: shop}, spec: {replicas: 2, " + spec + "}}\n---\n" + front + "---\n" +
			strings.Replace(scaler, "apiVersion: apps/v1, kind: Deployment", "apiVersion: argoproj.io/v1alpha1, kind: Rollout", 1)}
	}
	f, err := written(t, "m.yaml", rollout(template))
	if err != nil {
		t.Fatal(err)
	}
	if got := f.PodTemplate().Spec.Containers[0].Resources.Requests.Cpu().String(); got != "20m" {
		t.Errorf("the request is %s, want that of the limit", got)
	}
	referring := rollout("workloadRef: {apiVersion: apps/v1, kind: Deployment, name: shop}")
	referring["m.yaml"] += "---\n" + shop
	if f, err = written(t, "m.yaml", referring); err != nil || f.PodTemplate() == nil {
		t.Errorf("by workloadRef: %v", err)
	}
	for spec, want := range map[string]string{
		strings.Replace(template, ", resources: {limits: {cpu: 20m}}", "", 1): "m.yaml:1: the autoscaler's target is a share of the cpu request, and container c has none",
		strings.Replace(template, "image: nginx, ", "", 1):                    "m.yaml:1: spec.template.spec.containers[0].image: Required value",
		strings.Replace(template, "image: nginx", "imag: nginx", 1):           "m.yaml:1: unknown field \"imag\" in spec.template.spec.containers[0]",
		"workloadRef: {kind: Rollout, name: shop}":                            "",
	} {
		_, err := written(t, "m.yaml", rollout(spec))
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v\nwant %s", spec, err, want)
		}
	}
}

// Objects of a kind that the manifests define are judged by its definition.
func TestDefinedKinds(t *testing.T) {
	const definition = `{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: widgets.example.com}, spec: {group: example.com, scope: Namespaced, names: {plural: widgets, kind: Widget}, versions: [
  {name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, required: [spec], properties: {spec: {type: object, required: [size], properties: {
    size: {type: integer, maximum: 5}, colour: {type: string, default: red, enum: [red, blue]}, more: {type: object, x-kubernetes-preserve-unknown-fields: true}},
    x-kubernetes-validations: [{rule: "self.size > 1 || self.colour == 'red'", message: small ones are red}]}}}}},
  {name: v0, served: false, storage: false, schema: {openAPIV3Schema: {type: object}}}]}}
`
	for object, want := range map[string]string{
		"example.com/v1, spec: {size: 3}":                       "",
		"example.com/v1, spec: {size: 3, more: {a: {b: c}}}":    "",
		"example.com/v1, spec: {size: 1}":                       "",
		"other.com/v1, spec: {size: many}":                      "",
		"example.com/v1":                                        "spec: Required value",
		"example.com/v1, spec: {size: many}":                    "spec.size: Invalid value: \"string\"",
		"example.com/v1, spec: {size: 6}":                       "spec.size: Invalid value: 6: spec.size in body should be less than or equal to 5",
		"example.com/v1, spec: {size: 3, colour: green}":        "spec.colour: Unsupported value: \"green\"",
		"example.com/v1, spec: {size: 1, colour: blue}":         "spec: Invalid value: small ones are red",
		"example.com/v1, spec: {size: 3, colr: red}":            "spec.colr: Forbidden: unknown field (the API server refuses this Widget)",
		"example.com/v0, spec: {}":                              "apiVersion: Unsupported value: \"v0\": supported values: \"v1\"",
		"example.com/v1, metadata: {name: W_}, spec: {size: 3}": "metadata.name: Invalid value: \"W_\"",
	} {
		if !strings.Contains(object, "metadata") {
			object += ", metadata: {name: w, namespace: prod}"
		}
		_, err := ofShop(t, front, front+"---\n"+definition+"---\n{kind: Widget, apiVersion: "+object+"}\n")
		var faults Faults
		if want == "" && err != nil || want != "" && (!errors.As(err, &faults) || len(faults) != 1 || !strings.Contains(err.Error(), "m.yaml:12: "+want)) {
			t.Errorf("%s: %v\nwant %s", object, err, want)
		}
	}
}

// A LimitRange among the manifests gives what it says, and no more.
func TestLimitRange(t *testing.T) {
	without := strings.Replace(shop, ", resources: {requests: {cpu: 20m}}", "", 1)
	for limits, want := range map[string]string{
		"{type: Container, defaultRequest: {cpu: 100m}}":                               "",
		"{type: Container, default: {cpu: 100m}}":                                      "",
		"{type: Container, defaultRequest: {memory: 100Mi}}":                           "m.yaml:1: the autoscaler's target is a share of the cpu request, and container c has none",
		"{type: Container, defaultRequest: {cpu: 100m}, max: {cpu: 50m}}":              "m.yaml:",
		"{type: Container, defaultRequest: {cpu: 100m}}, {type: Pod, max: {cpu: 50m}}": "refuses the pods of Deployment shop: maximum cpu usage per Pod is 50m",
	} {
		f, err := written(t, "m.yaml", map[string]string{"m.yaml": without + "---\n" + front + "---\n" + scaler + "---\n{apiVersion: v1, kind: LimitRange, metadata: {name: l}, spec: {limits: [" + limits + "]}}\n"})
		switch {
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: %v\nwant %s", limits, err, want)
		case want == "" && err != nil:
			t.Errorf("%s: %v", limits, err)
		case want == "" && f.PodTemplate().Spec.Containers[0].Resources.Requests.Cpu().String() != "100m":
			t.Errorf("%s: %+v", limits, f.PodTemplate().Spec.Containers[0].Resources)
		}
	}
	if _, err := written(t, "m.yaml", map[string]string{"m.yaml": without + "---\n" + front + "---\n" + scaler}); err == nil {
		t.Error("a missing request is a fault where no namespace is named")
	}
	if _, err := ReadAdmitted("s.yaml"); err != nil {
		t.Errorf("a missing request is no fault before the namespace was asked: %v", err)
	}
}

// TestObjectsBehind: the objects that follow a scenario in its file are its manifests, in each of its variants, and no
// part of what is recorded of it.
func TestObjectsBehind(t *testing.T) {
	source := `apiVersion: hpabench.dev/v1alpha1
kind: Scenario
metadata: {name: web}
spec:
  workload: {}
  autoscaler: {cpuPercent: 50, min: 1, max: 5}
  load: {phases: [{name: busy, duration: 1m, rate: 5}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: "nginx:1.15.2", resources: {requests: {cpu: 50m}}}]}
---
`
	f, err := Parse("web.yaml", []byte(source), nil)
	if err != nil {
		t.Fatal(err)
	}
	if service, _ := f.Service(); len(f.Manifests) != 2 || f.Manifests[1].Line != 14 || f.TargetRef().Name != "web" || service != "web" {
		t.Errorf("the manifests are %+v, the target is %+v and the load goes to %q", f.Manifests, f.TargetRef(), service)
	}
	if recorded := f.Header().Source; strings.Contains(recorded, "nginx") || !strings.Contains(recorded, "busy") {
		t.Errorf("what is recorded is\n%s", recorded)
	}
	variants, err := f.Variants([]Setting{{Name: "max", Values: []any{5, 6}}})
	if err != nil || len(variants) != 2 || len(variants[1].Manifests) != 2 {
		t.Errorf("the variants are %+v, %v", variants, err)
	}
	_, err = Parse("web.yaml", []byte(strings.Replace(source, "image:", "imag:", 1)), nil)
	if err == nil || !strings.Contains(err.Error(), "web.yaml:21: ") {
		t.Errorf("an error in an object is told as %v", err)
	}
}

// TestWhatFollows: what follows a scenario in its file and is no manifest is one fault, and nothing else is said of it.
func TestWhatFollows(t *testing.T) {
	const scenario = `apiVersion: hpabench.dev/v1alpha1
kind: Scenario
metadata: {name: web}
spec:
  workload: %s
  autoscaler: {cpuPercent: 50, min: 1, max: 5}
  load: {phases: [{name: busy, duration: 1m, rate: 5}]}
`
	short := fmt.Sprintf(scenario, "{deployment: {image: nginx, port: 80, resources: {requests: {cpu: 50m}}}}")
	for source, want := range map[string]string{
		short + "---\n" + short: "web.yaml:9: a second scenario begins here (a file has one scenario; the objects that follow it are its manifests)",
		fmt.Sprintf(scenario, "{}") + "---\nkind: Deployment\n\t- x\n":                                                    "web.yaml:9: this is not YAML: found a tab character that violates indentation",
		fmt.Sprintf(scenario, "{}") + "---\n{apiVersion: v1, kind: ConfigMap, metadata: {name: web}}\n---\na: {b\nc: d\n": "web.yaml:11: this is not YAML: did not find expected ',' or '}'",
	} {
		if _, err := Parse("web.yaml", []byte(source), nil); err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if f, err := Parse("web.yaml", []byte(fmt.Sprintf(scenario, "{manifests: [a.yaml]}")+"  cost: {replicaHour: 2}\n"), nil); err == nil || f == nil || f.Spec.Cost == nil {
		t.Errorf("of a scenario whose manifests are not read: %+v, %v", f, err)
	}
}
