// Package lab is a Kubernetes control plane in one process: etcd, kube-apiserver,
// kube-controller-manager, kube-scheduler and metrics-server's own code, with
// modelled nodes in place of kubelets. It needs no container engine, no root and
// no network.
package lab

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/types"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
	"k8s.io/klog/v2/textlogger"
	controlleroptions "k8s.io/kubernetes/cmd/kube-controller-manager/app/options"

	"github.com/hpabench/hpabench/lab/folders"
	"github.com/hpabench/hpabench/lab/nodeports"
	"github.com/hpabench/hpabench/lab/nodes"
	"github.com/hpabench/hpabench/lab/operator"
	"github.com/hpabench/hpabench/signals"
)

// Timing is how often the autoscaler and metrics-server look.
type Timing string

const (
	// Real is what users have: an HPA sync period and a metrics resolution of 15 s.
	Real Timing = "real"
	// Fast is 5 s for both.
	Fast Timing = "fast"
)

func (t Timing) period() (time.Duration, error) {
	switch t {
	case Real, "":
		return 15 * time.Second, nil
	case Fast:
		return 5 * time.Second, nil
	}
	return 0, fmt.Errorf("the timing of a lab is %s or %s, unlike %q", Real, Fast, t)
}

// Options of a lab. The zero value works.
type Options struct {
	// Name of the lab, that no other lab of this user has. Default: a fresh one.
	Name string
	// Dir holds a folder for each lab. Default: folders.Root.
	Dir string
	// Say is told what the start waits for. Default: nobody is.
	Say func(string)
	// LogFile gets the file of the log once it is there, for what libraries print on
	// standard error. Default: it stays there.
	LogFile func(*os.File) error
	// Timing sets the metrics resolution, and the HPA sync period where HPA does
	// not. Default: Real.
	Timing Timing
	// HPA are the options of the HPA controller. Default: HPADefaults of Timing.
	HPA *controlleroptions.HPAControllerOptions
	// Resolution is how often the metrics are taken, as metrics-server's --metric-resolution says. Default: that of Timing.
	Resolution time.Duration
	// Nodes are the modelled nodes. Default of its Housekeeping: two thirds of
	// the metrics resolution of Timing, which are the kubelets' 10 s for Real.
	Nodes nodes.Options
	// KEDA acts on ScaledObjects, with a Prometheus that scrapes all pods behind its triggers.
	KEDA bool
	// ScrapeEvery is how often that Prometheus scrapes. Default: 15 s.
	ScrapeEvery time.Duration
}

// HPADefaults are the options of the HPA controller as kube-controller-manager
// has them, with the sync period of a timing.
func HPADefaults(t Timing) (*controlleroptions.HPAControllerOptions, error) {
	period, err := t.period()
	if err != nil {
		return nil, err
	}
	o, err := controlleroptions.NewKubeControllerManagerOptions()
	if err != nil {
		return nil, fmt.Errorf("reading the defaults of the HPA controller: %w", err)
	}
	o.HPAController.HorizontalPodAutoscalerSyncPeriod.Duration = period
	return o.HPAController, nil
}

// Lab is a control plane that runs.
type Lab struct {
	state  *state
	config *rest.Config
	client kubernetes.Interface
	failed chan error
	nodes  cluster
	end    context.CancelFunc // says that the lab is to stop, before anything of it does
	undo   []func() error     // of what has been started, in that order
}

var started atomic.Bool

