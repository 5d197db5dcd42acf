package scenarios

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

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
		t := c.templateIn(m)
		if t == nil || len(t.Spec.Containers) == 0 {
			continue
		}
		of, err := model.Parse(cmp.Or(t.Annotations[model.Annotation], "{}"))
		if err != nil {
			c.faultAt(m.doc, m.base+"/spec/template/metadata/annotations/"+escape(model.Annotation), "", "%v", err)
			continue
		}
		of = model.Resolve(&t.Spec.Containers[0], of)
		c.noteServices(m.String(), &of)
	}
	if m := c.Spec.Workload.Model; m != nil {
		c.noteServices("the target", m)
	}
}

// noteServices tells of Services that modelled pods send requests to and no manifest has.
func (c *checker) noteServices(who string, m *model.Model) {
	known := []string{c.Metadata.Name} // that of the short form
	for i := range c.Manifests {
		if o := c.Manifests[i].Object; o.GetKind() == "Service" {
			known = append(known, o.GetName())
		}
	}
	var to []string
	if m.Forwards != nil {
		to = append(to, m.Forwards.To)
	}
	if m.Takes != nil {
		to = append(to, *m.Takes)
	}
	for _, call := range m.Calls {
		to = append(to, call.To)
	}
	for _, name := range to {
		name, _, _ = strings.Cut(name, ":")
		if strings.Contains(name, ".") || name == "localhost" || slices.Contains(known, name) { // an address, or one of another namespace
			continue
		}
		hint := ""
		if near := Nearest(name, known); near != "" {
			hint = fmt.Sprintf(" (did you mean %s?)", near)
		}
		c.note("the pods of %s send requests to Service %s, which no manifest has; only a namespace that is there (-n) can have it%s.", who, name, hint)
	}
}

// ofNamespace is what selects series by their namespace.
var ofNamespace = regexp.MustCompile(`\bnamespace\s*=~?\s*("[^"]+"|'[^']+')`)
