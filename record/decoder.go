package record

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hpabench/hpabench/model"
)

// decoder decodes the lines of a record, for one goroutine. Lines of the three kinds that a
// long record is made of are scanned as this package writes them: a decoder of any JSON takes
// ten times as long. What lines have in common, such as an HPA's spec, is decoded once, and
// their entries share it.
type decoder struct {
	names      cache[string]
	counts     cache[map[string]uint64]
	specs      cache[autoscalingv2.HorizontalPodAutoscalerSpec]
	metrics    cache[[]autoscalingv2.MetricStatus]
	conditions cache[[]autoscalingv2.HorizontalPodAutoscalerCondition]
	times      cache[*metav1.Time]

	checked *autoscalingv2.HorizontalPodAutoscalerSpec // the last one that was
}

// entry decodes a line. The entry must not be changed.
func (d *decoder) entry(line []byte) (e Entry, err error) {
	if d.loadLine(line, &e) || d.metricsLine(line, &e) {
		return e, nil
	}
	if d.autoscalerLine(line, &e) {
		return e, nil
	}
	e = Entry{}
	return e, json.Unmarshal(line, &e, model.JSON)
}

// Limits of a cache, beyond which texts are not ones that come again and again.
const (
	cacheTexts = 512
	cacheNames = MaxPods + maxContainers // a reading has the names of all pods and of their containers
	cacheBytes = 4 << 20                 // of all texts
)

// cache keeps what texts were decoded to.
type cache[T any] map[string]T

// lookup decodes a text that it does not have, and keeps up to most of them.
func (c *cache[T]) lookup(text []byte, most int, decode func([]byte) (T, bool)) (v T, ok bool) {
	if v, ok = (*c)[string(text)]; ok {
		return v, true
	}
	if v, ok = decode(text); !ok || len(text) > cacheBytes/most {
		return v, ok
	}
	if *c == nil || len(*c) >= most {
		*c = make(cache[T])
	}
	(*c)[string(text)] = v
	return v, true
}

// shared takes a value, as it was decoded before if it was.
func shared[T any](s *scanner, c *cache[T], text []byte) (v T) {
	if !s.ok {
		return v
	}
	v, s.ok = c.lookup(text, cacheTexts, func(b []byte) (v T, ok bool) { return v, json.Unmarshal(b, &v, model.JSON) == nil })
	return v
}

func (d *decoder) name(s *scanner) string {
	name, _ := d.names.lookup(s.text(), cacheNames, func(b []byte) (string, bool) { return string(b), true })
	return name
}

func (d *decoder) countsOf(s *scanner) map[string]uint64 {
	counts, ok := d.counts.lookup(s.value(), cacheTexts, func(b []byte) (map[string]uint64, bool) {
		inner := scanner{rest: b, ok: true}
		counts := inner.counts()
		return counts, inner.ok && len(inner.rest) == 0
	})
	s.ok = s.ok && ok
	return counts
}

// metricsLine is loadLine for PodMetrics.
func (d *decoder) metricsLine(line []byte, e *Entry) bool {
	s := scanner{rest: line, ok: true}
	if !s.at(e, `,"podMetrics":{"samples":[`) {
		return false
	}
	m := &PodMetrics{Samples: make([]Sample, 0, bytes.Count(line, []byte(`{"pod":`)))}
	containers := make([]ContainerSample, 0, bytes.Count(line, []byte(`{"name":`)))
	for s.ok && !s.has("]}}") {
		if len(m.Samples) > 0 {
			s.take(",")
		}
		var sample Sample
		s.take(`{"pod":`)
		sample.Pod = d.name(&s)
		sample.New = s.has(`,"new":true`)
		s.take(`,"timestamp":`)
		s.ok = sample.Timestamp.UnmarshalText(s.text()) == nil && s.ok
		s.take(`,"windowSeconds":`)
		sample.Window = s.float()
		s.take(`,"containers":[`)
		from := len(containers)
		for s.ok && !s.has("]}") {
			if len(containers) > from {
				s.take(",")
			}
			var c ContainerSample
			s.take(`{"name":`)
			c.Name = d.name(&s)
			s.take(`,"cpu":`)
			c.CPU = s.float()
			s.take(`,"memoryBytes":`)
			c.Memory = int64(s.count())
			s.take("}")
			containers = append(containers, c)
		}
		sample.Containers = containers[from:len(containers):len(containers)]
		m.Samples = append(m.Samples, sample)
	}
	e.PodMetrics = m
	return s.ok && len(s.rest) == 0
}

