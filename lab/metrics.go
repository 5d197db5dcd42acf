package lab

import (
	"context"
	"math/rand/v2"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	metricsapi "sigs.k8s.io/metrics-server/pkg/api"
	"sigs.k8s.io/metrics-server/pkg/scraper"
	"sigs.k8s.io/metrics-server/pkg/storage"
)

// metricsServer is metrics-server without a server of its own: its storage with
// its rules on windows and freshness, its scraper, and its API, installed among
// the built-in ones.
type metricsServer struct {
	resolution time.Duration
	lister     cache.GenericLister // of the pods that run
	store      storage.Storage
	scraper    scraper.Scraper
	nodes      informers.SharedInformerFactory
	pods       metadatainformer.SharedInformerFactory
}

// kubelets answers what metrics-server asks of a node's kubelet.
type kubelets func(ctx context.Context, node *corev1.Node) (*storage.MetricsBatch, error)

func (k kubelets) GetMetrics(ctx context.Context, node *corev1.Node) (*storage.MetricsBatch, error) {
	return k(ctx, node)
}

func installMetrics(server *genericapiserver.GenericAPIServer, config *rest.Config, resolution time.Duration, usage kubelets) (*metricsServer, error) {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	metadataClient, err := metadata.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	nodes := informers.NewSharedInformerFactory(client, 0)
	running := func(o *metav1.ListOptions) { o.FieldSelector = "status.phase=Running" }
	pods := metadatainformer.NewFilteredSharedInformerFactory(metadataClient, 0, metav1.NamespaceAll, running)
	podLister := pods.ForResource(corev1.SchemeGroupVersion.WithResource("pods")).Lister()
	nodeLister := nodes.Core().V1().Nodes().Lister()

	store := storage.NewStorage(resolution)
	if err := metricsapi.Install(store, podLister, nodeLister, server, nil); err != nil {
		return nil, err
	}
	return &metricsServer{
		resolution: resolution,
		lister:     podLister,
		store:      store,
		scraper:    scraper.NewScraper(nodeLister, usage, resolution*9/10, nil),
		nodes:      nodes,
		pods:       pods,
	}, nil
}

// run scrapes until ctx ends: now, and then from some point of the period on, since
// how metrics and HPA fall to one another is chance on a real cluster.
func (m *metricsServer) run(ctx context.Context) {
	m.nodes.StartWithContext(ctx)
	m.pods.Start(ctx.Done())
	defer m.nodes.Shutdown()
	defer m.pods.Shutdown()
	m.nodes.WaitForCacheSync(ctx.Done())
	m.pods.WaitForCacheSync(ctx.Done())

	ticker := time.NewTicker(1 + rand.N(m.resolution))
	defer ticker.Stop()
	for first := true; ; first = false {
		scrape, cancel := context.WithTimeout(ctx, m.resolution)
		m.store.Store(m.scraper.Scrape(scrape))
		cancel()
		select {
		case <-ticker.C:
			if first {
				ticker.Reset(m.resolution)
			}
		case <-ctx.Done():
			return
		}
	}
}
