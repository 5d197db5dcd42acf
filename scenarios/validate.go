package scenarios

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/big"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"

	validator "github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
)

// schema is a compiled JSON Schema and its source, which tells more about a
// fault than the validator does.
type schema struct {
	compiled *validator.Schema
	source   any
}

func compile(source []byte, err error) (*schema, error) {
	if err != nil {
		return nil, err
	}
	doc, err := validator.UnmarshalJSON(bytes.NewReader(source))
	if err != nil {
		return nil, err
	}
	c := validator.NewCompiler()
	c.AssertFormat()
	for name, check := range formats {
		c.RegisterFormat(&validator.Format{Name: name, Validate: check})
	}
	id := doc.(map[string]any)["$id"].(string)
	if err := c.AddResource(id, doc); err != nil {
		return nil, err
	}
	compiled, err := c.Compile(id)
	return &schema{compiled, doc}, err
}

var forScenarios = sync.OnceValues(func() (*schema, error) { return compile(scenarioSchema(false)) })

var manifestSchemas sync.Map // of *schema by reflect.Type

func forManifests(t reflect.Type) (*schema, error) {
	if s, ok := manifestSchemas.Load(t); ok {
		return s.(*schema), nil
	}
	s, err := compile(manifestSchema(t))
	if err == nil {
		manifestSchemas.Store(t, s)
	}
	return s, err
}

// validate checks the value that stands at base in d. It returns the faults and
// the pointers (within d) of what is wrong or missing.
func (s *schema) validate(d *document, base string, value any) (faults Faults, bad map[string]bool) {
	bad = map[string]bool{}
	var err *validator.ValidationError
	if !errors.As(s.compiled.Validate(value), &err) {
		return nil, bad
	}
	var walk func(*validator.ValidationError)
	walk = func(e *validator.ValidationError) {
		for _, cause := range e.Causes {
			walk(cause)
		}
		if len(e.Causes) > 0 {
			return
		}
		at := base
		for _, token := range e.InstanceLocation {
			at += "/" + escape(token)
		}
		for _, p := range s.explain(e, at, shownAt(value, e.InstanceLocation)) {
			bad[p.pointer] = true
			faults = append(faults, d.fault(p.pointer, p.message, p.hint))
		}
	}
	walk(err)
	return faults, bad
}

type problem struct{ pointer, message, hint string }

// explain turns one of the validator's errors, which is about the value at
// pointer, into plain words.
func (s *schema) explain(e *validator.ValidationError, pointer string, value any) []problem {
	path := pathOf(pointer)
	in := ""
	if path != "" {
		in = " in " + path
	} else {
		path = "the document"
	}
	one := func(hint, format string, args ...any) []problem {
		return []problem{{pointer, path + " " + fmt.Sprintf(format, args...), hint}}
	}
	here := s.at(e.SchemaURL)
	properties, _ := here["properties"].(map[string]any)
	switch k := e.ErrorKind.(type) {
	case *kind.AdditionalProperties:
		var all []problem
		known := slices.Collect(maps.Keys(properties))
		slices.Sort(k.Properties)
		for _, p := range k.Properties {
			all = append(all, problem{pointer + "/" + escape(p), fmt.Sprintf("unknown field %q%s", p, in), DidYouMean(p, known)})
		}
		return all
	case *kind.Required:
		var all []problem
		for _, p := range k.Missing {
			if misspelt(value, p, properties) {
				continue // and said to be unknown
			}
			all = append(all, problem{pointer + "/" + escape(p), fmt.Sprintf("missing field %q%s", p, in), ""})
		}
		return all
	case *kind.Type:
		if k.Got == "null" {
			// The API server takes a null for an absent field.
			if strings.Contains(e.SchemaURL, "/$defs/k8s.io.") {
				return nil
			}
			return one("give it one or remove it", "has no value")
		}
		format, _ := here["format"].(string)
		want := wants[format]
		if want == "" {
			words := make([]string, len(k.Want))
			for i, w := range k.Want {
				words[i] = typeWords[w]
			}
			want = strings.Join(words, " or ")
		}
		return one(s.typeHint(here, k.Want[0], value), "wants %s, has %s", want, show(value))
	case *kind.Format:
		hint := ""
		if text, is := value.(string); is && k.Want == "go-duration" {
			hint = DurationHint(text)
		}
		return one(hint, "wants %v, has %s", k.Err, quoted(value))
	case *kind.Enum:
		words := make([]string, len(k.Want))
		for i, w := range k.Want {
			words[i] = fmt.Sprint(w)
		}
		if len(words) == 1 {
			return one("", "wants %s, has %s", words[0], quoted(value))
		}
		return one(DidYouMean(fmt.Sprint(k.Got), slices.Clone(words)), "wants one of %s, has %s", strings.Join(words, ", "), quoted(value))
	case *kind.Pattern:
		if words := patternWords[k.Want]; words != "" {
			return one("", "wants %s, has %s", words, quoted(value))
		}
		return one("", "wants a string that matches %s, has %s", k.Want, quoted(value))
	case *kind.MaxLength:
		return one("", "has %d characters, at most %d are allowed", k.Got, k.Want)
	case *kind.MinLength:
		return one("", "cannot be empty")
	case *kind.MaxItems:
		return one("", "has %d, at most %d are allowed", k.Got, k.Want)
	case *kind.MinItems:
		return one("", "wants at least %d, has %d", k.Want, k.Got)
	case *kind.Minimum:
		return one("", "must be at least %s, is %s", number(k.Want), number(k.Got))
	case *kind.Maximum:
		return one("", "must be at most %s, is %s", number(k.Want), number(k.Got))
	case *kind.ExclusiveMinimum:
		return one("", "must be more than %s, is %s", number(k.Want), number(k.Got))
	}
	return one("hpabench schema prints the schema", "does not fit the schema at %s", e.SchemaURL)
}

