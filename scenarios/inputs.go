package scenarios

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"

	"sigs.k8s.io/kustomize/api/konfig"
	"sigs.k8s.io/kustomize/api/krusty"
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
				return c.build(at, filepath.Join(shown, e.Name()))
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
		names, err = filepath.Glob(shown)
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
func (c *checker) build(at, file string) []input {
	before := len(c.faults)
	c.checkLocal(file, map[string]bool{})
	if len(c.faults) > before {
		c.broken = true
		return nil
	}
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(&bounded{FileSystem: filesys.MakeFsOnDisk()}, filepath.Dir(file))
	var source []byte
	if err == nil {
		source, err = built.AsYaml()
	}
	if err != nil {
		c.broken = true
		c.faults = append(c.faults, Fault{file, 1, "kustomize cannot build it: " + strings.Join(strings.Fields(err.Error()), " "), ""})
		return nil
	}
	return []input{{shown: file, source: source, built: true}}
}

// bounded is a file system that gives files of the size of manifests, and as much of them in
// all as a scenario may name.
type bounded struct {
	filesys.FileSystem
	size int
}

func (b *bounded) ReadFile(name string) ([]byte, error) {
	source, err := ReadFile(name, MaxSource)
	if b.size += len(source); err == nil && b.size > maxFiles {
		err = tooLarge(maxFiles)
	}
	return source, err
}

var (
	// remote are what kustomize takes for a repository or a file to fetch
	// (NewRepoSpecFromURL and IsRemoteFile in sigs.k8s.io/kustomize/api/internal), and
	// whatever might be.
	remote = regexp.MustCompile(`(?i)://|^git::|^[a-z0-9-]+@|^[^/]*:|github\.com|\.git\b|_git/|\?ref=`)
	// text are the fields of a kustomization that hold no names of files.
	text = []string{"commonAnnotations", "commonLabels", "labels", "literals", "patch", "images", "options", "metadata", "namePrefix", "nameSuffix",
		"namespace", "buildMetadata", "replicas", "vars", "target", "source", "targets", "apiVersion", "kind"}
)

// checkLocal refuses a kustomization that names, itself or by its bases, what is not on this
// machine.
func (c *checker) checkLocal(file string, seen map[string]bool) {
	if seen[file] {
		return
	}
	seen[file] = true
	source, err := ReadFile(file, MaxSource)
	if err != nil {
		c.faults = append(c.faults, Fault{file, 1, cause(err).Error(), ""})
		return
	}
	docs, faults := readYAML(file, source)
	c.faults = append(c.faults, faults...)
	for _, d := range docs {
		root, _ := d.value.(map[string]any)
		for _, field := range []string{"helmCharts", "helmChartInflationGenerator"} {
			if root[field] != nil {
				c.faultAt(d, "/"+field, helmHint, "%s of a kustomization are not rendered here", field)
			}
		}
		var walk func(pointer string, value any)
		walk = func(pointer string, value any) {
			switch v := value.(type) {
			case map[string]any:
				for key, inner := range v {
					if !slices.Contains(text, key) {
						walk(pointer+"/"+escape(key), inner)
					}
				}
			case []any:
				for i, inner := range v {
					walk(fmt.Sprintf("%s/%d", pointer, i), inner)
				}
			case string:
				_, path, keyed := strings.Cut(v, "=") // of a generator's file
				if strings.Contains(v, "\n") && !strings.Contains(v, "://") {
					return // an object, not its file
				}
				if remote.MatchString(v) || keyed && remote.MatchString(path) {
					c.faultAt(d, pointer, "get it first, and name the copy", "%q is not on this machine, and nothing is fetched for a scenario", v)
					return
				}
				if strings.Contains(v, "\n") {
					return
				}
				for _, name := range konfig.RecognizedKustomizationFileNames() {
					base := filepath.Join(filepath.Dir(file), v, name)
					if _, err := os.Stat(base); err == nil {
						c.checkLocal(base, seen)
					}
				}
			}
		}
		walk("", root)
	}
}
