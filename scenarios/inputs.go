package scenarios

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/kustomize/api/konfig"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

// stdin is the name of the standard input among the manifests.
const stdin = "-"

// input is a file of manifests, or what kustomize builds.
type input struct {
	shown  string
	source []byte
	built  bool
}

// inputs reads what one item of workload.manifests names: a file, the standard input, the
// files of a directory or of a pattern, a kustomization.
func (c *checker) inputs(at, name string, open Open) []input {
	shown, source, err := open(name)
	directory := errors.Is(err, syscall.EISDIR)
	if slices.Contains(konfig.RecognizedKustomizationFileNames(), filepath.Base(name)) && err == nil {
		directory, shown = true, filepath.Dir(shown)
	}
	refuse := func(hint, format string, args ...any) []input {
		c.broken = true
		c.fault(at, hint, format, args...)
		return nil
	}
	var names []string
	switch {
	case directory:
		entries, err := os.ReadDir(shown)
		if err != nil {
			return refuse("", "manifests %s: %v", name, cause(err))
		}
		for _, e := range entries {
			switch {
			case slices.Contains(konfig.RecognizedKustomizationFileNames(), e.Name()):
				return c.build(filepath.Join(shown, e.Name()))
			case e.Name() == "Chart.yaml":
				return refuse(helmHint, "%s is a Helm chart, which is no manifest before it is rendered", name)
			case !e.IsDir() && slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(e.Name())):
				names = append(names, filepath.Join(shown, e.Name()))
			}
		}
		if len(names) == 0 {
			return refuse("those of folders in it are named one by one", "folder %s holds no file *.yaml, *.yml or *.json", name)
		}
	case errors.Is(err, fs.ErrNotExist) && strings.ContainsAny(name, "*?["):
		names, err = filepath.Glob(asWritten(shown))
		if err != nil || len(names) == 0 {
			return refuse("a pattern has *, ? and [a-z], and is looked for beside the scenario file", "no file fits the pattern %s", name)
		}
	case err != nil && name == stdin:
		return refuse("such as helm template RELEASE CHART | hpabench run SCENARIO", "manifests from standard input: %v", cause(err))
	case err != nil:
		return refuse("manifests are looked for beside the scenario file", "manifest %s: %v", name, cause(err))
	default:
		return []input{{shown: shown, source: source}}
	}
	var all []input
	for _, file := range names {
		absolute, err := filepath.Abs(file)
		if err == nil {
			_, source, err = open(absolute)
		}
		if errors.Is(err, syscall.EISDIR) {
			continue // that fits a pattern
		}
		if err != nil {
			return refuse("", "manifest %s: %v", file, cause(err))
		}
		all = append(all, input{shown: file, source: source})
	}
	return all
}

// asWritten is a pattern in which the folders at its begin that have such names, as
// configs[1], stand for themselves.
func asWritten(pattern string) string {
	if os.PathSeparator == '\\' {
		return pattern // which has no sign that takes the meaning from another
	}
	parts := strings.Split(pattern, "/")
	folder := ""
	for i, part := range parts {
		folder += part + "/"
		info, err := os.Stat(folder)
		if err != nil || !info.IsDir() {
			break
		}
		parts[i] = special.ReplaceAllString(part, `\$0`)
	}
	return strings.Join(parts, "/")
}

var special = regexp.MustCompile(`[*?[\\]`)

const helmHint = "render it: helm template RELEASE CHART | hpabench run SCENARIO, with manifests: [-]"

// An action of Go's templates, as Helm's charts have them; and the beginning of any.
var (
	helmAction  = regexp.MustCompile(`\{\{-?\s*[^}]*\.(Values|Release|Chart|Capabilities)\b[^}]*\}\}`)
	helmControl = regexp.MustCompile(`\{\{-?\s*(include|template|define|if|else|range|with|end|toYaml|tpl|required)?\b[^}]*\}\}`)
)

