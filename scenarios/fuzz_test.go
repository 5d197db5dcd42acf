package scenarios

import (
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
)

// maxFuzzed bounds the inputs that are looked at, in bytes: what is longer only takes
// longer, and the limits have tests of their own.
const maxFuzzed = 4096

// small are the sources of the library without their comments, by which the fuzzer finds
// more in the same time.
func small(source []byte) []byte {
	var lines []string
	for line := range strings.Lines(string(source)) {
		if t := strings.TrimSpace(line); t != "" && t[0] != '#' {
			lines = append(lines, line)
		}
	}
	return []byte(strings.Join(lines, ""))
}

func FuzzParse(f *testing.F) {
	for _, file := range Library() {
		f.Add(small(file.Source))
	}
	for _, a := range faultFiles(f) {
		if len(a.Files[0].Data) <= maxFuzzed {
			f.Add(a.Files[0].Data)
		}
	}
	f.Fuzz(func(t *testing.T, source []byte) {
		if len(source) > maxFuzzed {
			return
		}
		manifest := func(name string) (string, []byte, error) { return "beside/" + name, source, nil }
		file, err := Parse("f.yaml", source, manifest)
		if file != nil {
			if n := len(file.Phases()); n > maxPhases {
				t.Fatalf("%d phases", n)
			}
		}
		if err != nil {
			checkFaults(t, err)
			return
		}
		if e := file.extentOf(file.Spec.Load.Phases); e.seconds > MaxDuration.Seconds() || e.requests > MaxRequests || e.points > maxPoints {
			t.Fatalf("a load of %+v", e)
		}
		again, err := Parse("f.yaml", file.Source, manifest)
		if err != nil || !reflect.DeepEqual(file.Scenario, again.Scenario) || !reflect.DeepEqual(file.Objects(), again.Objects()) {
			t.Fatalf("the source reads differently the second time: %v", err)
		}
		if _, err := file.Variants(file.Settings(nil)); err != nil {
			checkFaults(t, err)
		}
	})
}

// FuzzManifest reads manifests alone: a scenario around them would take most of the time.
func FuzzManifest(f *testing.F) {
	for _, text := range []string{
		"{apiVersion: v1, kind: Service, metadata: {name: a, namespace: b}, spec: {selector: {a: b}, ports: [{port: 80, targetPort: http}]}}",
		"apiVersion: v1\nkind: LimitRange\nmetadata: {name: a}\nspec: {limits: [{type: Container, default: {cpu: 1e3, memory: 1Gi}}]}\n---\n",
		`{"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "a"}, "spec": {"hard": {"cpu": "1e888888888462"}}}`,
		"{apiVersion: v1, kind: ConfigMapList, items: [{metadata: {name: a, uid: b}, data: {a: &a b, c: *a}}]}",
		`{apiVersion: autoscaling/v1, kind: HorizontalPodAutoscaler, metadata: {name: a, annotations: {autoscaling.alpha.kubernetes.io/metrics: '[{"type":"Pods","pods":{"metricName":"m","targetAverageValue":"1"}}]'}}, spec: {maxReplicas: 3, scaleTargetRef: {kind: Deployment, name: a}}}`,
		"{apiVersion: example.com/v1, kind: Set, metadata: {name: a}, spec: {template: {spec: {containers: [{name: a}]}}}}", "{apiVersion: extensions/v1beta1, kind: Ingress, metadata: {name: a}}", "a: {{ .Values.a }}",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, source []byte) {
		if len(source) > maxFuzzed {
			return
		}
		c := newChecker(&File{Path: "f.yaml", doc: &document{file: "f.yaml"}, files: &files{}}, nil)
		c.Spec.Workload.Manifests = []string{"m.yaml"}
		c.readManifests(func(name string) (string, []byte, error) { return name, source, nil })
		if len(c.faults) > 0 {
			checkFaults(t, c.faults.sorted("f.yaml"))
		}
		for i := range c.Manifests {
			if m := &c.Manifests[i]; m.Object.GetName() == "" {
				t.Fatalf("%+v", m)
			}
		}
	})
}

