package runner

import "testing"

func TestCanI(t *testing.T) {
	i := &inspection{subject: subject{namespace: "shop"}}
	for want, r := range map[string]right{
		"kubectl auth can-i list horizontalpodautoscalers.autoscaling -n shop":    {verb: "list", group: "autoscaling", resource: "horizontalpodautoscalers"},
		"kubectl auth can-i get deployments.apps/web --subresource=scale -n shop": {verb: "get", group: "apps", resource: "deployments/scale", name: "web"},
		"kubectl auth can-i list pods -A":                                         {verb: "list", resource: "pods", where: everywhere},
		"kubectl auth can-i list pods -n kube-system":                             {verb: "list", resource: "pods", where: "kube-system"},
		"kubectl auth can-i get /metrics":                                         {verb: "get", resource: "/metrics", where: everywhere},
	} {
		if got := i.canI(r); got != want {
			t.Errorf("%s, should be %s", got, want)
		}
	}
}
