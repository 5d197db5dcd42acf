// Package bench measures from outside, as users have it: the embedded cluster, by the
// command hpabench-lab as a process, client-go, and wrk, each benchmark one cluster's life;
// and what long runs take of the command hpabench and the processes that it starts. The
// figures are those of the machine that it runs on.
package bench

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

// cluster is a running hpabench-lab.
type cluster struct {
	*kubernetes.Clientset
	process *exec.Cmd
	started time.Time
	ready   time.Duration // until it printed its kubeconfig
}

func start(b *testing.B, args ...string) *cluster {
	b.Helper()
	binary := filepath.Join(b.TempDir(), "hpabench-lab")
	if out, err := exec.Command("go", "build", "-o", binary, "../cmd/hpabench-lab").CombinedOutput(); err != nil {
		b.Fatalf("building hpabench-lab: %v\n%s", err, out)
	}
	cmd := exec.Command(binary, append([]string{"--stdin", "--name", fmt.Sprintf("bench-%d", time.Now().UnixNano())}, args...)...)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	c := &cluster{process: cmd, started: time.Now()}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		stdin.Close()
		cmd.Wait()
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		b.Fatalf("hpabench-lab did not start: %v", err)
	}
	c.ready = time.Since(c.started)
	config, err := clientcmd.BuildConfigFromFlags("", strings.TrimSpace(line))
	if err != nil {
		b.Fatal(err)
	}
	config.QPS = -1
	if c.Clientset, err = kubernetes.NewForConfig(config); err != nil {
		b.Fatal(err)
	}
	return c
}

// deployment creates pods of nginx with the model, and a Service in front.
func (c *cluster) deployment(b *testing.B, name string, replicas int32, cpu string, annotations map[string]string) *corev1.Service {
	b.Helper()
	labels := map[string]string{"app": name}
	_, err := c.AppsV1().Deployments("default").Create(b.Context(), &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas,
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels, Annotations: annotations},
				Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "web", Image: "nginx:1.15.2",
					Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu)}}}}},
			},
		}}, metav1.CreateOptions{})
	if err != nil {
		b.Fatal(err)
	}
	service, err := c.CoreV1().Services("default").Create(b.Context(), &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeNodePort, Selector: labels,
			Ports: []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromInt32(80)}}},
	}, metav1.CreateOptions{})
	if err != nil {
		b.Fatal(err)
	}
	return service
}

// until waits for ready pods of a Deployment.
func (c *cluster) until(b *testing.B, name string, ready int32) {
	b.Helper()
	err := wait.PollUntilContextTimeout(b.Context(), 10*time.Millisecond, 2*time.Minute, true, func(ctx context.Context) (bool, error) {
		d, err := c.AppsV1().Deployments("default").Get(ctx, name, metav1.GetOptions{})
		return err == nil && d.Status.ReadyReplicas == ready, err
	})
	if err != nil {
		b.Fatalf("waiting for %d ready pods of %s: %v", ready, name, err)
	}
}

const clockTicks = 100.0 // of /proc/PID/stat, USER_HZ

// cpu is the CPU time that the process has used. Linux only.
func (c *cluster) cpu(b *testing.B) time.Duration {
	b.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", c.process.Process.Pid))
	if err != nil {
		b.Skip(err)
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	user, _ := strconv.ParseFloat(fields[11], 64)
	system, _ := strconv.ParseFloat(fields[12], 64)
	return time.Duration((user + system) / clockTicks * float64(time.Second))
}

// reportMemory reports the largest resident set that the process has had.
func (c *cluster) reportMemory(b *testing.B) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.process.Process.Pid))
	if m := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindSubmatch(status); err == nil && m != nil {
		kib, _ := strconv.ParseFloat(string(m[1]), 64)
		b.ReportMetric(kib/1024, "MiB-peak")
	}
}

// BenchmarkStart is from the start of the process to its readiness and to the
// first ready pod, and what it uses when nothing happens.
func BenchmarkStart(b *testing.B) {
	for b.Loop() {
		c := start(b)
		c.deployment(b, "first", 1, "50m", nil)
		c.until(b, "first", 1)
		b.ReportMetric(c.ready.Seconds(), "s-ready")
		b.ReportMetric(time.Since(c.started).Seconds(), "s-first-pod")
		time.Sleep(10 * time.Second) // what the start left to do
		before, at := c.cpu(b), time.Now()
		time.Sleep(time.Minute)
		b.ReportMetric(100*(c.cpu(b)-before).Seconds()/time.Since(at).Seconds(), "%core-idle")
		c.reportMemory(b)
	}
}

