package scenarios

import (
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/hpabench/hpabench/model"
	"github.com/hpabench/hpabench/signals"
)

// Courses are texts of what sources outside the cluster show, see signals.ParseCourse, by the names of their metrics: the data of
// ConfigMaps among the manifests with the label signals.CourseLabel.
func (f *File) Courses() map[string]string {
	all := map[string]string{}
	for i := range f.Manifests {
		maps.Copy(all, coursesOf(&f.Manifests[i]))
	}
	return all
}

// Shown are the names of the metrics that the pods of the file show by their models, and sources outside the cluster.
func (f *File) Shown() []string {
	names := slices.Collect(maps.Keys(f.Courses()))
	take := func(m *model.Model) { names = slices.AppendSeq(names, maps.Keys(m.Metrics)) }
	if m := f.Spec.Workload.Model; m != nil {
		take(m)
	}
	templates := []*corev1.PodTemplateSpec{f.PodTemplate()}
	for i := range f.Manifests {
		templates = append(templates, f.templateIn(&f.Manifests[i]))
	}
	for _, t := range templates {
		if t == nil || t.Annotations[model.Annotation] == "" {
			continue
		}
		if m, err := model.Parse(t.Annotations[model.Annotation]); err == nil {
			take(&m)
		}
	}
	return names
}

func coursesOf(m *Manifest) map[string]string {
	config := as[corev1.ConfigMap](m)
	if config == nil {
		return nil
	}
	if _, is := config.Labels[signals.CourseLabel]; !is {
		return nil
	}
	return config.Data
}

// checkSources looks at what the manifests say to the embedded cluster: courses, and models of pods.
func (c *checker) checkSources() {
	for i := range c.Manifests {
		m := &c.Manifests[i]
		texts := coursesOf(m)
		for _, name := range slices.Sorted(maps.Keys(texts)) {
			if _, err := signals.ParseCourse(texts[name]); err != nil {
				c.faultAt(m.doc, m.base+"/data/"+escape(name), "", "the course of metric %s: %v", name, err)
			}
		}
		if t := c.templateIn(m); t != nil && t.Annotations[model.Annotation] != "" {
			if _, err := model.Parse(t.Annotations[model.Annotation]); err != nil {
				c.faultAt(m.doc, m.base+"/spec/template/metadata/annotations/"+escape(model.Annotation), "", "%v", err)
			}
		}
	}
}
