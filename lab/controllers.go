package lab

import (
	"context"
	"strings"

	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	controlleroptions "k8s.io/kubernetes/cmd/kube-controller-manager/app/options"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	scheduleroptions "k8s.io/kubernetes/cmd/kube-scheduler/app/options"
)

// enabled are the controllers that a workload and its autoscaler need. What is
// missing: those for certificates, clouds, device claims, bootstrap tokens,
// storage versions, and volumes that are attached, expanded or given other
// attributes, for none of which a modelled node has a use; the one for Endpoints,
// which EndpointSlices have replaced and which writes the addresses of all pods of a
// service again for each pod; and the one that binds volumes, see runVolumes.
var enabled = []string{
	"horizontal-pod-autoscaler-controller",
	"deployment-controller",
	"replicaset-controller",
	"replicationcontroller-controller",
	"statefulset-controller",
	"daemonset-controller",
	"job-controller",
	"cronjob-controller",
	"ttl-after-finished-controller",
	"disruption-controller",
	"endpointslice-controller",
	"namespace-controller",
	"resourcequota-controller",
	"serviceaccount-controller",
	"serviceaccount-token-controller",
	"root-ca-certificate-publisher-controller", // each pod projects its ConfigMap
	"garbage-collector-controller",
	"pod-garbage-collector-controller",
	"node-lifecycle-controller", // takes the taint off a node that has become ready
	"taint-eviction-controller",
	"persistentvolumeclaim-protection-controller", // takes the finalizer off a claim that no pod uses
	"persistentvolume-protection-controller",
	"ephemeral-volume-controller",
}

// common are the flags of both. Without them there were client-side limits of 20 and
// 50 requests a second: the API server, a function call away, has flow control of its own.
func common(s *state) []string {
	return []string{"--kubeconfig=" + s.File(kubeconfigFile), "--secure-port=0", "--leader-elect=false", "--kube-api-qps=-1", "--kube-api-burst=-1"}
}

// runControllers runs the controller manager until ctx ends.
func runControllers(ctx context.Context, s *state, hpa *controlleroptions.HPAControllerOptions) error {
	o, err := controlleroptions.NewKubeControllerManagerOptions()
	if err != nil {
		return err
	}
	known, off, aliases := controllers.KnownControllers(), controllers.ControllersDisabledByDefault(), controllers.ControllerAliases()
	flags := append(common(s),
		"--controller-start-interval=0s",
		"--controllers="+strings.Join(enabled, ","),
		"--service-account-private-key-file="+s.File(keyFile),
		"--root-ca-file="+s.File(certFile),
	)
	if err := setFlags(o.Flags(known, off, aliases), flags...); err != nil {
		return err
	}
	o.HPAController = hpa
	config, err := o.Config(ctx, known, off, aliases)
	if err != nil {
		return err
	}
	return controllers.Run(ctx, config.Complete())
}

// runScheduler runs the scheduler until ctx ends.
func runScheduler(ctx context.Context, s *state) error {
	o := scheduleroptions.NewOptions()
	if err := setFlags(*o.Flags, common(s)...); err != nil {
		return err
	}
	config, sched, err := scheduler.Setup(ctx, o)
	if err != nil {
		return err
	}
	return scheduler.Run(ctx, config, sched)
}
