package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/restmapper"
	"k8s.io/metrics/pkg/client/custom_metrics"
	"sigs.k8s.io/yaml"

	"github.com/hpabench/hpabench/model"
)

// deploy makes a Deployment of so many pods with a model.
func deploy(t *testing.T, client kubernetes.Interface, name, text string, replicas int32) {
	t.Helper()
	labels := map[string]string{"app": name}
	if _, err := client.AppsV1().Deployments("default").Create(t.Context(), &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: appsv1.DeploymentSpec{Replicas: &replicas, Selector: &metav1.LabelSelector{MatchLabels: labels}, Template: corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: labels, Annotations: map[string]string{model.Annotation: text}},
			Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: name, Image: "example.com/" + name}}},
		}},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = client.AppsV1().Deployments("default").Delete(context.Background(), name, metav1.DeleteOptions{})
	})
}

// The adapter serves the metrics of pods by pod, and as the sum of them.
func TestAdapter(t *testing.T) {
	l, client := theLab(t)
	deploy(t, client, "shown", `{"metrics": {"busy": {"of": "inFlight", "every": "1s"}, "http_requests": {"of": "requests", "every": "1s", "window": "3s"}}}`, 2)
	mapper := restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(client.Discovery()))
	metrics := custom_metrics.NewForConfig(l.Config(), mapper, custom_metrics.NewAvailableAPIsGetter(client.Discovery())) // as the HPA controller has it
	for _, metric := range []string{"busy", "http_requests"} {
		eventually(t, metric+" of two pods", func(context.Context) error {
			list, err := metrics.NamespacedMetrics("default").GetForObjects(schema.GroupKind{Kind: "Pod"}, labels.SelectorFromSet(labels.Set{"app": "shown"}), metric, labels.Everything())
			if err == nil && (len(list.Items) != 2 || !strings.HasPrefix(list.Items[0].DescribedObject.Name, "shown-") || !list.Items[0].Value.IsZero()) {
				err = fmt.Errorf("it is %+v", list.Items)
			}
			return err
		})
	}
	if text, err := client.Discovery().RESTClient().Get().AbsPath("/apis/external.metrics.k8s.io/v1beta1/namespaces/default/busy").SetHeader("Accept", "application/json").DoRaw(t.Context()); err != nil || !strings.Contains(string(text), `"value":"0"`) {
		t.Errorf("the external metric: %v, %s", err, text)
	}
	if _, err := client.Discovery().RESTClient().Get().AbsPath("/apis/custom.metrics.k8s.io/v1beta2/namespaces/default/pods/*/other").DoRaw(t.Context()); !apierrors.IsNotFound(err) {
		t.Errorf("a metric that no pod shows: %v", err)
	}
}

var scaledObjects = schema.GroupVersionResource{Group: "keda.sh", Version: "v1alpha1", Resource: "scaledobjects"}

// scaledObject makes one with such a spec.
func scaledObject(t *testing.T, l *Lab, name, spec string) dynamic.ResourceInterface {
	t.Helper()
	client, err := dynamic.NewForConfig(l.Config())
	if err != nil {
		t.Fatal(err)
	}
	o := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte("apiVersion: keda.sh/v1alpha1\nkind: ScaledObject\nmetadata: {name: "+name+"}\nspec:\n"+spec), &o.Object); err != nil {
		t.Fatal(err)
	}
	objects := client.Resource(scaledObjects).Namespace("default")
	if _, err := objects.Create(t.Context(), o, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = objects.Delete(context.Background(), name, metav1.DeleteOptions{}) })
	return objects
}

// conditionsOf are the statuses of a ScaledObject's conditions, as "Ready=True Active=False".
func conditionsOf(o *unstructured.Unstructured) string {
	var all []string
	list, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions")
	for _, c := range list {
		c := c.(map[string]any)
		all = append(all, fmt.Sprint(c["type"], "=", c["status"]))
	}
	return strings.Join(all, " ")
}

