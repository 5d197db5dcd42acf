package analysis

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"math"
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
	texts   texts
	began   bool
	err     error          // of a histogram
	last    record.Instant // of all

	truncated bool // the record has no end

	// What the latest entry had, for those that have the same.
	hpa        *record.Autoscaler
	containers []record.ContainerResources
}

var errNoHeader = errors.New("it does not start with a header")

// entry is one of the record's that is kept: what is a pointer of record.Entry, or *readings. Its
// load is in sums.
type entry struct {
	At   record.Instant
	what any
}

// entryOf gives the entry's T, nil if it has another.
func entryOf[T any](e entry) *T {
	v, _ := e.what.(*T)
	return v
}

// readings is record.PodMetrics in half of its memory, in which nothing points to anything: weeks
// have a million samples.
type readings struct {
	texts      *texts
	samples    []sample
	containers []container // of all samples, one after the other
}

// sample is record.Sample.
type sample struct {
	stamp      int64 // nanoseconds of Unix
	Window     float64
	pod        uint32 // of texts
	from       uint32 // of containers
	containers uint16
	New        bool
}

// container is record.ContainerSample.
type container struct {
	CPU    float64
	Memory int64
	name   uint32 // of texts
}

func (s *sample) timestamp() time.Time { return time.Unix(0, s.stamp).UTC() }

func (r *readings) pod(s *sample) string               { return r.texts.all[s.pod] }
func (r *readings) name(c *container) string           { return r.texts.all[c.name] }
func (r *readings) containersOf(s *sample) []container { return r.containers[s.from:][:s.containers] }

// texts are names, each of which is kept once.
type texts struct {
	all    []string
	lookup map[string]uint32
}

func (t *texts) add(s string) uint32 {
	n, known := t.lookup[s]
	if !known {
		if t.lookup == nil {
			t.lookup = map[string]uint32{}
		}
		n = uint32(len(t.all))
		t.all, t.lookup[s] = append(t.all, s), n
	}
	return n
}

// Prepared is an entry on its way to a Builder.
type Prepared struct {
	entry
	load *decoded
	err  error
}

// Err says which histogram cannot be read.
func (p Prepared) Err() error { return p.err }

// Latencies are those of the answers, of an entry of the load.
func (p Prepared) Latencies() record.Counts {
	if p.load == nil {
		return nil
	}
	return p.load.latency
}

// Prepare does the part of Add's work that needs no Builder, so that several goroutines can
// share it. Nothing that e points to may be changed any more.
func Prepare(e *record.Entry) Prepared {
	p := Prepared{entry: entry{At: e.At}}
	switch {
	case e.Load != nil:
		p.load, p.err = decode(e.Load)
	case e.Pod != nil:
		pod := *e.Pod
		p.what = &pod
		pod.Name, pod.UID, pod.Node = intern(pod.Name), intern(pod.UID), intern(pod.Node)
		pod.Status.Conditions = slices.Clone(pod.Status.Conditions)
		for i := range pod.Status.Conditions {
			c := &pod.Status.Conditions[i]
			c.Type, c.Status, c.Reason, c.Message = corev1.PodConditionType(intern(string(c.Type))), corev1.ConditionStatus(intern(string(c.Status))), intern(c.Reason), intern(c.Message)
		}
	default:
		p.what, _ = e.What()
	}
	return p
}

func (b *Builder) readings(m *record.PodMetrics) *readings {
	n := 0
	for i := range m.Samples {
		n += len(m.Samples[i].Containers)
	}
	r := &readings{&b.texts, make([]sample, len(m.Samples)), make([]container, 0, n)}
	for i := range m.Samples {
		s := &m.Samples[i]
		list := s.Containers[:min(len(s.Containers), math.MaxUint16)]
		r.samples[i] = sample{s.Timestamp.UnixNano(), s.Window, b.texts.add(s.Pod), uint32(len(r.containers)), uint16(len(list)), s.New}
		for _, c := range list {
			r.containers = append(r.containers, container{c.CPU, c.Memory, b.texts.add(c.Name)})
		}
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
		if b.header = entryOf[record.Header](p.entry); b.header == nil {
			b.err = cmp.Or(b.err, errNoHeader)
			return
		}
		b.loads = newLoads(b.header)
	}
	b.err = cmp.Or(b.err, p.err)
	b.last = max(b.last, p.At)
	switch e := p.what.(type) {
	case nil:
		if p.load != nil {
			b.loads.add(p.load)
		}
		return
	case *record.PhaseMark:
		b.began = true
		b.loads.marked(e)
	case *record.Autoscaler:
		p.what = b.share(*e)
	case *record.PodMetrics:
		p.what = b.readings(e)
	case *record.Pod:
		if reflect.DeepEqual(b.containers, e.Containers) {
			e.Containers = b.containers // Prepare made it a copy
		}
		b.containers = e.Containers
	case *record.Endpoints:
		of := *e
		of.Endpoints = slices.Clone(e.Endpoints)
		for i := range of.Endpoints {
			of.Endpoints[i].Pod = intern(of.Endpoints[i].Pod)
		}
		p.what = &of
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
	b.truncated, err = record.Stream(in, func(_ []byte, e *record.Entry) (Prepared, error) {
		p := Prepare(e)
		return p, p.err
	}, func(p Prepared) error {
		b.Add(p)
		return nil
	})
	return err
}
