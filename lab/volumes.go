package lab

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	corelisters "k8s.io/client-go/listers/core/v1"
	storagelisters "k8s.io/client-go/listers/storage/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/util/workqueue"
	storagehelpers "k8s.io/component-helpers/storage/volume"
	"k8s.io/klog/v2"
	controlleroptions "k8s.io/kubernetes/cmd/kube-controller-manager/app/options"
	"k8s.io/kubernetes/pkg/controller/volume/persistentvolume"
	"k8s.io/kubernetes/pkg/volume"
	"k8s.io/kubernetes/pkg/volume/hostpath"
)

// The default StorageClass is that of kind: local-path-provisioner makes a folder on
// the node that the scheduler has chosen for the first pod of a claim.
const (
	storageClass = "standard"
	provisioner  = "rancher.io/local-path"
)

// volumes binds claims to persistent volumes, and makes those of the provisioner:
// objects of the API alone, as nothing is mounted on a modelled node.
type volumes struct {
	client  kubernetes.Interface
	claims  corelisters.PersistentVolumeClaimLister
	volumes corelisters.PersistentVolumeLister
	classes storagelisters.StorageClassLister
	events  record.EventRecorder
	queue   workqueue.TypedRateLimitingInterface[cache.ObjectName] // a volume has no namespace
}

// runVolumes runs until ctx ends. The binder is that of kube-controller-manager, but
// with plugins of its own: there, the one for hostPath removes folders of the
// machine when a volume is released.
func runVolumes(ctx context.Context, config *rest.Config) error {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	o, err := controlleroptions.NewKubeControllerManagerOptions()
	if err != nil {
		return err
	}
	factory := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithTransform(slim))
	core, classes := factory.Core().V1(), factory.Storage().V1().StorageClasses()
	binder, err := persistentvolume.NewController(ctx, persistentvolume.ControllerParameters{
		KubeClient:                client,
		SyncPeriod:                o.PersistentVolumeBinderController.PVClaimBinderSyncPeriod.Duration,
		VolumePlugins:             modelledPlugins(),
		VolumeInformer:            core.PersistentVolumes(),
		ClaimInformer:             core.PersistentVolumeClaims(),
		ClassInformer:             classes,
		PodInformer:               core.Pods(),
		NodeInformer:              core.Nodes(),
		EnableDynamicProvisioning: true,
	})
	if err != nil {
		return err
	}
	broadcaster := record.NewBroadcaster(record.WithContext(ctx))
	broadcaster.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: client.CoreV1().Events("")})
	v := &volumes{
		client: client, claims: core.PersistentVolumeClaims().Lister(), volumes: core.PersistentVolumes().Lister(), classes: classes.Lister(),
		events: broadcaster.NewRecorder(scheme.Scheme, corev1.EventSource{Component: provisioner}),
		queue:  workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[cache.ObjectName]()),
	}
	enqueue := func(o any) {
		if name, err := cache.DeletionHandlingObjectToName(o); err == nil {
			v.queue.Add(name)
		}
	}
	handler := cache.ResourceEventHandlerFuncs{AddFunc: enqueue, UpdateFunc: func(_, o any) { enqueue(o) }}
	_, err = core.PersistentVolumeClaims().Informer().AddEventHandler(handler)
	_, err2 := core.PersistentVolumes().Informer().AddEventHandler(handler)
	if err := errors.Join(err, err2); err != nil {
		return err
	}
	factory.StartWithContext(ctx)
	factory.WaitForCacheSync(ctx.Done())
	var wg sync.WaitGroup
	wg.Go(func() { binder.Run(ctx) })
	wg.Go(func() { v.work(ctx) })
	<-ctx.Done()
	v.queue.ShutDown()
	wg.Wait()
	factory.Shutdown()
	return nil
}

// slim keeps of a pod what the binder reads.
func slim(o any) (any, error) {
	switch o := o.(type) {
	case *corev1.Pod:
		return &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: o.Name, Namespace: o.Namespace, UID: o.UID, ResourceVersion: o.ResourceVersion},
			Spec:       corev1.PodSpec{NodeName: o.Spec.NodeName, Volumes: o.Spec.Volumes},
			Status:     corev1.PodStatus{Phase: o.Status.Phase},
		}, nil
	case metav1.Object:
		o.SetManagedFields(nil)
	}
	return o, nil
}

func (v *volumes) work(ctx context.Context) {
	for {
		name, end := v.queue.Get()
		if end {
			return
		}
		sync := v.provision
		if name.Namespace == "" {
			sync = v.reclaim
		}
		switch err := sync(ctx, name); {
		case err == nil:
			v.queue.Forget(name)
		case ctx.Err() == nil:
			klog.FromContext(ctx).Error(err, "modelling a persistent volume", "object", name)
			v.queue.AddRateLimited(name)
		}
		v.queue.Done(name)
	}
}

