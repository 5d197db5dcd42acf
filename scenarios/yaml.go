package scenarios

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/hpabench/hpabench/record"
)

// document is one YAML document as the JSON value that it stands for, with the
// line on which each value is written, by JSON pointer.
type document struct {
	file  string
	value any // map[string]any, []any, string, bool, json.Number or nil
	lines map[string]int
	built bool   // by kustomize: its lines are in no file
	name  string // of its object, if it was built
}

// fault is about the value at pointer.
func (d *document) fault(pointer, message, hint string) Fault {
	if d.built {
		return Fault{d.file, 1, fmt.Sprintf("the %s that it builds: %s", d.name, message), hint}
	}
	return Fault{d.file, d.line(pointer), message, hint}
}

// line gives the line of the value, or of the nearest value around it.
func (d *document) line(pointer string) int {
	for {
		if line, ok := d.lines[pointer]; ok {
			return line
		}
		i := strings.LastIndexByte(pointer, '/')
		if i < 0 {
			return 1
		}
		pointer = pointer[:i]
	}
}

var (
	yamlError     = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)`)
	unknownAnchor = regexp.MustCompile(`^unknown anchor '(.*)' referenced`) // comes without its line
)

// notYAML begins the fault of a file that cannot be read on.
const notYAML = "this is not YAML: "

// readYAML reads the documents of a file. What it cannot make a JSON value of
// (a key twice, a key that is no string…) are faults; a file over a limit has no
// documents.
func readYAML(file string, source []byte) ([]*document, Faults) {
	var (
		docs   []*document
		faults Faults
		values int
	)
	if len(source) > MaxSource {
		return nil, Faults{{file, 1, fmt.Sprintf("the file has %d bytes, and may have %s", len(source), bytesText(MaxSource)), ""}}
	}
	if line := overTokens(source); line > 0 {
		return nil, Faults{{file, line, fmt.Sprintf("there are more than %d values, or signs that may begin one, up to here", maxTokens), ""}}
	}
	source, err := record.PlainText(source)
	if err != nil {
		return nil, Faults{{file, 1, notYAML + err.Error(), ""}}
	}
	decoder := yaml.NewDecoder(bytes.NewReader(source))
	for {
		var node yaml.Node
		err := decoder.Decode(&node)
		if errors.Is(err, io.EOF) {
			return docs, faults
		}
		if err != nil {
			fault := Fault{File: file, Line: 1, Message: err.Error()}
			if m := yamlError.FindStringSubmatch(err.Error()); m != nil {
				fault.Message = notYAML + m[2]
				if n, err := strconv.Atoi(m[1]); err == nil {
					fault.Line = n
					if strings.HasPrefix(m[2], "did not find expected") {
						fault.Line++ // yaml.v3 counts lines from 0 in its parser's errors, and from 1 in its scanner's
					}
				} else if m := unknownAnchor.FindStringSubmatch(m[2]); m != nil {
					before, _, _ := bytes.Cut(source, []byte("*"+m[1]))
					fault.Line = bytes.Count(before, []byte("\n")) + 1
				}
			}
			return docs, append(faults, fault)
		}
		b := builder{doc: &document{file: file, lines: map[string]int{}}, values: values}
		if len(node.Content) > 0 {
			b.doc.value = b.value(node.Content[0], "", node.Content[0].Line, 0)
		}
		faults, values = append(faults, b.faults...), b.values
		if b.over {
			return nil, faults
		}
		docs = append(docs, b.doc)
	}
}

// overTokens is the line on which there have been more than maxTokens of the signs that
// may begin a value of YAML; 0 if there are fewer.
func overTokens(source []byte) int {
	tokens, line := 0, 1
	for i, b := range source {
		switch b {
		case '\n':
			line++
			tokens++
		case ',', '[', '{':
			tokens++
		case '-', ':', '?':
			if i+1 < len(source) && (source[i+1] == ' ' || source[i+1] == '\t') {
				tokens++
			}
		}
		if tokens > maxTokens {
			return line
		}
	}
	return 0
}

type builder struct {
	doc    *document
	faults Faults
	values int
	over   bool // one of the limits
	alias  bool // there was one
}

func (b *builder) fault(line int, hint, format string, args ...any) {
	b.faults = append(b.faults, Fault{b.doc.file, max(line, 1), fmt.Sprintf(format, args...), hint})
}

// value resolves n, which stands at pointer; line is that of its key or item.
func (b *builder) value(n *yaml.Node, pointer string, line, depth int) any {
	if !b.within(line, depth) {
		return nil
	}
	b.doc.lines[pointer] = max(line, 1)
	switch n.Kind {
	case yaml.AliasNode:
		b.alias = true
		return b.value(n.Alias, pointer, line, depth+1)
	case yaml.MappingNode:
		if n.ShortTag() != "!!map" {
			b.fault(n.Line, "", "the tag %s is not known", n.Tag)
		}
		m := map[string]any{}
		b.fill(m, n, pointer, depth)
		return m
	case yaml.SequenceNode:
		if n.ShortTag() != "!!seq" {
			b.fault(n.Line, "", "the tag %s is not known", n.Tag)
		}
		list := make([]any, len(n.Content))
		for i, item := range n.Content {
			list[i] = b.value(item, pointer+"/"+strconv.Itoa(i), item.Line, depth+1)
		}
		return list
	default:
		return b.scalar(n)
	}
}

func (b *builder) within(line, depth int) bool {
	b.values++
	switch {
	case b.over:
	case b.values > maxValues:
		b.over = true
		hint := ""
		if b.alias {
			hint = "aliases inside aliases multiply"
		}
		b.fault(line, hint, "there are more than %d values up to here", maxValues)
	case depth > maxDepth:
		b.over = true
		b.fault(line, "does an alias stand inside its own anchor?", "values are nested more than %d deep", maxDepth)
	}
	return !b.over
}

// fill adds the fields of the mapping n to m, then those that it merges in
// with <<, which give way to fields that are there already.
func (b *builder) fill(m map[string]any, n *yaml.Node, pointer string, depth int) {
	first := map[string]int{}
	var merged []*yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Kind == yaml.ScalarNode && key.ShortTag() == "!!merge" {
			merged = append(merged, value)
			continue
		}
		line := key.Line
		if key.Kind == yaml.AliasNode {
			key = key.Alias
		}
		if key.Kind != yaml.ScalarNode || key.ShortTag() != "!!str" {
			hint := ""
			if key.Kind == yaml.ScalarNode {
				hint = fmt.Sprintf("write it as %q", key.Value)
			}
			b.fault(line, hint, "a key must be a string")
			continue
		}
		name := key.Value
		if at, twice := first[name]; twice {
			b.fault(line, "", "the field %q is here twice, first on line %d", name, at)
			continue
		}
		first[name] = line
		if _, nearer := m[name]; !nearer {
			m[name] = b.value(value, pointer+"/"+escape(name), line, depth+1)
		}
	}
	for _, n := range merged {
		b.merge(m, n, pointer, depth+1)
	}
}

func (b *builder) merge(m map[string]any, n *yaml.Node, pointer string, depth int) {
	line := n.Line
	if !b.within(line, depth) {
		return
	}
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	switch n.Kind {
	case yaml.MappingNode:
		b.fill(m, n, pointer, depth+1)
	case yaml.SequenceNode:
		for _, item := range n.Content {
			b.merge(m, item, pointer, depth+1)
		}
	default:
		b.fault(line, "", "<< merges mappings only")
	}
}

func (b *builder) scalar(n *yaml.Node) any {
	switch n.ShortTag() {
	case "!!str", "!!timestamp":
		return n.Value
	case "!!null", "!!bool", "!!int", "!!float", "!!binary":
	default:
		b.fault(n.Line, "", "the tag %s is not known", n.Tag)
		return nil
	}
	var v any
	if err := n.Decode(&v); err != nil {
		b.fault(n.Line, "", "%q is not a value of %s", n.Value, n.ShortTag())
		return nil
	}
	switch v := v.(type) {
	case int, int64, uint64:
		return json.Number(fmt.Sprint(v))
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			b.fault(n.Line, "", "%s is not a number that can be used", n.Value)
			return nil
		}
		return json.Number(strconv.FormatFloat(v, 'f', -1, 64))
	case time.Time:
		return n.Value
	default:
		return v
	}
}

var (
	escaper   = strings.NewReplacer("~", "~0", "/", "~1")
	unescaper = strings.NewReplacer("~1", "/", "~0", "~")
)

func escape(token string) string { return escaper.Replace(token) }

// pointerTo makes a JSON pointer of a path such as spec.load.phases[0]. JSON
// pointers stay as they are.
func pointerTo(path string) string {
	if path == "" || path[0] == '/' {
		return path
	}
	return "/" + strings.NewReplacer(".", "/", "[", "/", "]", "").Replace(path)
}

// pathOf is the inverse of pointerTo, for people to read.
func pathOf(pointer string) string {
	var s strings.Builder
	for i, token := range strings.Split(pointer, "/") {
		token = unescaper.Replace(token)
		switch _, err := strconv.Atoi(token); {
		case i == 0:
		case err == nil:
			s.WriteString("[" + token + "]")
		case strings.ContainsAny(token, "./ []"):
			s.WriteString("[" + strconv.Quote(token) + "]")
		default:
			if s.Len() > 0 {
				s.WriteByte('.')
			}
			s.WriteString(token)
		}
	}
	return s.String()
}
