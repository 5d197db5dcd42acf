package scenarios

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/invopop/jsonschema"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/hpabench/hpabench/keda"
	"github.com/hpabench/hpabench/model"
)

const schemaID = "https://hpabench.dev/schema/v1alpha1/scenario.json"

//go:embed scenario.go
var scenarioSource []byte

// JSONSchema is the schema of a scenario file (draft 2020-12), made from the
// types. Parse checks files against it when their short forms are expanded.
func JSONSchema() ([]byte, error) { return scenarioSchema(true) }

// scenarioSchema is that of files, with or without the short forms that parse expands.
func scenarioSchema(short bool) ([]byte, error) {
	own, err := ownComments()
	if err != nil {
		return nil, fmt.Errorf("describing the fields of a scenario: %w", err)
	}
	r := reflector()
	r.LookupComment = func(t reflect.Type, field string) string { return comment(own, t, field) }
	s := r.ReflectFromType(reflect.TypeFor[Scenario]())
	s.ID = schemaID
	// The container's name, the target and the main container are filled in
	// by the run, so that only other uses of these types must have them.
	optional(s, reflect.TypeFor[Deployment](), "name")
	optional(s, reflect.TypeFor[autoscalingv2.HorizontalPodAutoscalerSpec](), "scaleTargetRef")
	optional(s, reflect.TypeFor[corev1.PodSpec](), "containers")
	if existing, is := s.Definitions["Workload"].Properties.Get("existing"); is && short {
		long := *existing
		*existing = jsonschema.Schema{Description: long.Description, AnyOf: []*jsonschema.Schema{{Type: "string", Pattern: "^[^/]+/[^/]+$"}, {Ref: long.Ref}}}
	}
	return marshalSchema(s)
}

// manifestSchema is the schema of one kind of Kubernetes object.
func manifestSchema(t reflect.Type) ([]byte, error) {
	s := reflector().ReflectFromType(t)
	s.ID = jsonschema.ID("https://hpabench.dev/schema/manifest/" + definition(t) + ".json")
	return marshalSchema(s)
}

func marshalSchema(s *jsonschema.Schema) ([]byte, error) {
	dropFalselyRequired(s)
	b, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	var indented bytes.Buffer
	err = json.Indent(&indented, b, "", "  ")
	indented.WriteByte('\n')
	return indented.Bytes(), err
}

func reflector() *jsonschema.Reflector {
	return &jsonschema.Reflector{Anonymous: true, Namer: definition, Mapper: mapped}
}

// ours says whether a type is described by doc comments that are read here.
func ours(t reflect.Type) bool {
	return t.PkgPath() == reflect.TypeFor[Scenario]().PkgPath() || t.PkgPath() == reflect.TypeFor[model.Model]().PkgPath()
}

// definition names a type in $defs: ours as they are, others as OpenAPI does.
func definition(t reflect.Type) string {
	if ours(t) || t.PkgPath() == "" {
		return t.Name()
	}
	return strings.ReplaceAll(t.PkgPath(), "/", ".") + "." + t.Name()
}

var unmarshaler = reflect.TypeFor[json.Unmarshaler]()

// mapped gives the schema of a type whose JSON is not what its Go type says.
// The formats beside JSON Schema's own are those of OpenAPI and of this file;
// what they check is in formats.
func mapped(t reflect.Type) *jsonschema.Schema {
	switch t {
	case reflect.TypeFor[resource.Quantity]():
		return &jsonschema.Schema{Format: "quantity", Extras: map[string]any{"type": []string{"string", "number"}}}
	case reflect.TypeFor[intstr.IntOrString]():
		return &jsonschema.Schema{Format: "int-or-string", Extras: map[string]any{"type": []string{"integer", "string"}}}
	case reflect.TypeFor[metav1.Duration]():
		return &jsonschema.Schema{Type: "string", Format: "go-duration", Pattern: `^[-+]?([0-9]*\.?[0-9]+(ns|us|µs|ms|s|m|h))+$|^0$`}
	case reflect.TypeFor[metav1.Time](), reflect.TypeFor[metav1.MicroTime]():
		return &jsonschema.Schema{Type: "string", Format: "date-time"}
	}
	if reflect.PointerTo(t).Implements(unmarshaler) {
		return &jsonschema.Schema{}
	}
	switch t.Kind() {
	case reflect.Int32, reflect.Int64, reflect.Int:
		return &jsonschema.Schema{Type: "integer", Format: "int" + strconv.Itoa(t.Bits())}
	case reflect.Uint64:
		return &jsonschema.Schema{Type: "integer", Format: "uint64"}
	}
	return nil
}

// optional takes a field of t off the list of those that must be there.
func optional(s *jsonschema.Schema, t reflect.Type, field string) {
	d := s.Definitions[definition(t)]
	d.Required = slices.DeleteFunc(d.Required, func(r string) bool { return r == field })
}

