package analysis

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

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
		"image":    {"changed deployment/others true field manager kubectl-set", "terminating-errors pod/others-96874bc8-nbn86 false requests failed"},
		"restart":  {"changed deployment/others true kubectl.kubernetes.io/restartedAt", "terminating-errors pod/others-96874bc8-gvnbs false requests failed"},
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
