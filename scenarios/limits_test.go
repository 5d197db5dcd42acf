package scenarios

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// What asks for more than a run can have is refused before it is written out, and
// without the memory that it would need.
func TestLimits(t *testing.T) {
	phases := func(text string) string { return loadHead + "    - " + text + "\n" }
	nested := func(depth, turns int) string {
		inner := "{name: z, duration: 1s, rate: 1}"
		for i := range depth {
			inner = fmt.Sprintf("{name: r%d, repeat: %d, phases: [%s]}", i, turns, inner)
		}
		return phases(inner)
	}
	matrix := func(text string) string {
		return strings.Replace(loadHead, "  load:\n", "  matrix: "+text+"\n  load:\n", 1) + "    - {name: a, duration: 5s, rate: 1}\n"
	}
	values := strings.Repeat("1, ", 1000) + "1"
	for name, test := range map[string]struct{ source, want string }{
		"three repetitions":    {nested(3, 1000), "the load has 1000000000 phases once repetitions and steps are written out, and may have 10000"},
		"forty repetitions":    {nested(40, 1000), "phases once repetitions"},
		"steps in repetitions": {phases("{name: r, repeat: 1000, phases: [{name: a, duration: 20s, steps: [" + strings.Repeat("1, ", 19) + "2]}]}"), "the load has 20000 phases"},
		"noise for long":       {phases("{name: a, duration: 700h, noise: {base: 5, amplitude: 1, every: 10ms}}"), "the load has 504000000 points of replays and noise"},
		"noise 1000 h":         {phases("{name: a, duration: 1000h, noise: {base: 5, amplitude: 1}}"), "scenario.yaml:10: "},
		"noise of no time":     {phases("{name: a, duration: 1h, noise: {base: 5, amplitude: 1, every: 0s}}"), "spec.load.phases[0].noise.every is 0s, and must be from 10ms"},
		"noise of none":        {phases("{name: a, duration: 1h, noise: {base: 5, amplitude: 1, every: 0.0000000001ns}}"), "spec.load.phases[0].noise.every is 0s, and must be from 10ms"},
		"noise too often":      {phases("{name: a, duration: 1h, noise: {base: 5, amplitude: 1, every: 1ns}}"), "spec.load.phases[0].noise.every is 1ns, and must be from 10ms"},
		"noise's seed":         {phases("{name: a, duration: 1h, noise: {base: 5, amplitude: 1, seed: 99999999999999999999}}"), "scenario.yaml:10: spec.load.phases[0].noise.seed wants an integer from 0 to 18446744073709551615"},
		"negative seed":        {phases("{name: a, duration: 1h, noise: {base: 5, amplitude: 1, seed: -1}}"), "scenario.yaml:10: spec.load.phases[0].noise.seed wants an integer from 0"},
		"negative noise":       {phases("{name: a, duration: 1h, noise: {base: 5, amplitude: 1, every: -1s}}"), "spec.load.phases[0].noise.every is -1s, and must be from 10ms"},
		"a year":               {phases("{name: a, duration: 8760h, rate: 1}"), "spec.load.phases[0].duration is 8760h0m0s, and must be from 1ms to 744h0m0s"},
		"a year of months":     {phases("{name: r, repeat: 12, phases: [{name: a, duration: 730h, rate: 1}]}"), "the load takes 31536000 s, and may take 2678400 (31 days)"},
		"longest duration":     {phases("{name: r, repeat: 1000, phases: [{name: a, duration: 2562047h, rate: 1}]}"), "the load takes"},
		"requests":             {phases("{name: a, duration: 30h, rate: 1000000}"), "the load has 108000000000 requests, and may have 100000000000"},
		"a nanosecond":         {phases("{name: a, duration: 1ns, rate: 1}"), "must be from 1ms"},
		"exponent":             {strings.Replace(phases("{name: a, duration: 1s, rate: 1}"), "cpu: 50m", "cpu: 1E888888888462", 1), "wants a quantity such as 100m or 64Mi"},
		"UTF-16":               {"\xff\xfea\x00:\x00", "scenario.yaml:1: this is not YAML: it is UTF-16, expected text in UTF-8: convert it with iconv -f UTF-16 -t UTF-8"},
		"a ZIP archive":        {"PK\x03\x04", "it is a ZIP archive"},
		"zero bytes":           {"a: b\x00", "byte 5 is zero"},
		"one string":           {"machine a.example password hunter2", "scenario.yaml:1: the document wants a mapping, has a string (its fields: apiVersion, kind, metadata, spec)"},
		"short sine":           {phases("{name: a, duration: 1s, sine: {mean: 1, amplitude: 1, period: 1ms}}"), "must be from 1s"},
		"think time":           {phases("{name: a, duration: 1s, workers: 1, thinkTime: 2562047h}"), "must be from 0s"},
		"time-out":             {strings.Replace(phases("{name: a, duration: 1s, rate: 1}"), "    phases:", "    timeout: 2562047h\n    phases:", 1), "spec.load.timeout is 2562047h0m0s, and must be from 1ms to 1h0m0s"},
		"long name":            {phases("{name: " + strings.Repeat("a", 200) + ", duration: 1s, rate: 1}"), "has 200 characters, at most 100 are allowed"},
		"capacity":             {strings.Replace(phases("{name: a, duration: 1s, rate: 1}"), "  load:", "  capacityPerReplica: 1e-300\n  load:", 1), "must be at least"},
		"values":               {phases("[" + strings.Repeat("0,", 300_000) + "0]"), "there are more than 200000 values up to here"},
		"a list of 5 MB":       {phases("[" + strings.Repeat("0,", 2_500_000) + "0]"), "there are more than 1000000 values, or signs that may begin one"},
		"a list of 50 MB":      {phases("[" + strings.Repeat("0,", 25_000_000) + "0]"), "bytes, and may have 8 MiB"},
		"dashes":               {phases(strings.Repeat(strings.Repeat("- ", 9000)+"a\n", 300)), "signs that may begin one"},
		"empty name":           {matrix(`{"": [1]}`), "cannot be set: the path has an empty part"},
		"empty path":           {matrix(`{"spec.": [1]}`), "cannot be set: the path has an empty part"},
		"empty part":           {matrix(`{"load..rate": [1]}`), "the path has an empty part"},
		"nothing but dots":     {matrix(`{"...": [1]}`), "the path has an empty part"},
		"brackets":             {matrix(`{"[]": [1]}`), "the path has an empty part"},
		"through a scalar":     {matrix(`{"autoscaler.max.x": [1]}`), "the field x is no mapping"},
		"a far item":           {matrix(`{"load.phases[9223372036854775808].rate": [1]}`), "there is no item 9223372036854775808 of 1"},
		"no values":            {matrix(`{target: []}`), "target has no values"},
		"1001 values":          {matrix("{target: [" + values + "]}"), "have 1001 combinations or more, and may have 1000"},
		"a thousand squared":   {matrix("{target: [" + values + "], min: [" + values + "], max: [" + values + "]}"), "combinations"},
		"weights": {strings.Replace(phases("{name: a, duration: 1s, rate: 1}"), "    phases:", "    targets: ["+strings.Repeat("{weight: 997}, {weight: 991}, ", 1000)+"{weight: 1}]\n    phases:", 1),
			"the product may be 1000000000"},
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			f, err := Parse("scenario.yaml", []byte(test.source), nowhere)
			if err == nil {
				_, err = f.Variants(f.Settings(nil))
			}
			runtime.ReadMemStats(&after)
			var faults Faults
			if !errors.As(err, &faults) || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("%.300v, want %q", err, test.want)
			}
			if f != nil {
				f.Phases() // for what else there is to check
			}
			if grown := (after.TotalAlloc - before.TotalAlloc) >> 20; grown > 500 {
				t.Errorf("it took %d MiB", grown)
			}
		})
	}
}

