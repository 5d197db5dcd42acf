package model

import (
	"math"
	"time"
)

// CFSPeriod is the length of a period of CFS bandwidth control, in which all threads of a
// container together have limit × CFSPeriod of CPU time: the kernel's default, which kubelets
// leave as it is (https://docs.kernel.org/scheduler/sched-bwc.html).
const CFSPeriod = 100 * time.Millisecond

// minLimit is the least CPU limit in cores: the kernel takes no quota below 1 ms a period, and
// the kubelet rounds up to it (minQuotaPeriod in pkg/kubelet/cm).
const minLimit = 0.01

// inPeriod is the CPU time of some cores in one period.
func inPeriod(cores float64) time.Duration { return time.Duration(cores * float64(CFSPeriod)) }

// OnThread is how long some CPU time takes on one thread that starts with a period, under a
// limit in cores (0: none).
func OnThread(cpu time.Duration, limit float64) time.Duration {
	if cpu <= 0 || limit <= 0 || limit >= 1 {
		return cpu
	}
	quota := inPeriod(max(limit, minLimit))
	return cpu + time.Duration(math.Ceil(float64(cpu)/float64(quota))-1)*(CFSPeriod-quota)
}
