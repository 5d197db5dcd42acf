package scenarios

import (
	"context"
	"maps"
	"slices"
	"strings"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apiextensions-apiserver/pkg/crdserverscheme"
	"k8s.io/apiextensions-apiserver/pkg/registry/customresource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	apischema "k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	genericapirequest "k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"
)

// noField is the field of an error that has none.
var noField = (*field.Path)(nil).String()

// checkCustom compares objects with the CustomResourceDefinitions among the manifests.
func (c *checker) checkCustom() {
	judged, ofKind := 0, map[apischema.GroupKind][]int{}
	for i := range c.Manifests {
		kind := c.Manifests[i].Object.GroupVersionKind().GroupKind()
		ofKind[kind] = append(ofKind[kind], i)
	}
	for i := range c.Manifests {
		m, definition := &c.Manifests[i], as[apiextensionsv1.CustomResourceDefinition](&c.Manifests[i])
		if definition == nil || c.doubtful(m.doc, m.base) || c.refusedIn(m.doc, m.base) {
			continue
		}
		kinds := map[string]*customKind{} // by version
		for _, v := range definition.Spec.Versions {
			if v.Served {
				kinds[v.Name] = nil
			}
		}
		for _, j := range ofKind[apischema.GroupKind{Group: definition.Spec.Group, Kind: definition.Spec.Names.Kind}] {
			o := &c.Manifests[j]
			gvk := o.Object.GroupVersionKind()
			if judged++; judged > maxCustom {
				return
			}
			kind, served := kinds[gvk.Version]
			if !served {
				c.refuse(o.doc, o.base, gvk.Kind, field.ErrorList{field.NotSupported(field.NewPath("apiVersion"), gvk.Version, slices.Sorted(maps.Keys(kinds)))}, nil)
				continue
			}
			if kind == nil {
				var err error
				if kind, err = newCustomKind(definition, gvk); err != nil {
					c.faultAt(m.doc, m.base, "", "the schema of version %s: %v", gvk.Version, err)
					break
				}
				kinds[gvk.Version] = kind
			}
			c.refuse(o.doc, o.base, gvk.Kind, kind.refuses(o.Object), nil)
		}
	}
}

// customKind judges objects of a kind that a CustomResourceDefinition makes known.
type customKind struct {
	structural *structuralschema.Structural
	strategy   rest.RESTCreateStrategy
}

func newCustomKind(definition *apiextensionsv1.CustomResourceDefinition, gvk apischema.GroupVersionKind) (*customKind, error) {
	i := slices.IndexFunc(definition.Spec.Versions, func(v apiextensionsv1.CustomResourceDefinitionVersion) bool { return v.Name == gvk.Version })
	var schema apiextensions.CustomResourceValidation
	if err := apiextensionsv1.Convert_v1_CustomResourceValidation_To_apiextensions_CustomResourceValidation(definition.Spec.Versions[i].Schema, &schema, nil); err != nil {
		return nil, err
	}
	structural, err := structuralschema.NewStructural(schema.OpenAPIV3Schema)
	if err != nil {
		return nil, err
	}
	validator, _, err := validation.NewSchemaValidator(schema.OpenAPIV3Schema)
	if err != nil {
		return nil, err
	}
	return &customKind{structural, customresource.NewStrategy(crdserverscheme.NewUnstructuredObjectTyper(), definition.Spec.Scope == apiextensionsv1.NamespaceScoped,
		gvk, validator, nil, structural, nil, nil, nil)}, nil
}

// refuses is what the API server refuses of an object.
func (k *customKind) refuses(o *unstructured.Unstructured) (errs field.ErrorList) {
	object := o.DeepCopy()
	for _, path := range pruning.PruneWithOptions(object.Object, k.structural, true, structuralschema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true}) {
		errs = append(errs, field.Forbidden(field.NewPath(path), "unknown field"))
	}
	defaulting.Default(object.Object, k.structural)
	namespace := metav1.NamespaceNone
	if k.strategy.NamespaceScoped() {
		namespace = metav1.NamespaceDefault
	}
	object.SetNamespace(namespace)
	ctx := genericapirequest.WithNamespace(context.Background(), namespace)
	rest.FillObjectMetaSystemFields(object)
	k.strategy.PrepareForCreate(ctx, object)
	errs = append(errs, rest.ValidateCreate(ctx, object, k.strategy)...)
	if len(errs) > 1 { // one says that rules were not looked at for the others
		errs = slices.DeleteFunc(errs, func(err *field.Error) bool { return err.Field == noField })
	}
	return errs
}

// extentOf counts the characters of the expressions in CEL of a definition or an admission
// policy, and its values. It says whether an expression may call CEL's quantity or isQuantity,
// which parse any text, however long the exponent in it is.
func extentOf(value any) (rules, values int, quantities bool) {
	add := func(inner any) {
		r, n, q := extentOf(inner)
		rules, values, quantities = rules+r, values+n, quantities || q
	}
	switch v := value.(type) {
	case map[string]any:
		for key, inner := range v {
			if text, is := inner.(string); is && (key == "rule" || strings.HasSuffix(strings.ToLower(key), "expression")) {
				rules += max(len(text), leastRule)
				quantities = quantities || strings.Contains(text, "uantity")
			}
			add(inner)
		}
	case []any:
		for _, inner := range v {
			add(inner)
		}
	}
	return rules, values + 1, quantities
}
