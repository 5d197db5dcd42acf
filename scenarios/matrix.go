package scenarios

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/hpabench/hpabench/keda"
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
		if !slices.ContainsFunc(others, func(s Setting) bool { return SettingName(s.Name) == SettingName(name) }) {
			list = append(list, Setting{Name: name, Values: f.Spec.Matrix[name]})
		}
	}
	return append(list, others...)
}

// ParseSetting reads a setting as it is written on a command line: target=40,60. A
// value is what YAML takes it for.
func ParseSetting(s string) (Setting, error) {
	name, values, found := strings.Cut(s, "=")
	if !found || name == "" || slices.Contains(strings.Split(values, ","), "") {
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
			for _, s := range settings {
				if field, _, _ := strings.Cut(s.Name, "."); w.Message == fmt.Sprintf("unknown field %q in spec", field) {
					w.Hint = hintOf(s.Name)
				}
			}
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

// hintOf is for the name of a setting that is not known.
func hintOf(name string) string {
	if near := Nearest(SettingName(name), SettingNames); near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	return "a path within the spec, or one of " + ListSettings()
}

// checkCopies refuses settings without values, and more combinations than can be made.
func (f *File) checkCopies(settings []Setting) error {
	size := len(f.doc.lines) + f.targets + int(f.extentOf(f.Spec.Load.Phases).points)
	n := 1
	for i, s := range settings {
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
		for _, before := range settings[:i] {
			if err := CheckPolicies(before.Name, s.Name); err != nil {
				return fault("%v", err)
			}
		}
		n *= min(len(s.Values), MaxVariants+1)
		switch {
		case n > MaxVariants:
			return fault("the settings up to %s have %d combinations or more, and may have %d", s.Name, n, MaxVariants)
		case n*size > maxCopies:
			return fault("the settings up to %s have %d combinations of a scenario with %d values, targets and points: the product may be %d", s.Name, n, size, maxCopies)
		}
		for place, value := range s.Values {
			if slices.ContainsFunc(s.Values[:place], func(other any) bool { return reflect.DeepEqual(value, other) }) {
				return fault("%s has the value %v twice", s.Name, value)
			}
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
	object, _ := autoscaler["scaledObject"].(map[string]any)
	if autoscaler != nil && autoscaler["spec"] == nil && object == nil && slices.ContainsFunc(settings, func(s Setting) bool { return onlyWhole.MatchString(SettingName(s.Name)) }) {
		autoscaler["spec"] = wholeOf(autoscaler)
	}
	whole, _ := autoscaler["spec"].(map[string]any)
	paths := make([]string, len(settings))
	for i, s := range slices.Backward(settings) {
		nth := n % len(s.Values)
		value := s.Values[nth]
		n /= len(s.Values)
		path, placed := placeOf(s.Name, whole, value)
		if object != nil {
			if path, placed = placeOfKEDA(s.Name, object, value); path == "" && SettingName(s.Name) != "" {
				at := f.doc.line("/spec/matrix/" + escape(s.Name))
				return at, Faults{{f.Path, at, s.Name + " is a setting of a trigger of type prometheus, and the ScaledObject has none", ""}}
			}
		} else if slices.Contains(kedaNames, path) {
			at := f.doc.line("/spec/matrix/" + escape(s.Name))
			return at, Faults{{f.Path, at, path + " is a setting of a ScaledObject, and the scenario's autoscaler has none", "write autoscaler.scaledObject; one among the manifests has its settings there"}}
		}
		paths[i] = path
		location := strings.Split("spec"+pointerTo(path), "/")
		switch at := f.doc.line("/spec/matrix/" + escape(path)); path {
		case "scrape":
			return at, Faults{{f.Path, at, "scrape is no field of a scenario: the interval is Prometheus' own, for all that it scrapes", "on an embedded cluster hpabench run takes --lab-flag scrape-interval=5s; hpabench simulate takes --set scrape=5s, hpabench tune --vary scrape=5s..60s"}}
		case "sync":
			return at, Faults{{f.Path, at, "sync is no field of a scenario: the period is the controller manager's, for all autoscalers of a cluster", "on an embedded cluster hpabench run takes --lab-flag horizontal-pod-autoscaler-sync-period=5s; hpabench simulate takes --set sync=5s, hpabench tune --vary sync=5s..30s"}}
		}
		if err := put(spec, location[1:], placed); err != nil {
			at := f.doc.line("/spec/matrix/" + escape(s.Name))
			return at, Faults{{f.Path, at, fmt.Sprintf("%s cannot be set: %v", cmp.Or(s.Name, `""`), err), "its names are those of hpabench tune --vary and the paths of fields of the spec"}}
		}
		// The name of a variant is shown, recorded and that of its folder.
		if shown := shownText(root, location); fmt.Sprint(placed) == fmt.Sprint(value) && shown != fmt.Sprint(value) {
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
				v.flags = append(v.flags, [2]string{pointerTo(paths[i]), "--set " + s.Name + "=" + v.Values[i]})
			}
		}
	}
	return f.doc.line("/spec/matrix"), err
}

// namedSettings are the settings that need no path, by name.
var namedSettings = []struct {
	name  string
	of    string // "" for those of an HPA and of a ScaledObject
	also  string // another name of it
	short string // its field in the short form of an autoscaler
}{
	{name: "activationThreshold", of: ofScaledObject},
	{name: "cooldownPeriod", of: ofScaledObject},
	{name: "max", short: "max"},
	{name: "min", short: "min"},
	{name: "pollingInterval", of: ofScaledObject},
	{name: "scaleDown.percent"},
	{name: "scaleDown.pods"},
	{name: "scaleDown.stabilization", also: "stabilization", short: "stabilization"},
	{name: "scaleDown.tolerance"},
	{name: "scaleUp.percent"},
	{name: "scaleUp.pods"},
	{name: "scaleUp.stabilization"},
	{name: "scaleUp.tolerance"},
	{name: "scrape", of: ofCluster},
	{name: "sync", of: ofCluster},
	{name: "target", short: "cpuPercent"},
	{name: "threshold", of: ofScaledObject},
}

const (
	ofScaledObject = "ScaledObject" // alone
	ofCluster      = "cluster"      // simulate and tune alone take it
)

var (
	// SettingNames are the settings that need no path.
	SettingNames []string
	// settingNames are the names of settings that stand for others.
	settingNames = map[string]string{}
	kedaNames    []string
)

func init() {
	for _, s := range namedSettings {
		SettingNames = append(SettingNames, s.name)
		if s.of == ofScaledObject {
			kedaNames = append(kedaNames, s.name)
		}
		if s.also != "" {
			settingNames[s.also] = s.name
		}
		if s.short != "" {
			settingNames["autoscaler."+s.short] = s.name
		}
	}
}

// ListSettings lists all names of settings that need no path.
func ListSettings() string {
	var names, clusters []string
	for _, s := range namedSettings {
		switch {
		case s.of == ofCluster:
			clusters = append(clusters, s.name)
		case s.also != "":
			names = append(names, s.name+" (or "+s.also+")")
		default:
			names = append(names, s.name)
		}
	}
	return strings.Join(names, ", ") + "; with hpabench simulate and tune also " + strings.Join(clusters, ", ")
}

// SettingName is the one name of a setting of the HPA that has several; others, and paths
// within the spec, stay as they are.
func SettingName(name string) string {
	name = strings.TrimPrefix(name, "spec.")
	return cmp.Or(settingNames[name], name)
}

// behaviorName are settings of one direction, and onlyWhole those that the short form of an
// autoscaler does not have.
var (
	behaviorName = regexp.MustCompile(`^(scaleUp|scaleDown)\.(stabilization|tolerance|percent|pods)$`)
	onlyWhole    = regexp.MustCompile(`^(scaleUp\..*|scaleDown\.(tolerance|percent|pods))$`)
)

// CheckPolicies refuses percent and pods of one direction: each is the direction's only policy.
func CheckPolicies(a, b string) error {
	m, n := behaviorName.FindStringSubmatch(SettingName(a)), behaviorName.FindStringSubmatch(SettingName(b))
	if m == nil || n == nil || m[1] != n[1] || m[2]+n[2] != "percentpods" && m[2]+n[2] != "podspercent" {
		return nil
	}
	return fmt.Errorf("%s and %s are each the only policy of %s: set one of them", a, b, m[1])
}

// PolicyPeriod is the period of the one policy that the settings percent and pods make, in
// seconds: the HPA controller's default sync period.
const PolicyPeriod = 15

// wholeSpec is where the whole spec of an autoscaler is, within the scenario's.
const wholeSpec = "autoscaler.spec."

// placeOf is the path within the spec that a setting stands for, and the value there. The
// autoscaler has the whole spec, nil for its short form.
func placeOf(name string, whole map[string]any, value any) (string, any) {
	name = SettingName(name)
	if whole == nil {
		for path, of := range settingNames {
			if of == name && strings.HasPrefix(path, "autoscaler.") {
				return path, value
			}
		}
		return name, value
	}
	switch name {
	case "min", "max":
		return wholeSpec + name + "Replicas", value
	case "target":
		return wholeSpec + targetOf(whole), value
	}
	return placeOfBehavior(name, wholeSpec, value)
}

// placeOfBehavior is that of a setting of one direction within a behavior; what is none stays as it is.
func placeOfBehavior(name, within string, value any) (string, any) {
	m := behaviorName.FindStringSubmatch(name)
	if m == nil {
		return name, value
	}
	rules := within + "behavior." + m[1] + "."
	switch m[2] {
	case "stabilization":
		return rules + "stabilizationWindowSeconds", inSeconds(value)
	case "tolerance":
		return rules + "tolerance", value
	}
	policy := map[string]string{"percent": "Percent", "pods": "Pods"}[m[2]]
	return rules + "policies", []any{map[string]any{"type": policy, "value": value, "periodSeconds": PolicyPeriod}}
}

// inSeconds is a value of a field in seconds that may be written as a duration.
func inSeconds(value any) any {
	if d, err := time.ParseDuration(fmt.Sprint(value)); err == nil {
		return d.Seconds()
	}
	return value
}

// placeOfKEDA is placeOf of a ScaledObject; the path is empty where no trigger has the setting.
func placeOfKEDA(name string, object map[string]any, value any) (string, any) {
	const within = "autoscaler.scaledObject."
	switch name = SettingName(name); name {
	case "min", "max":
		return within + name + "ReplicaCount", value
	case "pollingInterval", "cooldownPeriod":
		return within + name, inSeconds(value)
	case "target", "threshold", "activationThreshold":
		var s keda.ScaledObject
		text, err := json.Marshal(object)
		if err = cmp.Or(err, json.Unmarshal(text, &s)); err != nil {
			return "", nil // the scenario has that fault
		}
		i, field := s.Setting(name)
		if i < 0 {
			return "", nil
		}
		return fmt.Sprintf("%striggers[%d].metadata.%s", within, i, field), fmt.Sprint(value)
	}
	return placeOfBehavior(name, within+"advanced.horizontalPodAutoscalerConfig.", value)
}

// targetOf is the path of the target that tune varies: the utilization of the first metric that
// has one, else the averageValue or the value of the first metric. Without a metric there is
// one of CPU then.
func targetOf(whole map[string]any) string {
	metrics, _ := whole["metrics"].([]any)
	if len(metrics) == 0 {
		metrics = []any{cpuMetric(80)}
		whole["metrics"] = metrics
	}
	first := ""
	for i, m := range metrics {
		metric, _ := m.(map[string]any)
		for source, of := range metric {
			fields, _ := of.(map[string]any)
			target, _ := fields["target"].(map[string]any)
			for _, field := range []string{"averageUtilization", "averageValue", "value"} {
				path := fmt.Sprintf("metrics[%d].%s.target.%s", i, source, field)
				switch {
				case target[field] == nil:
				case field == "averageUtilization":
					return path
				case first == "":
					first = path
				}
			}
		}
	}
	return cmp.Or(first, "metrics[0].resource.target.averageUtilization")
}

func cpuMetric(percent any) map[string]any {
	return map[string]any{"type": "Resource", "resource": map[string]any{"name": "cpu", "target": map[string]any{"type": "Utilization", "averageUtilization": percent}}}
}

// wholeOf is the whole spec of an autoscaler, whose short form it takes away.
func wholeOf(short map[string]any) map[string]any {
	whole := map[string]any{}
	for name, value := range maps.Clone(short) {
		delete(short, name)
		path, placed := placeOf("autoscaler."+name, whole, value)
		_ = put(whole, strings.Split(pointerTo(strings.TrimPrefix(path, wholeSpec)), "/")[1:], placed) // which has no lists of others
	}
	return whole
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
