package nodes

import (
	"context"
	"crypto/sha256"
	"fmt"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/util/flowcontrol"

	"github.com/hpabench/hpabench/model"
)

// ask is how long it takes to ask a registry for an image that the node has in
// its newest form, or for one that does not exist.
const ask = 200 * time.Millisecond

// images are those of one node. As kubelets do by default, it pulls one at a
// time.
type images struct {
	pulling chan struct{} // holds one while there is a pull
	backOff *flowcontrol.Backoff
	have    sync.Map // by name
}

func (i *images) has(image string) bool {
	_, has := i.have.Load(image)
	return has
}

// ensure waits until the node has a container's image, or says why it does not
// get it. It is EnsureImageExists of the kubelet (pkg/kubelet/images).
func (i *images) ensure(ctx context.Context, p *pod, c *container, m model.Model) *corev1.ContainerStateWaiting {
	requested, image := c.spec.Image, tagged(c.spec.Image)
	policy, missing := c.spec.ImagePullPolicy, m.Fault != nil && m.Fault.Pull
	present := i.has(image) || m.Pull.Duration == 0 && !missing // what takes no time to pull is there from the start
	if policy != corev1.PullAlways && present {
		p.event(c, corev1.EventTypeNormal, "Pulled", fmt.Sprintf("Container image %q already present on machine and can be accessed by the pod", requested))
		return nil
	}
	if policy == corev1.PullNever {
		message := fmt.Sprintf("Container image %q is not present with pull policy of Never", requested)
		p.event(c, corev1.EventTypeWarning, "ErrImageNeverPull", message)
		return &corev1.ContainerStateWaiting{Reason: "ErrImageNeverPull", Message: message}
	}
	key := fmt.Sprintf("%s_%s", p.uid, image)
	if i.backOff.IsInBackOffSinceUpdate(key, time.Now()) {
		message := fmt.Sprintf("Back-off pulling image %q", image)
		p.event(c, corev1.EventTypeNormal, "BackOff", message)
		return &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff", Message: fmt.Sprintf("%s: ErrImagePull: %s", message, notFound(image))}
	}
	p.event(c, corev1.EventTypeNormal, "Pulling", fmt.Sprintf("Pulling image %q", image))
	asked := time.Now()
	select {
	case i.pulling <- struct{}{}:
	case <-ctx.Done():
		return canceled(ctx)
	}
	defer func() { <-i.pulling }()
	begun := time.Now()
	takes := m.Pull.Duration
	if missing || present || i.has(image) {
		takes = min(takes, ask)
	}
	if !sleep(ctx, takes) {
		return canceled(ctx)
	}
	if missing {
		i.backOff.Next(key, time.Now())
		p.event(c, corev1.EventTypeWarning, "Failed", fmt.Sprintf("Failed to pull image %q: %s", image, notFound(image)))
		return &corev1.ContainerStateWaiting{Reason: "ErrImagePull", Message: notFound(image)}
	}
	i.have.Store(image, true)
	p.event(c, corev1.EventTypeNormal, "Pulled", fmt.Sprintf("Successfully pulled image %q in %v (%v including waiting).",
		image, time.Since(begun).Truncate(time.Millisecond), time.Since(asked).Truncate(time.Millisecond)))
	i.backOff.GC()
	return nil
}

// notFound is what containerd says of an image that does not exist.
func notFound(image string) string {
	return fmt.Sprintf("rpc error: code = NotFound desc = failed to pull and unpack image %q: failed to resolve reference %q: %s: not found", image, image, image)
}

func canceled(ctx context.Context) *corev1.ContainerStateWaiting {
	return &corev1.ContainerStateWaiting{Reason: "ErrImagePull", Message: ctx.Err().Error()}
}

// tagged gives an image its default tag.
func tagged(image string) string {
	name := image[strings.LastIndex(image, "/")+1:]
	if strings.ContainsAny(name, ":@") {
		return image
	}
	return image + ":latest"
}

// imageID is a digest that an image of this name could have.
func imageID(image string) string {
	name, _, _ := strings.Cut(image, "@")
	if i := strings.LastIndex(name, ":"); i > strings.LastIndex(name, "/") {
		name = name[:i]
	}
	return fmt.Sprintf("%s@sha256:%x", name, sha256.Sum256([]byte(image)))
}

// sleep says whether it could sleep to the end.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}
