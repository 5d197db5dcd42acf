package simulate

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/hpabench/hpabench/record"
)

// TestPool ends the one child of a pool in several ways: the run that it was for fails, and
// the next one does not.
func TestPool(t *testing.T) {
	p, err := Start(1)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	r := library(t, "spike")
	want, err := p.Score(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	for words, end := range map[string]func() error{
		"the process that simulates has ended: ": func() error {
			c := <-p.free
			c.end()
			p.free <- c
			_, err := p.Score(t.Context(), r)
			return err
		},
		"has ended: panic: why": func() error {
			c := <-p.free
			c.end()
			_, _ = c.stderr.Write([]byte("first\npanic: why\n\ngoroutine 1\n"))
			p.free <- c
			_, err := p.Score(t.Context(), r)
			return err
		},
		"stopped": func() error {
			ctx, cancel := context.WithCancelCause(t.Context())
			recorded := library(t, "spike")
			recorded.Header = &record.Header{Scenario: "spike", MetricsEvery: 1}
			_, err := p.Do(ctx, recorded, func(in io.Reader) error {
				cancel(errors.New("stopped"))
				_, err := io.Copy(io.Discard, in)
				return err
			})
			return err
		},
	} {
		if err := end(); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%v, want %q", err, words)
		}
		got, err := p.Score(t.Context(), r)
		if err != nil || got.ReplicaSeconds != want.ReplicaSeconds {
			t.Errorf("after %q: %v replica-seconds, want %v (%v)", words, got.ReplicaSeconds, want.ReplicaSeconds, err)
		}
	}
}

func TestSlowChild(t *testing.T) {
	defer func(d time.Duration) { patience = d }(patience)
	patience = time.Nanosecond
	if _, err := Start(1); err == nil || !strings.Contains(err.Error(), "did not answer within 1ns") {
		t.Error(err)
	}
}

func TestTail(t *testing.T) {
	var c child
	c.stderr = new(tail)
	for range 100 {
		if n, err := c.stderr.Write([]byte(strings.Repeat("noise\n", mostTail/100))); n != mostTail/100*6 || err != nil {
			t.Fatal(n, err)
		}
	}
	_, _ = c.stderr.Write([]byte("the end\n"))
	if c.stderr.Len() != mostTail || c.last() != "the end" {
		t.Errorf("%d bytes are kept, and the last line is %q", c.stderr.Len(), c.last())
	}
	_, _ = c.stderr.Write(make([]byte, 2*mostTail))
	if c.stderr.Len() != mostTail {
		t.Errorf("%d bytes are kept of more at once", c.stderr.Len())
	}
}