// Start starts a lab and returns when kubectl can use it. Kubernetes keeps
// metrics, feature gates and its log in variables of the process, so that there
// can be one lab in the life of a process; its log goes to a file from then on.
// ctx is for the start alone: Stop ends the lab.
func Start(ctx context.Context, o Options) (_ *Lab, err error) {
	o.Timing = cmp.Or(o.Timing, Real)
	resolution, err := o.Timing.period()
	if err != nil {
		return nil, err
	}
	if o.HPA == nil {
		if o.HPA, err = HPADefaults(o.Timing); err != nil {
			return nil, err
		}
	}
	if err := errors.Join(o.HPA.Validate()...); err != nil {
		return nil, err
	}
	o.Nodes.Housekeeping = cmp.Or(o.Nodes.Housekeeping, resolution*2/3)
	resolution = cmp.Or(o.Resolution, resolution)
	o.Nodes.Version = cmp.Or(o.Nodes.Version, Version())
	if o.Dir == "" {
		if o.Dir, err = folders.Root(); err != nil {
			return nil, err
		}
	}
	if !started.CompareAndSwap(false, true) {
		return nil, errors.New("this process has started a lab before, and Kubernetes allows for one in a process: start another process")
	}

	l := &Lab{failed: make(chan error, 1)}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.Stop())
		}
	}()
	running, end := context.WithCancel(ctx)
	l.end = end
	listener, nodePorts, err := l.settle(running, o)
	if err != nil {
		return nil, err
	}

	// Components run until they are stopped, not until the start is over.
	life := context.WithoutCancel(ctx)
	serving, stopServing := context.WithCancel(life)
	defer func() {
		if err != nil {
			stopServing()
		}
	}()
	chain, config, err := newAPIServer(serving, l.state, listener, nodePorts, l.nodes.dial)
	if err != nil {
		return nil, fmt.Errorf("preparing the API server: %w", err)
	}
	metrics, err := installMetrics(kubeAPIs(chain), l.config, resolution, l.nodes.metrics)
	if err != nil {
		return nil, fmt.Errorf("installing the metrics API: %w", err)
	}
	o.Nodes.Route = l.nodes.route
	if o.KEDA {
		o.Nodes.Prometheus = signals.New(time.Hour, cmp.Or(o.ScrapeEvery, signals.ScrapeEvery))
	}
	adapter := adapter{nodes: &l.nodes, pods: metrics.lister, keda: new(atomic.Pointer[operator.Operator]), sources: &sources{of: map[types.NamespacedName]source{}}}
	if err := adapter.install(kubeAPIs(chain)); err != nil {
		return nil, fmt.Errorf("installing the API of custom metrics: %w", err)
	}
	buildOpenAPIv3, buildOpenAPIv2, err := serveOpenAPI(kubeAPIs(chain), config.OpenAPIConfig, config.OpenAPIV3Config)
	if err != nil {
		return nil, fmt.Errorf("preparing the API's documents: %w", err)
	}
	prepared, err := chain.PrepareRun()
	if err != nil {
		return nil, fmt.Errorf("preparing the API server: %w", err)
	}
	var server, workers sync.WaitGroup
	server.Go(func() { l.report(serving, "the API server", prepared.Run(serving)) })
	l.atStop(func() error { stopServing(); server.Wait(); return nil })
	working, stopWorking := context.WithCancel(life)
	l.atStop(func() error { stopWorking(); workers.Wait(); return nil })

	// The last of the server's hooks take a tenth of a second, and nodes have no
	// need of them. The controller manager has: it looks, and looks again a second
	// later.
	if err := l.waitReady(ctx, "poststarthook/start-service-ip-repair-controllers", "poststarthook/priority-and-fairness-config-producer", "autoregister-completion"); err != nil {
		return nil, err
	}
	steps, together := errgroup.WithContext(ctx)
	steps.Go(func() error {
		if err := l.waitReady(together); err != nil {
			return err
		}
		workers.Go(func() { l.report(working, "the controller manager", runControllers(working, l.state, o.HPA)) })
		workers.Go(func() { l.report(working, "the scheduler", runScheduler(working, l.state)) })
		workers.Go(func() { metrics.run(working) })
		workers.Go(func() { adapter.sources.follow(working, l.client, o.Nodes.Prometheus) })
		workers.Go(func() { l.report(working, "the controller of volumes", runVolumes(working, l.config)) })
		return nil
	})
	steps.Go(func() error { return l.bootstrap(together) })
	steps.Go(func() error {
		certificate, err := tls.LoadX509KeyPair(l.state.File(certFile), l.state.File(keyFile))
		if err != nil {
			return fmt.Errorf("reading the certificate just written: %w", err)
		}
		modelled, err := nodes.Start(working, l.config, certificate, o.Nodes)
		if err != nil {
			return fmt.Errorf("starting the nodes: %w", err)
		}
		workers.Go(modelled.Wait)
		l.nodes.Store(modelled)
		return nil
	})
	steps.Go(func() error {
		proxy, err := nodeports.Start(working, l.config, l.nodes.handoff)
		if err != nil {
			return err
		}
		workers.Go(proxy.Wait)
		l.nodes.proxy.Store(proxy)
		return nil
	})
	if o.KEDA {
		steps.Go(func() error {
			keda, err := operator.Start(working, l.config, o.Nodes.Prometheus.Query)
			if err != nil {
				return fmt.Errorf("starting KEDA's operator: %w", err)
			}
			workers.Go(keda.Wait)
			adapter.keda.Store(keda)
			return nil
		})
	}
	if err := steps.Wait(); err != nil {
		return nil, err
	}
	if err := l.tell(ctx, o, resolution); err != nil {
		return nil, fmt.Errorf("telling of the lab: %w", err)
	}
	workers.Go(buildOpenAPIv3)
	// What few have need of takes its CPU time when the first pods have had theirs.
	later := time.AfterFunc(2*time.Second, func() {
		buildOpenAPIv2()
		if err := l.createRoles(working); err != nil {
			l.report(working, "the creation of the default roles", err)
		}
	})
	l.atStop(func() error { later.Stop(); return nil })
	return l, nil
}

