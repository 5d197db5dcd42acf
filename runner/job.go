package runner

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/remotecommand"
	podutil "k8s.io/kubernetes/pkg/api/v1/pod"
	"k8s.io/streaming/pkg/httpstream"
	"k8s.io/utils/ptr"

	"github.com/hpabench/hpabench/loadgen"
	"github.com/hpabench/hpabench/record"
	"github.com/hpabench/hpabench/scenarios"
)

// WorkerImage is the image of the workers of via: job, as make image names it.
const WorkerImage = "hpabench/hpabench:dev"

const (
	workerContainer = "worker"

	// workerSlack is how long the Job may take beyond its load, before Kubernetes ends
	// it: nobody else does if hpabench was killed.
	workerSlack = 10 * time.Minute
)

// job makes the workers, waits until they run, and says where they send the load.
func (r *Runner) job(ctx context.Context, service *corev1.Service) (workers []loadgen.Worker, url string, err error) {
	load := &r.pre.file.Spec.Load
	if url = load.URL; url == "" {
		if url, err = r.insideURL(service); err != nil {
			return nil, "", err
		}
	}
	job := workerJob(r.pre.file, r.options, r.created.labels)
	r.say(fmt.Sprintf("creating Job %s with %s", job.Name, record.Counted(*job.Spec.Completions, "worker")))
	if err := r.created.make(ctx, jobKind, r.pre.namespace, job.Name, func(ctx context.Context) (metav1.Object, error) {
		job, err = r.pre.Kube.BatchV1().Jobs(r.pre.namespace).Create(ctx, job, r.created.by())
		return job, err
	}); err != nil {
		return nil, "", err
	}
	pods, err := r.awaitWorkers(ctx, job)
	if err != nil {
		return nil, "", err
	}
	for _, p := range pods {
		workers = append(workers, &podWorker{Cluster: r.pre.Cluster, namespace: p.Namespace, name: p.Name})
	}
	return workers, url, nil
}

// insideURL is where the Service answers inside the cluster: at its address, because
// that needs no DNS.
func (r *Runner) insideURL(service *corev1.Service) (string, error) {
	if service == nil {
		return "", BadInput{errNoService}
	}
	_, wanted := r.pre.file.Service()
	port, err := servicePort(service, wanted)
	if err != nil {
		return "", BadInput{err}
	}
	host := service.Spec.ClusterIP
	if host == "" || host == corev1.ClusterIPNone {
		host = service.Name + "." + service.Namespace + ".svc"
	}
	return "http://" + net.JoinHostPort(host, strconv.Itoa(int(port.Port))), nil
}

// workerJob is an Indexed Job whose pods wait for orders on their standard input. A
// worker that fails is not replaced: its part of the load is lost, and counted so.
func workerJob(file *scenarios.File, o Options, labels map[string]string) *batchv1.Job {
	j := cmp.Or(file.Spec.Load.Job, &scenarios.Job{})
	length := workerSlack
	for _, p := range file.Phases() {
		length += time.Duration(p.Seconds * float64(time.Second))
	}
	pods := ptr.Deref(j.Pods, 1)
	template := corev1.PodSpec{
		NodeSelector: j.NodeSelector, Tolerations: j.Tolerations, RestartPolicy: corev1.RestartPolicyNever,
		AutomountServiceAccountToken: new(false), EnableServiceLinks: new(false), TerminationGracePeriodSeconds: new(int64(10)),
		Containers: []corev1.Container{{
			Name: workerContainer, Image: cmp.Or(o.WorkerImage, WorkerImage), ImagePullPolicy: o.WorkerPullPolicy,
			Args: []string{"attack", "--worker"}, Stdin: true, Resources: j.Resources,
			SecurityContext: &corev1.SecurityContext{
				AllowPrivilegeEscalation: new(false), ReadOnlyRootFilesystem: new(true), RunAsNonRoot: new(true),
				Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}}, SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
			},
		}},
	}
	return &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Name: jobOf(o.ID), Labels: labels},
		Spec: batchv1.JobSpec{
			Completions: &pods, Parallelism: &pods, CompletionMode: new(batchv1.IndexedCompletion), BackoffLimitPerIndex: new(int32(0)),
			ActiveDeadlineSeconds: new(int64(length.Seconds())),
			Template:              corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: template},
		},
	}
}

// awaitWorkers waits until all pods of the job run, and returns them by their index.
func (r *Runner) awaitWorkers(ctx context.Context, job *batchv1.Job) ([]corev1.Pod, error) {
	var running []corev1.Pod
	since := map[string]time.Time{}
	err := wait.PollUntilContextTimeout(ctx, 250*time.Millisecond, r.options.Timeout, true, func(ctx context.Context) (bool, error) {
		pods, err := r.pre.Kube.CoreV1().Pods(job.Namespace).List(ctx, metav1.ListOptions{LabelSelector: batchv1.ControllerUidLabel + "=" + string(job.UID)})
		if err != nil {
			return false, refused(err)
		}
		running = nil
		for _, p := range pods.Items {
			switch p.Status.Phase {
			case corev1.PodRunning:
				running = append(running, p)
				continue
			case corev1.PodFailed, corev1.PodSucceeded:
				return false, fmt.Errorf("worker %s ended before it began: %s", p.Name, endOfPod(&p))
			}
			t := podTrouble(&p)
			if t.text == "" {
				continue
			}
			if since[t.about].IsZero() {
				since[t.about] = time.Now()
				r.say("waiting for the workers: " + t.text)
			}
			if time.Since(since[t.about]) >= t.patience {
				return false, fmt.Errorf("the workers do not start: %s; make image builds the image, kind load image-archive dist/hpabench-image.tar puts it on the nodes of kind, --image names another", t.text)
			}
		}
		return len(running) == int(*job.Spec.Completions), nil
	})
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if wait.Interrupted(err) {
		return nil, fmt.Errorf("after %s only %d of %d workers run (kubectl describe job %s -n %s)", r.options.Timeout, len(running), *job.Spec.Completions, job.Name, job.Namespace)
	}
	slices.SortFunc(running, func(a, b corev1.Pod) int { return indexOf(&a) - indexOf(&b) })
	return running, err
}

