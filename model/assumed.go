package model

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// Assumed says in a sentence which figures of a container nobody measured or stated, because
// no preset is of its image, and how to measure them; empty if there are none. stated is the
// model before Resolve.
func Assumed(image string, env []corev1.EnvVar, stated Model) string {
	m := Resolve(image, env, stated)
	if m.Preset != Generic || stated.Preset == Generic {
		return ""
	}
	var all []string
	if stated.CPU == nil {
		all = append(all, fmt.Sprintf("a request takes %s of CPU", m.CPU.Mean.Duration))
	}
	if stated.Start == nil && stated.StartCPU == nil {
		all = append(all, fmt.Sprintf("the container listens after %s", m.Start.Duration))
	}
	if stated.Memory == nil {
		all = append(all, fmt.Sprintf("it uses %s", m.Memory))
	}
	if len(all) == 0 {
		return ""
	}
	return fmt.Sprintf("nothing is known of image %s: %s. Measure it on a real cluster (hpabench fit, hpabench calibrate), or state workload.model.", image, strings.Join(all, ", "))
}
