package runner

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	prometheus "github.com/prometheus/common/model"

	"github.com/hpabench/hpabench/loadgen"
	"github.com/hpabench/hpabench/record"
	"github.com/hpabench/hpabench/scenarios"
	"github.com/hpabench/hpabench/watch"
)

const (
	// queueTimeout bounds one reading of a queue.
	queueTimeout = 5 * time.Second

	// maxPage is the most bytes of an answer with series that are read: kube-state-metrics of a cluster of some thousand
	// pods answers as many. maxSeries is the most of the lines of one series that are parsed, for which that takes 100 times
	// their memory: 10,000 queues by name.
	maxPage   = 16 << 20
	maxSeries = 1 << 20
)

// readQueue reads the queue of a scenario, if it names one, where the load goes, until stop is called. That the first reading
// fails is a note, and no error: a queue can show its series with the first message.
func readQueue(ctx context.Context, file *scenarios.File, way loadgen.Way, request loadgen.Request, every time.Duration, rec *record.Recorder, say func(string)) (stop func(), err error) {
	q := file.Spec.Load.Queue
	if q == nil || way == nil {
		return func() {}, nil
	}
	request.Timeout = queueTimeout
	getter, err := loadgen.NewGetter(way, request, q.PathOrDefault())
	if err != nil {
		return nil, BadInput{fmt.Errorf("load.queue.path: %w", err)}
	}
	note := func(format string, args ...any) {
		text := fmt.Sprintf("GET %s of load.queue: ", record.ShownURL(q.PathOrDefault())) + fmt.Sprintf(format, args...)
		say("warning: " + text)
		rec.Add(record.Entry{Note: &record.Note{Text: text}})
	}
	first, aged := true, true
	read := func(ctx context.Context) (*record.Queue, error) {
		ctx, cancel := context.WithTimeout(ctx, queueTimeout)
		defer cancel()
		is, ageless, err := askQueue(ctx, getter, q)
		if err != nil && first && !errors.Is(ctx.Err(), context.Canceled) {
			note("%s. The figures of the queue are missing until it can be read: look at what that path of the workload answers", record.Cut(err.Error()))
		}
		if first = false; err == nil && ageless != "" && is.Backlog > 0 && aged {
			aged = false
			note("%s. How long the oldest message waits is not known until there is one: look at what that path of the workload answers, or remove load.queue.oldest", ageless)
		}
		return is, err
	}
	ctx, cancel := context.WithCancel(ctx)
	var reading sync.WaitGroup
	reading.Go(func() { watch.ReadQueue(ctx, rec, every, read) })
	return func() {
		cancel()
		getter.Close()
		reading.Wait()
	}, nil
}

// askQueue makes one reading. Ageless says why it has no age of the oldest message, where it should.
func askQueue(ctx context.Context, getter *loadgen.Getter, q *scenarios.Queue) (is *record.Queue, ageless string, err error) {
	page, err := getter.Get(ctx)
	if err != nil {
		return nil, "", err
	}
	defer page.Close()
	return queueOf(page, q)
}

// queueOf is what a page in Prometheus' text format shows of a queue.
func queueOf(page io.Reader, q *scenarios.Queue) (is *record.Queue, ageless string, err error) {
	lines, err := linesOf(page, q.Backlog, q.Oldest)
	if err != nil {
		return nil, "", err
	}
	values, err := valuesOf(&lines[0], q.Backlog)
	if err != nil {
		return nil, "", err
	}
	is = &record.Queue{}
	for _, v := range values {
		is.Backlog += v
	}
	if err := is.Check(); err != nil {
		return nil, "", fmt.Errorf("series %s: %w", q.Backlog, err)
	}
	if q.Oldest == "" {
		return is, "", nil
	}
	values, err = valuesOf(&lines[1], q.Oldest)
	if err == nil {
		is.Oldest = new(slices.Max(values))
		err = is.Check()
	}
	if err != nil {
		is.Oldest = nil
		return is, err.Error(), nil
	}
	return is, "", nil
}

// linesOf are the lines of a page that belong to each of the names, so that what else there is takes no memory.
func linesOf(page io.Reader, names ...string) ([]bytes.Buffer, error) {
	limited := &io.LimitedReader{R: page, N: maxPage + 1}
	scanner, lines := bufio.NewScanner(limited), make([]bytes.Buffer, len(names))
	for scanner.Scan() {
		line := bytes.TrimLeft(scanner.Bytes(), " \t")
		named := bytes.TrimPrefix(line, []byte("# TYPE "))
		for i, name := range names {
			rest, is := bytes.CutPrefix(named, []byte(name))
			if name == "" || !is || len(rest) == 0 || bytes.IndexByte([]byte("{ \t"), rest[0]) < 0 {
				continue
			}
			if lines[i].Len()+len(line) > maxSeries {
				return nil, fmt.Errorf("series %s takes more than %d MiB", name, maxSeries>>20)
			}
			lines[i].Write(line)
			lines[i].WriteByte('\n')
		}
	}
	switch err := scanner.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return nil, fmt.Errorf("the answer has a line of more than %d KiB, and is not in Prometheus' text format", bufio.MaxScanTokenSize>>10)
	case err != nil:
		return nil, fmt.Errorf("reading the answer: %w", err)
	case limited.N <= 0:
		return nil, fmt.Errorf("the answer has more than %d MiB", maxPage>>20)
	}
	return lines, nil
}

// valuesOf are the values of a gauge, of which there is one at least.
func valuesOf(lines io.Reader, name string) (values []float64, err error) {
	parser := expfmt.NewTextParser(prometheus.UTF8Validation)
	families, err := parser.TextToMetricFamilies(lines)
	if err != nil {
		return nil, fmt.Errorf("series %s has a line that is not in Prometheus' text format", name) // which can be anything
	}
	family := families[name]
	if family == nil {
		return nil, fmt.Errorf("the answer has no series %s", name)
	}
	seen := map[string]bool{}
	for _, m := range family.Metric {
		value := m.GetGauge().GetValue()
		switch {
		case m.Untyped != nil:
			value = m.Untyped.GetValue()
		case m.Gauge == nil:
			return nil, fmt.Errorf("series %s is a %s, and no gauge", name, strings.ToLower(family.GetType().String()))
		}
		if !(value >= 0) || math.IsInf(value, 1) {
			return nil, fmt.Errorf("series %s is %g", name, value)
		}
		slices.SortFunc(m.Label, func(a, b *dto.LabelPair) int { return cmp.Compare(a.GetName(), b.GetName()) })
		var labels strings.Builder
		for _, l := range m.Label {
			fmt.Fprintf(&labels, "%q=%q ", l.GetName(), l.GetValue())
		}
		if seen[labels.String()] {
			return nil, fmt.Errorf("series %s is there twice with the same labels", name)
		}
		seen[labels.String()] = true
		values = append(values, value)
	}
	return values, nil
}