func checkFaults(t *testing.T, err error) {
	t.Helper()
	var faults Faults
	if !errors.As(err, &faults) || len(faults) == 0 || len(faults) > maxFaults+1 {
		t.Fatalf("%d faults: %v", len(faults), err)
	}
	for _, fault := range faults {
		if fault.Line < 1 || fault.File == "" || fault.Message == "" {
			t.Fatalf("a fault without its place: %+v", fault)
		}
	}
}

func FuzzTrace(f *testing.F) {
	for _, text := range []string{
		"seconds,rate\n0,10\n4,30\n6,0\n", "\ufeffTime;Rate\r\n0;1,5\r\n1m;2\r\n", "time\trps\n00:00:01\t5\n00:01:00\t6\n",
		"timestamp,host,rate\n2026-01-31T15:04:05Z,a,5\n2026-01-31 15:05:05,b,6\n", "# c\ntime,qps\n1700000000000,5\n1700000060000,6\n",
		"1700000000000000000,200,1000,0,0,,b2s=,,0,GET,http://x,\n1700000001500000000,200,1000,0,0,,b2s=,,3,GET,http://x,\n",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, source []byte) {
		if len(source) > maxFuzzed {
			return
		}
		points, err := readTrace("t.csv", source)
		if err != nil {
			if !strings.Contains(err.Error(), "t.csv") {
				t.Errorf("%q does not name the file", err)
			}
			return
		}
		for i, p := range points {
			if !(p.At >= 0 && p.Rate >= 0 && p.Rate <= MaxRate) || math.IsInf(p.At, 0) || i == 0 && p.At != 0 || i > 0 && p.At < points[i-1].At {
				t.Fatalf("point %d of %v", i, points)
			}
		}
		if len(points) == 0 || len(points) > 2*len(source) && len(points) > int(2*MaxDuration.Seconds()+2) {
			t.Errorf("%d points", len(points))
		}
	})
}

func FuzzTargets(f *testing.F) {
	for _, text := range []string{
		"GET http://ignored:8080/x?y=z\nX-One: 1\nX-One: 2\n\nPUT /order\nContent-Type: application/json\n@order.json\n",
		`{"method": "DELETE", "url": "http://ignored/", "body": "aGVsbG8=", "header": {"X-A": ["b"]}}` + "\n", "# c\r\nPOST /a b\r\n",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, source []byte) {
		if len(source) > maxFuzzed {
			return
		}
		open := func(name string) (string, []byte, error) { return name, source, nil }
		c := checker{File: &File{files: &files{}}}
		list, err := c.readTargets(open, "t.txt")
		if err != nil {
			if !strings.Contains(err.Error(), "t.txt") {
				t.Errorf("%q does not name the file", err)
			}
			return
		}
		for _, r := range list {
			if err := sendable(r); err != nil {
				t.Errorf("%+v: %v", r, err)
			}
		}
	})
}

// parsed is a scenario without faults.
func parsed(f *testing.F) *File {
	file, err := Parse("s.yaml", []byte(loadHead+"    - {name: a, duration: 5s, rate: 1}\n"), nowhere)
	if err != nil {
		f.Fatal(err)
	}
	return file
}

func FuzzSetting(f *testing.F) {
	for _, text := range []string{"target=40,60", "spec.=1", "load.phases[0].rate=1e400,.nan", "a..b=", "x=[1,{a: b}]", "min=1\nmax=2", "workload.deployment.env[0].value=*a"} {
		f.Add(text)
	}
	file := parsed(f)
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 256 {
			return
		}
		s, err := ParseSetting(text)
		if err != nil {
			if err.Error() == "" {
				t.Error("no message")
			}
			return
		}
		if len(s.Values) == 0 || len(s.Values) > MaxVariants {
			t.Fatalf("%d values", len(s.Values))
		}
		s.Values = s.Values[:1]
		if _, err := file.Variants([]Setting{s}); err != nil && err.Error() == "" {
			t.Error("no message")
		}
	})
}
