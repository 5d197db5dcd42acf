package scenarios

import (
	"slices"
	"strings"
	"testing"
)

// What the manifests say to the embedded cluster is looked at before a run: a course and a model that cannot be read are faults with
// their lines, and a Service or a namespace that is not there is noted.
func TestWhatManifestsSayToTheEmbeddedCluster(t *testing.T) {
	i := slices.IndexFunc(Library(), func(f *File) bool { return f.Metadata.Name == "scale-from-zero" })
	source := string(Library()[i].Source)
	for _, c := range []struct{ from, to, fault, note string }{
		{"", "", "", ""},
		{"http://$(SHOP_SERVICE_HOST)", "http://sho", "", "the pods of Deployment gateway send requests to Service sho, which no manifest has; only a namespace that is there (-n) can have it (did you mean shop?)."},
		{"http://$(SHOP_SERVICE_HOST)", "http://shop.other:8080", "", ""},
		{"sum(rate(gateway_requests_total[1m])) or vector(0)", "'sum(rate(gateway_requests_total{namespace=\"travel\"}[1m]))'", "", "the query of trigger 0 selects namespace=\"travel\": if that is to be the workload"},
		{"annotations: {prometheus.io/scrape: \"true\"}", "annotations: {hpabench.dev/model: '{\"forwards\": {\"too\": \"shop\"}}'}", "s.yaml:72: reading the annotation hpabench.dev/model: json: unknown field \"too\"", ""},
		{"metadata: {name: shop}\nspec: {selector: {app: shop}", "metadata: {name: shop}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, labels: {hpabench.dev/signals: \"\"}}\ndata: {orders: \"x + 1\"}\n---\napiVersion: v1\nkind: Service\nmetadata: {name: shop}\nspec: {selector: {app: shop}", "the course of metric orders: it is no number", ""},
	} {
		f, err := Parse("s.yaml", []byte(strings.Replace(source, c.from, c.to, 1)), nowhere)
		switch {
		case c.fault != "":
			if err == nil || !strings.Contains(err.Error(), c.fault) || !strings.HasPrefix(err.Error(), "s.yaml:") {
				t.Errorf("%s: %v, want %s", c.to, err, c.fault)
			}
			continue
		case err != nil:
			t.Errorf("%s: %v", c.to, err)
			continue
		}
		notes := strings.Join(f.Notes, "\n")
		if !strings.Contains(notes, c.note) || c.note == "" && notes != "" {
			t.Errorf("%s: the notes are %q, want %q", c.to, notes, c.note)
		}
	}
}