// unrendered says so of a file that is a template: of one that names the values of a Helm
// chart, or one that cannot be read and has an action.
func unrendered(in input, faults Faults) *Fault {
	var found []int
	for _, where := range helmAction.FindAllIndex(in.source, -1) {
		line := in.source[bytes.LastIndexByte(in.source[:where[0]], '\n')+1 : where[0]]
		if !bytes.HasPrefix(bytes.TrimSpace(line), []byte("#")) {
			found = where
			break
		}
	}
	if found == nil && len(faults) > 0 {
		found = helmControl.FindIndex(in.source)
	}
	if found == nil {
		return nil
	}
	text := string(in.source[found[0]:found[1]])
	if len(text) > 60 {
		text = text[:60] + "…"
	}
	return &Fault{in.shown, bytes.Count(in.source[:found[0]], []byte("\n")) + 1, fmt.Sprintf("this is a template that is not rendered: %q", text), helmHint}
}

// build gives what kustomize makes of a kustomization. Bases and files elsewhere than on this
// machine, plugins and Helm charts are refused.
func (c *checker) build(file string) []input {
	refuse := func(faults ...Fault) []input {
		c.broken = true
		c.faults = append(c.faults, faults...)
		return nil
	}
	// kustomize may take a relative path for the address of a repository.
	root, err := filepath.Abs(filepath.Dir(file))
	if err == nil {
		root, err = filepath.EvalSymlinks(root)
	}
	if err != nil {
		return refuse(Fault{file, 1, cause(err).Error(), ""})
	}
	local := &local{FileSystem: filesys.MakeFsOnDisk(), data: map[string]generated{}, shown: func(name string) string {
		if relative, err := filepath.Rel(root, name); err == nil {
			return filepath.Join(filepath.Dir(file), relative)
		}
		return name
	}}
	source, err := kustomized(local, root)
	if len(local.faults) > 0 {
		return refuse(local.faults...)
	}
	if err != nil {
		return refuse(Fault{file, 1, "kustomize cannot build it: " + shortened(err.Error()), ""})
	}
	return []input{{shown: file, source: source, built: true}}
}

// building is held while kustomize builds: its warnings go to what is the standard error of
// the whole program.
var building sync.Mutex

// kustomized is what kustomize makes of the kustomization in a folder, in YAML. Its warnings
// are dropped: they have the text of the files as it is, escape sequences too. A panic of
// kustomize, which some kustomizations cause, is an error.
func kustomized(files filesys.FileSystem, folder string) (source []byte, err error) {
	building.Lock()
	defer building.Unlock()
	nowhere, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return nil, err
	}
	defer nowhere.Close()
	logged, stderr := log.Writer(), os.Stderr
	log.SetOutput(io.Discard)
	os.Stderr = nowhere
	defer func() {
		log.SetOutput(logged)
		os.Stderr = stderr
		if fault := recover(); fault != nil {
			source, err = nil, fmt.Errorf("it has a value that kustomize cannot take and does not name: kustomize stops with %v", fault)
		}
	}()
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(files, folder)
	if err != nil {
		return nil, err
	}
	return built.AsYaml()
}

// maxReads bounds how often kustomize reads a file: bases that share bases are read anew for
// each, so that 30 small files could take days.
const maxReads = 2_000

// local is a file system that gives files of the size of manifests, and as much of them in
// all as a scenario may name. It gives no kustomization that names what is not on this machine:
// kustomize reads each here before it follows what is named there, and would ask the network
// for it past its file system.
type local struct {
	filesys.FileSystem
	shown       func(name string) string
	size, reads int
	faults      Faults
	data        map[string]generated // by file
}

// generated are the sizes of the files of which a ConfigMap or a Secret is generated, by name.
type generated map[string]int

func (l *local) ReadFile(name string) ([]byte, error) {
	limit, read := int64(MaxSource), l.data[name]
	if read != nil {
		limit = corev1.MaxSecretSize // of ConfigMaps too
	}
	source, err := ReadFile(name, limit)
	held := len(source)
	if read != nil {
		read[name] = held
		for file, size := range read {
			if file != name {
				held += size
			}
		}
	}
	l.size, l.reads = l.size+len(source), l.reads+1
	var faults Faults
	switch {
	case read != nil && (errors.Is(err, ErrTooLarge) || int64(held) > limit):
		what := "the file has"
		if err == nil {
			what = "with this file, the files of one generator have"
		}
		faults = Faults{{Message: fmt.Sprintf("%s more than %s, which is the most that a ConfigMap or a Secret may hold", what, bytesText(limit))}}
	case err != nil:
		faults = Faults{{Message: cause(err).Error()}}
	case l.size > maxFiles:
		faults = Faults{{Message: tooLarge(maxFiles).Error()}}
	case l.reads > maxReads:
		faults = Faults{{Message: fmt.Sprintf("kustomize reads more than %d files, as bases that share bases are read anew for each", maxReads)}}
	default:
		faults = notLocal(name, source, l.data)
	}
	for i := range faults {
		faults[i].File, faults[i].Line = l.shown(name), max(faults[i].Line, 1)
	}
	if len(faults) > 0 {
		l.faults = append(l.faults, faults...)
		return nil, faults // kustomize may look for another file first
	}
	return source, nil
}