// Quantities for which Kubernetes' parser takes all memory are refused unread, wherever the
// manifests may have one.
func TestLongQuantities(t *testing.T) {
	const pods = `{metadata: {labels: {app: a}}, spec: {containers: [{name: c, image: nginx, resources: {requests: {cpu: 50m, memory: LONG}}}]}}`
	const web = `{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {selector: {app: a}, ports: [{port: 80}]}}
---
{apiVersion: apps/v1, kind: Deployment, metadata: {name: a}, spec: {selector: {matchLabels: {app: a}}, template: `
	plain := strings.ReplaceAll(pods, "LONG", "1Mi")
	hpa := func(version, rest string) string {
		return "\n---\n{apiVersion: autoscaling/" + version + ", kind: HorizontalPodAutoscaler, metadata: {name: a" + rest + ", maxReplicas: 3, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: a}}}"
	}
	annotated := func(name, text string) string {
		return hpa("v1", ", annotations: {autoscaling.alpha.kubernetes.io/"+name+": '"+text+"'}}, spec: {targetCPUUtilizationPercentage: 50")
	}
	other := func(kind, spec string) string {
		return "\n---\n{apiVersion: v1, kind: " + kind + ", metadata: {name: other}, " + spec + "}"
	}
	definition := func(rule, value string) string {
		return "\n---\n{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: sets.example.com}, spec: {group: example.com, scope: Namespaced, names: {plural: sets, kind: Set}, versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {size: {type: string" + value + "}}, default: {}, x-kubernetes-validations: [{rule: '" + rule + "'}]}}}}}]}}\n---\n{apiVersion: example.com/v1, kind: Set, metadata: {name: s}, spec: {size: LONG}}"
	}
	const wants, none = "wants a quantity such as 100m or 64Mi", ""
	for name, test := range map[string]struct{ rest, want string }{
		"pods":                   {pods + "}}", wants},
		"init containers":        {strings.Replace(plain, "containers", "initContainers: [{name: i, image: a, resources: {limits: {cpu: LONG}}}], containers", 1) + "}}", wants},
		"a volume in memory":     {strings.Replace(plain, "containers", "volumes: [{name: v, emptyDir: {medium: Memory, sizeLimit: LONG}}], containers", 1) + "}}", wants},
		"an ephemeral claim":     {strings.Replace(plain, "containers", "volumes: [{name: v, ephemeral: {volumeClaimTemplate: {spec: {resources: {requests: {storage: LONG}}}}}}], containers", 1) + "}}", wants},
		"the fields of a volume": {strings.Replace(plain, "containers", "volumes: [{name: v, downwardAPI: {items: [{path: a, resourceFieldRef: {resource: limits.cpu, divisor: LONG}}]}}], containers", 1) + "}}", wants},
		"overhead":               {strings.Replace(plain, "containers", "overhead: {cpu: LONG}, containers", 1) + "}}", wants},
		"an HPA":                 {plain + "}}" + hpa("v2", "}, spec: {metrics: [{type: Pods, pods: {metric: {name: m}, target: {type: AverageValue, averageValue: LONG}}}]"), wants},
		"an HPA's tolerance":     {plain + "}}" + hpa("v2", "}, spec: {behavior: {scaleDown: {tolerance: LONG}}"), wants},
		"metrics in v1":          {plain + "}}" + annotated("metrics", `[{"type":"Pods","pods":{"metricName":"m","targetAverageValue":"LONG"}}]`), "exponent of more than three digits"},
		"broken metrics in v1":   {plain + "}}" + annotated("metrics", `[{"type":1,"pods":{"metricName":"m","targetAverageValue":"LONG"}}]`), "m.yaml:5: the annotation autoscaling.alpha.kubernetes.io/metrics"},
		"behavior in v1":         {plain + "}}" + annotated("behavior", `{"ScaleUp":{"Tolerance":" LONG"}}`), "exponent of more than three digits"},
		"a LimitRange":           {plain + "}}" + other("LimitRange", "spec: {limits: [{type: Container, maxLimitRequestRatio: {cpu: LONG}}]}"), wants},
		"a ResourceQuota":        {plain + "}}" + other("ResourceQuota", "spec: {hard: {pods: LONG}}"), wants},
		"a volume":               {plain + "}}" + other("PersistentVolume", "spec: {capacity: {storage: LONG}, accessModes: [ReadWriteOnce], hostPath: {path: /a}}"), wants},
		"a claim":                {plain + "}}" + other("PersistentVolumeClaim", "spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: LONG}}}"), wants},
		"a list":                 {plain + "}}" + "\n---\n{apiVersion: v1, kind: List, items: [{apiVersion: v1, kind: ResourceQuota, metadata: {name: q}, spec: {hard: {cpu: LONG}}}]}", wants},
		"a rule of a definition": {plain + "}}" + definition(`quantity(self.size).isLessThan(quantity("1"))`, ""), none},
		"the default of one":     {plain + "}}" + definition(`isQuantity (self.size)`, ", default: LONG"), none},
		"a rule by itself":       {plain + "}}" + definition(`self.size == "LONG" && quantity("LONG").isInteger()`, ""), none},
		"a custom kind":          {plain + "}}\n---\n{apiVersion: argoproj.io/v1alpha1, kind: Rollout, metadata: {name: r}, spec: {selector: {matchLabels: {app: a}}, template: " + pods + "}}", wants},
	} {
		for _, long := range []string{".8E888888888462", `"1e-888888888"`, `"+1E+88888888 "`, strings.Repeat("1", 90_000)} {
			if strings.Contains(test.rest, "'") {
				long = strings.Trim(long, `"`) // it is in a string of JSON
			}
			target := ""
			if strings.Contains(test.rest, "Rollout") {
				target = ", target: {kind: Rollout, name: r}"
			}
			autoscaler := "\n  autoscaler: {cpuPercent: 50, min: 1, max: 3}"
			if strings.Contains(test.rest, "HorizontalPodAutoscaler") {
				autoscaler = ""
			}
			source := "apiVersion: hpabench.dev/v1alpha1\nkind: Scenario\nmetadata: {name: a}\nspec:\n  workload: {manifests: [m.yaml]" + target + "}" + autoscaler + "\n  load: {phases: [{name: a, duration: 1s, rate: 1}]}\n"
			var err error
			guarded(name, func() {
				_, err = Parse("s.yaml", []byte(source), func(string) (string, []byte, error) {
					return "m.yaml", []byte(web + strings.ReplaceAll(test.rest, "LONG", long)), nil
				})
			})
			if test.want == none && err != nil || test.want != none && (err == nil || !strings.Contains(err.Error(), "m.yaml:") || !strings.Contains(err.Error(), test.want) && len(long) < 100) {
				t.Errorf("%s, %.20s: %.500v, want %q", name, long, err, test.want)
			}
		}
	}
}

