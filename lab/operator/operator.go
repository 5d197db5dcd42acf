// Package operator is KEDA's part of the embedded cluster: it makes an HPA of each ScaledObject, brings its target from zero and
// back, and answers the HPA's questions for the metrics of its triggers, by the rules of package keda.
package operator

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/events"
	"k8s.io/klog/v2"

	"github.com/hpabench/hpabench/keda"
)

// name is that of KEDA's operator, in events and as a field manager.
const name = "keda-operator"

// Operator acts on all ScaledObjects of a cluster.
type Operator struct {
	objects dynamic.Interface
	client  kubernetes.Interface
	mapper  meta.RESTMapper
	events  events.EventRecorder
	query   keda.Query
	log     klog.Logger
	wg      sync.WaitGroup

	mu     sync.Mutex
	scaled map[types.NamespacedName]*scaled
}

// scaled is a ScaledObject as it is acted on.
type scaled struct {
	*keda.ScaledObject
	object *unstructured.Unstructured
	broken error // its spec cannot be read
	// manages says that its target is its own; of Operator.mu.
	manages bool
	end     context.CancelFunc
	ended   chan struct{} // closed when nothing acts on it any more
	orphan  chan struct{} // gets one when its HPA is deleted

	mu   sync.Mutex
	last []keda.Reading // of the last poll
}

// Start makes the kind ScaledObject known, and acts on them until ctx is done. query stands for the Prometheus of their triggers.
func Start(ctx context.Context, config *rest.Config, query keda.Query) (*Operator, error) {
	config = rest.CopyConfig(config)
	config.UserAgent = name
	config.ContentType, config.AcceptContentTypes = "", "" // custom resources have no protobuf
	if err := define(ctx, config); err != nil {
		return nil, err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	objects, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	broadcaster := events.NewBroadcaster(&events.EventSinkImpl{Interface: client.EventsV1()})
	broadcaster.StartRecordingToSink(ctx.Done())
	o := &Operator{
		objects: objects, client: client, query: query, log: klog.FromContext(ctx).WithName(name), scaled: map[types.NamespacedName]*scaled{},
		mapper: restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(client.Discovery())),
		events: broadcaster.NewRecorder(scheme.Scheme, name),
	}
	factory := dynamicinformer.NewDynamicSharedInformerFactory(objects, 0)
	informer := factory.ForResource(resource).Informer()
	if _, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(is any) { o.take(ctx, is.(*unstructured.Unstructured)) },
		UpdateFunc: func(_, is any) { o.take(ctx, is.(*unstructured.Unstructured)) },
		DeleteFunc: func(is any) {
			if gone, ok := is.(cache.DeletedFinalStateUnknown); ok {
				is = gone.Obj
			}
			o.drop(key(is.(*unstructured.Unstructured)))
		},
	}); err != nil {
		return nil, err
	}
	hpas := informers.NewSharedInformerFactory(client, 0)
	if _, err := hpas.Autoscaling().V2().HorizontalPodAutoscalers().Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		DeleteFunc: func(is any) {
			if gone, ok := is.(cache.DeletedFinalStateUnknown); ok {
				is = gone.Obj
			}
			if hpa, ok := is.(*autoscalingv2.HorizontalPodAutoscaler); ok {
				o.orphaned(hpa)
			}
		},
	}); err != nil {
		return nil, err
	}
	factory.Start(ctx.Done())
	hpas.Start(ctx.Done())
	o.wg.Go(func() {
		<-ctx.Done()
		factory.Shutdown()
		hpas.Shutdown()
		broadcaster.Shutdown()
	})
	return o, nil
}

// Wait returns when all of it has ended, after the context of Start is done.
func (o *Operator) Wait() { o.wg.Wait() }

func key(of *unstructured.Unstructured) types.NamespacedName {
	return types.NamespacedName{Namespace: of.GetNamespace(), Name: of.GetName()}
}

