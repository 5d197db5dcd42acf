package lab

import (
	"context"
	"math"
	"sync/atomic"

	apidiscoveryv2 "k8s.io/api/apidiscovery/v2"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	genericapi "k8s.io/apiserver/pkg/endpoints"
	"k8s.io/apiserver/pkg/endpoints/discovery"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/client-go/tools/cache"
	"k8s.io/metrics/pkg/apis/custom_metrics"
	"k8s.io/metrics/pkg/apis/external_metrics"
	"sigs.k8s.io/custom-metrics-apiserver/pkg/apiserver"
	"sigs.k8s.io/custom-metrics-apiserver/pkg/apiserver/installer"
	"sigs.k8s.io/custom-metrics-apiserver/pkg/provider"
	customstorage "sigs.k8s.io/custom-metrics-apiserver/pkg/registry/custom_metrics"
	externalstorage "sigs.k8s.io/custom-metrics-apiserver/pkg/registry/external_metrics"

	"github.com/hpabench/hpabench/keda"
	"github.com/hpabench/hpabench/lab/nodes"
	"github.com/hpabench/hpabench/lab/operator"
)

// adapter serves the metrics that modelled pods show, as prometheus-adapter does with a rule for each: those of pods by pod, and
// an Object or External metric as the sum over the pods of the namespace that show one of its name. What a selector of a metric's
// labels asks for is not looked at, as the metrics have no labels. It serves the metrics of ScaledObjects, and those of sources outside
// the cluster, too.
type adapter struct {
	nodes   *cluster
	pods    cache.GenericLister // those that run
	keda    *atomic.Pointer[operator.Operator]
	sources *sources
}

// install serves both API groups among the built-in ones. The packages of custom-metrics-apiserver make servers of their own of
// them only.
func (a adapter) install(server *genericapiserver.GenericAPIServer) error {
	for _, group := range []struct {
		name string
		api  installer.MetricsAPIGroupVersion
	}{
		{custom_metrics.GroupName, installer.MetricsAPIGroupVersion{DynamicStorage: customstorage.NewREST(a), ResourceLister: provider.NewCustomMetricResourceLister(a), Handlers: &installer.CMHandlers{}}},
		{external_metrics.GroupName, installer.MetricsAPIGroupVersion{DynamicStorage: externalstorage.NewREST(a), ResourceLister: provider.NewExternalMetricResourceLister(a), Handlers: &installer.EMHandlers{}}},
	} {
		info := genericapiserver.NewDefaultAPIGroupInfo(group.name, apiserver.Scheme, runtime.NewParameterCodec(apiserver.Scheme), apiserver.Codecs)
		served := metav1.APIGroup{Name: group.name}
		for _, version := range info.PrioritizedVersions {
			served.Versions = append(served.Versions, metav1.GroupVersionForDiscovery{GroupVersion: version.String(), Version: version.Version})
			server.AggregatedDiscoveryGroupManager.AddGroupVersion(version.Group, apidiscoveryv2.APIVersionDiscovery{Version: version.Version, Freshness: apidiscoveryv2.DiscoveryFreshnessCurrent})
			api := group.api
			api.APIGroupVersion = &genericapi.APIGroupVersion{
				Root: genericapiserver.APIGroupPrefix, GroupVersion: version, MetaGroupVersion: info.MetaGroupVersion,
				ParameterCodec: info.ParameterCodec, Serializer: info.NegotiatedSerializer, Creater: info.Scheme, Convertor: info.Scheme, //nolint:misspell // as Kubernetes has it
				UnsafeConvertor: runtime.UnsafeObjectConvertor(info.Scheme), Typer: info.Scheme, Namer: runtime.Namer(meta.NewAccessor()),
			}
			if err := api.InstallREST(server.Handler.GoRestfulContainer); err != nil {
				return err
			}
		}
		served.PreferredVersion = served.Versions[0]
		server.DiscoveryGroupManager.AddGroup(served)
		server.Handler.GoRestfulContainer.Add(discovery.NewAPIGroupHandler(server.Serializer, served).WebService())
	}
	return nil
}

// adapted are the API groups and versions that it serves, the preferred one of a group first.
var adapted = []schema.GroupVersion{
	{Group: custom_metrics.GroupName, Version: "v1beta2"}, {Group: custom_metrics.GroupName, Version: "v1beta1"}, {Group: external_metrics.GroupName, Version: "v1beta1"},
}

var podResource = schema.GroupResource{Resource: "pods"}

// told are the metrics of pods of a namespace that are known.
func (a adapter) told(namespace, metric string) []nodes.PodMetric {
	if n := a.nodes.Load(); n != nil {
		return n.Custom(namespace, metric)
	}
	return nil
}

