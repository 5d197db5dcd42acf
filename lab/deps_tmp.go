package lab

import (
	_ "go.etcd.io/etcd/server/v3/embed"
	_ "k8s.io/kubernetes/cmd/kube-apiserver/app"
	_ "k8s.io/kubernetes/cmd/kube-apiserver/app/options"
	_ "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	_ "k8s.io/kubernetes/cmd/kube-controller-manager/app/options"
	_ "k8s.io/kubernetes/cmd/kube-scheduler/app"
	_ "k8s.io/kubernetes/pkg/probe/http"
	_ "sigs.k8s.io/metrics-server/pkg/api"
	_ "sigs.k8s.io/metrics-server/pkg/scraper"
	_ "sigs.k8s.io/metrics-server/pkg/storage"
	_ "k8s.io/cri-streaming/pkg/streaming/portforward"
	_ "github.com/valyala/fasthttp"
)