func (o *Operator) drop(of types.NamespacedName) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if s := o.scaled[of]; s != nil {
		s.end()
		delete(o.scaled, of)
	}
}

// orphaned has the HPA of a ScaledObject made again.
func (o *Operator) orphaned(hpa *autoscalingv2.HorizontalPodAutoscaler) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for of, s := range o.scaled {
		if of.Namespace == hpa.Namespace && metav1.IsControlledBy(hpa, s.object) {
			s.makeAgain()
		}
	}
}

// makeAgain has the HPA made again.
func (s *scaled) makeAgain() {
	select {
	case s.orphan <- struct{}{}:
	default:
	}
}

// take acts on a ScaledObject that is new, or whose spec or annotations are others now. Its status is the operator's own.
func (o *Operator) take(ctx context.Context, is *unstructured.Unstructured) {
	o.mu.Lock()
	defer o.mu.Unlock()
	was := o.scaled[key(is)]
	if was != nil {
		if was.object.GetUID() == is.GetUID() && was.object.GetGeneration() == is.GetGeneration() && maps.Equal(was.object.GetAnnotations(), is.GetAnnotations()) {
			return
		}
		was.end()
	}
	s := &scaled{ScaledObject: new(keda.ScaledObject), object: is, ended: make(chan struct{}), orphan: make(chan struct{}, 1)}
	spec, _, _ := unstructured.NestedMap(is.Object, "spec")
	s.broken = runtime.DefaultUnstructuredConverter.FromUnstructured(spec, s.ScaledObject)
	s.manages = was != nil && was.manages && was.Target() == s.Target() // so that no other takes it meanwhile
	ctx, s.end = context.WithCancel(ctx)
	o.scaled[key(is)] = s
	o.wg.Go(func() {
		defer close(s.ended)
		if was != nil { // whose poll may be under way
			<-was.ended
		}
		o.run(ctx, s)
	})
}

// run makes the HPA, and polls until the end.
func (o *Operator) run(ctx context.Context, s *scaled) {
	polls, err := o.reconcile(ctx, s)
	for err != nil && ctx.Err() == nil {
		_ = o.status(ctx, s, nil, condition("Ready", keda.Condition{Status: "False", Reason: "ScaledObjectCheckFailed", Message: err.Error()}),
			condition("Active", keda.Condition{Status: "Unknown", Reason: "UnknownState", Message: "ScaledObject check failed"}))
		o.events.Eventf(s.object, nil, corev1.EventTypeWarning, "ScaledObjectCheckFailed", "ScaledObjectCheckFailed", "%s", err)
		select { // as the back-off of a controller, or the target comes
		case <-ctx.Done():
			return
		case <-time.After(5 * time.Second):
		}
		polls, err = o.reconcile(ctx, s)
	}
	if !polls {
		return
	}
	rules := s.Rules(s.object.GetCreationTimestamp().Time)
	ticker := time.NewTicker(s.Polling())
	defer ticker.Stop()
	for ctx.Err() == nil {
		if err := o.poll(ctx, s, rules); err != nil && ctx.Err() == nil {
			o.log.Error(err, "Polling", "scaledObject", klog.KObj(s.object))
		}
		for waits := true; waits; {
			select {
			case <-ctx.Done():
				waits = false
			case <-ticker.C:
				waits = false
			case <-s.orphan:
				if _, err := o.makeHPA(ctx, s); err != nil && ctx.Err() == nil {
					o.log.Error(err, "Making the HPA again", "scaledObject", klog.KObj(s.object))
					time.AfterFunc(time.Second, s.makeAgain)
				}
			}
		}
	}
}

// Annotations that hold a ScaledObject.
const (
	paused         = "autoscaling.keda.sh/paused"
	pausedReplicas = "autoscaling.keda.sh/paused-replicas"
)

