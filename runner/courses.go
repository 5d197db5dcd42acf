package runner

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/hpabench/hpabench/signals"
)

// courses are the ConfigMaps of the run that say what sources outside the cluster show.
func (p *preflight) courses(objects []*unstructured.Unstructured) (found []*unstructured.Unstructured) {
	for _, o := range objects {
		if _, is := o.GetLabels()[signals.CourseLabel]; is && o.GetKind() == "ConfigMap" && p.cluster.Lab != nil {
			found = append(found, o)
		}
	}
	return found
}

// waitForLoad lets courses stand at their begin until beginCourses.
func (p *preflight) waitForLoad(objects []*unstructured.Unstructured) {
	for _, o := range p.courses(objects) {
		annotations := o.GetAnnotations()
		if annotations == nil {
			annotations = map[string]string{}
		}
		annotations[signals.BeganAnnotation] = time.Now().AddDate(1, 0, 0).UTC().Format(time.RFC3339)
		o.SetAnnotations(annotations)
	}
}

// beginCourses lets them begin with the load.
func (r *Runner) beginCourses(ctx context.Context) error {
	for _, o := range r.pre.courses(r.pre.objects()) {
		patch := fmt.Sprintf(`{"metadata": {"annotations": {%q: %q}}}`, signals.BeganAnnotation, time.Now().UTC().Format(time.RFC3339Nano))
		if _, err := r.pre.Kube.CoreV1().ConfigMaps(r.pre.namespace).Patch(ctx, o.GetName(), types.MergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
			return fmt.Errorf("telling ConfigMap %s that the load begins: %w", o.GetName(), err)
		}
	}
	return nil
}