// remoteBase are what kustomize takes for a repository (NewRepoSpecFromURL in
// sigs.k8s.io/kustomize/api/internal/git), and whatever might be.
var remoteBase = regexp.MustCompile(`(?i)://|^git::|^[a-z0-9-]+@|^[^/]*:|github\.com|\.git\b|_git/|\?ref=`)

// remoteFile says whether kustomize fetches a file (IsRemoteFile in
// sigs.k8s.io/kustomize/api/internal/loader).
func remoteFile(path string) bool {
	u, err := url.Parse(path)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https")
}

// notLocal are the faults of a file if it is a kustomization, whatever its name, in which
// something is fetched, or a program or a plugin is run. The kustomization is decoded as
// kustomize does it, so that both see the same. The files of its generators are added to data.
func notLocal(name string, source []byte, data map[string]generated) (faults Faults) {
	if slices.Contains(konfig.RecognizedKustomizationFileNames(), filepath.Base(name)) {
		if _, faults = readYAML(name, source); len(faults) > 0 {
			return faults
		}
	}
	var k types.Kustomization
	if k.Unmarshal(source) != nil {
		return nil // kustomize says why, if it is to be one
	}
	fault := func(what, hint, format string, args ...any) {
		line := 1
		if i := bytes.Index(source, []byte(strings.Split(what, "\n")[0])); i >= 0 {
			line += bytes.Count(source[:i], []byte("\n"))
		}
		faults = append(faults, Fault{name, line, fmt.Sprintf(format, args...), hint})
	}
	for field, used := range map[string]bool{"helmCharts": k.HelmCharts != nil, "helmChartInflationGenerator": k.HelmChartInflationGenerator != nil} {
		if used {
			fault(field, helmHint, "%s of a kustomization are not rendered here", field)
		}
	}
	for field, plugins := range map[string][]string{"generators": k.Generators, "transformers": k.Transformers, "validators": k.Validators} {
		if len(plugins) > 0 {
			fault(field, "render it: kubectl kustomize FOLDER | hpabench run SCENARIO, with manifests: [-]",
				"%s of a kustomization are not run here, as they may fetch files from elsewhere", field)
		}
	}
	k.FixKustomization() // bases are resources then, and env is one of envs
	check := func(path string, remote bool) {
		if remote {
			fault(path, "get it first, and name the copy", "%q is not on this machine, and nothing is fetched for a scenario", path)
		}
	}
	for _, base := range append(k.Resources, k.Components...) {
		check(base, remoteBase.MatchString(base) || remoteFile(base))
	}
	files := slices.Concat(k.Crds, k.Configurations, []string{k.OpenAPI["path"]})
	var sources []types.KvPairSources
	for _, g := range k.ConfigMapGenerator {
		sources = append(sources, g.KvPairSources)
	}
	for _, g := range k.SecretGenerator {
		sources = append(sources, g.KvPairSources)
	}
	for _, s := range sources {
		files = append(files, s.EnvSources...)
		sizes := generated{}
		for _, path := range s.EnvSources {
			data[filepath.Join(filepath.Dir(name), path)] = sizes
		}
		for _, keyed := range s.FileSources {
			_, path, is := strings.Cut(keyed, "=")
			check(keyed, remoteFile(keyed) || remoteFile(path))
			if !is {
				path = keyed
			}
			data[filepath.Join(filepath.Dir(name), path)] = sizes
		}
	}
	for _, patch := range k.PatchesStrategicMerge { //nolint:staticcheck // people still write it
		files = append(files, string(patch))
	}
	for _, patch := range slices.Concat(k.Patches, k.PatchesJson6902) { //nolint:staticcheck // people still write it
		files = append(files, patch.Path)
	}
	for _, replacement := range k.Replacements {
		files = append(files, replacement.Path)
	}
	for _, file := range files {
		check(file, remoteFile(file))
	}
	return faults
}
