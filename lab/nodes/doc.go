// Package nodes is the modelled nodes of the embedded cluster: it does to an API
// server what kubelets do, for modelled containers (package containers).
//
//  1. Start registers Node objects that are Ready and renews their leases.
//  2. One informer follows all pods. A pod on one of the nodes gets a worker
//     (pod.go) that reports its status, does what is to be done, and comes back
//     when something has happened, as the kubelet's pod workers do.
//  3. podStatus (status.go) is a pure function from what a pod is to be and what
//     runs of it to the status that a kubelet would report; state.toStart says
//     what to start. write.go sends a status when it has changed: one to three
//     writes for a pod that starts, the fewer the busier the API server is.
//  4. Probes (probe.go) are real requests on connections handed to the pod.
//     Readiness, thresholds, back-off and grace periods follow the kubelet of
//     Kubernetes 1.37, of which each file names the place.
//  5. Handoff gives connections to pods, and to the kubelet API of logs and
//     port-forward (kubelet.go). Usage gives what /metrics/resource would.
//
// KWOK's stages are not used for this: they move a pod from phase to phase after
// a time that is set beforehand. Here the phases follow from what happens: a
// probe succeeds when the process answers, a container is killed when its memory
// is full, CPU use depends on the traffic, and restarts back off.
//
// What differs from a real node, on purpose:
//   - Volumes of all kinds are not mounted but taken for mounted, and the network
//     stands at once. On a real node of one machine the two took half a second.
//   - ConfigMaps and Secrets are not read: a pod starts whether or not those that
//     it names exist, and the model sees only the literal values of its env.
//   - Nothing can be run in a container. An exec probe succeeds as long as it
//     runs; a gRPC probe succeeds when something listens; a command that only
//     waits (`sleep 8; exit 1`) is carried out; an init container or a Job with
//     another command succeeds when its model has started. kubectl exec and
//     attach are refused.
//   - An image without a pull time in its model is on each node from the start.
//   - An HTTPS probe succeeds when something listens: the model speaks HTTP only.
//   - A pod of the host's network is not reached by probes or requests.
//   - CPU of a node that is used up goes to requests in their order: one pod that is
//     far behind holds up the others there, where the kernel would share by weight.
//   - A resize in place and ephemeral containers are not carried out.
package nodes
