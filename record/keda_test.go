package record

import (
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// A ScaledObject is paused by what KEDA takes for true, and by the annotation that holds it in both directions if there are several.
func TestPausedBy(t *testing.T) {
	const at = "autoscaling.keda.sh/"
	for _, c := range []struct {
		annotations map[string]string
		want        string
	}{
		{map[string]string{"other": "true"}, ""},
		{map[string]string{at + "paused": "true"}, at + "paused"},
		{map[string]string{at + "paused": ""}, at + "paused"}, // what is no boolean is taken for true
		{map[string]string{at + "paused": "false"}, ""},
		{map[string]string{at + "paused": "False"}, ""},
		{map[string]string{at + "paused": "0"}, ""},
		{map[string]string{at + "paused-replicas": "3"}, at + "paused-replicas=3"},
		{map[string]string{at + "paused-scale-in": "true"}, at + "paused-scale-in"},
		{map[string]string{at + "paused": "true", at + "paused-scale-in": "true"}, at + "paused"},
		{map[string]string{at + "paused": "false", at + "paused-scale-out": "true"}, at + "paused-scale-out"},
	} {
		o := new(unstructured.Unstructured)
		o.SetUnstructuredContent(map[string]any{})
		o.SetAnnotations(c.annotations)
		if got := ScaledObjectOf(o).Paused; got != c.want {
			t.Errorf("%v: %q, want %q", c.annotations, got, c.want)
		}
	}
}