func (a adapter) names() []string {
	if n := a.nodes.Load(); n != nil {
		return n.CustomNames()
	}
	return nil
}

func (a adapter) GetMetricByName(_ context.Context, name types.NamespacedName, info provider.CustomMetricInfo, _ labels.Selector) (*custom_metrics.MetricValue, error) {
	sum, window, known := 0.0, int64(0), false
	for _, m := range a.told(name.Namespace, info.Metric) {
		if info.GroupResource != podResource || m.Pod == name.Name {
			sum, window, known = sum+m.Value, int64(m.Window.Seconds()), true
		}
	}
	if !known {
		return nil, provider.NewMetricNotFoundForError(info.GroupResource, info.Metric, name.Name)
	}
	return value(info, name, sum, window), nil
}

func (a adapter) GetMetricBySelector(_ context.Context, namespace string, selector labels.Selector, info provider.CustomMetricInfo, of labels.Selector) (*custom_metrics.MetricValueList, error) {
	if info.GroupResource != podResource {
		return nil, provider.NewMetricNotFoundForSelectorError(info.GroupResource, info.Metric, "*", of)
	}
	selected, err := a.pods.ByNamespace(namespace).List(selector)
	if err != nil {
		return nil, err
	}
	is := map[string]bool{}
	for _, o := range selected {
		if pod, err := meta.Accessor(o); err == nil {
			is[pod.GetName()] = true
		}
	}
	list := new(custom_metrics.MetricValueList)
	for _, m := range a.told(namespace, info.Metric) {
		if is[m.Pod] {
			list.Items = append(list.Items, *value(info, types.NamespacedName{Namespace: namespace, Name: m.Pod}, m.Value, int64(m.Window.Seconds())))
		}
	}
	if len(list.Items) == 0 {
		return nil, provider.NewMetricNotFoundForSelectorError(info.GroupResource, info.Metric, "*", of)
	}
	return list, nil
}

func (a adapter) ListAllMetrics() (all []provider.CustomMetricInfo) {
	for _, name := range a.names() {
		all = append(all, provider.CustomMetricInfo{GroupResource: podResource, Namespaced: true, Metric: name})
	}
	return all
}

func (a adapter) GetExternalMetric(_ context.Context, namespace string, selector labels.Selector, info provider.ExternalMetricInfo) (*external_metrics.ExternalMetricValueList, error) {
	list := new(external_metrics.ExternalMetricValueList)
	if name, of := selector.RequiresExactMatch(keda.OfScaledObject); of {
		operator := a.keda.Load()
		if operator == nil {
			return nil, apierrors.NewNotFound(schema.GroupResource{Group: external_metrics.GroupName, Resource: info.Metric}, name)
		}
		r, err := operator.External(types.NamespacedName{Namespace: namespace, Name: name}, info.Metric)
		if err != nil {
			return nil, err
		}
		list.Items = []external_metrics.ExternalMetricValue{{MetricName: r.Metric, Timestamp: metav1.Now(), Value: r.Value}}
		return list, nil
	}
	sum, window := 0.0, int64(0)
	told := a.told(namespace, info.Metric)
	for _, m := range told {
		sum, window = sum+m.Value, int64(m.Window.Seconds())
	}
	outside, known := a.sources.value(namespace, info.Metric)
	if sum += outside; known || len(told) > 0 {
		list.Items = []external_metrics.ExternalMetricValue{{MetricName: info.Metric, Timestamp: metav1.Now(), Value: thousandths(sum), WindowSeconds: seconds(window)}}
	}
	return list, nil
}

func (a adapter) ListAllExternalMetrics() (all []provider.ExternalMetricInfo) {
	for _, name := range a.names() {
		all = append(all, provider.ExternalMetricInfo{Metric: name})
	}
	return all
}

func value(info provider.CustomMetricInfo, of types.NamespacedName, v float64, window int64) *custom_metrics.MetricValue {
	m := &custom_metrics.MetricValue{
		DescribedObject: custom_metrics.ObjectReference{Namespace: of.Namespace, Name: of.Name},
		Metric:          custom_metrics.MetricIdentifier{Name: info.Metric}, Timestamp: metav1.Now(), Value: thousandths(v), WindowSeconds: seconds(window),
	}
	if info.GroupResource == podResource {
		m.DescribedObject.APIVersion, m.DescribedObject.Kind = "v1", "Pod"
	}
	return m
}

func thousandths(v float64) resource.Quantity {
	return *resource.NewMilliQuantity(int64(math.Round(v*1000)), resource.DecimalSI)
}

// seconds is nil for none.
func seconds(n int64) *int64 {
	if n == 0 {
		return nil
	}
	return &n
}
