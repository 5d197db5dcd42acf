package model

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// Assumed says in a sentence which figures of a container nobody measured or stated, because
// no preset is of its image, and how to measure them; empty if there are none. stated is the
// model before Resolve.
func Assumed(of *corev1.Container, stated Model) string {
	m := Resolve(of, stated)
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
	return fmt.Sprintf("nothing is known of image %s: %s. Measure it on a real cluster (hpabench fit, hpabench calibrate), or state workload.model.", of.Image, strings.Join(all, ", "))
}

// AssumedOthers says in a sentence what CPU the other containers of a pod are modelled with, as the model is of the first; empty
// if there is no other that runs beside it. measured is whether the model's CPU was measured of all of them together.
func AssumedOthers(pod *corev1.PodSpec, measured bool) string {
	var names []string
	for _, c := range pod.InitContainers {
		if Sidecar(c) {
			names = append(names, c.Name)
		}
	}
	for _, c := range pod.Containers[min(1, len(pod.Containers)):] {
		names = append(names, c.Name)
	}
	switch {
	case len(names) == 0:
		return ""
	case measured:
		return fmt.Sprintf("the CPU that the pods' other containers (%s) used is counted as that of the first container.", strings.Join(names, ", "))
	}
	return fmt.Sprintf("nothing is known of the pods' other containers (%s): they use no CPU here. Where they use some, as a proxy does for each request, run the scenario on a real cluster.", strings.Join(names, ", "))
}
