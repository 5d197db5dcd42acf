package scenarios

import (
	"encoding/json"
	"testing"
)

func TestJSONSchema(t *testing.T) {
	b, err := JSONSchema()
	if err != nil {
		t.Fatal(err)
	}
	type definition struct {
		Description          string
		Required             []string
		AdditionalProperties any
		Properties           map[string]struct{ Description string }
	}
	var s struct {
		Schema string `json:"$schema"`
		ID     string `json:"$id"`
		Defs   map[string]definition
	}
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(b, &raw); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &s); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw["$defs"], &s.Defs); err != nil {
		t.Fatal(err)
	}
	if s.Schema != "https://json-schema.org/draft/2020-12/schema" || s.ID != schemaID {
		t.Errorf("$schema %s, $id %s", s.Schema, s.ID)
	}
	// An editor shows these: ours from the Go comments, the others as kubectl explain does.
	for _, d := range []struct{ of, field string }{
		{"Scenario", ""}, {"Load", "via"}, {"Phase", "keepAlive"}, {"Deployment", ""},
		{"Deployment", "readinessProbe"}, {"k8s.io.api.core.v1.Container", ""}, {"k8s.io.api.core.v1.Probe", "httpGet"},
		{"k8s.io.api.autoscaling.v2.HorizontalPodAutoscalerSpec", "behavior"},
		{"Workload", "model"}, {"Model", "memoryHeld"}, {"Cost", "deviation"}, {"Fault", "unready"},
	} {
		text := s.Defs[d.of].Description
		if d.field != "" {
			text = s.Defs[d.of].Properties[d.field].Description
		}
		if text == "" {
			t.Errorf("%s.%s has no description", d.of, d.field)
		}
	}
	for name, d := range s.Defs {
		if d.Properties != nil && d.AdditionalProperties != false {
			t.Errorf("%s takes fields that it does not know", name)
		}
	}
}
