package runner

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hpabench/hpabench/record"
	"github.com/hpabench/hpabench/scenarios"
)

// Claims that get no volume on the embedded cluster are refused there, each by its
// place, and nowhere else.
func TestCheckVolumes(t *testing.T) {
	const claim = `accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}`
	for _, c := range []struct {
		name, template, volumes, more string
		want                          string // in the one fault; empty: none
	}{
		{"the default class", `{` + claim + `}`, "", "", ""},
		{"that class by name", `{storageClassName: standard, ` + claim + `}`, "", "", ""},
		{"another class", `{storageClassName: gp3, ` + claim + `}`, "", "", `StatefulSet web: volumeClaimTemplate data is of StorageClass "gp3"`},
		{"no class", `{storageClassName: "", ` + claim + `}`, "", "", `is of StorageClass ""`},
		{"many nodes", `{accessModes: [ReadWriteMany], resources: {requests: {storage: 1Gi}}}`, "", "", "asks for [ReadWriteMany]"},
		{"an ephemeral volume", `{` + claim + `}`, `[{name: tmp, ephemeral: {volumeClaimTemplate: {spec: {storageClassName: fast, ` + claim + `}}}}]`, "", `StatefulSet web: volume tmp is of StorageClass "fast"`},
		{"a volume by hand", `{storageClassName: hand, accessModes: [ReadWriteMany], resources: {requests: {storage: 1Gi}}}`, "",
			"---\n{apiVersion: v1, kind: PersistentVolume, metadata: {name: pv}, spec: {storageClassName: hand, accessModes: [ReadWriteMany], capacity: {storage: 1Gi}, hostPath: {path: /x}}}\n", ""},
		{"a class of ours", `{storageClassName: own, ` + claim + `}`, "",
			"---\n{apiVersion: storage.k8s.io/v1, kind: StorageClass, metadata: {name: own}, provisioner: rancher.io/local-path}\n", ""},
		{"a class of others", `{storageClassName: own, ` + claim + `}`, "",
			"---\n{apiVersion: storage.k8s.io/v1, kind: StorageClass, metadata: {name: own}, provisioner: ebs.csi.aws.com}\n", `of StorageClass "own"`},
		{"a claim by itself", `{` + claim + `}`, "",
			"---\n{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: shared}, spec: {storageClassName: nfs, " + claim + "}}\n", `PersistentVolumeClaim shared is of StorageClass "nfs"`},
		{"of a custom kind, whose quantities nothing has checked", `{` + claim + `}`, "",
			"---\n{apiVersion: example.com/v1, kind: Set, metadata: {name: s}, spec: {volumeClaimTemplates: [{metadata: {name: d}, spec: {storageClassName: nfs, resources: {requests: {storage: .8E888888888462}}}}]}}\n", `Set s: volumeClaimTemplate d is of StorageClass "nfs"`},
	} {
		if c.volumes == "" {
			c.volumes = "[]"
		}
		dir := t.TempDir()
		for name, text := range map[string]string{
			"m.yaml": `apiVersion: apps/v1
kind: StatefulSet
metadata: {name: web}
spec:
  serviceName: web
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers: [{name: web, image: "nginx:1.15.2", ports: [{containerPort: 80}], resources: {requests: {cpu: 20m}}}]
      volumes: ` + c.volumes + `
  volumeClaimTemplates: [{metadata: {name: data}, spec: ` + c.template + `}]
---
{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {clusterIP: None, selector: {app: web}, ports: [{port: 80}]}}
---
{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {name: web}, spec: {maxReplicas: 3, scaleTargetRef: {apiVersion: apps/v1, kind: StatefulSet, name: web}}}
` + c.more,
			"s.yaml": "apiVersion: hpabench.dev/v1alpha1\nkind: Scenario\nmetadata: {name: s}\nspec:\n  workload: {manifests: [m.yaml]}\n  load: {phases: [{name: surge, duration: 5s, rate: 1}]}\n",
		} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		file, err := scenarios.Read(filepath.Join(dir, "s.yaml"))
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		for _, lab := range []*record.Lab{nil, {}} {
			p := &preflight{file: file}
			p.cluster = &record.Cluster{Lab: lab}
			p.interrupted = func() bool { return false }
			p.report = func(record.Check) {}
			fine := p.checkVolumes()
			switch {
			case c.want == "" || lab == nil:
				if !fine || len(p.checks) > 0 {
					t.Errorf("%s, embedded %t: %+v, want nothing", c.name, lab != nil, p.checks)
				}
			case fine || !p.badInput || len(p.checks) != 1 || !strings.Contains(p.checks[0].Message, c.want):
				t.Errorf("%s: %t, %+v, want one fault that says %q", c.name, fine, p.checks, c.want)
			}
		}
	}
}
