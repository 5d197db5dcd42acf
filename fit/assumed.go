package fit

import (
	"fmt"
	"slices"
	"strings"
)

// assume says in the Plant what of it was not measured, but should be. A queue, workers and
// what memory requests hold are none that all workloads have, and the latency of the control
// plane moves little.
func (f *Fit) assume() {
	var names []string
	for _, p := range f.Measured {
		matters := slices.Contains([]string{"workload.cpu", "roundTrip", "metrics.resolution", "controlPlane"}, p.Name) || strings.HasPrefix(p.Name, "pods.") || strings.HasPrefix(p.Name, customPrefix)
		if p.Missing != "" && matters {
			names = append(names, p.Name)
		}
	}
	f.Plant.Assumed = nil
	if len(names) > 0 {
		f.Plant.Assumed = []string{fmt.Sprintf("the defaults of hpabench fit stand for what the record does not show (hpabench fit -o table says why): %s.", strings.Join(names, ", "))}
	}
}
