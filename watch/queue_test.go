package watch

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hpabench/hpabench/record"
)

// Of readings that are the same one a minute is recorded. One that fails opens a gap from the last that did not, and after it the
// next is recorded whatever it is; one that was slow says so.
func TestReadQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rec := record.NewRecorder(record.StartClock(), nil)
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 70500*time.Millisecond)
		defer cancel()
		ReadQueue(ctx, rec, time.Second, func(context.Context) (*record.Queue, error) {
			switch at := time.Since(began); {
			case at < 2*time.Second:
				return &record.Queue{Backlog: 3, Oldest: new(at.Seconds())}, nil
			case at == 3*time.Second, at == 4*time.Second, at == 70*time.Second:
				return nil, errors.New("connection refused")
			case at == 6*time.Second:
				time.Sleep(2500 * time.Millisecond)
			}
			return &record.Queue{}, nil
		})
		type told struct {
			At float64
			record.Queue
		}
		var got []told
		for _, e := range rec.Run().Entries {
			if e.Queue != nil {
				got = append(got, told{e.At.Seconds(), *e.Queue})
			}
		}
		if d := cmp.Diff([]told{{0, record.Queue{Backlog: 3, Oldest: new(0.0)}}, {1, record.Queue{Backlog: 3, Oldest: new(1.0)}}, {2, record.Queue{}},
			{5, record.Queue{}}, {8.5, record.Queue{Took: 2.5}}, {8.5, record.Queue{}}, {69, record.Queue{}}}, got); d != "" {
			t.Errorf("readings (-want +got):\n%s", d)
		}
		if d := cmp.Diff([]record.Gap{{Source: record.QueueSource, From: sec(2), To: sec(5), Cause: "connection refused"},
			{Source: record.QueueSource, From: sec(69), To: sec(70.5), Cause: "connection refused"}}, gaps(rec)); d != "" {
			t.Errorf("gaps (-want +got):\n%s", d)
		}
	})
}
