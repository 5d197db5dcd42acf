package scenarios

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"sigs.k8s.io/yaml"
)

// Setting is a field of a scenario's spec and the values that it shall have, see
// Spec.Matrix for the names.
type Setting struct {
	Name   string
	Values []any
	Flag   bool // it is one of --set, and in no file
}

// Variant is a scenario with one value of each of several settings.
type Variant struct {
	*File
	Values []string // in the order of the settings
}

// Settings are those of the matrix, by name, where others replace those of the same
// name and come after those of another.
func (f *File) Settings(others []Setting) []Setting {
	var list []Setting
	for _, name := range slices.Sorted(maps.Keys(f.Spec.Matrix)) {
		if !slices.ContainsFunc(others, func(s Setting) bool { return s.Name == name }) {
			list = append(list, Setting{Name: name, Values: f.Spec.Matrix[name]})
		}
	}
	return append(list, others...)
}

// ParseSetting reads a setting as it is written on a command line: target=40,60. A
// value is what YAML takes it for.
func ParseSetting(s string) (Setting, error) {
	name, values, found := strings.Cut(s, "=")
	if !found || name == "" || values == "" {
		return Setting{}, fmt.Errorf("%s is not like target=40,60,80", shorten(s))
	}
	if n := strings.Count(values, ",") + 1; n > MaxVariants {
		return Setting{}, fmt.Errorf("%s has %d values, and may have %d", name, n, MaxVariants)
	}
	setting := Setting{Name: name, Flag: true}
	for text := range strings.SplitSeq(values, ",") {
		var value any
		if err := yaml.Unmarshal([]byte(text), &value); err != nil {
			_, why, _ := strings.Cut(err.Error(), "yaml: line 1: ") // behind what is done to read it
			return Setting{}, fmt.Errorf("%s: %s is no value in YAML: %s", name, shorten(text), cmp.Or(why, err.Error()))
		}
		setting.Values = append(setting.Values, value)
	}
	return setting, nil
}

// Variants are the scenario with each combination of the settings' values, the last one
// changing fastest; without settings it is the scenario itself. Each is checked like any scenario; what is wrong with one comes back
// as Faults that name its values.
func (f *File) Variants(settings []Setting) ([]Variant, error) {
	if len(settings) == 0 {
		return []Variant{{File: f}}, nil
	}
	if err := f.checkCopies(settings); err != nil {
		return nil, err
	}
	variants := []Variant{{}}
	for _, s := range settings {
		var more []Variant
		for _, v := range variants {
			for _, value := range s.Values {
				more = append(more, Variant{Values: append(slices.Clone(v.Values), fmt.Sprint(value))})
			}
		}
		variants = more
	}
	var faults Faults
	for i := range variants {
		line, err := f.vary(&variants[i], settings, i)
		var wrong Faults
		if err != nil && !errors.As(err, &wrong) {
			return nil, err
		}
		for _, w := range wrong {
			set := f.blamed(settings, i, w.Message)
			if w.File, w.Line = set, 0; set == "" {
				w.File, w.Line, w.Message = f.Path, line, "with "+variants[i].Name(settings)+": "+w.Message
			}
			if !slices.ContainsFunc(faults, func(o Fault) bool { return o == w }) {
				faults = append(faults, w)
			}
		}
		if len(faults) >= maxFaults {
			break
		}
	}
	if len(faults) > 0 {
		return nil, faults
	}
	return variants, nil
}

// checkCopies refuses settings without values, and more combinations than can be made.
func (f *File) checkCopies(settings []Setting) error {
	size := len(f.doc.lines) + f.targets + int(f.extentOf(f.Spec.Load.Phases).points)
	n := 1
	for _, s := range settings {
		fault := func(format string, args ...any) error {
			where := Fault{f.Path, f.doc.line("/spec/matrix/" + escape(s.Name)), fmt.Sprintf(format, args...), ""}
			if s.Flag {
				where.File, where.Line = "--set "+s.Name, 0
			}
			return Faults{where}
		}
		if len(s.Values) == 0 {
			return fault("%s has no values", s.Name)
		}
		n *= min(len(s.Values), MaxVariants+1)
		switch {
		case n > MaxVariants:
			return fault("the settings up to %s have %d combinations or more, and may have %d", s.Name, n, MaxVariants)
		case n*size > maxCopies:
			return fault("the settings up to %s have %d combinations of a scenario with %d values, targets and points: the product may be %d", s.Name, n, size, maxCopies)
		}
	}
	return nil
}

// Name lists the values of a variant: "target=40 stabilization=0s".
func (v Variant) Name(settings []Setting) string {
	var parts []string
	for i, s := range settings {
		parts = append(parts, s.Name+"="+v.Values[i])
	}
	return strings.Join(parts, " ")
}