// BenchmarkNodePort sends requests to five pods with wrk. Their CPU is next to
// nothing, so that the machine and not the model is the limit.
func BenchmarkNodePort(b *testing.B) {
	if _, err := exec.LookPath("wrk"); err != nil {
		b.Skip("needs wrk")
	}
	for b.Loop() {
		c := start(b)
		service := c.deployment(b, "web", 5, "50m", map[string]string{"hpabench.dev/model": `{"cpu": {"mean": "1us"}}`})
		c.until(b, "web", 5)
		time.Sleep(time.Second)
		out, err := exec.Command("wrk", "-t1", "-c50", "-d10s", fmt.Sprintf("http://127.0.0.1:%d/", service.Spec.Ports[0].NodePort)).CombinedOutput()
		if err != nil {
			b.Fatalf("wrk: %v\n%s", err, out)
		}
		m := regexp.MustCompile(`Requests/sec:\s+([\d.]+)`).FindSubmatch(out)
		if m == nil || strings.Contains(string(out), "Socket errors") || strings.Contains(string(out), "Non-2xx") {
			b.Fatalf("wrk: %s", out)
		}
		rate, _ := strconv.ParseFloat(string(m[1]), 64)
		b.ReportMetric(rate, "requests/s")
		c.reportMemory(b)
	}
}

// BenchmarkThousandPods scales one Deployment from 1 to 1,000.
func BenchmarkThousandPods(b *testing.B) {
	for b.Loop() {
		c := start(b, "--node-pods", "250")
		c.deployment(b, "web", 1, "10m", nil)
		c.until(b, "web", 1)
		scale, err := c.AppsV1().Deployments("default").GetScale(b.Context(), "web", metav1.GetOptions{})
		if err != nil {
			b.Fatal(err)
		}
		scale.Spec.Replicas = 1000
		at := time.Now()
		if _, err := c.AppsV1().Deployments("default").UpdateScale(b.Context(), "web", scale, metav1.UpdateOptions{}); err != nil {
			b.Fatal(err)
		}
		c.until(b, "web", 1000)
		b.ReportMetric(time.Since(at).Seconds(), "s-1000-pods")
		c.reportMemory(b)
	}
}

// BenchmarkHundredAutoscalers is the time until each of 100 HPAs has read the
// metrics of its Deployment, and what they cost then.
func BenchmarkHundredAutoscalers(b *testing.B) {
	const autoscalers = 100
	for b.Loop() {
		c := start(b)
		at := time.Now()
		percent := int32(50)
		for i := range autoscalers {
			name := fmt.Sprintf("web-%d", i)
			c.deployment(b, name, 2, "10m", nil)
			_, err := c.AutoscalingV2().HorizontalPodAutoscalers("default").Create(b.Context(), &autoscalingv2.HorizontalPodAutoscaler{
				ObjectMeta: metav1.ObjectMeta{Name: name},
				Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
					ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: name},
					MinReplicas:    new(int32(2)), MaxReplicas: 5,
					Metrics: []autoscalingv2.MetricSpec{{Type: autoscalingv2.ResourceMetricSourceType, Resource: &autoscalingv2.ResourceMetricSource{
						Name: corev1.ResourceCPU, Target: autoscalingv2.MetricTarget{Type: autoscalingv2.UtilizationMetricType, AverageUtilization: &percent}}}},
				}}, metav1.CreateOptions{})
			if err != nil {
				b.Fatal(err)
			}
		}
		err := wait.PollUntilContextTimeout(b.Context(), 500*time.Millisecond, 3*time.Minute, true, func(ctx context.Context) (bool, error) {
			list, err := c.AutoscalingV2().HorizontalPodAutoscalers("default").List(ctx, metav1.ListOptions{})
			if err != nil {
				return false, err
			}
			active := 0
			for _, h := range list.Items {
				if len(h.Status.CurrentMetrics) > 0 && h.Status.CurrentMetrics[0].Resource != nil {
					active++
				}
			}
			return active == autoscalers, nil
		})
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(time.Since(at).Seconds(), "s-100-HPAs")
		before, since := c.cpu(b), time.Now()
		time.Sleep(time.Minute)
		b.ReportMetric(100*(c.cpu(b)-before).Seconds()/time.Since(since).Seconds(), "%core-100-HPAs")
		c.reportMemory(b)
	}
}