// guarded ends the test's process when f takes 20 s or 2 GiB, since nothing else ends f.
func guarded(name string, f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	for end := time.After(20 * time.Second); ; {
		select {
		case <-done:
			return
		case <-end:
			panic(name + " takes more than 20 s")
		case <-time.After(50 * time.Millisecond):
		}
		var memory runtime.MemStats
		if runtime.ReadMemStats(&memory); memory.HeapAlloc > 2<<30 {
			panic(name + " takes more than 2 GiB")
		}
	}
}

// No run of a size that people make is refused.
func TestWithinLimits(t *testing.T) {
	var day strings.Builder
	day.WriteString("seconds,rate\n")
	for s := range 86400 {
		fmt.Fprintf(&day, "%d,%d\n", s, 50+s%100)
	}
	targets := strings.Repeat("GET /item?n=1\nAccept: text/plain\n\n", 10_000)
	inline := strings.Repeat("{path: /item, method: GET, weight: 3, headers: {a: b, c: d}}, ", 9_999) + "{path: /last}"
	for name, test := range map[string]struct {
		phases string
		files  map[string]string
	}{
		"a day at a row a second": {"    - {name: day, replay: {file: day.csv, scale: 2}}\n", map[string]string{"day.csv": day.String()}},
		"10,000 targets":          {"    - {name: a, duration: 1m, rate: 5, targets: [{file: targets.txt, weight: 7}]}\n", map[string]string{"targets.txt": targets}},
		"10,000 inline targets":   {"    - {name: a, duration: 1m, rate: 5, targets: [" + inline + "]}\n", map[string]string{}},
		"two weeks of days":       {"    - {name: w, repeat: 14, phases: [{name: day, duration: 16h, rate: 90}, {name: night, duration: 8h, rate: 3}]}\n", map[string]string{}},
		"noise for a week":        {"    - {name: a, duration: 168h, noise: {base: 50, amplitude: 20}}\n", map[string]string{}},
	} {
		phases, err := phasesOf(t, test.phases, test.files)
		if err != nil {
			t.Errorf("%s: %.300v", name, err)
		}
		if name == "a day at a row a second" && (len(phases) != 1 || phases[0].Seconds != 86400 || phases[0].RateAt(86399.5) != 2*(50+99)) {
			t.Errorf("%s: %g s", name, phases[0].Seconds)
		}
	}
}