// blamed gives those of --set that a fault of combination n comes from: one alone, with those
// of the matrix, if that has the same fault; none if the matrix has it.
func (f *File) blamed(settings []Setting, n int, fault string) string {
	var matrix, flags []Setting // with the one value that each has in the combination
	for _, s := range slices.Backward(settings) {
		list := &matrix
		if s.Flag {
			list = &flags
		}
		*list = slices.Insert(*list, 0, Setting{s.Name, s.Values[n%len(s.Values):][:1], s.Flag})
		n /= len(s.Values)
	}
	faulty := func(settings []Setting) bool {
		v := variantOf(settings)
		_, err := f.vary(&v, settings, 0)
		var wrong Faults
		return errors.As(err, &wrong) && slices.ContainsFunc(wrong, func(w Fault) bool { return w.Message == fault })
	}
	if len(flags) == 0 || len(matrix) > 0 && faulty(matrix) {
		return ""
	}
	for _, one := range flags {
		if len(flags) > 1 && faulty(append(slices.Clone(matrix), one)) {
			flags = []Setting{one}
			break
		}
	}
	text := "--set " + strings.ReplaceAll(variantOf(flags).Name(flags), " ", " --set ")
	if len(matrix) > 0 {
		text += " with " + variantOf(matrix).Name(matrix)
	}
	return text
}

// variantOf is the one that settings with one value each make.
func variantOf(settings []Setting) (v Variant) {
	for _, s := range settings {
		v.Values = append(v.Values, fmt.Sprint(s.Values[0]))
	}
	return v
}

// vary makes combination n of the settings, and gives the line of the matrix.
func (f *File) vary(v *Variant, settings []Setting, n int) (line int, err error) {
	var root map[string]any
	tree, err := json.Marshal(f.doc.value)
	if err != nil {
		return 1, err
	}
	decoder := json.NewDecoder(bytes.NewReader(tree))
	decoder.UseNumber() // a seed has more digits than a float64
	if err := decoder.Decode(&root); err != nil {
		return 1, err
	}
	spec, _ := root["spec"].(map[string]any)
	delete(spec, "matrix")
	autoscaler, _ := spec["autoscaler"].(map[string]any)
	_, whole := autoscaler["spec"]
	for i, s := range slices.Backward(settings) {
		nth := n % len(s.Values)
		value := s.Values[nth]
		n /= len(s.Values)
		path := pathOfSetting(s.Name)
		if long, is := longNames[strings.TrimPrefix(s.Name, "spec.")]; is && whole {
			path = long
			if d, err := time.ParseDuration(fmt.Sprint(value)); err == nil {
				value = d.Seconds()
			}
		}
		location := strings.Split("spec"+pointerTo(path), "/")
		if err := put(spec, location[1:], value); err != nil {
			at := f.doc.line("/spec/matrix/" + escape(s.Name))
			return at, Faults{{f.Path, at, fmt.Sprintf("%s cannot be set: %v", cmp.Or(s.Name, `""`), err), "its names are target, stabilization, min, max and the paths of fields of the spec"}}
		}
		// The name of a variant is shown, recorded and that of its folder.
		if shown := shownText(root, location); shown != fmt.Sprint(value) {
			v.Values[i] = fmt.Sprintf("%s#%d", shown, nth+1)
		}
	}
	source, err := YAML(root)
	if err != nil {
		return 1, err
	}
	if v.File, err = parse(f.Path, source, f.files); v.File != nil {
		v.Embedded, v.origin, v.with = f.Embedded, f, v.Name(settings)
		for i, s := range settings {
			if s.Flag {
				v.flags = append(v.flags, [2]string{pointerTo(pathOfSetting(s.Name)), "--set " + s.Name + "=" + v.Values[i]})
			}
		}
	}
	return f.doc.line("/spec/matrix"), err
}

// Names of a matrix that stand for paths, in the short form of an autoscaler and where it
// has a whole spec.
var (
	shortNames = map[string]string{"target": "autoscaler.cpuPercent", "stabilization": "autoscaler.stabilization", "min": "autoscaler.min", "max": "autoscaler.max"}
	longNames  = map[string]string{"target": "autoscaler.spec.metrics[0].resource.target.averageUtilization", "min": "autoscaler.spec.minReplicas", "max": "autoscaler.spec.maxReplicas",
		"stabilization": "autoscaler.spec.behavior.scaleDown.stabilizationWindowSeconds"}
)

// pathOfSetting is the path that a name stands for, within the spec.
func pathOfSetting(name string) string {
	path := strings.TrimPrefix(name, "spec.")
	return cmp.Or(shortNames[path], path)
}

// put sets a value deep in a tree. Mappings that are not there are made, items of lists
// are not.
func put(in any, path []string, value any) error {
	if len(path) == 0 || path[0] == "" {
		return errors.New("the path has an empty part")
	}
	switch at := in.(type) {
	case map[string]any:
		if len(path) == 1 {
			at[path[0]] = value
			return nil
		}
		if at[path[0]] == nil {
			at[path[0]] = map[string]any{}
		}
		return put(at[path[0]], path[1:], value)
	case []any:
		i, err := strconv.Atoi(path[0])
		if err != nil || i < 0 || i >= len(at) {
			return fmt.Errorf("there is no item %s of %d", path[0], len(at))
		}
		if len(path) == 1 {
			at[i] = value
			return nil
		}
		return put(at[i], path[1:], value)
	}
	return fmt.Errorf("what has the field %s is no mapping", path[0])
}
