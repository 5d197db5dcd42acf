package runner

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/utils/ptr"

	"github.com/hpabench/hpabench/loadgen"
	"github.com/hpabench/hpabench/record"
	"github.com/hpabench/hpabench/scenarios"
)

// sender sends the load of a run: from here, or from the cluster.
type sender interface {
	Run(context.Context) error
	Progress() loadgen.Progress
}

// Attack sends the load of a scenario to a URL, without a cluster, and records what
// became of it; url replaces that of the scenario unless it is empty. Progress is called from
// several goroutines where the scenario names a queue. When ctx is
// done it ends as Generator.Run does. The error is a BadInput when it is not known
// where to, or credentials are missing.
func Attack(ctx context.Context, file *scenarios.File, url string, o Options, rec *record.Recorder, progress func(Progress)) error {
	var none *Cluster
	authorization, err := none.authorization(ctx, file, "")
	if err != nil {
		return err
	}
	way, err := loadgen.URL(cmp.Or(url, file.Spec.Load.URL))
	if err != nil {
		return BadInput{err}
	}
	defer way.Close()
	if err := checkReachable(ctx, way); err != nil {
		return err
	}
	if file.Spec.Load.Queue != nil {
		o.MetricsEvery = cmp.Or(o.MetricsEvery, time.Second)
	}
	h := header(file, o, rec)
	h.Expect = nil // of the scaling
	rec.Add(record.Entry{Header: h})
	rec.Add(record.Entry{Subject: &record.Subject{Way: way.Kind(), URL: way.URL(), Why: "no cluster was looked at"}})
	generator, err := loadgen.New(h.Phases, request(file, authorization), way, rec)
	if err != nil {
		return BadInput{err}
	}
	stop, err := readQueue(ctx, file, way, request(file, authorization), o.MetricsEvery, rec, func(text string) { progress(Progress{Message: text}) })
	if err != nil {
		return err
	}
	err = send(ctx, generator, func(p loadgen.Progress) { progress(Progress{Load: loadProgress(p, h.Phases, State{})}) })
	stop()
	rec.Add(record.Entry{End: endOf(err, nil)})
	return err
}

// CheckAttack says why a scenario's load cannot be sent without a cluster. The error
// is a BadInput.
func CheckAttack(file *scenarios.File, url string) error {
	switch {
	case !file.HasLoad():
		return BadInput{errors.New("the scenario has no load")}
	case url == "" && file.Spec.Load.URL == "":
		return BadInput{errors.New("where does the load go? Name it with --url, such as http://127.0.0.1:8080: the scenario has no load.url, and no cluster is looked at")}
	case secretOf(file.Spec.Load.Auth) != nil:
		return BadInput{file.Fault("spec.load.auth", "a Secret cannot be read without a cluster", "take the credentials from the environment: {env: NAME}")}
	}
	if url != "" {
		if err := record.CheckURL(url); err != nil {
			return BadInput{fmt.Errorf("--url %q: %w", record.ShownURL(url), err)}
		}
		if err := file.CheckTargets(url, file.Spec.Load.URL); err != nil {
			return BadInput{err}
		}
	}
	return checkCredentials(file)
}

// request is what a scenario sends.
func request(file *scenarios.File, authorization string) loadgen.Request {
	load := &file.Spec.Load
	r := loadgen.Request{Headers: http.Header{}, HTTP2: load.HTTP2, Timeout: load.RequestTimeout(), PodHeader: load.PodHeader}
	for name, value := range load.Headers {
		r.Headers.Set(name, value)
	}
	if authorization != "" {
		r.Headers.Set("Authorization", authorization)
	}
	r.MaxConnectionAge = ptr.Deref(load.MaxConnectionAge, metav1.Duration{}).Duration
	if t := load.TLS; t != nil {
		r.TLS = &loadgen.TLS{CA: file.Roots(), ServerName: t.ServerName, InsecureSkipVerify: t.InsecureSkipVerify}
	}
	for _, requests := range file.Requests() {
		var mix []loadgen.Target
		for _, t := range requests {
			mix = append(mix, loadgen.Target(t))
		}
		r.Mix = append(r.Mix, mix)
	}
	return r
}

// send sends the load, telling the progress each second.
func send(ctx context.Context, s sender, tell func(loadgen.Progress)) error {
	telling, stop := context.WithCancel(ctx)
	var told sync.WaitGroup
	told.Go(func() {
		wait.UntilWithContext(telling, func(context.Context) {
			if p := s.Progress(); p.Phase >= 0 {
				tell(p)
			}
		}, time.Second)
	})
	err := s.Run(ctx)
	stop()
	told.Wait()
	return err
}

// endOf is the last entry of a run that ended with err and left objects behind.
func endOf(err error, left []string) *record.End {
	end := &record.End{Outcome: record.Completed, Left: left}
	if err != nil {
		end.Outcome, end.Error = record.Failed, err.Error()
		if errors.Is(err, ErrInterrupted) {
			end.Outcome = record.Interrupted
		}
	}
	return end
}
