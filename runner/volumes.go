package runner

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/ptr"
)

// What the embedded cluster makes volumes for: see package lab.
const (
	labStorageClass = "standard"
	labProvisioner  = "rancher.io/local-path"
)

// checkVolumes refuses, on the embedded cluster, claims for which nobody makes a
// volume: their pods would stay Pending.
func (p *preflight) checkVolumes() bool {
	if p.cluster.Lab == nil || !p.creates() {
		return true
	}
	provisioned, byHand := map[string]bool{labStorageClass: true}, map[string]bool{}
	var claims []claim
	for _, o := range p.objects() {
		switch o.GetKind() {
		case "StorageClass":
			var c storagev1.StorageClass
			if runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &c) == nil {
				provisioned[c.Name] = c.Provisioner == labProvisioner
			}
		case "PersistentVolume":
			class, _, _ := unstructured.NestedString(o.Object, "spec", "storageClassName")
			byHand[class] = true
		default:
			claims = append(claims, claimsOf(o)...)
		}
	}
	fine := true
	for _, c := range claims {
		class := ptr.Deref(c.spec.StorageClassName, labStorageClass)
		switch {
		case c.spec.VolumeName != "" || byHand[class]:
		case !provisioned[class]:
			fine = p.refuse("volumes", fmt.Sprintf("%s is of StorageClass %q, for which nobody makes volumes on the embedded cluster", c.where, class),
				"write storageClassName: "+labStorageClass+", or leave it out")
		case slices.ContainsFunc(c.spec.AccessModes, func(m corev1.PersistentVolumeAccessMode) bool {
			return m != corev1.ReadWriteOnce && m != corev1.ReadWriteOncePod
		}):
			fine = p.refuse("volumes", fmt.Sprintf("%s asks for %v: volumes of StorageClass %s are on one node, as on kind", c.where, c.spec.AccessModes, class),
				"write accessModes: [ReadWriteOnce], or add a PersistentVolume to the manifests")
		}
	}
	return fine
}

// claim is one of an object's claims for volumes.
type claim struct {
	where string
	spec  corev1.PersistentVolumeClaimSpec
}

// claimsOf reads the claims of a PersistentVolumeClaim, the templates of a
// StatefulSet, and the ephemeral volumes of a pod or a pod template. What cannot be
// read is left to the API server.
func claimsOf(o *unstructured.Unstructured) (claims []claim) {
	add := func(where string, from map[string]any, path ...string) {
		spec, found, _ := unstructured.NestedMap(from, path...)
		c := claim{where: where}
		delete(spec, "resources") // quantities of custom kinds, which nothing has checked
		if found && runtime.DefaultUnstructuredConverter.FromUnstructured(spec, &c.spec) == nil {
			claims = append(claims, c)
		}
	}
	each := func(list []any, do func(name string, item map[string]any)) {
		for _, item := range list {
			if m, is := item.(map[string]any); is {
				name, _, _ := unstructured.NestedString(m, "name")
				do(name, m)
			}
		}
	}
	who := o.GetKind() + " " + o.GetName()
	if o.GetKind() == "PersistentVolumeClaim" {
		add(who, o.Object, "spec")
	}
	templates, _, _ := unstructured.NestedSlice(o.Object, "spec", "volumeClaimTemplates")
	each(templates, func(_ string, t map[string]any) {
		name, _, _ := unstructured.NestedString(t, "metadata", "name")
		add(fmt.Sprintf("%s: volumeClaimTemplate %s", who, name), t, "spec")
	})
	for _, path := range [][]string{{"spec", "volumes"}, {"spec", "template", "spec", "volumes"}, {"spec", "jobTemplate", "spec", "template", "spec", "volumes"}} {
		volumes, _, _ := unstructured.NestedSlice(o.Object, path...)
		each(volumes, func(name string, v map[string]any) {
			add(fmt.Sprintf("%s: volume %s", who, name), v, "ephemeral", "volumeClaimTemplate", "spec")
		})
	}
	return claims
}