// typeHint says what to write for a value that is not of the type that a schema wants.
func (s *schema) typeHint(here map[string]any, want string, value any) string {
	items, _ := here["items"].(map[string]any)
	fields, ofItems := fieldsOf(here), fieldsOf(s.resolve(items))
	text, isText := value.(string)
	switch {
	case isText && here["$ref"] == "#/$defs/Existing", isText && fields != nil && slices.Contains(fields, "autoscaler") && slices.Contains(fields, "namespace"):
		return "such as deployment/web; of a kind beside deployment, statefulset and replicaset {apiVersion: …, kind: …, name: …}"
	case isText && json.Valid([]byte(text)) && want != "object" && want != "array":
		return "without quotes?"
	case len(fields) > 0:
		return "its fields: " + someOf(fields)
	case want == "array" && len(ofItems) > 0:
		return "of mappings with fields: " + someOf(ofItems)
	case want == "object":
		return "such as {name: value}"
	case here["format"] == "go-duration":
		return DurationHint(fmt.Sprint(value))
	}
	return ""
}

var typeWords = map[string]string{
	"object": "a mapping", "array": "a list", "string": "a string", "boolean": "true or false",
	"integer": "an integer", "number": "a number",
}

var patternWords = map[string]string{
	"^/":                              "a path that starts with /",
	"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$": "lower-case letters, digits and - within",
	"^[A-Za-z0-9]([-_A-Za-z0-9]*[A-Za-z0-9])?$": "letters, digits and - or _ within",
	"^[a-zA-Z_:][a-zA-Z0-9_:]*$":                "the name of a series of Prometheus, such as queue_messages_ready",
}

// fieldsOf are the fields of a mapping by its schema: those that it must have first.
func fieldsOf(schema map[string]any) (fields []string) {
	required, _ := schema["required"].([]any)
	for _, name := range required {
		fields = append(fields, fmt.Sprint(name))
	}
	properties, _ := schema["properties"].(map[string]any)
	for _, name := range slices.Sorted(maps.Keys(properties)) {
		if !slices.Contains(fields, name) {
			fields = append(fields, name)
		}
	}
	return fields
}

// longestShown is how many characters of a value a message shows: it may be a whole file.
const longestShown = 100

// cut is a text as a message shows it.
func cut(text string) string {
	if runes := []rune(text); len(runes) > longestShown {
		return string(runes[:longestShown]) + "…"
	}
	return text
}

func show(v any) string {
	switch v := v.(type) {
	case concealed:
		return string(v)
	case string:
		return fmt.Sprintf("the string %q", cut(v))
	case json.Number:
		return "the number " + cut(v.String())
	case bool:
		return fmt.Sprint(v)
	case nil:
		return "no value"
	case map[string]any:
		return "a mapping"
	default:
		return "a list"
	}
}

func quoted(v any) string {
	if s, ok := v.(string); ok {
		return strconv.Quote(cut(s))
	}
	return show(v)
}

// misspelt says whether a mapping has a field that is unknown and much like the
// one that it lacks.
func misspelt(value any, lacks string, known map[string]any) bool {
	m, _ := value.(map[string]any)
	for key := range m {
		if known[key] == nil && Nearest(key, []string{lacks}) != "" {
			return true
		}
	}
	return false
}

// find walks from value to what the validator's location names.
func find(value any, location []string) any {
	for _, token := range location {
		switch v := value.(type) {
		case map[string]any:
			value = v[token]
		case []any:
			i, _ := strconv.Atoi(token)
			value = v[i]
		}
	}
	return value
}

func number(r *big.Rat) string {
	f, _ := r.Float64()
	if math.Abs(f) < 1e15 {
		return strconv.FormatFloat(f, 'f', -1, 64)
	}
	return fmt.Sprint(f)
}

// at finds the part of the source that a schema URL points to, or nil.
func (s *schema) at(location string) map[string]any {
	_, fragment, _ := strings.Cut(location, "#")
	fragment, _ = url.PathUnescape(fragment)
	here := s.source
	for _, token := range strings.Split(fragment, "/")[1:] {
		m, _ := here.(map[string]any)
		here = m[unescaper.Replace(token)]
	}
	m, _ := here.(map[string]any)
	return m
}

// resolve is the schema that another one refers to, or itself.
func (s *schema) resolve(schema map[string]any) map[string]any {
	if ref, is := schema["$ref"].(string); is {
		return s.at(ref)
	}
	return schema
}

// prune gives a copy of the value that stands at base without what is at the
// bad pointers, so that the rest of it can be decoded.
func prune(value any, base string, bad map[string]bool) any {
	if bad[base] {
		return nil
	}
	switch v := value.(type) {
	case map[string]any:
		m := make(map[string]any, len(v))
		for key, value := range v {
			if at := base + "/" + escape(key); !bad[at] {
				m[key] = prune(value, at, bad)
			}
		}
		return m
	case []any:
		list := make([]any, len(v))
		for i, item := range v {
			list[i] = prune(item, base+"/"+strconv.Itoa(i), bad)
		}
		return list
	}
	return value
}
