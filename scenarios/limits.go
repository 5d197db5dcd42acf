package scenarios

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/hpabench/hpabench/record"
)

// The limits on what a user's files may ask for. Each is far above what runs need, and
// low enough that a file that a stranger wrote costs some hundred megabytes and some
// seconds at most. docs/load.md lists them.
const (
	// MaxSource bounds a scenario, a manifest and a plant, in bytes: the API server takes
	// objects of 1.5 MiB at most (etcd's --max-request-bytes), of which a manifest may hold
	// several. maxTokens bounds their commas, dashes, brackets, colons and line ends: each
	// may be a value, for which the parser of YAML needs 200 bytes.
	MaxSource = 8 << 20
	maxTokens = 1_000_000

	// MaxFile bounds another file that a scenario names, and each file that a command
	// reads whole: a trace of 1,000,000 rows has 20 MB. maxFiles bounds all that one
	// scenario names.
	MaxFile  = 128 << 20
	maxFiles = 256 << 20

	// maxDepth and maxValues bound a YAML file once its aliases are written out: 10,000
	// targets with ten fields each are half of it.
	maxDepth  = 100
	maxValues = 200_000

	// maxTargets bounds the HTTP targets of a phase. maxTurns bounds the targets times the
	// turns after which their order repeats, which take about 2 s to lay out.
	maxTargets = 100_000
	maxTurns   = 1_000_000_000

	// maxPhases bounds the phases once steps, spikes and repetitions are written out: a
	// report has a section for each of them.
	maxPhases = 10_000

	// maxPoints bounds the points of all curves: two for each row of a trace and for each
	// rate of a noise. 750,000 rows are a rate a second for 8 days. In the record, whose
	// header holds them on one line, a point has 45 bytes at most.
	maxPoints = 1_500_000

	// MaxRate is the highest rate in requests/s: one machine sends a fifteenth of it
	// (docs/load.md).
	MaxRate = 1_000_000

	// MinCapacity and MaxCapacity bound capacityPerReplica, in requests/s: the demand for
	// replicas is a rate over it.
	MinCapacity, MaxCapacity = 1e-6, 1e9

	// MaxRequests bounds the planned requests of all phases: when each is due is reckoned
	// to one part in 10¹² (package loadgen), and a machine needs 19 days for them.
	MaxRequests = 100_000_000_000

	// MaxDuration bounds the load of one run, and of one simulation.
	MaxDuration = record.MaxLoad

	// minDuration is the shortest phase or noise: what is shorter cannot be told
	// apart in a record, whose instants have microseconds.
	minDuration = time.Millisecond

	// minEvery is the shortest time between two rates of a noise: load is counted by the
	// second, in which that makes a hundred.
	minEvery = 10 * time.Millisecond

	// minPeriod is the shortest period of a sine: load is counted by the second.
	minPeriod = time.Second

	// MaxTimeout bounds how long a request may wait, and an SLO: nothing that scales by its
	// requests takes longer over one.
	MaxTimeout = time.Hour

	// MaxVariants bounds the combinations of a matrix, and maxCopies the targets, points
	// and values of all of them, which are all read before the first run begins.
	MaxVariants = 1000
	maxCopies   = 50_000_000

	// MaxRepeat bounds the runs of one scenario, one after the other.
	MaxRepeat = 1000

	// maxRules bounds the expressions in CEL of the manifests (of definitions, webhooks and
	// admission policies) in characters, as which each counts leastRule: 1,000 short ones are
	// compiled in 0.3 s. maxSchema bounds the values of a definition that is judged here: that
	// of Prometheus, one of the largest, has some 25,000. maxCustom bounds the
	// objects that are judged by a definition among the manifests, of which each may take a
	// second (RuntimeCELCostBudget of Kubernetes); the API server of the run judges the others.
	maxRules  = 200_000
	leastRule = 200
	maxSchema = 50_000
	maxCustom = 50

	// maxFaults bounds the faults that are listed.
	maxFaults = 100
)

// ReadFile reads a file of a user whole. A file that has more bytes than the limit is an
// error, whatever it is: a pipe has no size that could be asked for before.
func ReadFile(name string, limit int64) ([]byte, error) {
	f, err := record.OpenFile(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := ReadAll(f, limit)
	if err != nil {
		return nil, &fs.PathError{Op: "read", Path: name, Err: cause(err)}
	}
	return b, nil
}

// ErrTooLarge is the cause of an error about a file over its limit.
var ErrTooLarge = errors.New("too large")

// ReadAll reads what a user gives up to its end. More bytes than the limit are an error.
func ReadAll(r io.Reader, limit int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = tooLarge(limit)
	}
	if err != nil {
		return nil, err
	}
	return b, nil
}

func tooLarge(limit int64) error {
	return fmt.Errorf("%w: more than %s, which is the most that is read of such a file", ErrTooLarge, bytesText(limit))
}

func bytesText(n int64) string {
	if n%(1<<20) == 0 {
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%d bytes", n)
}
