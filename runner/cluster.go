package runner

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/scale"
	metricsclient "k8s.io/metrics/pkg/client/clientset/versioned"
	"k8s.io/metrics/pkg/client/custom_metrics"
	"k8s.io/metrics/pkg/client/external_metrics"

	"github.com/hpabench/hpabench/record"
	"github.com/hpabench/hpabench/scenarios"
	"github.com/hpabench/hpabench/watch"
)

// requestTimeout bounds a single request to the API server, so that one which
// does not answer is told from one that is slow.
const requestTimeout = 15 * time.Second

// Cluster holds the clients of one cluster.
type Cluster struct {
	Config  *rest.Config
	Kube    kubernetes.Interface
	Dynamic dynamic.Interface
	Metrics metricsclient.Interface
	Signals watch.Signals

	Context   string // the kubeconfig's current one, whether or not it is used
	Namespace string // of the kubeconfig's context, as kubectl takes it

	// Ended is closed when the cluster has ended by itself and nothing is left to
	// remove; nil if that is not known.
	Ended <-chan struct{}
	// Say gets a line when a request waits for the user's credentials; nil for nobody.
	Say func(string)

	login     time.Duration // how long the first request may take beside, for credentials
	discovery discovery.CachedDiscoveryInterface
	mapper    meta.ResettableRESTMapper
	scales    scale.ScalesGetter
}

// BadInput is an error that the user mends by another command line or another
// scenario, not by mending the cluster.
type BadInput struct{ Err error }

func (b BadInput) Error() string { return b.Err.Error() }
func (b BadInput) Unwrap() error { return b.Err }

// checkNamespaceName refuses what no namespace can be called, before a request is made
// of it: name is what the words of what say, which may be empty. The error is a BadInput.
func checkNamespaceName(what, name string) error {
	if name == "" {
		return nil
	}
	if faults := validation.IsDNS1123Label(name); len(faults) > 0 {
		return BadInput{fmt.Errorf("%s is %q, and no namespace can be called so: %s", what, name, strings.Join(faults, "; "))}
	}
	return nil
}

// checkExistingNames does so for the names under workload.existing.
func checkExistingNames(file *scenarios.File, e *scenarios.Existing) error {
	for _, n := range []struct {
		field, value string
		faults       func(string) []string
	}{
		{"namespace", e.Namespace, validation.IsDNS1123Label},
		{"name", e.Name, validation.IsDNS1123Subdomain},
		{"autoscaler", e.Autoscaler, validation.IsDNS1123Subdomain},
	} {
		if faults := n.faults(n.value); n.value != "" && len(faults) > 0 {
			return BadInput{file.Fault("spec.workload.existing."+n.field, fmt.Sprintf("no %s can be called %q: %s", n.field, n.value, strings.Join(faults, "; ")), "")}
		}
	}
	return nil
}

// Contexts lists the names of the contexts in a kubeconfig file.
func Contexts(file string) []string {
	raw, err := Kubeconfig(file, "").RawConfig()
	if err != nil {
		return nil
	}
	return slices.Sorted(maps.Keys(raw.Contexts))
}

// ErrNoContext says that no cluster was named and the kubeconfig has no current context.
var ErrNoContext = errors.New("the kubeconfig has no current context")

// Connect makes the clients of a cluster. It sends nothing yet. The error is a
// BadInput: a file or a context that is not there.
func Connect(file, context string) (*Cluster, error) {
	kubeconfig := Kubeconfig(file, context)
	raw, err := kubeconfig.RawConfig() // once: it may be a pipe
	if err != nil {
		return nil, BadInput{fmt.Errorf("reading the kubeconfig: %w", err)}
	}
	if file == "" && context == "" && raw.CurrentContext == "" {
		return nil, BadInput{ErrNoContext}
	}
	config, err := kubeconfig.ClientConfig()
	if err != nil {
		if names := slices.Sorted(maps.Keys(raw.Contexts)); context != "" && len(names) > 0 && !slices.Contains(names, context) {
			err = fmt.Errorf("there is no context %q; there are: %s", context, strings.Join(names, ", "))
		}
		return nil, BadInput{fmt.Errorf("reading the kubeconfig: %w", err)}
	}
	if err := takeCredentials(config); err != nil {
		return nil, BadInput{fmt.Errorf("reading the kubeconfig: %w", err)}
	}
	c, err := connect(config)
	if err != nil {
		return nil, err
	}
	c.Context = raw.CurrentContext
	if c.Namespace, _, err = kubeconfig.Namespace(); err != nil {
		return nil, BadInput{fmt.Errorf("reading the kubeconfig: %w", err)}
	}
	return c, checkNamespaceName("the namespace of the kubeconfig's context", c.Namespace)
}

