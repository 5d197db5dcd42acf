package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime/debug"

	"github.com/spf13/pflag"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	apimachineryversion "k8s.io/apimachinery/pkg/version"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/server/egressselector"
	cliflag "k8s.io/component-base/cli/flag"
	"k8s.io/component-base/compatibility"
	baseversion "k8s.io/component-base/version"
	aggregator "k8s.io/kube-aggregator/pkg/apiserver"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
	"k8s.io/kubernetes/cmd/kube-apiserver/app/options"
	rbacrest "k8s.io/kubernetes/pkg/registry/rbac/rest"
)

const (
	serviceRange = "10.96.0.0/16"
	serviceIP    = "10.96.0.1" // of the service kubernetes
)

// newAPIServer prepares an API server that listens at listener, keeps its
// objects in the etcd of the folder, and reaches nodes and pods by dial. Of its
// configuration only what serveOpenAPI needs is returned.
func newAPIServer(ctx context.Context, s *state, listener net.Listener, nodePorts utilnet.PortRange, dial utilnet.DialFunc) (*aggregator.APIAggregator, *genericapiserver.Config, error) {
	o := options.NewServerRunOptions()
	o.ServiceNodePortRange = nodePorts
	o.SecureServing.Listener = listener
	o.SecureServing.BindPort = listener.Addr().(*net.TCPAddr).Port
	etcd := unixURL(s.Dir, etcdSocket)
	err := setFlags(o.Flags(),
		"--etcd-servers="+etcd.String(),
		"--bind-address=127.0.0.1",
		"--tls-cert-file="+s.File(certFile),
		"--tls-private-key-file="+s.File(keyFile),
		"--anonymous-auth=false",
		"--token-auth-file="+s.File(tokenFile),
		"--authorization-mode=Node,RBAC",
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file="+s.File(certFile),
		"--service-account-signing-key-file="+s.File(keyFile),
		"--service-cluster-ip-range="+serviceRange,
		"--allow-privileged=true",
		"--kubelet-preferred-address-types=InternalIP",
		// The API server is not reached from within pods, and a loopback address
		// is not allowed in an EndpointSlice.
		"--endpoint-reconciler-type=none",
	)
	if err != nil {
		return nil, nil, err
	}
	completed, err := o.Complete(ctx)
	if err != nil {
		return nil, nil, err
	}
	if err := errors.Join(completed.Validate()...); err != nil {
		return nil, nil, err
	}
	config, err := app.NewConfig(completed)
	if err != nil {
		return nil, nil, err
	}

	kube := config.KubeAPIs
	// Both act after a second for the first time, and all that asks whether the API
	// server is healthy would wait for them, the controller manager for two seconds:
	// the lab sees to the priority classes and the roles by itself.
	kube.ControlPlane.Generic.DisabledPostStartHooks.Insert("scheduling/bootstrap-system-priority-classes", rbacrest.PostStartHookName)
	// What an egress selector does, without a proxy between the two.
	kube.Extra.KubeletClientConfig.Lookup = func(egressselector.NetworkContext) (utilnet.DialFunc, error) { return dial, nil }
	transport := kube.ControlPlane.ProxyTransport.Clone()
	transport.DialContext = dial
	kube.ControlPlane.ProxyTransport = transport
	version := labVersion{kube.ControlPlane.Generic.EffectiveVersion}
	kube.ControlPlane.Generic.EffectiveVersion = version
	config.ApiExtensions.GenericConfig.EffectiveVersion = version
	config.Aggregator.GenericConfig.EffectiveVersion = version

	complete, err := config.Complete()
	if err != nil {
		return nil, nil, err
	}
	kube.ControlPlane.Generic.SkipOpenAPIInstallation = true // see serveOpenAPI
	chain, err := app.CreateServerChain(complete)
	if err != nil {
		return nil, nil, err
	}
	return chain, kube.ControlPlane.Generic, nil
}

// kubeAPIs is the server of the built-in API groups within the chain.
func kubeAPIs(chain *aggregator.APIAggregator) *genericapiserver.GenericAPIServer {
	return chain.GenericAPIServer.NextDelegate().(*genericapiserver.GenericAPIServer)
}

// setFlags sets options of a component by the flags of its own documentation.
func setFlags(sets cliflag.NamedFlagSets, flags ...string) error {
	all := pflag.NewFlagSet("", pflag.ContinueOnError)
	for _, set := range sets.FlagSets {
		all.AddFlagSet(set)
	}
	if err := all.Parse(flags); err != nil {
		return fmt.Errorf("setting options: %w", err)
	}
	return nil
}

// labVersion is the version that kubectl shows. Kubernetes is told its own by
// its linker flags, which `go install` does not pass.
type labVersion struct {
	compatibility.EffectiveVersion
}

func (v labVersion) Info() *apimachineryversion.Info {
	info := v.EffectiveVersion.Info()
	info.GitVersion = Version()
	info.GitCommit, info.GitTreeState = "", ""
	return info
}

// Version is that of Kubernetes, with a mark that it is the lab's.
func Version() string {
	const mark = "+hpabench-lab"
	if build, ok := debug.ReadBuildInfo(); ok {
		for _, m := range build.Deps {
			if m.Path == "k8s.io/kubernetes" {
				return m.Version + mark
			}
		}
	}
	return "v" + baseversion.DefaultKubeBinaryVersion + ".0" + mark // a test's binary, which lists no modules
}