// reconcile is the controller's part: it checks the ScaledObject and sees to its HPA. polls is false of one that is paused.
func (o *Operator) reconcile(ctx context.Context, s *scaled) (polls bool, err error) {
	if s.broken != nil {
		return false, s.broken
	}
	if r := s.Refused(); len(r) > 0 {
		return false, errors.New(r[0].Message)
	}
	if err := s.Check(); err != nil {
		return false, fmt.Errorf("the embedded cluster's KEDA: %w", err)
	}
	scale, err := o.scale(ctx, s)
	if err != nil {
		return false, fmt.Errorf("ScaledObject doesn't have correct scaleTargetRef specification: %w", err) //nolint:staticcheck // KEDA's words
	}
	if err := o.managed(ctx, s); err != nil {
		return false, err
	}
	annotations := s.object.GetAnnotations()
	for _, name := range []string{"autoscaling.keda.sh/paused-scale-in", "autoscaling.keda.sh/paused-scale-out", "autoscaling.keda.sh/force-activation"} {
		if _, is := annotations[name]; is {
			return false, fmt.Errorf("the embedded cluster's KEDA: the annotation %s is not known here", name)
		}
	}
	count, holds := annotations[pausedReplicas]
	value, is := annotations[paused]
	pauses, err := strconv.ParseBool(value)
	if holds || is && (pauses || err != nil) { // as getBoolAnnotation
		if err := o.client.AutoscalingV2().HorizontalPodAutoscalers(s.object.GetNamespace()).Delete(ctx, s.HPAName(s.object.GetName()), metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			return false, err
		}
		if holds {
			n, err := strconv.ParseInt(count, 10, 32)
			if err == nil && int32(n) != replicas(scale) {
				err = o.setReplicas(ctx, s, scale, int32(n))
			}
			if err != nil {
				return false, err
			}
		}
		_ = o.status(ctx, s, nil, condition("Paused", keda.Condition{Status: "True", Reason: "ScaledObjectPaused", Message: "ScaledObject is paused"}))
		return false, nil
	}
	hpa, err := o.makeHPA(ctx, s)
	if err != nil {
		return false, err
	}
	var external, ofPods, kinds []string
	for _, m := range hpa.Spec.Metrics {
		switch {
		case m.External != nil:
			external = append(external, m.External.Metric.Name)
		case m.Resource != nil:
			ofPods = append(ofPods, string(m.Resource.Name))
		}
	}
	for _, t := range s.Triggers {
		if !slices.Contains(kinds, t.Type) {
			kinds = append(kinds, t.Type)
		}
	}
	to := hpa.Spec.ScaleTargetRef
	err = o.status(ctx, s, map[string]any{
		"hpaName": hpa.Name, "externalMetricNames": external, "resourceMetricNames": ofPods, "triggersTypes": strings.Join(kinds, ","),
		"scaleTargetKind": to.APIVersion + "." + to.Kind, "originalReplicaCount": replicas(scale),
	}, condition("Ready", keda.IsReady),
		condition("Fallback", keda.Condition{Status: "False", Reason: "NoFallbackFound", Message: "No fallbacks are active on this scaled object"}),
		condition("Paused", keda.Condition{Status: "False", Reason: "ScaledObjectUnpaused", Message: "ScaledObject is not paused"}))
	return err == nil, err
}

