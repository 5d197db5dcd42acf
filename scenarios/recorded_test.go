package scenarios

import (
	"strings"
	"testing"
)

// A record has the manifests of which a simulation is made, without secrets, and its scenario can be read again.
func TestRecorded(t *testing.T) {
	const scenario = `apiVersion: hpabench.dev/v1alpha1
kind: Scenario
metadata: {name: s}
spec:
  workload: {manifests: [all.yaml], target: {kind: Deployment, name: shop}}
  load: {service: gateway, phases: [{name: load, duration: 1m, rate: 1}]}
`
	const manifests = `apiVersion: apps/v1
kind: Deployment
metadata: {name: shop, labels: {app: shop}, annotations: {kubectl.kubernetes.io/last-applied-configuration: '{"s3cret": 1}'}}
spec:
  replicas: 0
  selector: {matchLabels: {app: shop}}
  template:
    metadata: {labels: {app: shop}}
    spec:
      containers:
      - {name: web, image: nginx, args: ["--token=s3cret", --password, s3cret, "--db=http://me:s3cret@db"], env: [{name: DB_PASSWORD, value: s3cret}], resources: {requests: {cpu: 50m}}}
---
apiVersion: v1
kind: Service
metadata: {name: gateway}
spec: {type: NodePort, selector: {app: shop}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Secret
metadata: {name: key}
stringData: {a: s3cret}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: config}
data: {a: s3cret}
---
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata: {name: shop}
spec:
  scaleTargetRef: {name: shop}
  triggers:
  - {type: prometheus, metadata: {serverAddress: "http://me:s3cret@prometheus", customHeaders: "X-Key=s3cret", query: up, threshold: "5"}}
`
	f, err := Parse("s.yaml", []byte(scenario), func(name string) (string, []byte, error) { return name, []byte(manifests), nil })
	if err != nil {
		t.Fatal(err)
	}
	h := f.Header()
	if strings.Contains(h.Manifests, "s3cret") || strings.Contains(h.Source, "s3cret") {
		t.Errorf("the record has a secret:\n%s", h.Manifests)
	}
	again, err := Recorded(h)
	if err != nil {
		t.Fatalf("%v\n%s", err, h.Manifests)
	}
	if is := again.ScaledObjectSpec(); again.ScaledObject() != "shop" || is == nil || is.Triggers[0].Metadata["threshold"] != "5" || again.PodTemplate() == nil {
		t.Errorf("read again it has ScaledObject %q, %+v", again.ScaledObject(), is)
	}
}
