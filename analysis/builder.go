package analysis

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"time"
	"unique"

	"github.com/hpabench/hpabench/record"
	corev1 "k8s.io/api/core/v1"
)

// Builder takes the entries of a record one after the other and keeps of them what the
// Result needs: the load as sums, all else in as little memory as it takes. Its zero
// value is ready.
type Builder struct {
	header  *record.Header
	loads   *loads
	entries []entry
	began   bool
	err     error          // of a histogram
	last    record.Instant // of all

	truncated bool // the record has no end

	// What the latest entry had, for those that have the same.
	hpa        *record.Autoscaler
	containers []record.ContainerResources
}

var errNoHeader = errors.New("it does not start with a header")

// entry is one of the record's that is kept: its load is in sums, and its metrics in readings.
type entry struct {
	record.Entry
	readings *readings
}

// readings is record.PodMetrics.
type readings struct{ samples []sample }

// sample is record.Sample.
type sample struct {
	Pod        string
	New        bool
	stamp      int64 // nanoseconds of Unix
	Window     float64
	Containers []record.ContainerSample
}

func (s *sample) timestamp() time.Time { return time.Unix(0, s.stamp).UTC() }

// Prepared is an entry on its way to a Builder.
type Prepared struct {
	entry
	load *decoded
	err  error
}

// Prepare does the part of Add's work that needs no Builder, so that several goroutines can
// share it. Nothing that e points to may be changed any more.
func Prepare(e *record.Entry) Prepared {
	p := Prepared{entry: entry{Entry: *e}}
	switch {
	case e.Load != nil:
		p.load, p.err = decode(e.Load)
		p.Load = nil
	case e.Pod != nil:
		pod := *e.Pod
		p.Pod = &pod
		pod.Name, pod.UID, pod.Node = intern(pod.Name), intern(pod.UID), intern(pod.Node)
		pod.Status.Conditions = slices.Clone(pod.Status.Conditions)
		for i := range pod.Status.Conditions {
			c := &pod.Status.Conditions[i]
			c.Type, c.Status, c.Reason, c.Message = corev1.PodConditionType(intern(string(c.Type))), corev1.ConditionStatus(intern(string(c.Status))), intern(c.Reason), intern(c.Message)
		}
	case e.PodMetrics != nil:
		p.readings, p.PodMetrics = readingsOf(e.PodMetrics), nil
	}
	return p
}

func readingsOf(m *record.PodMetrics) *readings {
	n := 0
	for _, s := range m.Samples {
		n += len(s.Containers)
	}
	r, containers := &readings{make([]sample, len(m.Samples))}, make([]record.ContainerSample, 0, n)
	for i, s := range m.Samples {
		from := len(containers)
		for _, c := range s.Containers {
			c.Name = intern(c.Name)
			containers = append(containers, c)
		}
		r.samples[i] = sample{Pod: intern(s.Pod), New: s.New, stamp: s.Timestamp.UnixNano(), Window: s.Window, Containers: containers[from:len(containers):len(containers)]}
	}
	return r
}

// intern gives the one copy of a text that comes again and again.
func intern(s string) string { return unique.Make(s).Value() }

// Began says whether any load phase began.
func (b *Builder) Began() bool { return b.began }

// Header is the first entry, nil without one.
func (b *Builder) Header() *record.Header { return b.header }

// AddEntry is Add of an entry, of which nothing may be changed any more.
func (b *Builder) AddEntry(e record.Entry) { b.Add(Prepare(&e)) }

// Add adds the next entry.
func (b *Builder) Add(p Prepared) {
	if b.loads == nil {
		if b.header = p.Header; b.header == nil {
			b.err = cmp.Or(b.err, errNoHeader)
			return
		}
		b.loads = newLoads(b.header)
	}
	b.err = cmp.Or(b.err, p.err)
	if p.Phase != nil {
		b.began = true
		b.loads.marked(p.Phase)
	}
	b.last = max(b.last, p.At)
	switch {
	case p.load != nil:
		b.loads.add(p.load)
		return
	case p.err != nil:
		return
	case p.Autoscaler != nil:
		p.Autoscaler = b.share(*p.Autoscaler)
	case p.Pod != nil:
		if reflect.DeepEqual(b.containers, p.Pod.Containers) {
			p.Pod.Containers = b.containers // Prepare made it a copy
		}
		b.containers = p.Pod.Containers
	case p.Endpoints != nil:
		e := *p.Endpoints
		e.Endpoints, p.Endpoints = slices.Clone(e.Endpoints), &e
		for i := range e.Endpoints {
			e.Endpoints[i].Pod = intern(e.Endpoints[i].Pod)
		}
	}
	b.entries = append(b.entries, p.entry)
}

// share lets a have what it has in common with the one before.
func (b *Builder) share(a record.Autoscaler) *record.Autoscaler {
	if was := b.hpa; was != nil {
		if reflect.DeepEqual(was.Spec, a.Spec) {
			a.Spec = was.Spec
		}
		if reflect.DeepEqual(was.Status.Conditions, a.Status.Conditions) {
			a.Status.Conditions = was.Status.Conditions
		} else {
			a.Status.Conditions = slices.Clone(a.Status.Conditions)
			for i := range a.Status.Conditions {
				c := &a.Status.Conditions[i]
				c.Reason, c.Message = intern(c.Reason), intern(c.Message)
			}
		}
	}
	a.Name = intern(a.Name)
	b.hpa = &a
	return &a
}

// Result works out the figures. Nothing may be added any more.
func (b *Builder) Result() (*Result, error) {
	if b.header == nil {
		return nil, fmt.Errorf("analysing a record: %w", cmp.Or(b.err, errNoHeader))
	}
	if b.err != nil {
		return nil, fmt.Errorf("analysing run %s: %w", b.header.Run, b.err)
	}
	return analyze(b)
}

// Read adds the entries of a record as its file has them. The Result is truncated if it has
// no end.
func (b *Builder) Read(in io.Reader) (err error) {
	b.truncated, err = record.Stream(in, func(_ []byte, e *record.Entry) (Prepared, error) { return Prepare(e), nil }, func(p Prepared) error {
		b.Add(p)
		return nil
	})
	return err
}
