// Package lab is a Kubernetes control plane in one process: etcd, kube-apiserver,
// kube-controller-manager, kube-scheduler and metrics-server's own code, with
// modelled nodes in place of kubelets. It needs no container engine, no root and
// no network.
package lab
