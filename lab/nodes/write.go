package nodes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/klog/v2"
	kubetypes "k8s.io/kubernetes/pkg/kubelet/types"
)

// writeStatuses sends the statuses of pods that are queued: always the newest
// one of a pod, so that a slow API server gets fewer of them. There is one such
// worker for each node, as there is one in each kubelet.
func (n *Nodes) writeStatuses(ctx context.Context) {
	for {
		p, end := n.writes.Get()
		if end {
			return
		}
		if err := p.write(ctx); err != nil && ctx.Err() == nil {
			klog.FromContext(ctx).Error(err, "writing the status of a modelled pod", "pod", klog.KRef(p.namespace, p.name))
			n.writes.AddAfter(p, time.Second)
		}
		n.writes.Done(p)
	}
}

// write sends the status as a patch against what was last sent, so that no read
// is needed and nothing of what others own is touched, and deletes the pod for
// good when it is to go and all has ended.
func (p *pod) write(ctx context.Context) error {
	p.mu.Lock()
	status, sent := p.status, p.sent
	finished := p.st.terminal && p.api.DeletionTimestamp != nil
	gone := p.gone
	p.mu.Unlock()
	if gone {
		return nil
	}
	patch, err := statusPatch(p.uid, &sent, &status)
	if err != nil {
		return fmt.Errorf("making a patch of its status: %w", err)
	}
	pods := p.nodes.client.CoreV1().Pods(p.namespace)
	if patch != nil {
		_, err := pods.Patch(ctx, p.name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
		if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
			return nil // it is gone, or another one has its name
		} else if err != nil {
			return err
		}
		p.mu.Lock()
		p.sent = status
		p.mu.Unlock()
	}
	if !finished {
		return nil
	}
	err = pods.Delete(ctx, p.name, metav1.DeleteOptions{GracePeriodSeconds: new(int64(0)), Preconditions: metav1.NewUIDPreconditions(string(p.uid))})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return err
}

// statusPatch gives what a status has over the one that was sent last; nil:
// nothing. The UID in it keeps it from another pod of the name.
func statusPatch(uid types.UID, sent, status *corev1.PodStatus) ([]byte, error) {
	marshal := func(uid types.UID, s corev1.PodStatus) ([]byte, error) {
		s.Conditions = slices.DeleteFunc(slices.Clone(s.Conditions), func(c corev1.PodCondition) bool { return !kubetypes.PodConditionByKubelet(c.Type) })
		return json.Marshal(corev1.Pod{ObjectMeta: metav1.ObjectMeta{UID: uid}, Status: s})
	}
	before, err := marshal("", *sent)
	after, err2 := marshal(uid, *status)
	if err := errors.Join(err, err2); err != nil {
		return nil, err
	}
	patch, err := strategicpatch.CreateTwoWayMergePatch(before, after, corev1.Pod{})
	if err != nil || string(patch) == fmt.Sprintf(`{"metadata":{"uid":%q}}`, uid) {
		return nil, err
	}
	return patch, nil
}
