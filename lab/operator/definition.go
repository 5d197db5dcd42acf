package operator

import (
	"context"
	"time"

	"k8s.io/apiextensions-apiserver/pkg/apihelpers"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apiextensions "k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"

	"github.com/hpabench/hpabench/keda"
)

// resource are ScaledObjects.
var resource = schema.GroupVersionResource{Group: "keda.sh", Version: "v1alpha1", Resource: "scaledobjects"}

// define makes ScaledObjects known to an API server, and returns when it takes them.
func define(ctx context.Context, config *rest.Config) error {
	client, err := apiextensions.NewForConfig(config)
	if err != nil {
		return err
	}
	definitions := client.ApiextensionsV1().CustomResourceDefinitions()
	if _, err := definitions.Create(ctx, definition(), metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return err
	}
	return wait.PollUntilContextTimeout(ctx, 20*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		made, err := definitions.Get(ctx, definition().Name, metav1.GetOptions{})
		return err == nil && apihelpers.IsCRDConditionTrue(made, apiextensionsv1.Established), err
	})
}

// definition is the kind ScaledObject with the names and the columns of KEDA's. Its schema takes any spec: the operator says what is
// wrong with it.
func definition() *apiextensionsv1.CustomResourceDefinition {
	column := func(name, kind, path string) apiextensionsv1.CustomResourceColumnDefinition {
		return apiextensionsv1.CustomResourceColumnDefinition{Name: name, Type: kind, JSONPath: path}
	}
	condition := func(name string) apiextensionsv1.CustomResourceColumnDefinition {
		return column(name, "string", `.status.conditions[?(@.type=="`+name+`")].status`)
	}
	open := apiextensionsv1.JSONSchemaProps{Type: "object", XPreserveUnknownFields: new(true)}
	return &apiextensionsv1.CustomResourceDefinition{
		ObjectMeta: metav1.ObjectMeta{Name: resource.Resource + "." + resource.Group},
		Spec: apiextensionsv1.CustomResourceDefinitionSpec{
			Group: resource.Group, Scope: apiextensionsv1.NamespaceScoped,
			Names: apiextensionsv1.CustomResourceDefinitionNames{Plural: resource.Resource, Singular: "scaledobject", Kind: keda.Kind, ListKind: keda.Kind + "List", ShortNames: []string{"so"}},
			Versions: []apiextensionsv1.CustomResourceDefinitionVersion{{
				Name: resource.Version, Served: true, Storage: true,
				Subresources: &apiextensionsv1.CustomResourceSubresources{Status: new(apiextensionsv1.CustomResourceSubresourceStatus)},
				Schema: &apiextensionsv1.CustomResourceValidation{OpenAPIV3Schema: &apiextensionsv1.JSONSchemaProps{
					Type: "object", Required: []string{"spec"}, Properties: map[string]apiextensionsv1.JSONSchemaProps{"spec": open, "status": open},
				}},
				AdditionalPrinterColumns: []apiextensionsv1.CustomResourceColumnDefinition{
					column("ScaleTargetKind", "string", ".status.scaleTargetKind"), column("ScaleTargetName", "string", ".spec.scaleTargetRef.name"),
					column("Min", "integer", ".spec.minReplicaCount"), column("Max", "integer", ".spec.maxReplicaCount"),
					condition("Ready"), condition("Active"), condition("Fallback"), condition("Paused"),
					column("Triggers", "string", ".status.triggersTypes"), column("Age", "date", ".metadata.creationTimestamp"),
				},
			}},
		},
	}
}