// dropFalselyRequired keeps required fields only where the Go tags of the
// Kubernetes types can be trusted. A tag without omitempty means that a field
// is written always, not that it must be given: in core and autoscaling that is
// the same but for pointers and projected sources; elsewhere it is not
// (rules of a Role, serviceName of a StatefulSet…).
func dropFalselyRequired(s *jsonschema.Schema) {
	for name, d := range s.Definitions {
		switch {
		case !strings.HasPrefix(name, "k8s.io."):
		case strings.HasPrefix(name, "k8s.io.api.core.v1."), strings.HasPrefix(name, "k8s.io.api.autoscaling."):
			if strings.HasSuffix(name, "Status") {
				d.Required = nil
			}
		default:
			d.Required = nil
		}
	}
	for _, pointer := range []struct {
		of    reflect.Type
		field string
	}{
		{reflect.TypeFor[corev1.GRPCAction](), "service"},
		{reflect.TypeFor[corev1.ProjectedVolumeSource](), "sources"},
		{reflect.TypeFor[corev1.TypedObjectReference](), "apiGroup"},
		{reflect.TypeFor[corev1.TypedLocalObjectReference](), "apiGroup"},
	} {
		if s.Definitions[definition(pointer.of)] != nil {
			optional(s, pointer.of, pointer.field)
		}
	}
}

// comment is the description of a type, or of its field.
func comment(own map[string]string, t reflect.Type, field string) string {
	if ours(t) {
		if field != "" {
			field = "." + field
		}
		return own[t.Name()+field]
	}
	if field != "" {
		f, _ := t.FieldByName(field)
		field, _, _ = strings.Cut(f.Tag.Get("json"), ",")
	}
	documented, ok := reflect.Zero(t).Interface().(interface{ SwaggerDoc() map[string]string })
	if !ok {
		return ""
	}
	return documented.SwaggerDoc()[field]
}

// ownComments reads the doc comments of scenario.go, model.go and scaledobject.go, by Type and
// Type.Field.
func ownComments() (map[string]string, error) {
	var decls []ast.Decl
	for name, source := range map[string][]byte{"scenario.go": scenarioSource, "model.go": model.Source, "scaledobject.go": keda.Source} {
		file, err := parser.ParseFile(token.NewFileSet(), name, source, parser.ParseComments)
		if err != nil {
			return nil, err
		}
		decls = append(decls, file.Decls...)
	}
	comments := map[string]string{}
	text := func(g *ast.CommentGroup) string { return strings.Join(strings.Fields(g.Text()), " ") }
	for _, d := range decls {
		decl, ok := d.(*ast.GenDecl)
		if !ok || decl.Tok != token.TYPE {
			continue
		}
		for _, s := range decl.Specs {
			spec := s.(*ast.TypeSpec)
			comments[spec.Name.Name] = text(decl.Doc)
			structure, ok := spec.Type.(*ast.StructType)
			if !ok {
				continue
			}
			for _, f := range structure.Fields.List {
				for _, name := range f.Names {
					comments[spec.Name.Name+"."+name.Name] = text(f.Doc)
				}
			}
		}
	}
	return comments, nil
}

// formats check what a JSON type alone does not say. They return an error whose
// text follows "wants".
var formats = map[string]func(v any) error{
	"int32": func(v any) error { return integer(v, 32) },
	"int64": func(v any) error { return integer(v, 64) },
	"uint64": func(v any) error {
		if _, err := strconv.ParseUint(fmt.Sprint(v), 10, 64); err != nil {
			return fmt.Errorf("an integer from 0 to %d", uint64(math.MaxUint64))
		}
		return nil
	},
	"quantity": func(v any) error {
		if _, err := model.ParseQuantity(fmt.Sprint(v)); err != nil {
			return errWants("quantity")
		}
		return nil
	},
	"go-duration": func(v any) error {
		if s, ok := v.(string); ok {
			if _, err := time.ParseDuration(s); err != nil {
				return errWants("go-duration")
			}
		}
		return nil
	},
	"int-or-string": func(v any) error {
		if _, ok := v.(string); ok {
			return nil
		}
		return integer(v, 32)
	},
}

func integer(v any, bits int) error {
	if _, err := strconv.ParseInt(fmt.Sprint(v), 10, bits); err != nil {
		return fmt.Errorf("an integer of %d bits", bits)
	}
	return nil
}

// WantsDuration says what a duration is.
const WantsDuration = "a duration in h, m, s or ms such as 48h or 1m30s"

// wants says in words what a format takes.
var wants = map[string]string{
	"quantity":      "a quantity such as 100m or 64Mi",
	"go-duration":   WantsDuration,
	"int-or-string": "an integer or a string",
	"date-time":     "a time such as 2006-01-02T15:04:05Z",
}

type errWants string

func (e errWants) Error() string { return wants[string(e)] }