// Factors of a replay cannot make more of it than a scenario may ask for itself.
func TestReplayFactors(t *testing.T) {
	for factors, want := range map[string]string{
		"scale: 1e300":                "must be at most 1000000",
		"stretch: 1e300":              "must be at most 1000000",
		"scale: 1e-300":               "must be at least",
		"scale: 1e400":                "",
		"scale: .nan":                 "not a number that can be used",
		"scale: 0":                    "must be at least",
		"scale: -1":                   "must be at least",
		"scale: 900000":               "its highest rate is 18000000 requests/s",
		"stretch: 900000":             "the load takes",
		"stretch: 0.000001":           "the shortest phase takes 1ms",
		"scale: 9223372036854775807":  "must be at most 1000000",
		"scale: 40000, stretch: 1000": "requests, and may have 100000000000",
	} {
		_, err := phasesOf(t, "    - {name: a, replay: {file: trace.csv, "+factors+"}}\n", map[string]string{"trace.csv": "seconds,rate\n0,20\n300,20\n"})
		if strings.HasPrefix(factors, "stretch: 0.0000") {
			_, err = phasesOf(t, "    - {name: a, replay: {file: trace.csv, "+factors+"}}\n", map[string]string{"trace.csv": "seconds,rate\n0,20\n3,20\n"})
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", factors, err, want)
		}
	}
}

