package lab

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/user"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/client-go/kubernetes"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	aggregatorclient "k8s.io/kube-aggregator/pkg/client/clientset_generated/clientset"
	schedulingv1 "k8s.io/kubernetes/pkg/apis/scheduling/v1"
	rbacrest "k8s.io/kubernetes/pkg/registry/rbac/rest"
	"k8s.io/metrics/pkg/apis/metrics/v1beta1"
)

// ConfigMap in the namespace kube-public tells what a lab is like, for a report
// on what was run there. Its keys are those of the data below.
const ConfigMap = "hpabench-lab"

// waitReady waits until the API server says that it is ready, but for some of
// its checks.
func (l *Lab) waitReady(ctx context.Context, but ...string) error {
	client, err := kubernetes.NewForConfig(l.config)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, time.Minute, errors.New("it took more than a minute"))
	defer cancel()
	for {
		request := client.Discovery().RESTClient().Get().AbsPath("/readyz")
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
	client, err := kubernetes.NewForConfig(l.config)
	if err != nil {
		return err
	}
	for _, class := range schedulingv1.SystemPriorityClasses() {
		if _, err := client.SchedulingV1().PriorityClasses().Create(ctx, class, metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("creating a priority class: %w", err)
		}
	}

	if _, err := client.StorageV1().StorageClasses().Create(ctx, defaultStorageClass(), metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("creating the default StorageClass: %w", err)
	}

	aggregator, err := aggregatorclient.NewForConfig(l.config)
	if err != nil {
		return err
	}
	group := v1beta1.SchemeGroupVersion
	_, err = aggregator.ApiregistrationV1().APIServices().Create(ctx, &apiregistrationv1.APIService{
		ObjectMeta: metav1.ObjectMeta{Name: group.Version + "." + group.Group},
		Spec: apiregistrationv1.APIServiceSpec{ // as in metrics-server's own manifest, but served locally
			Group: group.Group, Version: group.Version, GroupPriorityMinimum: 100, VersionPriority: 100,
		},
	}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("registering the metrics API: %w", err)
	}

	public := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: metav1.NamespacePublic}}
	if _, err := client.CoreV1().Namespaces().Create(ctx, public, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("creating the namespace %s: %w", public.Name, err)
	}
	return nil
}

// tell writes the ConfigMap.
func (l *Lab) tell(ctx context.Context, o Options, resolution time.Duration) error {
	client, err := kubernetes.NewForConfig(l.config)
	if err != nil {
		return err
	}
	nodes, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("telling of the lab: %w", err)
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
	_, err = client.CoreV1().ConfigMaps(metav1.NamespacePublic).Create(ctx, &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: ConfigMap}, Data: data,
	}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("telling of the lab: %w", err)
	}
	// Without it whoever may not read the ConfigMap would take the lab for real.
	_, err = client.RbacV1().Roles(metav1.NamespacePublic).Create(ctx, &rbacv1.Role{
		ObjectMeta: metav1.ObjectMeta{Name: ConfigMap},
		Rules:      []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"configmaps"}, ResourceNames: []string{ConfigMap}, Verbs: []string{"get"}}},
	}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("telling of the lab: %w", err)
	}
	_, err = client.RbacV1().RoleBindings(metav1.NamespacePublic).Create(ctx, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: ConfigMap},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: ConfigMap},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: user.AllAuthenticated}},
	}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("telling of the lab: %w", err)
	}
	return nil
}