// settle makes the lab's folder with what is in it, and starts etcd there. Listener is
// for the API server, nodePorts are the lab's own. Abandon waits for its end.
func (l *Lab) settle(ctx context.Context, o Options) (listener net.Listener, nodePorts utilnet.PortRange, err error) {
	living.Lock()
	defer living.Unlock()
	if l.state, err = open(ctx, o); err != nil {
		return nil, nodePorts, err
	}
	l.atStop(l.state.Close)
	if err := context.Cause(ctx); err != nil {
		return nil, nodePorts, err
	}
	if err := l.logToFile(o.LogFile); err != nil {
		return nil, nodePorts, err
	}

	if listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return nil, nodePorts, fmt.Errorf("listening for the API server: %w", err)
	}
	l.atStop(func() error { _ = listener.Close(); return nil })
	if err := l.state.writeCredentials("https://" + listener.Addr().String()); err != nil {
		return nil, nodePorts, err
	}
	if l.config, err = clientcmd.BuildConfigFromFlags("", l.Kubeconfig()); err != nil {
		return nil, nodePorts, fmt.Errorf("reading the kubeconfig just written: %w", err)
	}
	l.config.QPS = -1
	l.config.ContentType = "application/vnd.kubernetes.protobuf"
	l.config.AcceptContentTypes = "application/vnd.kubernetes.protobuf,application/json"
	if l.client, err = kubernetes.NewForConfig(l.config); err != nil {
		return nil, nodePorts, err
	}

	first, size, guard, err := nodeports.ClaimRange()
	if err != nil {
		return nil, nodePorts, err
	}
	l.atStop(guard.Close)

	if l.nodes.between, err = net.Listen("unix", l.state.File(nodesSocket)); err != nil {
		return nil, nodePorts, fmt.Errorf("listening for the API server's connections to nodes: %w", err)
	}
	l.atStop(l.nodes.between.Close)
	etcd, err := startEtcd(l.state.Dir)
	if err != nil {
		return nil, nodePorts, err
	}
	living.etcd = etcd
	l.atStop(func() error { etcd.Close(); return nil })
	return listener, utilnet.PortRange{Base: first, Size: size}, nil
}

// Kubeconfig is the path of the administrator's kubeconfig.
func (l *Lab) Kubeconfig() string { return l.state.File(kubeconfigFile) }

// Config is the administrator's, without a limit on requests.
func (l *Lab) Config() *rest.Config { return rest.CopyConfig(l.config) }

// Failed yields an error when a component of the lab has ended by itself.
func (l *Lab) Failed() <-chan error { return l.failed }

// Stop ends the lab and removes all that it left.
func (l *Lab) Stop() error {
	if l.end != nil {
		l.end()
	}
	var errs []error
	for _, undo := range slices.Backward(l.undo) {
		errs = append(errs, undo())
	}
	l.undo = nil
	return errors.Join(errs...)
}

func (l *Lab) atStop(undo func() error) { l.undo = append(l.undo, undo) }

// report tells of a component that ended although it was not told to.
func (l *Lab) report(ctx context.Context, component string, err error) {
	if ctx.Err() != nil {
		return
	}
	if err == nil {
		err = errors.New("it does not say why")
	}
	log, _ := os.ReadFile(l.state.File(logFile)) // which goes with the lab
	select {
	case l.failed <- fmt.Errorf("%s ended: %w\n%s", component, err, log[max(0, len(log)-2000):]):
	default: // the first one is the cause
	}
}

// logToFile sends what Kubernetes logs to a file in the lab's folder, until the lab stops:
// what parts that end later log has no reader. Got, if there is one, gets the file.
func (l *Lab) logToFile(got func(*os.File) error) error {
	f, err := os.OpenFile(l.state.File(logFile), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("opening the log: %w", err)
	}
	log := &openLog{file: f}
	klog.SetLogger(textlogger.NewLogger(textlogger.NewConfig(textlogger.Output(log))))
	l.atStop(log.close)
	if got == nil {
		return nil
	}
	return got(f)
}

// openLog is a file that takes what is written after its end as well, to no effect.
type openLog struct {
	mu   sync.Mutex
	file *os.File // nil when it is closed
}

func (o *openLog) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.file == nil {
		return len(p), nil
	}
	return o.file.Write(p)
}

func (o *openLog) close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	err := o.file.Close()
	o.file = nil
	return err
}