// Devices, folders, loops of links and files over their limit are one line each, wherever
// a scenario may name a file.
func TestOddFiles(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there is no /dev/zero")
	}
	dir := t.TempDir()
	loop := filepath.Join(dir, "loop")
	if err := os.Symlink(loop, loop); err != nil {
		t.Fatal(err)
	}
	fifo := filepath.Join(dir, "fifo")
	if out, err := exec.Command("mkfifo", fifo).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for file, want := range map[string]string{"/dev/zero": "it is a device, whose end may never come", fifo: "it is a named pipe, whose end may never come", dir: "is a directory", loop: "too many levels", "nul\x00": "invalid argument"} {
		if _, err := Read(file); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("scenario %q: %v, want %q", file, err, want)
		}
		for _, where := range []string{
			"    - {name: a, replay: {file: FILE}}\n",
			"    - {name: a, duration: 1s, rate: 1, targets: [{bodyFile: FILE}]}\n",
			"    - {name: a, duration: 1s, rate: 1, targets: [{file: FILE}]}\n",
		} {
			_, err := phasesOf(t, strings.ReplaceAll(where, "FILE", fmt.Sprintf("%q", file)), map[string]string{})
			want := want
			if filepath.IsAbs(file) {
				want = "not in the folder" // they are looked for nowhere else
			}
			if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%q in %s: %v, want %q", file, where, err, want)
			}
		}
	}
}

// A file that several targets name is read once, and all files have one limit together.
func TestFilesAreReadOnce(t *testing.T) {
	reads := 0
	big := bytes.Repeat([]byte{'x'}, 100<<20)
	open := func(name string) (string, []byte, error) {
		reads++
		return name, big, nil
	}
	source := func(names ...string) []byte {
		return []byte(strings.Replace(loadHead, "    phases:", "    targets: [{bodyFile: "+strings.Join(names, "}, {bodyFile: ")+"}]\n    phases:", 1) + "    - {name: a, duration: 1s, rate: 1}\n")
	}
	if _, err := Parse("s.yaml", source("a", "a", "b", "a"), open); err != nil || reads != 2 {
		t.Errorf("%v, %d reads", err, reads)
	}
	if _, err := Parse("s.yaml", source("a", "b", "c"), open); err == nil || !strings.Contains(err.Error(), "the files that the scenario names have more than 256 MiB together") {
		t.Errorf("three of 100 MiB: %v", err)
	}
}

// Of very many faults a hundred are shown.
func TestManyFaults(t *testing.T) {
	_, err := Parse("s.yaml", []byte(strings.Replace(loadHead, "    phases:", "    targets: ["+strings.Repeat("{weight: 0, path: x}, ", 5000)+"{}]\n    phases:", 1)+"    - {name: a, duration: 1s, rate: 1}\n"), nowhere)
	var faults Faults
	if !errors.As(err, &faults) || len(faults) > maxFaults+1 {
		t.Errorf("%d faults", len(faults))
	}
}

// A seed keeps all of its digits in a matrix.
func TestMatrixKeepsDigits(t *testing.T) {
	f, err := Parse("s.yaml", []byte(loadHead+"    - {name: a, duration: 5s, noise: {base: 5, amplitude: 1, seed: 9007199254740993}}\n"), nowhere)
	if err != nil {
		t.Fatal(err)
	}
	variants, err := f.Variants([]Setting{{Name: "max", Values: []any{9}}})
	if err != nil {
		t.Fatal(err)
	}
	if seed := variants[0].Spec.Load.Phases[0].Noise.Seed; seed != 9007199254740993 {
		t.Errorf("seed %d", seed)
	}
}
