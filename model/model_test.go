package model

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestPresetGoesByTheImage(t *testing.T) {
	for image, want := range map[string]string{
		"nginx":                               Nginx,
		"nginx:1.15.2":                        Nginx,
		"example.com:5000/library/nginx:1":    Nginx,
		"registry.k8s.io/hpa-example":         HPAExample,
		"hpa-example@sha256:0123456789abcdef": HPAExample,
		"example.com:5000/app":                Generic,
		"nginx-unprivileged:1.15":             Generic,
		"nginx/app":                           Generic,
		"":                                    Generic,
	} {
		if got := Resolve(&corev1.Container{Image: image}, Model{}).Preset; got != want {
			t.Errorf("image %q: preset %s, want %s", image, got, want)
		}
	}
	if got := Resolve(&corev1.Container{Image: "nginx"}, Model{Preset: HPAExample}).Preset; got != HPAExample {
		t.Errorf("the preset that the model names gave way to the image's: %s", got)
	}
}

// Only these mean something when they are left out.
func TestResolveFillsEveryField(t *testing.T) {
	may := []string{"MemoryHeld", "Metrics", "Fault", "Forwards", "Calls", "Holds", "Takes"}
	for _, preset := range presets {
		v := reflect.ValueOf(Resolve(new(corev1.Container), Model{Preset: preset}))
		for i := range v.NumField() {
			if name := v.Type().Field(i).Name; !slices.Contains(may, name) && v.Field(i).IsZero() {
				t.Errorf("%s: %s is left out", preset, name)
			}
		}
	}
}

func TestResolveKeepsWhatIsGiven(t *testing.T) {
	given, err := Parse(`{
		"preset": "nginx", "pull": "1s", "start": "2s", "startCPU": "3s", "drain": "4s", "graceful": true,
		"cpu": {"mean": "5ms", "distribution": "lognormal", "deviation": 2}, "connectionCPU": "6ms",
		"wait": {"mean": "7ms"}, "workers": 8, "queue": 9, "serving": "turns", "idleCPU": "10m", "memory": "11Mi",
		"memoryPerRequest": "12Ki", "memoryHeld": "13s", "body": "14", "fault": {"errors": 0.15}}`)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(given, Resolve(&corev1.Container{Image: "hpa-example"}, given)); diff != "" {
		t.Errorf("a whole model was changed (-given +resolved):\n%s", diff)
	}
}

