package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

func claimSpec(class *string, modes ...corev1.PersistentVolumeAccessMode) corev1.PersistentVolumeClaimSpec {
	return corev1.PersistentVolumeClaimSpec{StorageClassName: class, AccessModes: modes,
		Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}}}
}

func podWith(volumes ...corev1.Volume) corev1.PodSpec {
	c := corev1.Container{Name: "web", Image: "nginx:1.15.2"}
	for i := range volumes {
		volumes[i].Name = fmt.Sprintf("v%d", i)
		c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: volumes[i].Name, MountPath: "/" + volumes[i].Name})
	}
	return corev1.PodSpec{Containers: []corev1.Container{c}, Volumes: volumes}
}

func ofClaim(name string) corev1.Volume {
	return corev1.Volume{VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: name}}}
}

// TestVolumes runs pods with each kind of volume, and takes the namespace away while
// they run: neither it nor a volume stays, nor is anything of the machine removed.
func TestVolumes(t *testing.T) {
	_, client := theLab(t)
	const ns = "volumes"
	if _, err := client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	precious := filepath.Join(root(t), "precious") // in /tmp, where the plugin for hostPath removes folders
	if err := os.Mkdir(precious, 0o700); err != nil {
		t.Fatal(err)
	}
	labels := map[string]string{"app": "set"}
	set := podWith()
	set.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "data", MountPath: "/data"}}
	ephemeral := corev1.Volume{VolumeSource: corev1.VolumeSource{Ephemeral: &corev1.EphemeralVolumeSource{
		VolumeClaimTemplate: &corev1.PersistentVolumeClaimTemplate{Spec: claimSpec(nil, corev1.ReadWriteOnce)},
	}}}
	named := corev1.LocalObjectReference{Name: "absent"}
	others := []corev1.Volume{
		{VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
		{VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: named, Optional: new(true)}}},
		{VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: named.Name, Optional: new(true)}}},
		{VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/absent"}}},
		{VolumeSource: corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{Driver: "example.com"}}},
		{VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{{DownwardAPI: &corev1.DownwardAPIProjection{}}}}}},
	}
	_, err := client.AppsV1().StatefulSets(ns).Create(t.Context(), &appsv1.StatefulSet{
		ObjectMeta: metav1.ObjectMeta{Name: "set"},
		Spec: appsv1.StatefulSetSpec{
			Replicas: new(int32(2)), Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: set},
			VolumeClaimTemplates: []corev1.PersistentVolumeClaim{
				{ObjectMeta: metav1.ObjectMeta{Name: "data"}, Spec: claimSpec(nil, corev1.ReadWriteOnce)},
			},
		},
	}, metav1.CreateOptions{})
	_, err2 := client.CoreV1().PersistentVolumes().Create(t.Context(), &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: "static"},
		Spec: corev1.PersistentVolumeSpec{
			StorageClassName: "by-hand", AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteMany},
			Capacity:                      corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")},
			PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimDelete,
			PersistentVolumeSource:        corev1.PersistentVolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: precious}},
		},
	}, metav1.CreateOptions{})
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	for name, spec := range map[string]corev1.PersistentVolumeClaimSpec{
		"static": claimSpec(new("by-hand"), corev1.ReadWriteMany),
		"many":   claimSpec(nil, corev1.ReadWriteMany),
		"other":  claimSpec(new("no-such-class"), corev1.ReadWriteOnce),
	} {
		if _, err := client.CoreV1().PersistentVolumeClaims(ns).Create(t.Context(), &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: spec}, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	for name, spec := range map[string]corev1.PodSpec{
		"ephemeral": podWith(ephemeral), "others": podWith(others...), "static": podWith(ofClaim("static")),
		"many": podWith(ofClaim("many")), "other": podWith(ofClaim("other")),
	} {
		if _, err := client.CoreV1().Pods(ns).Create(t.Context(), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: spec}, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}

	for _, name := range []string{"set-0", "set-1", "ephemeral", "others", "static"} {
		eventually(t, "the pod "+name, func(ctx context.Context) error { return running(ctx, client, ns, name) })
	}
	claim, err := client.CoreV1().PersistentVolumeClaims(ns).Get(t.Context(), "data-set-0", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	pv, err := client.CoreV1().PersistentVolumes().Get(t.Context(), claim.Spec.VolumeName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	pod, err := client.CoreV1().Pods(ns).Get(t.Context(), "set-0", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if on := pv.Spec.NodeAffinity.Required.NodeSelectorTerms[0].MatchExpressions[0].Values; pv.Spec.StorageClassName != "standard" || len(on) != 1 || on[0] != pod.Spec.NodeName {
		t.Errorf("the volume is of class %s on nodes %v, want standard and %s, where its pod is", pv.Spec.StorageClassName, on, pod.Spec.NodeName)
	}
	for name, reason := range map[string]string{"many": "NodePath only supports ReadWriteOnce", "other": `"no-such-class" not found`} {
		eventually(t, "why the claim "+name+" has no volume", func(ctx context.Context) error { return said(ctx, client, ns, name, reason) })
		if pod, err := client.CoreV1().Pods(ns).Get(t.Context(), name, metav1.GetOptions{}); err != nil || pod.Status.Phase != corev1.PodPending {
			t.Errorf("the pod %s is %s, %v, want Pending", name, pod.Status.Phase, err)
		}
	}

	if err := client.CoreV1().Namespaces().Delete(t.Context(), ns, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the namespace is gone", func(ctx context.Context) error {
		_, err := client.CoreV1().Namespaces().Get(ctx, ns, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return errors.Join(errors.New("it is there"), err)
	})
	eventually(t, "the volumes are gone", func(ctx context.Context) error {
		left, err := client.CoreV1().PersistentVolumes().List(ctx, metav1.ListOptions{})
		if err == nil && len(left.Items) > 0 {
			err = fmt.Errorf("%d are left, %s is %s", len(left.Items), left.Items[0].Name, left.Items[0].Status.Phase)
		}
		return err
	})
	if _, err := os.Stat(precious); err != nil {
		t.Errorf("a folder of the machine that a volume names: %v, want it untouched", err)
	}
}

func running(ctx context.Context, client kubernetes.Interface, ns, name string) error {
	pod, err := client.CoreV1().Pods(ns).Get(ctx, name, metav1.GetOptions{})
	if err == nil && pod.Status.Phase != corev1.PodRunning {
		err = fmt.Errorf("it is %s: %+v", pod.Status.Phase, pod.Status.Conditions)
	}
	return err
}

// said looks for an event of an object whose message has some text.
func said(ctx context.Context, client kubernetes.Interface, ns, name, text string) error {
	events, err := client.CoreV1().Events(ns).List(ctx, metav1.ListOptions{FieldSelector: "involvedObject.kind=PersistentVolumeClaim,involvedObject.name=" + name})
	if err != nil {
		return err
	}
	for _, e := range events.Items {
		if strings.Contains(e.Message, text) {
			return nil
		}
	}
	return fmt.Errorf("none of %d events says %q", len(events.Items), text)
}