// Hours bring a target from zero to one by the operator, and to two by the HPA that it made; a pause takes the HPA away.
func TestScaledObjectOfHours(t *testing.T) {
	l, client := theLab(t)
	deploy(t, client, "hours", "{}", 0)
	objects := scaledObject(t, l, "hours", `
  scaleTargetRef: {name: hours}
  pollingInterval: 1
  triggers:
  - {type: cron, metadata: {timezone: UTC, start: "0 0 1 1 *", end: "59 23 31 12 *", desiredReplicas: "2"}}
`)
	eventually(t, "two replicas", func(ctx context.Context) error {
		d, err := client.AppsV1().Deployments("default").Get(ctx, "hours", metav1.GetOptions{})
		if err == nil && *d.Spec.Replicas != 2 {
			o, _ := objects.Get(ctx, "hours", metav1.GetOptions{})
			err = fmt.Errorf("there are %d, with %s", *d.Spec.Replicas, conditionsOf(o))
		}
		return err
	})
	hpa, err := client.AutoscalingV2().HorizontalPodAutoscalers("default").Get(t.Context(), "keda-hpa-hours", metav1.GetOptions{})
	if err != nil || len(hpa.Spec.Metrics) != 1 || hpa.Spec.Metrics[0].External == nil {
		t.Fatalf("its HPA is %+v, %v", hpa, err)
	}
	o, err := objects.Get(t.Context(), "hours", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got := conditionsOf(o); !strings.Contains(got, "Ready=True") || !strings.Contains(got, "Active=True") || !strings.Contains(got, "Paused=False") {
		t.Errorf("its conditions are %s", got)
	}
	// A second autoscaler of the target is refused, and an HPA that somebody deletes is made again.
	scaledObject(t, l, "again", `
  scaleTargetRef: {name: hours}
  pollingInterval: 600
  triggers:
  - {type: cron, metadata: {timezone: UTC, start: "0 0 1 1 *", end: "59 23 31 12 *", desiredReplicas: "3"}}
`)
	eventually(t, "a second ScaledObject that is refused", func(ctx context.Context) error {
		second, err := objects.Get(ctx, "again", metav1.GetOptions{})
		if text, _ := json.Marshal(second.Object["status"]); err == nil && !strings.Contains(string(text), "the workload 'hours' of type 'apps/v1.Deployment' is already managed by the ScaledObject 'hours'") {
			err = fmt.Errorf("its status is %s", text)
		}
		return err
	})
	if err := client.AutoscalingV2().HorizontalPodAutoscalers("default").Delete(t.Context(), hpa.Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "its HPA again", func(ctx context.Context) error {
		made, err := client.AutoscalingV2().HorizontalPodAutoscalers("default").Get(ctx, hpa.Name, metav1.GetOptions{})
		if err == nil && made.UID == hpa.UID {
			err = errors.New("it is there still")
		}
		return err
	})
	if o, err = objects.Get(t.Context(), "hours", metav1.GetOptions{}); err != nil {
		t.Fatal(err)
	}
	o.SetAnnotations(map[string]string{"autoscaling.keda.sh/paused-replicas": "1"})
	if _, err := objects.Update(t.Context(), o, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a pause at one replica", func(ctx context.Context) error {
		d, err := client.AppsV1().Deployments("default").Get(ctx, "hours", metav1.GetOptions{})
		if err != nil {
			return err
		}
		_, err = client.AutoscalingV2().HorizontalPodAutoscalers("default").Get(ctx, "keda-hpa-hours", metav1.GetOptions{})
		if !apierrors.IsNotFound(err) || *d.Spec.Replicas != 1 {
			return fmt.Errorf("%d replicas, and its HPA: %v", *d.Spec.Replicas, err)
		}
		return nil
	})
}

// A ScaledObject whose target is not there waits for it; one that KEDA would not take says why.
func TestScaledObjectThatIsNotReady(t *testing.T) {
	l, client := theLab(t)
	early := scaledObject(t, l, "early", `
  scaleTargetRef: {name: early}
  minReplicaCount: 1
  triggers: [{type: cpu, metricType: Utilization, metadata: {value: "50"}}]
`)
	wrong := scaledObject(t, l, "wrong", `
  scaleTargetRef: {name: early}
  triggers: [{type: kafka, metadata: {}}]
`)
	for name, objects := range map[string]dynamic.ResourceInterface{"early": early, "wrong": wrong} {
		eventually(t, name+" that is not ready", func(ctx context.Context) error {
			o, err := objects.Get(ctx, name, metav1.GetOptions{})
			if err == nil && !strings.Contains(conditionsOf(o), "Ready=False") {
				err = fmt.Errorf("its conditions are %s", conditionsOf(o))
			}
			if text, _ := json.Marshal(o.Object["status"]); err == nil && name == "wrong" && !strings.Contains(string(text), "kafka: is not known here") {
				t.Errorf("it says %s", text)
			}
			return err
		})
	}
	deploy(t, client, "early", "{}", 1)
	eventually(t, "early that is ready", func(ctx context.Context) error {
		o, err := early.Get(ctx, "early", metav1.GetOptions{})
		if err == nil && !strings.Contains(conditionsOf(o), "Ready=True") {
			err = fmt.Errorf("its conditions are %s", conditionsOf(o))
		}
		return err
	})
}

// answers says what differs of the answer at a URL.
func answers(url string, status int, says string) error {
	answer, err := http.Get(url)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err == nil && (answer.StatusCode != status || !strings.Contains(string(body), says)) {
		err = fmt.Errorf("it answers %s: %s", answer.Status, body)
	}
	return err
}

// A pod that calls another finds it by its Service, once that is there.
func TestPodsCallEachOther(t *testing.T) {
	_, client := theLab(t)
	deploy(t, client, "front", `{"calls": [{"to": "back"}, {"to": "back:8080"}]}`, 1)
	deploy(t, client, "back", `{}`, 1)
	front, err := client.CoreV1().Services("default").Create(t.Context(), &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "front"}, Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeNodePort, Selector: map[string]string{"app": "front"}, Ports: []corev1.ServicePort{{Port: 80}}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	ask := func(want int, says string) func(ctx context.Context) error {
		return func(context.Context) error {
			return answers(fmt.Sprintf("http://127.0.0.1:%d/", front.Spec.Ports[0].NodePort), want, says)
		}
	}
	eventually(t, "an answer of one whose back has no Service", ask(502, "not found"))
	if _, err := client.CoreV1().Services("default").Create(t.Context(), &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "back"}, Spec: corev1.ServiceSpec{Selector: map[string]string{"app": "back"}, Ports: []corev1.ServicePort{{Name: "http", Port: 80}, {Name: "other", Port: 8080}}},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "an answer", ask(200, "ok"))
}