// The values are taken as the image's own program takes them.
func TestHPAExampleReadsItsEnvironment(t *testing.T) {
	type figures struct{ Burn, Start, Drain time.Duration }
	for name, c := range map[string]struct {
		env  string
		want figures
	}{
		"none":     {"", figures{Burn: 5 * time.Millisecond}},
		"all":      {"BURN=20ms STARTUP=30s SHUTDOWN=2s", figures{20 * time.Millisecond, 30 * time.Second, 2 * time.Second}},
		"invalid":  {"BURN=20 STARTUP=x SHUTDOWN=", figures{Burn: 5 * time.Millisecond}},
		"negative": {"BURN=-1ms STARTUP=-1s SHUTDOWN=-1s", figures{}},
		"twice":    {"BURN=1ms BURN=2ms", figures{Burn: 2 * time.Millisecond}},
	} {
		var env []corev1.EnvVar
		for _, e := range strings.Fields(c.env) {
			name, value, _ := strings.Cut(e, "=")
			env = append(env, corev1.EnvVar{Name: name, Value: value})
		}
		m := Resolve(&corev1.Container{Image: "hpa-example", Env: env}, Model{})
		if diff := cmp.Diff(c.want, figures{m.CPU.Mean.Duration, m.Start.Duration, m.Drain.Duration}); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestParse(t *testing.T) {
	for text, want := range map[string]string{
		`{"cpus": {}}`:                                          "cpus",
		`{"start": "soon"}`:                                     "soon",
		`{"memory": "much"}`:                                    "quantit",
		`{"memory": 1e888888888462}`:                            "exponent of more than three digits",
		`{"memory": "\u00a0.8E-888888888462 "}`:                 "exponent of more than three digits",
		`{"memory": "1` + strings.Repeat("0", 200_000) + `"}`:   "more than 100 characters",
		`{"workers": 1} {}`:                                     "after",
		`{"workers": 1`:                                         "unexpected end",
		`{"preset": "apache"}`:                                  "apache",
		`{"workers": 0}`:                                        "workers",
		`{"queue": -1}`:                                         "queue",
		`{"drain": "-1s"}`:                                      "drain",
		`{"idleCPU": "-1"}`:                                     "idleCPU",
		`{"cpu": {"mean": "-1s"}}`:                              "cpu.mean",
		`{"fault": {"errors": 2}}`:                              "fault.errors",
		`{"fault":{"crash":"-1s"}}`:                             "fault.crash",
		`{"wait": {"mean": "1s", "distribution": "normal"}}`:    "normal",
		`{"wait": {"mean": "1s", "deviation": -1}}`:             "deviation",
		`{"cpu": {"mean": "1s", "distribution": "lognormal "}}`: "lognormal",
	} {
		if _, err := Parse(text); err == nil {
			t.Errorf("Parse(%s) found nothing wrong", text)
		} else if !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), Annotation) {
			t.Errorf("Parse(%s) = %q, which does not name %q and the annotation", text, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(`{"preset": "nginx", "cpu": {"mean": "5ms", "distribution": "exponential"}}`)
	f.Add(`{"fault": {"crash": "1s"}, "memory": "1Gi"}`)
	f.Fuzz(func(t *testing.T, text string) {
		m, err := Parse(text)
		if err != nil {
			return
		}
		// What was accepted can be written and read again: a scenario's model
		// becomes an annotation.
		again, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Parse(string(again)); err != nil {
			t.Errorf("%s became %s: %v", text, again, err)
		}
	})
}

func FuzzQuantity(f *testing.F) {
	for _, text := range []string{".8E888888888462", "-1e-999", "+1.5Gi", "100m", "9999999999999999999Ei", " 1e3"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		q, err := ParseQuantity(text)
		var decoded struct{ Q resource.Quantity }
		if value, _ := json.Marshal(map[string]string{"Q": text}); err == nil && jsonv2.Unmarshal(value, &decoded, JSON) != nil {
			t.Errorf("%q is a quantity, and is not in JSON", text)
		}
		if err == nil && q.Cmp(decoded.Q) != 0 {
			t.Errorf("%q is %s, and %s in JSON", text, &q, &decoded.Q)
		}
	})
}

func TestScript(t *testing.T) {
	type script struct {
		Takes time.Duration
		Code  int
		OK    bool
	}
	for command, want := range map[string]script{
		"sleep 8":                      {8 * time.Second, 0, true},
		"/bin/sleep 1.5":               {1500 * time.Millisecond, 0, true},
		"sh|-c|sleep 8":                {8 * time.Second, 0, true},
		"/bin/sh|-ec|sleep 2m; exit 3": {2 * time.Minute, 3, true},
		"sh|-c|exec sleep infinity":    {-1, 0, true},
		"sh|-c|exit 1":                 {0, 1, true},
		"sh|-c|sleep 1 && exit 2":      {time.Second, 2, true},
		"":                             {},
		"sleep":                        {},
		"sleep x":                      {},
		"sh|-c|sleep 1; wget x":        {},
		"nginx":                        {},
	} {
		var got script
		got.Takes, got.Code, got.OK = Script(strings.Split(command, "|"))
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", command, diff)
		}
	}
	if takes, _, ok := Script([]string{"sleep", "8"}); !ok || takes != 8*time.Second {
		t.Errorf("a command of two words: %s %v", takes, ok)
	}
}

func TestAssumedOthers(t *testing.T) {
	always := corev1.ContainerRestartPolicyAlways
	pod := corev1.PodSpec{InitContainers: []corev1.Container{{Name: "migrate"}}, Containers: []corev1.Container{{Name: "web"}}}
	if got := AssumedOthers(&pod, false); got != "" {
		t.Errorf("of one container: %q", got)
	}
	pod.InitContainers = append(pod.InitContainers, corev1.Container{Name: "proxy", RestartPolicy: &always})
	pod.Containers = append(pod.Containers, corev1.Container{Name: "logs"})
	if got := AssumedOthers(&pod, false); !strings.Contains(got, "(proxy, logs): they use no CPU") {
		t.Errorf("of a sidecar and a second container: %q", got)
	}
	if got := AssumedOthers(&pod, true); !strings.Contains(got, "(proxy, logs) used is counted") {
		t.Errorf("of CPU that was measured: %q", got)
	}
}

// What is stated, or known of the image, is not assumed.
func TestAssumed(t *testing.T) {
	ms := metav1.Duration{Duration: time.Millisecond}
	for _, c := range []struct {
		image  string
		stated Model
		want   []string // parts of it
	}{
		{"example.com/shop:1", Model{}, []string{"image example.com/shop:1", "1ms of CPU", "after 100ms", "16Mi"}},
		{"example.com/shop:1", Model{CPU: &Cost{Mean: ms}}, []string{"after 100ms", "16Mi"}},
		{"example.com/shop:1", Model{Start: &ms, Memory: quantity("1Mi")}, []string{"1ms of CPU"}},
		{"example.com/shop:1", Model{CPU: &Cost{Mean: ms}, StartCPU: &ms, Memory: quantity("1Mi")}, nil},
		{"example.com/shop:1", Model{Preset: Nginx}, nil},
		{"example.com/shop:1", Model{Preset: Generic}, nil}, // the user asks for it
		{"registry.example/nginx:1.29", Model{}, nil},
		{"hpa-example", Model{}, nil},
	} {
		got := Assumed(&corev1.Container{Image: c.image}, c.stated)
		if (got == "") != (c.want == nil) {
			t.Errorf("%s, %+v: %q", c.image, c.stated, got)
		}
		for _, part := range c.want {
			if !strings.Contains(got, part) {
				t.Errorf("%s, %+v: %q has no %q", c.image, c.stated, got, part)
			}
		}
		if c.stated.CPU != nil && strings.Contains(got, "of CPU") {
			t.Errorf("what is stated is assumed: %q", got)
		}
	}
}

// How long a request holds memory goes with how much it holds: a model that says nothing of both has both
// from its base.
func TestMemoryHeldGoesWithMemory(t *testing.T) {
	held, other := duration(20*time.Second), duration(time.Second)
	base := Model{MemoryPerRequest: quantity("1Mi"), MemoryHeld: held}
	for _, c := range []struct {
		m    Model
		want *metav1.Duration
	}{
		{Model{}, held},
		{Model{MemoryPerRequest: quantity("2Mi")}, nil},
		{Model{MemoryHeld: other}, other},
		{Model{MemoryPerRequest: quantity("2Mi"), MemoryHeld: other}, other},
	} {
		if got := c.m.Over(base).MemoryHeld; got != c.want {
			t.Errorf("%+v: memory is held for %v, want %v", c.m, got, c.want)
		}
	}
}
