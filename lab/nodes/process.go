package nodes

import (
	"net"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/hpabench/hpabench/lab/containers"
	"github.com/hpabench/hpabench/model"
)

// process is what runs in a container: a modelled server
// (*containers.Container), or a script that only takes its time.
type process interface {
	Listening() bool
	Serve(net.Conn) error
	Usage(now time.Time) (cpu time.Duration, memory int64)
	Counts() model.Counts
	Series() []model.Series
	Terminate()
	Kill()
	Done() <-chan struct{}
	Exit() containers.Exit
}

// script is a process that waits and exits. As the first process of its
// container it pays no heed to SIGTERM, as sleep does not.
type script struct {
	once sync.Once
	done chan struct{}
	exit containers.Exit
}

func startScript(takes time.Duration, code int) *script {
	s := &script{done: make(chan struct{})}
	if takes >= 0 {
		reason := "Completed"
		if code != 0 {
			reason = "Error"
		}
		time.AfterFunc(takes, func() { s.end(containers.Exit{Code: code, Reason: reason}) })
	}
	return s
}

func (s *script) end(e containers.Exit) {
	s.once.Do(func() {
		s.exit = e
		close(s.done)
	})
}

func (s *script) Listening() bool                        { return false }
func (s *script) Serve(net.Conn) error                   { return errNotListening }
func (s *script) Usage(time.Time) (time.Duration, int64) { return 0, 1 << 20 }
func (s *script) Counts() (none model.Counts)            { return none }
func (s *script) Series() []model.Series                 { return nil }
func (s *script) Terminate()                             {}
func (s *script) Kill()                                  { s.end(containers.Exit{Code: 137, Reason: "Error"}) }
func (s *script) Done() <-chan struct{}                  { return s.done }
func (s *script) Exit() containers.Exit                  { return s.exit }

// runsToEnd gives the script that a container runs, if it is one. A container
// whose command is not known, but which has to come to an end (one before the
// pod's own, or of a Job), does so with success once its model has started.
func runsToEnd(pod *corev1.Pod, c *container, start time.Duration) (takes time.Duration, code int, ok bool) {
	command := append(append([]string{}, c.spec.Command...), c.spec.Args...)
	if takes, code, ok = model.Script(command); ok {
		return takes, code, true
	}
	once := c.init && !c.sidecar() || pod.Spec.RestartPolicy != corev1.RestartPolicyAlways && len(command) > 0
	return start, 0, once
}
