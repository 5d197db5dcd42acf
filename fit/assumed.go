package fit

import (
	"fmt"
	"slices"
	"strings"
)

// unmeasured is a sentence on what the plant has of hpabench's defaults, if anything. Workers,
// a queue and what memory requests hold are none that all workloads have, and the latency of
// the control plane moves little.
func (f *Fit) unmeasured() []string {
	var names []string
	for _, p := range f.Measured {
		matters := slices.Contains([]string{"workload.cpu", "roundTrip", "metrics.resolution", "controlPlane"}, p.Name) || strings.HasPrefix(p.Name, "pods.") || strings.HasPrefix(p.Name, customPrefix)
		if p.Missing != "" && matters {
			name := p.Name
			if p.Assumed != "" {
				name += fmt.Sprintf(" (%s)", p.Assumed)
			}
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	return []string{"hpabench's defaults, for what the record does not show (hpabench fit -o table says why): " + strings.Join(names, ", ") + "."}
}

// given is what the plant assumes but for what is unmeasured.
func (f *Fit) given() []string {
	return slices.DeleteFunc(slices.Clone(f.Plant.Assumed), func(text string) bool { return slices.Contains(f.unmeasured(), text) })
}
