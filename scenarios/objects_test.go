package scenarios

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hpabench/hpabench/model"
	"github.com/hpabench/hpabench/record"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/yaml"
)

type object = map[string]any

// demo-nginx is what the walk-through makes: kubectl create deployment, kubectl
// expose, kubectl autoscale --cpu-percent=20 --min=2 --max=5.
func TestDemoNginx(t *testing.T) {
	f, err := Read("demo-nginx")
	if err != nil {
		t.Fatal(err)
	}
	app := object{"app": "demo-nginx"}
	want := []object{
		{
			"apiVersion": "apps/v1", "kind": "Deployment",
			"metadata": object{"name": "demo-nginx", "labels": app},
			"spec": object{
				"replicas": int64(2),
				"selector": object{"matchLabels": app},
				"strategy": object{},
				"template": object{
					"metadata": object{"labels": app},
					"spec": object{"containers": []any{object{
						"name":      "demo-nginx",
						"image":     "nginx:1.15.2",
						"ports":     []any{object{"containerPort": int64(80)}},
						"resources": object{"requests": object{"cpu": "50m"}},
					}}},
				},
			},
		},
		{
			"apiVersion": "v1", "kind": "Service",
			"metadata": object{"name": "demo-nginx", "labels": app},
			"spec": object{
				"type":     "NodePort",
				"selector": app,
				"ports":    []any{object{"name": "http", "port": int64(80), "targetPort": int64(80)}},
			},
		},
		{
			"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
			"metadata": object{"name": "demo-nginx"},
			"spec": object{
				"scaleTargetRef": object{"apiVersion": "apps/v1", "kind": "Deployment", "name": "demo-nginx"},
				"minReplicas":    int64(2),
				"maxReplicas":    int64(5),
				"metrics": []any{object{"type": "Resource", "resource": object{
					"name": "cpu", "target": object{"type": "Utilization", "averageUtilization": int64(20)},
				}}},
			},
		},
	}
	var got []object
	for _, o := range f.Objects() {
		got = append(got, o.Object)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("objects (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]record.Phase{
		{Name: "idle", Seconds: 30, Shape: record.ShapeIdle},
		{Name: "surge", Seconds: 180, Shape: record.ShapeWorkers, Workers: 1},
		{Name: "calm", Seconds: 420, Shape: record.ShapeIdle},
	}, f.Phases()); diff != "" {
		t.Errorf("phases (-want +got):\n%s", diff)
	}
}

func TestLibrary(t *testing.T) {
	var names []string
	for _, f := range Library() {
		names = append(names, f.Metadata.Name)
		if !f.Embedded || f.Metadata.Description == "" || f.Source[0] != '#' {
			t.Errorf("%s: a library scenario is embedded, described, and starts with a comment", f.Path)
		}
		if f.Path != f.Metadata.Name {
			t.Errorf("%s is named %s", f.Path, f.Metadata.Name)
		}
		total := 0.0
		for _, p := range f.Phases() {
			total += p.Seconds
		}
		if total > 11*60 {
			t.Errorf("%s takes %v seconds", f.Path, total)
		}
	}
	want := []string{"demo-nginx", "flapping", "keda-cron-and-cpu", "memory", "never-scales", "queue-worker", "ramp", "rps", "scale-from-zero", "sine", "slow-start", "slow-stop", "spike", "steps"}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("library (-want +got):\n%s", diff)
	}
}

// What the types hold can be written as YAML and is read again as it was, so
// that the schema takes what the types take.
func TestRoundTrip(t *testing.T) {
	files := Library()
	open, err := Read("testdata/good/template.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range append(files, open) {
		if f.Spec.Workload.Target != nil { // its objects are behind it
			continue
		}
		source, err := yaml.Marshal(f.Scenario)
		if err != nil {
			t.Fatal(err)
		}
		again, err := Parse(f.Path, source, nowhere)
		if err != nil {
			t.Errorf("%s, written and read again:\n%v", f.Path, err)
			continue
		}
		if diff := cmp.Diff(f.Objects(), again.Objects()); diff != "" {
			t.Errorf("%s, written and read again:\n%s", f.Path, diff)
		}
	}
}

