package record

import (
	"cmp"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	managerv1alpha1 "k8s.io/kube-controller-manager/config/v1alpha1"
	podautoscalerv1alpha1 "k8s.io/kubernetes/pkg/controller/podautoscaler/config/v1alpha1"

	"github.com/hpabench/hpabench/model"
)

// Controllers are the flags of kube-controller-manager by which its HPA controller acts
// where an HPA's spec is silent or has no say.
type Controllers struct {
	Sync                   metav1.Duration `json:"horizontalPodAutoscalerSyncPeriod"`
	DownscaleStabilization metav1.Duration `json:"horizontalPodAutoscalerDownscaleStabilization"`
	Tolerance              float64         `json:"horizontalPodAutoscalerTolerance"` // a ratio: 0.1 is 10 %
	CPUInitialization      metav1.Duration `json:"horizontalPodAutoscalerCPUInitializationPeriod"`
	InitialReadiness       metav1.Duration `json:"horizontalPodAutoscalerInitialReadinessDelay"`
}

// DefaultControllers are the flags as Kubernetes sets them.
func DefaultControllers() Controllers {
	var c managerv1alpha1.HPAControllerConfiguration
	podautoscalerv1alpha1.RecommendedDefaultHPAControllerConfiguration(&c)
	return Controllers{c.HorizontalPodAutoscalerSyncPeriod, c.HorizontalPodAutoscalerDownscaleStabilizationWindow, c.HorizontalPodAutoscalerTolerance,
		c.HorizontalPodAutoscalerCPUInitializationPeriod, c.HorizontalPodAutoscalerInitialReadinessDelay}
}

// Check says which flag cannot be, with its name in JSON.
func (c *Controllers) Check() error {
	const maxTolerance, maxWindow = 1000, 24 * time.Hour
	if c.Sync.Duration <= 0 {
		return fmt.Errorf("horizontalPodAutoscalerSyncPeriod is %s, and must be above 0", c.Sync.Duration)
	}
	return cmp.Or(figures{
		{"horizontalPodAutoscalerSyncPeriod", c.Sync.Seconds(), time.Hour.Seconds()},
		{"horizontalPodAutoscalerDownscaleStabilization", c.DownscaleStabilization.Seconds(), maxWindow.Seconds()},
		{"horizontalPodAutoscalerTolerance", c.Tolerance, maxTolerance},
		{"horizontalPodAutoscalerCPUInitializationPeriod", c.CPUInitialization.Seconds(), maxWindow.Seconds()},
		{"horizontalPodAutoscalerInitialReadinessDelay", c.InitialReadiness.Seconds(), maxWindow.Seconds()},
	}.check())
}

// UnmarshalJSON reads a cluster of records too that had the controllers' flags in lab, in
// seconds.
func (c *Cluster) UnmarshalJSON(b []byte) error {
	type cluster Cluster // without this method
	old := struct {
		Lab *struct {
			Sync                   *float64 `json:"hpaSyncSeconds"`
			DownscaleStabilization float64  `json:"downscaleStabilizationSeconds"`
			Tolerance              float64  `json:"tolerance"`
			CPUInitialization      float64  `json:"cpuInitializationSeconds"`
			InitialReadiness       float64  `json:"initialReadinessSeconds"`
		} `json:"lab"`
	}{}
	if err := cmp.Or(json.Unmarshal(b, (*cluster)(c), model.JSON), json.Unmarshal(b, &old, model.JSON)); err != nil {
		return err
	}
	if l := old.Lab; l != nil && l.Sync != nil {
		d := func(seconds float64) metav1.Duration { return metav1.Duration{Duration: time.Duration(seconds * 1e9)} }
		c.Controllers = &Controllers{d(*l.Sync), d(l.DownscaleStabilization), l.Tolerance, d(l.CPUInitialization), d(l.InitialReadiness)}
	}
	return nil
}
