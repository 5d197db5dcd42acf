package lab

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/authentication/user"
	genericapiserver "k8s.io/apiserver/pkg/server"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	aggregatorclient "k8s.io/kube-aggregator/pkg/client/clientset_generated/clientset"
	schedulingv1 "k8s.io/kubernetes/pkg/apis/scheduling/v1"
	storageutil "k8s.io/kubernetes/pkg/apis/storage/util"
	rbacrest "k8s.io/kubernetes/pkg/registry/rbac/rest"
	"k8s.io/metrics/pkg/apis/metrics/v1beta1"
)

// ConfigMap in the namespace kube-public tells what a lab is like, for a report
// on what was run there. Its keys are those of the data below.
const ConfigMap = "hpabench-lab"

// waitReady waits until the API server says that it is ready, but for some of
// its checks.
func (l *Lab) waitReady(ctx context.Context, but ...string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, time.Minute, errors.New("it took more than a minute"))
	defer cancel()
	for {
		request := l.client.Discovery().RESTClient().Get().AbsPath("/readyz")
		for _, check := range but {
			request.Param("exclude", check)
		}
		err := request.Do(ctx).Error()
		if err == nil {
			return nil
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case failure := <-l.failed:
			return failure
		case <-ctx.Done():
			return fmt.Errorf("waiting for the API server: %w: %w", context.Cause(ctx), err)
		}
	}
}

// createRoles creates the default roles. That takes a second, and neither the
// lab's administrator nor its controllers have need of them.
func (l *Lab) createRoles(ctx context.Context) error {
	_, create, err := rbacrest.RESTStorageProvider{}.PostStartHook()
	if err != nil {
		return err
	}
	return create(genericapiserver.PostStartHookContext{LoopbackClientConfig: l.Config(), Context: ctx})
}

// bootstrap creates what every cluster has and this one has not yet.
func (l *Lab) bootstrap(ctx context.Context) error {
	aggregator, err := aggregatorclient.NewForConfig(l.config)
	if err != nil {
		return err
	}
	public := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: metav1.NamespacePublic}}
	class := &storagev1.StorageClass{
		ObjectMeta:        metav1.ObjectMeta{Name: storageClass, Annotations: map[string]string{storageutil.IsDefaultStorageClassAnnotation: "true"}},
		Provisioner:       provisioner,
		ReclaimPolicy:     new(corev1.PersistentVolumeReclaimDelete),
		VolumeBindingMode: new(storagev1.VolumeBindingWaitForFirstConsumer),
	}
	errs := []error{
		create(ctx, l.client.StorageV1().StorageClasses(), class),
	}
	for i, group := range append(slices.Clone(adapted), v1beta1.SchemeGroupVersion) {
		errs = append(errs, create(ctx, aggregator.ApiregistrationV1().APIServices(), &apiregistrationv1.APIService{
			ObjectMeta: metav1.ObjectMeta{Name: group.Version + "." + group.Group},
			Spec: apiregistrationv1.APIServiceSpec{ // as in metrics-server's own manifest, but served locally
				Group: group.Group, Version: group.Version, GroupPriorityMinimum: 100, VersionPriority: int32(100 - i),
			},
		}))
	}
	for _, class := range schedulingv1.SystemPriorityClasses() {
		errs = append(errs, create(ctx, l.client.SchedulingV1().PriorityClasses(), class))
	}
	if err := create(ctx, l.client.CoreV1().Namespaces(), public); !apierrors.IsAlreadyExists(err) {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// create creates an object by the client of its kind.
func create[T runtime.Object](ctx context.Context, client interface {
	Create(context.Context, T, metav1.CreateOptions) (T, error)
}, object T) error {
	if _, err := client.Create(ctx, object, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("creating a %T: %w", object, err)
	}
	return nil
}

// tell writes the ConfigMap.
func (l *Lab) tell(ctx context.Context, o Options, resolution time.Duration) error {
	nodes, err := l.client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	hpa := o.HPA.HPAControllerConfiguration
	data := map[string]string{
		"timing":                  string(o.Timing),
		"kubernetesVersion":       Version(),
		"metricsResolution":       resolution.String(),
		"housekeeping":            o.Nodes.Housekeeping.String(),
		"hpaSyncPeriod":           hpa.HorizontalPodAutoscalerSyncPeriod.Duration.String(),
		"downscaleStabilization":  hpa.HorizontalPodAutoscalerDownscaleStabilizationWindow.Duration.String(),
		"tolerance":               strconv.FormatFloat(hpa.HorizontalPodAutoscalerTolerance, 'g', -1, 64),
		"cpuInitializationPeriod": hpa.HorizontalPodAutoscalerCPUInitializationPeriod.Duration.String(),
		"initialReadinessDelay":   hpa.HorizontalPodAutoscalerInitialReadinessDelay.Duration.String(),
		"concurrentHPASyncs":      strconv.Itoa(int(hpa.ConcurrentHorizontalPodAutoscalerSyncs)),
		"nodes":                   strconv.Itoa(len(nodes.Items)),
	}
	if len(nodes.Items) > 0 { // all alike
		capacity := nodes.Items[0].Status.Capacity
		data["nodeCPU"], data["nodeMemory"], data["nodePods"] = capacity.Cpu().String(), capacity.Memory().String(), capacity.Pods().String()
	}
	name := metav1.ObjectMeta{Name: ConfigMap}
	return errors.Join(
		create(ctx, l.client.CoreV1().ConfigMaps(metav1.NamespacePublic), &corev1.ConfigMap{ObjectMeta: name, Data: data}),
		// Without the Role whoever may not read the ConfigMap would take the lab for real.
		create(ctx, l.client.RbacV1().Roles(metav1.NamespacePublic), &rbacv1.Role{ObjectMeta: name, Rules: []rbacv1.PolicyRule{
			{APIGroups: []string{""}, Resources: []string{"configmaps"}, ResourceNames: []string{ConfigMap}, Verbs: []string{"get"}}}}),
		create(ctx, l.client.RbacV1().RoleBindings(metav1.NamespacePublic), &rbacv1.RoleBinding{ObjectMeta: name,
			RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: ConfigMap},
			Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: user.AllAuthenticated}}}))
}