// managed says who else scales the target, in the words of KEDA's admission webhook, which refuses the later of two
// (verifyScaledObjects and verifyHpas).
func (o *Operator) managed(ctx context.Context, s *scaled) error {
	to, namespace := s.Target(), s.object.GetNamespace()
	refuse := func(kind, name string) error {
		return fmt.Errorf("the workload '%s' of type '%s.%s' is already managed by the %s '%s'", to.Name, to.APIVersion, to.Kind, kind, name)
	}
	hpas, err := o.client.AutoscalingV2().HorizontalPodAutoscalers(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	of := s.object.GetAnnotations()
	anyway := of["validations.keda.sh/hpa-ownership"] == "false" || of["scaledobject.keda.sh/transfer-hpa-ownership"] == "true"
	for _, hpa := range hpas.Items {
		if owner := metav1.GetControllerOf(&hpa); !anyway && hpa.Spec.ScaleTargetRef == to && (owner == nil || owner.Kind != keda.Kind) {
			return refuse("hpa", hpa.Name)
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for of, other := range o.scaled {
		if other != s && other.manages && of.Namespace == namespace && other.Target() == to {
			return refuse(keda.Kind, of.Name)
		}
	}
	s.manages = true
	return nil
}

// makeHPA creates the HPA, or makes it as it is to be.
func (o *Operator) makeHPA(ctx context.Context, s *scaled) (*autoscalingv2.HorizontalPodAutoscaler, error) {
	hpa := s.HPA(s.object.GetName())
	hpa.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(s.object, s.object.GroupVersionKind())}
	hpa.Labels = map[string]string{"app.kubernetes.io/name": hpa.Name[:min(len(hpa.Name), 63)], "app.kubernetes.io/part-of": s.object.GetName(), "app.kubernetes.io/managed-by": name}
	maps.Copy(hpa.Labels, s.object.GetLabels())
	hpas := o.client.AutoscalingV2().HorizontalPodAutoscalers(s.object.GetNamespace())
	made, err := hpas.Create(ctx, hpa, metav1.CreateOptions{})
	if !apierrors.IsAlreadyExists(err) {
		return made, err
	}
	if made, err = hpas.Get(ctx, hpa.Name, metav1.GetOptions{}); err != nil {
		return nil, err
	}
	if !metav1.IsControlledBy(made, s.object) {
		return nil, fmt.Errorf("HPA %s is there already, and is not of this ScaledObject", hpa.Name)
	}
	made.Spec = hpa.Spec
	return hpas.Update(ctx, made, metav1.UpdateOptions{})
}

// poll asks the triggers and does what the rules say.
func (o *Operator) poll(ctx context.Context, s *scaled, rules keda.Rules) error {
	now, err := o.objects.Resource(resource).Namespace(s.object.GetNamespace()).Get(ctx, s.object.GetName(), metav1.GetOptions{})
	if err != nil {
		return err
	}
	readings, active, failed := s.Ask(time.Now(), o.query)
	s.mu.Lock()
	s.last = readings
	s.mu.Unlock()
	scale, err := o.scale(ctx, s)
	if err != nil {
		return errors.Join(err, o.status(ctx, s, nil, condition("Ready", keda.Condition{Status: "False", Reason: "ErrorGettingCurrentReplicas", Message: err.Error()})))
	}
	var state keda.State
	if text, is, _ := unstructured.NestedString(now.Object, "status", "lastActiveTime"); is {
		state.LastActive, _ = time.Parse(time.RFC3339, text)
	}
	was := replicas(scale)
	outcome := rules.Poll(&state, keda.Found{At: time.Now(), Replicas: was, Active: active, Failed: failed})
	if outcome.Replicas != was {
		if err := o.setReplicas(ctx, s, scale, outcome.Replicas); err != nil {
			return err
		}
		if reason, message := keda.Scaled(s.Target(), s.object.GetNamespace(), was, outcome.Replicas, active, readings); reason != "" {
			o.events.Eventf(s.object, nil, corev1.EventTypeNormal, reason, reason, "%s", message)
		}
	}
	for _, r := range readings {
		if r.Err != nil {
			o.events.Eventf(s.object, nil, corev1.EventTypeWarning, "KEDAScalerFailed", "KEDAScalerFailed", "%s", r.Err)
		}
	}
	fields := map[string]any{}
	if !state.LastActive.IsZero() {
		fields["lastActiveTime"] = state.LastActive.UTC().Format(time.RFC3339)
	}
	return o.status(ctx, s, fields, condition("Ready", outcome.Ready), condition("Active", outcome.Active))
}

// External answers the HPA for a metric of a ScaledObject, as KEDA's metrics server does. Error: there is none, or its source fails.
func (o *Operator) External(of types.NamespacedName, metric string) (*keda.Reading, error) {
	o.mu.Lock()
	s := o.scaled[of]
	o.mu.Unlock()
	if s == nil {
		return nil, fmt.Errorf("no ScaledObject %s has a metric %s", of, metric)
	}
	readings, _, _ := s.Ask(time.Now(), o.query)
	s.mu.Lock()
	last := s.last
	s.mu.Unlock()
	for i, r := range readings {
		if !strings.EqualFold(r.Metric, metric) { // the HPA controller's client asks in small letters
			continue
		}
		if s.Cached(r.Metric) && i < len(last) {
			r = last[i]
		}
		if r.Err != nil {
			return nil, fmt.Errorf("metric:%s encountered error", metric) // and KEDA's events tell which
		}
		return &r, nil
	}
	return nil, fmt.Errorf("no matching metrics found for %s", metric)
}

// scale is the scale of the target.
func (o *Operator) scale(ctx context.Context, s *scaled) (*unstructured.Unstructured, error) {
	target, err := o.target(s)
	if err != nil {
		return nil, err
	}
	return target.Get(ctx, s.Target().Name, metav1.GetOptions{}, "scale")
}

func (o *Operator) setReplicas(ctx context.Context, s *scaled, scale *unstructured.Unstructured, n int32) error {
	target, err := o.target(s)
	if err != nil {
		return err
	}
	if err := unstructured.SetNestedField(scale.Object, int64(n), "spec", "replicas"); err != nil {
		return err
	}
	_, err = target.Update(ctx, scale, metav1.UpdateOptions{}, "scale")
	return err
}

func (o *Operator) target(s *scaled) (dynamic.ResourceInterface, error) {
	to := s.Target()
	kind := schema.FromAPIVersionAndKind(to.APIVersion, to.Kind)
	mapping, err := o.mapper.RESTMapping(kind.GroupKind(), kind.Version)
	if err != nil {
		return nil, err
	}
	return o.objects.Resource(mapping.Resource).Namespace(s.object.GetNamespace()), nil
}

func replicas(scale *unstructured.Unstructured) int32 {
	n, _, _ := unstructured.NestedInt64(scale.Object, "spec", "replicas")
	return int32(n)
}

func condition(kind string, c keda.Condition) map[string]any {
	return map[string]any{"type": kind, "status": c.Status, "reason": c.Reason, "message": c.Message}
}

// status writes fields and conditions of the status, if one of them is another now.
func (o *Operator) status(ctx context.Context, s *scaled, fields map[string]any, conditions ...map[string]any) error {
	client := o.objects.Resource(resource).Namespace(s.object.GetNamespace())
	now, err := client.Get(ctx, s.object.GetName(), metav1.GetOptions{})
	if err != nil {
		return err
	}
	was := now.DeepCopy()
	status, _, _ := unstructured.NestedMap(now.Object, "status")
	if status == nil {
		status = map[string]any{}
	}
	for field, value := range fields {
		if list, is := value.([]string); is {
			all := make([]any, len(list))
			for i, v := range list {
				all[i] = v
			}
			value = all
		}
		if n, is := value.(int32); is {
			value = int64(n)
		}
		status[field] = value
	}
	all, _, _ := unstructured.NestedSlice(now.Object, "status", "conditions")
	if len(all) == 0 {
		for _, kind := range []string{"Ready", "Active", "Fallback"} {
			all = append(all, condition(kind, keda.Condition{Status: "Unknown"}))
		}
	}
	for _, c := range conditions {
		i := slices.IndexFunc(all, func(has any) bool { return has.(map[string]any)["type"] == c["type"] })
		if i < 0 {
			all = append(all, c)
		} else {
			all[i] = c
		}
	}
	status["conditions"] = all
	now.Object["status"] = status
	if equality.Semantic.DeepEqual(was.Object["status"], now.Object["status"]) {
		return nil
	}
	_, err = client.UpdateStatus(ctx, now, metav1.UpdateOptions{})
	return err
}