// autoscalerLine is loadLine for Autoscaler.
func (d *decoder) autoscalerLine(line []byte, e *Entry) bool {
	s := scanner{rest: line, ok: true}
	if !s.at(e, `,"autoscaler":{"name":`) {
		return false
	}
	a := &Autoscaler{Name: d.name(&s)}
	s.take(`,"spec":`)
	a.Spec = shared(&s, &d.specs, s.value())
	s.take(`,"status":{`)
	status := &a.Status
	replicas := func() int32 {
		n := s.count()
		s.ok = s.ok && n <= 1<<31-1
		return int32(n)
	}
	for first := true; s.ok && !s.has("}}}"); first = false {
		if !first {
			s.take(",")
		}
		switch {
		case status.ObservedGeneration == nil && s.has(`"observedGeneration":`):
			status.ObservedGeneration = new(int64(s.count()))
		case status.LastScaleTime == nil && s.has(`"lastScaleTime":`):
			text := s.rest
			s.text()
			status.LastScaleTime = shared(&s, &d.times, text[:len(text)-len(s.rest)])
		case s.has(`"currentReplicas":`):
			status.CurrentReplicas = replicas()
		case s.has(`"desiredReplicas":`):
			status.DesiredReplicas = replicas()
		case status.CurrentMetrics == nil && s.has(`"currentMetrics":`):
			status.CurrentMetrics = shared(&s, &d.metrics, s.value())
		case status.Conditions == nil && s.has(`"conditions":`):
			status.Conditions = shared(&s, &d.conditions, s.value())
		default:
			return false
		}
	}
	e.Autoscaler = a
	return s.ok && len(s.rest) == 0
}

// scanner takes one thing after the other; ok is false once one was another.
type scanner struct {
	rest []byte
	ok   bool
}

func (s *scanner) has(text string) bool {
	if !bytes.HasPrefix(s.rest, []byte(text)) {
		return false
	}
	s.rest = s.rest[len(text):]
	return true
}

func (s *scanner) take(text string) { s.ok = s.has(text) && s.ok }

// at takes the beginning of a line, with what follows the instant.
func (s *scanner) at(e *Entry, then string) bool {
	s.take(`{"at":`)
	at := s.number()
	s.take(then)
	return s.ok && e.At.UnmarshalJSON(at) == nil
}

// number is the text of a number as JSON has it (RFC 8259, section 6).
func (s *scanner) number() []byte {
	b, i := s.rest, 0
	is := func(chars string) bool {
		if i < len(b) && strings.IndexByte(chars, b[i]) >= 0 {
			i++
			return true
		}
		return false
	}
	digits := func() bool {
		from := i
		for i < len(b) && b[i] >= '0' && b[i] <= '9' {
			i++
		}
		return i > from
	}
	is("-")
	if !is("0") && !digits() || is(".") && !digits() {
		s.ok = false
	}
	if is("eE") {
		is("+-")
		s.ok = digits() && s.ok
	}
	s.rest = b[i:]
	return b[:i]
}

func (s *scanner) float() float64 {
	x, err := strconv.ParseFloat(string(s.number()), 64)
	s.ok = s.ok && err == nil
	return x
}

// count is a whole number of up to 18 digits, without a sign.
func (s *scanner) count() (n uint64) {
	i := 0
	for i < len(s.rest) && i < 19 && s.rest[i] >= '0' && s.rest[i] <= '9' {
		n = 10*n + uint64(s.rest[i]-'0')
		i++
	}
	s.ok = s.ok && i > 0 && i < 19 && (i == 1 || s.rest[0] != '0')
	s.rest = s.rest[i:]
	return n
}

// text is a string in which nothing is escaped, and all is ASCII.
func (s *scanner) text() []byte {
	s.take(`"`)
	for i, c := range s.rest {
		switch {
		case c == '"':
			text := s.rest[:i]
			s.rest = s.rest[i+1:]
			return text
		case c == '\\' || c < ' ' || c > '~':
			s.ok = false
			return nil
		}
	}
	s.ok = false
	return nil
}

// value is the text of an object or a list, which need not be valid but for its brackets.
func (s *scanner) value() []byte {
	depth, quoted := 0, false
	for i := 0; i < len(s.rest); i++ {
		switch c := s.rest[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			if depth--; depth == 0 {
				v := s.rest[:i+1]
				s.rest = s.rest[i+1:]
				return v
			}
		}
		if depth == 0 {
			break
		}
	}
	s.ok = false
	return nil
}

func (s *scanner) counts() map[string]uint64 {
	counts := map[string]uint64{}
	s.take("{")
	for s.ok && !s.has("}") {
		if len(counts) > 0 {
			s.take(",")
		}
		key := s.text()
		s.take(":")
		counts[string(key)] = s.count()
	}
	return counts
}