func indexOf(p *corev1.Pod) int {
	n, _ := strconv.Atoi(p.Annotations[batchv1.JobCompletionIndexAnnotation])
	return n
}

// terminated is the end of a worker's container; nil: it has not ended.
func terminated(p *corev1.Pod) *corev1.ContainerStateTerminated {
	return podutil.GetExistingContainerStatus(p.Status.ContainerStatuses, workerContainer).State.Terminated
}

// endOfPod says in words how a worker ended.
func endOfPod(p *corev1.Pod) string {
	t := terminated(p)
	if t == nil {
		return p.Status.Reason + " " + firstLine(p.Status.Message)
	}
	message := firstLine(t.Message)
	if loadgen.IsSummary(message) {
		message = ""
	}
	return strings.TrimSpace(fmt.Sprintf("exit code %d (%s) %s", t.ExitCode, t.Reason, message))
}

// podWorker is a worker in a pod, which is reached through the API server.
type podWorker struct {
	*Cluster
	namespace, name string
}

func (w *podWorker) Name() string { return "pod " + w.name }

// Attach attaches to the pod's container, as kubectl attach does.
func (w *podWorker) Attach(ctx context.Context) (io.ReadWriteCloser, error) {
	u := w.Kube.CoreV1().RESTClient().Post().Namespace(w.namespace).Resource("pods").Name(w.name).SubResource("attach").
		VersionedParams(&corev1.PodAttachOptions{Container: workerContainer, Stdin: true, Stdout: true}, scheme.ParameterCodec).URL()
	overWebsocket, err := remotecommand.NewWebSocketExecutor(w.Config, "GET", u.String())
	if err != nil {
		return nil, err
	}
	direct, err := remotecommand.NewSPDYExecutor(w.Config, "POST", u)
	if err != nil {
		return nil, err
	}
	executor, err := remotecommand.NewFallbackExecutor(overWebsocket, direct, func(err error) bool {
		return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)
	})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	in, toWorker := io.Pipe()
	fromWorker, out := io.Pipe()
	go func() {
		err := executor.StreamWithContext(ctx, remotecommand.StreamOptions{Stdin: in, Stdout: out})
		if err == nil {
			err = io.EOF
		}
		in.CloseWithError(err)
		out.CloseWithError(err)
	}()
	return &attachment{fromWorker, toWorker, cancel}, nil
}

type attachment struct {
	*io.PipeReader
	in     *io.PipeWriter
	cancel context.CancelFunc
}

func (a *attachment) Write(p []byte) (int, error) { return a.in.Write(p) }

// Close ends the connection, and not the worker's input.
func (a *attachment) Close() error {
	a.cancel()
	return a.PipeReader.Close()
}

func (w *podWorker) Follow(ctx context.Context) (io.ReadCloser, error) {
	return w.Kube.CoreV1().Pods(w.namespace).GetLogs(w.name, &corev1.PodLogOptions{Container: workerContainer, Follow: true}).Stream(ctx)
}

func (w *podWorker) pod(ctx context.Context) (*corev1.Pod, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	return w.Kube.CoreV1().Pods(w.namespace).Get(ctx, w.name, metav1.GetOptions{})
}

func (w *podWorker) Ended(ctx context.Context) (string, bool) {
	p, err := w.pod(ctx)
	switch {
	case apierrors.IsNotFound(err):
		return "its pod was deleted", true
	case err != nil:
		return fmt.Sprintf("asking for its pod: %v", err), false
	case podutil.IsPodTerminal(p):
		return endOfPod(p), true
	case p.DeletionTimestamp != nil:
		return "its pod is being deleted", false
	}
	return "its pod still runs", false
}

// Summary reads the worker's summary, which the kubelet takes over when the container has
// ended.
func (w *podWorker) Summary(ctx context.Context) (string, error) {
	p, err := w.pod(ctx)
	if err != nil {
		return "", err
	}
	if t := terminated(p); t != nil {
		return t.Message, nil
	}
	return "", errors.New("the worker has not ended")
}

// removeJob removes the workers as soon as the load is over.
func (r *Runner) removeJob(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	o := object{gvk: jobKind, namespace: r.pre.namespace, name: jobOf(r.options.ID), run: r.options.ID}
	if _, err := r.pre.delete(ctx, o); err != nil {
		return fmt.Errorf("deleting %s: %w", o, err)
	}
	return nil
}

var jobKind = batchv1.SchemeGroupVersion.WithKind("Job")

func jobOf(run string) string { return "hpabench-load-" + run }

var errNoService = errors.New("the load needs to know the Service in front of the target: none selects its pods, or several do; name one in load.service")