func TestManifests(t *testing.T) {
	f, err := Read("testdata/good/manifests/scenarios/demo-nginx.yaml")
	if err != nil {
		t.Fatal(err)
	}
	ref := autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "StatefulSet", Name: "web"}
	if diff := cmp.Diff(ref, f.TargetRef()); diff != "" {
		t.Errorf("target (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(&autoscalingv2.HorizontalPodAutoscalerSpec{ScaleTargetRef: ref, MinReplicas: new(int32(1)), MaxReplicas: 3, Metrics: cpuUtilization(new(int32(80)))}, f.Autoscaling()); diff != "" {
		t.Errorf("autoscaling (-want +got):\n%s", diff)
	}
	if got := f.AutoscalerName(); got != "by-hand" {
		t.Errorf("the HPA is %q, want by-hand", got)
	}
	name, port := f.Service()
	if want := intstr.FromInt32(8080); name != "front" || *port != want {
		t.Errorf("Service() = %s, %v, want front, 8080", name, port)
	}
	var kinds []string
	for _, o := range f.Objects() {
		kinds = append(kinds, o.GetKind())
	}
	if diff := cmp.Diff([]string{"ConfigMap", "StatefulSet", "Service", "HorizontalPodAutoscaler"}, kinds); diff != "" {
		t.Errorf("objects (-want +got):\n%s", diff)
	}
}

// The model goes into the target's pod template and nowhere else, and only for
// the embedded cluster.
func TestModel(t *testing.T) {
	const rest = `
  load: {service: web, phases: [{name: surge, duration: 1m, rate: 5}]}
`
	for name, workload := range map[string]string{
		"short form": `deployment: {image: nginx, port: 80, resources: {requests: {cpu: 50m}}}`,
		"manifests":  `manifests: [web.yaml]`,
	} {
		source := "apiVersion: hpabench.dev/v1alpha1\nkind: Scenario\nmetadata: {name: web}\nspec:\n  autoscaler: {max: 3}\n  workload:\n    " + workload +
			"\n    model: {start: 8s, cpu: {mean: 5ms, distribution: lognormal, deviation: 0.5}, memory: 64Mi}" + rest
		f, err := Parse("s.yaml", []byte(source), func(name string) (string, []byte, error) {
			return name, []byte(`
{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {selector: {app: web}, ports: [{port: 80}]}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}, annotations: }
    spec: {containers: [{name: web, image: nginx, resources: {requests: {cpu: 50m}}}]}
`), nil
		})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		plain, modelled := f.Objects(), f.ModelledObjects()
		for i, o := range modelled {
			if o.GetKind() == "Deployment" {
				annotations, _, _ := unstructured.NestedStringMap(o.Object, "spec", "template", "metadata", "annotations")
				m, err := model.Parse(annotations[model.Annotation])
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				if diff := cmp.Diff(*f.Spec.Workload.Model, m); diff != "" {
					t.Errorf("%s: the annotation's model (-want +got):\n%s", name, diff)
				}
				unstructured.RemoveNestedField(o.Object, "spec", "template", "metadata", "annotations")
				unstructured.RemoveNestedField(plain[i].Object, "spec", "template", "metadata", "annotations")
			}
			if diff := cmp.Diff(plain[i], o); diff != "" {
				t.Errorf("%s: beside the annotation (-plain +modelled):\n%s", name, diff)
			}
		}
	}
}

func TestExisting(t *testing.T) {
	f, err := Parse("s.yaml", []byte(`
apiVersion: hpabench.dev/v1alpha1
kind: Scenario
metadata: {name: there}
spec:
  workload: {existing: {kind: Deployment, name: shop, autoscaler: shop-hpa}}
  load: {phases: [{name: surge, duration: 1m, rate: 5}]}
`), nowhere)
	if err != nil {
		t.Fatal(err)
	}
	if f.Objects() != nil || f.Autoscaling() != nil || f.PodTemplate() != nil || f.AutoscalerName() != "shop-hpa" {
		t.Error("an existing workload is left as it is")
	}
	if want := (autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: "shop"}); f.TargetRef() != want {
		t.Errorf("target %+v, want %+v", f.TargetRef(), want)
	}
}

// Every kind of client-go must have a schema, or its manifests could not be read.
func TestManifestSchemas(t *testing.T) {
	for gvk, kind := range scheme.Scheme.AllKnownTypes() {
		if gvk.Version == "__internal" {
			continue
		}
		if _, err := forManifests(kind); err != nil {
			t.Errorf("%s: %v", gvk, err)
		}
	}
}