// provision makes the volume of a claim, as local-path-provisioner does, when the
// scheduler has chosen a node. The binder then binds the two.
func (v *volumes) provision(ctx context.Context, name cache.ObjectName) error {
	claim, err := v.claims.PersistentVolumeClaims(name.Namespace).Get(name.Name)
	if apierrors.IsNotFound(err) {
		return nil
	} else if err != nil {
		return err
	}
	node := claim.Annotations[storagehelpers.AnnSelectedNode]
	if claim.Spec.VolumeName != "" || claim.DeletionTimestamp != nil || claim.Annotations[storagehelpers.AnnStorageProvisioner] != provisioner {
		return nil
	}
	class, err := v.classes.Get(storagehelpers.GetPersistentVolumeClaimClass(claim))
	if err != nil {
		return err
	}
	if node == "" && class.VolumeBindingMode != nil && *class.VolumeBindingMode == storagev1.VolumeBindingWaitForFirstConsumer {
		return nil
	}
	if slices.ContainsFunc(claim.Spec.AccessModes, func(m corev1.PersistentVolumeAccessMode) bool {
		return m != corev1.ReadWriteOnce && m != corev1.ReadWriteOncePod
	}) {
		v.events.Eventf(claim, corev1.EventTypeWarning, "ProvisioningFailed", "failed to provision volume with StorageClass %q: NodePath only supports ReadWriteOnce and ReadWriteOncePod (1.22+) access modes", class.Name)
		return nil
	}
	made := volumeFor(claim, class, node)
	_, err = v.client.CoreV1().PersistentVolumes().Create(ctx, made, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return nil
	} else if err != nil {
		return err
	}
	v.events.Eventf(claim, corev1.EventTypeNormal, "ProvisioningSucceeded", "Successfully provisioned volume %s", made.Name)
	return nil
}

func volumeFor(claim *corev1.PersistentVolumeClaim, class *storagev1.StorageClass, node string) *corev1.PersistentVolume {
	name := "pvc-" + string(claim.UID)
	v := &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{storagehelpers.AnnDynamicallyProvisioned: provisioner}},
		Spec: corev1.PersistentVolumeSpec{
			Capacity:         corev1.ResourceList{corev1.ResourceStorage: claim.Spec.Resources.Requests[corev1.ResourceStorage]},
			AccessModes:      claim.Spec.AccessModes,
			VolumeMode:       claim.Spec.VolumeMode,
			StorageClassName: class.Name,
			MountOptions:     class.MountOptions,
			ClaimRef: &corev1.ObjectReference{APIVersion: "v1", Kind: "PersistentVolumeClaim",
				Namespace: claim.Namespace, Name: claim.Name, UID: claim.UID, ResourceVersion: claim.ResourceVersion},
			PersistentVolumeSource: corev1.PersistentVolumeSource{HostPath: &corev1.HostPathVolumeSource{
				Path: fmt.Sprintf("/var/local-path-provisioner/%s_%s_%s", name, claim.Namespace, claim.Name),
				Type: new(corev1.HostPathDirectoryOrCreate),
			}},
		},
	}
	if class.ReclaimPolicy != nil {
		v.Spec.PersistentVolumeReclaimPolicy = *class.ReclaimPolicy
	}
	if node != "" {
		v.Spec.NodeAffinity = &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
			MatchExpressions: []corev1.NodeSelectorRequirement{{Key: corev1.LabelHostname, Operator: corev1.NodeSelectorOpIn, Values: []string{node}}},
		}}}}
	}
	return v
}

// reclaim deletes a volume of the provisioner whose claim is gone.
func (v *volumes) reclaim(ctx context.Context, name cache.ObjectName) error {
	pv, err := v.volumes.Get(name.Name)
	if apierrors.IsNotFound(err) {
		return nil
	} else if err != nil {
		return err
	}
	if pv.Status.Phase != corev1.VolumeReleased || pv.DeletionTimestamp != nil ||
		pv.Spec.PersistentVolumeReclaimPolicy != corev1.PersistentVolumeReclaimDelete || pv.Annotations[storagehelpers.AnnDynamicallyProvisioned] != provisioner {
		return nil
	}
	err = v.client.CoreV1().PersistentVolumes().Delete(ctx, pv.Name, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(pv.UID))})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return err
}

// modelledPlugins are the binder's: that for hostPath, which deletes nothing.
func modelledPlugins() (plugins []volume.VolumePlugin) {
	for _, p := range hostpath.ProbeVolumePlugins(volume.VolumeConfig{}) {
		plugins = append(plugins, untouching{p})
	}
	return plugins
}

// untouching is a plugin that can neither provision nor recycle, and that deletes
// volumes by doing nothing.
type untouching struct{ volume.VolumePlugin }

func (untouching) NewDeleter(klog.Logger, *volume.Spec) (volume.Deleter, error) {
	return &noDeleter{}, nil
}

type noDeleter struct{ volume.MetricsNil }

func (*noDeleter) GetPath() string { return "" }
func (*noDeleter) Delete() error   { return nil }
