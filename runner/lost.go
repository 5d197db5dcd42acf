package runner

import (
	"context"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hpabench/hpabench/record"
	"github.com/hpabench/hpabench/watch"
)

// lostError says that somebody deleted what a run measures.
type lostError struct{ object string }

func (l lostError) Error() string {
	return fmt.Sprintf("somebody deleted %s while it was measured, and so the measurement ended", l.object)
}

// whileThere gives a context that is cancelled with a lostError when the watcher sees
// the end of the HPA, of the target or of one of those Services.
func (i *inspection) whileThere(ctx context.Context, w *watch.Watcher, rec *record.Recorder, services ...string) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		for {
			changed := w.Changed()
			for _, lost := range w.Lost() {
				if lost.Kind != "Service" || slices.Contains(services, lost.Name) {
					cancel(i.lost(context.WithoutCancel(ctx), lost, rec))
					return
				}
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
		}
	}()
	return ctx, func() { cancel(nil) }
}

// lost words the end of an object. That it went with its namespace is told by the
// namespace, which is looked at only then: to watch one takes a right in all.
func (i *inspection) lost(ctx context.Context, c record.Change, rec *record.Recorder) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	ns, err := i.Kube.CoreV1().Namespaces().Get(ctx, i.namespace, metav1.GetOptions{})
	if err == nil && ns.DeletionTimestamp != nil {
		rec.Add(record.Entry{Change: &record.Change{Kind: "Namespace", Name: i.namespace, What: record.ChangeDeleted, Time: ns.DeletionTimestamp}})
		return lostError{"namespace " + i.namespace}
	}
	return lostError{fmt.Sprintf("%s/%s in namespace %s", shortKind(c.Kind), c.Name, i.namespace)}
}

// shortKind is how kubectl and the findings call a kind.
func shortKind(kind string) string {
	if kind == "HorizontalPodAutoscaler" {
		return "hpa"
	}
	return strings.ToLower(kind)
}
