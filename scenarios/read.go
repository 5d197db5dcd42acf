package scenarios

import (
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/hpabench/hpabench/keda"
	"github.com/hpabench/hpabench/model"
	"github.com/hpabench/hpabench/record"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// File is a scenario that was read and found to be without faults.
type File struct {
	Scenario
	Path      string
	Source    []byte
	Embedded  bool       // read from the library in the binary
	Manifests []Manifest // of workload.manifests, in order, and then those of the scenario's own file

	// Notes say what a run makes of the manifests that is not as they are written.
	Notes []string

	// namespace that the manifests are written for; the run has another.
	namespace string

	// A variant is written in no file: its faults are shown where the scenario is that it is
	// made of, with its values.
	origin *File
	with   string
	flags  [][2]string // of those of --set, the pointer within the spec and how it is written

	doc      *document
	files    *files     // what the scenario names
	targets  int        // of all phases
	absolute []absolute // of the targets, those that are whole URLs
	roots    []byte     // of load.tls.caFile, in PEM
	target   autoscalingv2.CrossVersionObjectReference
	// Of the manifests: the target, the HPA that points to it, the Service that
	// takes the load. Nil where there is none.
	targetManifest, hpaManifest, service *Manifest
}

// Read reads and checks the scenario in a file. When there is no such file, a
// bare name (demo-nginx) and scenarios/NAME.yaml stand for the scenario of that
// name in the library. Whatever is wrong with the scenario or its manifests
// comes back as Faults.
func Read(file string) (*File, error) { return read(file, false) }

// ReadAdmitted is Read for a run in a namespace that is there: whether the pods lack a
// request is left to its API server, which may add it (a LimitRange, a webhook).
func ReadAdmitted(file string) (*File, error) { return read(file, true) }

// standardInput is read once, for all that name it.
var standardInput = sync.OnceValues(func() ([]byte, error) { return ReadAll(os.Stdin, MaxSource) })

// StandardInput is the Path of a scenario that was read from there.
const StandardInput = "standard input"

func read(file string, admitted bool) (*File, error) {
	folder := filepath.Dir(file)
	var source []byte
	var err error
	if file == stdin {
		file = StandardInput
		source, err = standardInput()
	} else {
		source, err = ReadFile(file, MaxSource)
	}
	if info, err := os.Stat(file); file == StandardInput || err == nil && !info.Mode().IsRegular() {
		folder = "." // of a pipe, as for kubectl
	}
	if errors.Is(err, fs.ErrNotExist) {
		name := strings.TrimPrefix(filepath.ToSlash(file), "scenarios/")
		bare := strings.TrimSuffix(name, ".yaml")
		known := slices.Contains(libraryNames(), bare)
		if known && (file == bare || name != filepath.ToSlash(file) && name != bare) {
			return readEmbedded(bare, file)
		}
		hint := "hpabench scenarios lists those of the library"
		if near := Nearest(bare, libraryNames()); near != "" {
			hint = fmt.Sprintf("did you mean %s? %s", near, hint)
		}
		return nil, fmt.Errorf("reading scenario %s: no such file (%s)", file, hint)
	}
	if err != nil {
		return nil, fmt.Errorf("reading scenario %s: %w", file, cause(err))
	}
	named := filesBy(func(name string) (string, []byte, error) {
		switch {
		case name == stdin && file == StandardInput:
			return StandardInput, nil, errors.New("the scenario is read from it, and it can be read once")
		case name == stdin:
			source, err := standardInput()
			return StandardInput, source, err
		case !filepath.IsAbs(name):
			name = filepath.Join(folder, name)
		}
		source, err := ReadFile(name, MaxFile)
		return name, source, err
	})
	named.admitted, named.folder = admitted, folder
	return parse(file, source, named)
}

// cause is what is left of a file error without its operation and path.
func cause(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

//go:embed *.yaml
var library embed.FS

func readEmbedded(name, asked string) (*File, error) {
	source, err := library.ReadFile(name + ".yaml")
	if err != nil {
		return nil, fmt.Errorf("reading scenario %s of the library: %w", name, err)
	}
	f, err := Parse(asked, source, func(manifest string) (string, []byte, error) {
		source, err := library.ReadFile(manifest)
		return manifest, source, err
	})
	if err != nil {
		return nil, err
	}
	f.Embedded = true
	return f, nil
}

func libraryNames() []string {
	files, _ := fs.Glob(library, "*.yaml")
	names := make([]string, len(files))
	for i, f := range files {
		names[i] = strings.TrimSuffix(path.Base(f), ".yaml")
	}
	return names
}

// Library is every scenario that comes with the binary, by name. They are
// checked by this package's tests, so that a fault in one is a panic.
func Library() []*File {
	var files []*File
	for _, name := range libraryNames() {
		f, err := readEmbedded(name, name)
		if err != nil {
			panic(err)
		}
		files = append(files, f)
	}
	return files
}

// Open reads a manifest that a scenario names; it also gives the name by which
// faults speak of it.
type Open func(name string) (shown string, source []byte, err error)

// files are those that a scenario names, and what was made of them: each is read once,
// for all variants of the scenario.
type files struct {
	behind []*document // the objects that follow the scenario in its file
	cut    bool        // one of them is no YAML, and those after it were not read
	open   Open
	folder string // of the scenario
	read   map[string]opened
	// admitted: whether the pods lack a request is left to the API server.
	admitted bool
	size     int64
	traces   map[string][]record.RatePoint
}

type opened struct {
	shown  string
	source []byte
}

func filesBy(open Open) *files {
	return &files{open: open, read: map[string]opened{}, traces: map[string][]record.RatePoint{}}
}

// follow takes the objects that follow a scenario in its file, in which faults were found.
func (f *files) follow(docs []*document, faults Faults) Faults {
	f.behind = []*document{}
	f.cut = slices.ContainsFunc(faults, func(f Fault) bool { return strings.HasPrefix(f.Message, notYAML) })
	for _, d := range docs[1:] {
		object, _ := d.value.(map[string]any)
		if version, _ := object["apiVersion"].(string); strings.HasPrefix(version, "hpabench.dev/") {
			faults = append(faults, d.fault("", "a second scenario begins here", "a file has one scenario; the objects that follow it are its manifests"))
		} else if d.value != nil {
			f.behind = append(f.behind, d)
		}
	}
	return faults
}

// Open is the Open of f, within the limit for all files.
func (f *files) Open(name string) (shown string, source []byte, err error) {
	if o, known := f.read[name]; known {
		return o.shown, o.source, nil
	}
	if f.open == nil {
		return name, nil, errors.New("the files that a scenario names are not read here")
	}
	shown, source, err = f.open(name)
	if err != nil {
		return shown, nil, err
	}
	if f.size += int64(len(source)); f.size > maxFiles {
		return shown, nil, fmt.Errorf("%w: the files that the scenario names have more than %s together", ErrTooLarge, bytesText(maxFiles))
	}
	f.read[name] = opened{shown, source}
	return shown, source, nil
}

// Parse reads and checks a scenario. The error, if any, is Faults: all that is
// wrong, whether in the scenario or in a manifest. Where it could be read in
// spite of them, the File comes too, for what else there is to check.
func Parse(file string, source []byte, open Open) (*File, error) {
	return parse(file, source, filesBy(open))
}

func parse(file string, source []byte, named *files) (*File, error) {
	if named.folder == "" {
		named.folder = filepath.Dir(file)
	}
	docs, faults := readYAML(file, source)
	switch {
	case len(docs) == 0 && faults == nil, len(docs) > 0 && docs[0].value == nil && faults == nil:
		return nil, Faults{{file, 1, "the file holds no scenario", "hpabench scenarios lists examples"}}
	case len(docs) == 0:
		return nil, faults.sorted(file)
	case named.behind == nil:
		faults = named.follow(docs, faults)
	}
	f := &File{Path: file, Source: source, doc: docs[0], files: named}
	expandExisting(f.doc.value)
	against, err := forScenarios()
	if err != nil {
		return nil, err
	}
	wrong, bad := against.validate(f.doc, "", f.doc.value)
	faults = append(faults, wrong...)
	if len(bad) > maxFaults {
		return nil, faults.sorted(file)
	}
	value := f.doc.value
	if len(bad) > 0 {
		value = prune(value, "", bad)
	}
	if err := decode(value, &f.Scenario); err != nil {
		if len(bad) > 0 {
			return nil, faults.sorted(file)
		}
		return nil, append(faults, Fault{file, 1, err.Error(), ""}).sorted(file)
	}
	c := newChecker(f, bad)
	c.readManifests(named.Open)
	c.readTraces("spec.load.phases", c.Spec.Load.Phases)
	c.readRoots(named.Open)
	c.readRequests(named.Open)
	c.checkExtent()
	if c.over {
		return nil, append(faults, c.faults...).sorted(file)
	}
	c.check()
	if faults = append(faults, c.faults...); len(faults) > 0 {
		return f, faults.sorted(file)
	}
	return f, nil
}

// existingKinds are the kinds that the short form of workload.existing may name, as kubectl
// abbreviates them.
var existingKinds = map[string]string{
	"deployment": "Deployment", "deployments": "Deployment", "deploy": "Deployment",
	"statefulset": "StatefulSet", "statefulsets": "StatefulSet", "sts": "StatefulSet",
	"replicaset": "ReplicaSet", "replicasets": "ReplicaSet", "rs": "ReplicaSet",
	"daemonset": "DaemonSet", "daemonsets": "DaemonSet", "ds": "DaemonSet", // refused, with the reason
}

// expandExisting replaces the short form of workload.existing, deployment/web, by the long one.
func expandExisting(root any) {
	at := func(in any, field string) any { m, _ := in.(map[string]any); return m[field] }
	workload, _ := at(at(root, "spec"), "workload").(map[string]any)
	short, _ := workload["existing"].(string)
	kind, name, found := strings.Cut(short, "/")
	kind, _, _ = strings.Cut(kind, ".") // deployment.apps
	if kind = existingKinds[strings.ToLower(kind)]; found && kind != "" && name != "" {
		workload["existing"] = map[string]any{"kind": kind, "name": name}
	}
}

// newChecker is one of a scenario in which the values at some pointers are bad.
func newChecker(f *File, bad map[string]bool) *checker {
	return &checker{File: f, bad: map[*document]map[string]bool{f.doc: bad}, dropped: map[string][]string{}, refused: map[*document][]string{}, places: map[identity]int{}}
}

func decode(value, into any) error {
	b, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return jsonv2.Unmarshal(b, into, model.JSON)
}

// Fault makes a fault that points to a line of the scenario file. The path is
// like spec.expect[0], or a JSON pointer; what is not in the file stands for
// what is around it.
func (f *File) Fault(path, message, hint string) Fault {
	var flags []string
	for _, of := range f.flags {
		if overlap("/spec"+of[0], pointerTo(path)) {
			flags = append(flags, of[1])
		}
	}
	if flags != nil {
		return Fault{strings.Join(flags, " "), 0, message, hint}
	}
	if f.origin != nil {
		return f.origin.Fault(path, "with "+f.with+": "+message, hint)
	}
	return Fault{f.Path, f.doc.line(pointerTo(path)), message, hint}
}

// ObjectFault makes a fault that points to where one of the Objects is written.
func (f *File) ObjectFault(o *unstructured.Unstructured, message, hint string) Fault {
	for i := range f.Manifests {
		if m := &f.Manifests[i]; m.Object.GroupVersionKind() == o.GroupVersionKind() && m.Object.GetName() == o.GetName() {
			return m.doc.fault(m.base, message, hint)
		}
	}
	if kind := o.GetKind(); kind == "HorizontalPodAutoscaler" || kind == keda.Kind {
		return f.Fault("spec.autoscaler", message, hint)
	}
	return f.Fault("spec.workload", message, hint)
}

// Header is what the header of a record says of the scenario.
func (f *File) Header() *record.Header {
	h := &record.Header{Format: record.Format, Scenario: f.Metadata.Name, Source: f.shownSource(), Manifests: f.shownManifests(), Phases: f.Phases(), Expect: f.Spec.Expect}
	if c := f.Spec.CapacityPerReplica; c != nil {
		h.CapacityPerReplica = *c
	}
	if slo := f.Spec.SLO; slo != nil {
		h.SLOLatency = slo.Latency.Seconds()
	}
	return h
}