// takeCredentials takes a user and a password out of the server's URL, as curl does, so
// that they are in no message and no record. The error says that it is no URL.
func takeCredentials(config *rest.Config) error {
	u, err := url.Parse(config.Host)
	whole := err == nil && u.Host != ""
	credentials := strings.Contains(config.Host, "@")
	if _, _, err := rest.DefaultServerUrlFor(config); err != nil || !whole && (credentials || strings.Contains(config.Host, "://")) {
		return fmt.Errorf("the server %q is no URL", record.ShownURL(config.Host))
	}
	if !credentials {
		return nil
	}
	if password, has := u.User.Password(); has && config.Username == "" && config.BearerToken == "" && config.BearerTokenFile == "" {
		config.Username, config.Password = u.User.Username(), password
	}
	u.User = nil
	config.Host = u.String()
	return nil
}

func connect(config *rest.Config) (*Cluster, error) {
	config.QPS = -1 // a client that waits for its own rate limit would see changes late
	config.WarningHandler = rest.NoWarnings{}
	config.UserAgent = "hpabench"
	c := &Cluster{Config: config}
	mark := markPlugin(config)
	bounded := rest.CopyConfig(config) // not for what goes on for ever: attach, port-forward, the API server's proxy
	bounded.Wrap(func(next http.RoundTripper) http.RoundTripper { return answers{next, maxAnswer, answerTimeout} })
	httpClient, err := rest.HTTPClientFor(bounded)
	if err != nil {
		return nil, BadInput{fmt.Errorf("reading the kubeconfig: %w", err)}
	}
	httpClient.Transport, c.login = withPlugin(config, mark, httpClient.Transport, func(line string) {
		if c.Say != nil {
			c.Say(line)
		}
	})
	kube, err := kubernetes.NewForConfigAndClient(config, httpClient)
	if err != nil {
		return nil, err
	}
	c.Kube = kube
	if c.Dynamic, err = dynamic.NewForConfigAndClient(config, httpClient); err != nil {
		return nil, err
	}
	if c.Metrics, err = metricsclient.NewForConfigAndClient(config, httpClient); err != nil {
		return nil, err
	}
	c.discovery = memory.NewMemCacheClient(kube.Discovery())
	c.mapper = restmapper.NewDeferredDiscoveryRESTMapper(c.discovery)
	asked := rest.CopyConfig(bounded)
	asked.Timeout = requestTimeout
	c.Signals.Custom = custom_metrics.NewForConfig(asked, c.mapper, custom_metrics.NewAvailableAPIsGetter(kube.Discovery()))
	if c.Signals.External, err = external_metrics.NewForConfig(asked); err != nil {
		return nil, err
	}
	c.scales = scale.New(kube.Discovery().RESTClient(), c.mapper, dynamic.LegacyAPIPathResolverFunc, scale.NewDiscoveryScaleKindResolver(c.discovery))
	return c, nil
}

// resource returns the client of a kind in namespace; for a kind without
// namespaces it is the cluster's.
func (c *Cluster) resource(gvk schema.GroupVersionKind, namespace string) (dynamic.ResourceInterface, *meta.RESTMapping, error) {
	mapping, err := c.mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
	if meta.IsNoMatchError(err) { // a CRD that was created since discovery
		c.mapper.Reset()
		mapping, err = c.mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
	}
	if err != nil {
		return nil, nil, err
	}
	if mapping.Scope.Name() == meta.RESTScopeNameRoot {
		return c.Dynamic.Resource(mapping.Resource), mapping, nil
	}
	return c.Dynamic.Resource(mapping.Resource).Namespace(namespace), mapping, nil
}

// scalable says whether the resource has a scale subresource.
func (c *Cluster) scalable(resource schema.GroupVersionResource) (bool, error) {
	list, err := c.discovery.ServerResourcesForGroupVersion(resource.GroupVersion().String())
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(list.APIResources, func(r metav1.APIResource) bool { return r.Name == resource.Resource+"/scale" }), nil
}

// scale reads the scale subresource of the target.
func (c *Cluster) scale(ctx context.Context, resource schema.GroupVersionResource, namespace, name string) (*autoscalingv1.Scale, error) {
	return c.scales.Scales(namespace).Get(ctx, resource.GroupResource(), name, metav1.GetOptions{})
}

// replicaPaths returns where an object of the resource keeps the replicas
// wanted and those that there are. For a custom resource its definition says
// so; without the right to read that, the usual paths are taken.
func (c *Cluster) replicaPaths(ctx context.Context, resource schema.GroupVersionResource) (spec, status string) {
	definitions := apiextensionsv1.SchemeGroupVersion.WithResource("customresourcedefinitions")
	object, err := c.Dynamic.Resource(definitions).Get(ctx, resource.GroupResource().String(), metav1.GetOptions{})
	var crd apiextensionsv1.CustomResourceDefinition
	if err == nil && runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &crd) == nil {
		for _, v := range crd.Spec.Versions {
			if v.Name == resource.Version && v.Subresources != nil && v.Subresources.Scale != nil {
				return v.Subresources.Scale.SpecReplicasPath, v.Subresources.Scale.StatusReplicasPath
			}
		}
	}
	return ".spec.replicas", ".status.replicas"
}

// whileUp gives a context that is cancelled when the cluster has ended.
func (c *Cluster) whileUp(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		select {
		case <-c.Ended:
			cancel(errEnded)
		case <-ctx.Done():
		}
	}()
	return ctx, func() { cancel(nil) }
}
