package record

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
)

const headerLine = `{"at":0,"header":{"format":"` + Format + `","phases":[{"name":"a","seconds":60,"shape":"rate","from":1}]}}` + "\n"

func hpaLine(spec string) string {
	return `{"at":1,"autoscaler":{"name":"web","spec":{"scaleTargetRef":{"kind":"Deployment","name":"web"},` + spec + `},"status":{"desiredReplicas":1,"currentMetrics":null}}}`
}

// What no run can have written is refused where it is read, with its line.
func TestEntriesAreBounded(t *testing.T) {
	for line, want := range map[string]string{
		`{"at":1,"load":{"phase":0,"second":4611686018427387904}}`:                                                                                                                    "load: second is 4611686018427387904",
		`{"at":1,"load":{"phase":0,"second":90000}}`:                                                                                                                                  "the line is of second 1",
		`{"at":1,"load":{"phase":0,"second":-1}}`:                                                                                                                                     "load: second is -1",
		`{"at":1,"load":{"phase":-1,"second":1}}`:                                                                                                                                     "load: phase is -1",
		`{"at":1,"load":{"phase":0,"second":1,"answered":18446744073709551615}}`:                                                                                                      "load: answered is",
		`{"at":1,"load":{"phase":0,"second":1,"lateMaxSeconds":1e308}}`:                                                                                                               "load: lateMaxSeconds is 1e+308",
		`{"at":1,"load":{"phase":0,"second":1,"codes":{"200":99999999999999999}}}`:                                                                                                    `the number of "200"`,
		`{"at":1,"load":{"phase":0,"second":1,"latency":"rubbish"}}`:                                                                                                                  "decoding a latency histogram",
		`{"at":1,"load":{"phase":0,"second":1,"lateness":"HISTFAAA"}}`:                                                                                                                "decoding a latency histogram",
		`{"at":1,"load":{"phase":0,"second":1,"latency":"` + strings.Repeat("A", 1<<20) + `"}}`:                                                                                       "has 1048576 bytes",
		`{"at":1,"load":{"phase":0,"second":1,"pods":{"a":{"latency":"!"}}}}`:                                                                                                         "decoding a latency histogram",
		`{"at":1,"phase":{"index":-1,"name":"a","edge":"start"}}`:                                                                                                                     "phase: index is -1",
		`{"at":1,"phase":{"index":0,"name":"a","edge":"middle"}}`:                                                                                                                     `phase: edge is "middle"`,
		`{"at":1,"target":{"generation":1,"replicas":-3,"status":0}}`:                                                                                                                 "target: replicas is -3",
		`{"at":1,"replicaSet":{"name":"a","replicas":1,"status":1,"ready":-1}}`:                                                                                                       "replicaSet: ready is -1",
		`{"at":1,"target":{"generation":1,"replicas":2147483648,"status":0}}`:                                                                                                         "not an entry",
		`{"at":1,"cluster":{"version":"v1","nodes":[{"name":"n","cpu":-1}]}}`:                                                                                                         "cluster: cpu of node n is -1",
		`{"at":1,"cluster":{"version":"v1","nodes":null,"lab":{"timing":"real","hpaSyncSeconds":0}}}`:                                                                                 "horizontalPodAutoscalerSyncPeriod is 0s",
		`{"at":1,"pod":{"name":"a","uid":"b","containers":[{"name":"c","requests":{"cpu":"-1"}}]}}`:                                                                                   "pod: container c has -1 of cpu",
		`{"at":1,"podMetrics":{"samples":[{"pod":"a","timestamp":"9999-01-01T00:00:00Z","windowSeconds":1}]}}`:                                                                        "of the year 9999",
		`{"at":1,"podMetrics":{"samples":[{"pod":"a","timestamp":"0000-01-01T00:00:00Z","windowSeconds":1}]}}`:                                                                        "of the year 0",
		`{"at":1,"podMetrics":{"samples":[{"pod":"a","timestamp":"2000-01-01T00:00:00Z","windowSeconds":-1}]}}`:                                                                       "windowSeconds of pod a is -1",
		`{"at":1,"podMetrics":{"samples":[{"pod":"a","timestamp":"2000-01-01T00:00:00Z","windowSeconds":1,"containers":[{"name":"c","cpu":1e308,"memoryBytes":1}]}]}}`:                "cpu of pod a is 1e+308",
		`{"at":1,"podMetrics":{"samples":[{"pod":"a","timestamp":"2000-01-01T00:00:00Z","windowSeconds":1,"containers":[{"name":"c","cpu":1,"memoryBytes":-9223372036854775808}]}]}}`: "memoryBytes of pod a is -9",
		`{"at":1,"podMetrics":{"samples":[` + strings.Repeat(`{"pod":"a","timestamp":"2000-01-01T00:00:00Z","windowSeconds":1,"containers":[]},`, MaxPods) + `{"pod":"a"}]}}`:         "there are 20001 samples, and may be 20000",
		`{"at":1,"gap":{"source":"pods","from":5,"to":3,"cause":"x"}}`:                                                                                                                "gap: it is from 5s to 3s",
		`{"at":1,"note":{"text":"a"},"end":{"outcome":"completed"}}`:                                                                                                                  "it is 2 entries in one",
		`{"at":1,"note":{"text":` + strings.Repeat(`[`, 20_000):                                                                                                                       "not an entry",
		strings.TrimSpace(headerLine):               "it is a second header",
		`{"at":2000000,"note":{"text":"a"}}`:        "the phases of the header end by",
		`{"at":99999999,"note":{"text":"a"}}`:       "the instant is at second 99999999",
		`{"at":-3700,"note":{"text":"a"}}`:          "late by 60 s at most",
		hpaLine(`"minReplicas":-1,"maxReplicas":3`): "spec.minReplicas",
		hpaLine(`"maxReplicas":3,"metrics":[{"type":"Resource","resource":{"name":"cpu","target":{"type":"AverageValue","averageValue":".8E888888888462"}}}]`): "exponent",
		`{"at":1,"pod":{"name":"a","uid":"b","containers":[{"name":"c","limits":{"cpu":" .8E888888888462"}}]}}`:                                                "exponent",
		`{"at":1,"cluster":{"version":"v1","nodes":[{"name":"n","free":{"cpu":"\t1e88888"}}]}}`:                                                                "exponent",
		`{"at":1,"pod":{"name":"a","uid":"b","containers":[{"name":"c","requests":{"cpu":` + strings.Repeat("1", 8<<20) + `}}]}}`:                              "more than 100 characters",
		`{"at":1,"pod":{"name":"a","uid":"b","containers":[{"name":"c","requests":{"cpu":1e-888888888}}]}}`:                                                    "exponent",
		hpaLine(`"maxReplicas":-1`):                                "spec.maxReplicas",
		hpaLine(`"minReplicas":5,"maxReplicas":3`):                 "spec.maxReplicas",
		hpaLine(`"maxReplicas":3,"metrics":[{"type":"External"}]`): "spec.metrics[0]",
		hpaLine(`"maxReplicas":3,"metrics":[{"type":"Resource"}]`): "spec.metrics[0]",
		hpaLine(`"maxReplicas":3,"metrics":[{"type":"Nothing"}]`):  "spec.metrics[0]",
		hpaLine(`"maxReplicas":3,"metrics":[{"type":"Resource","resource":{"name":"cpu","target":{"type":"Utilization","averageUtilization":-5}}}]`): "averageUtilization",
		hpaLine(`"maxReplicas":3,"behavior":{"scaleDown":{"stabilizationWindowSeconds":-1}}`):                                                        "stabilizationWindowSeconds",
		hpaLine(`"maxReplicas":3,"behavior":{"scaleUp":{"policies":[{"type":"Pods","value":0,"periodSeconds":0}]}}`):                                 "policies[0]",
	} {
		_, err := Read(strings.NewReader(headerLine + line + "\n" + `{"at":2,"end":{"outcome":"completed"}}` + "\n"))
		if err == nil || !strings.Contains(err.Error(), "line 2") || !strings.Contains(err.Error(), want) {
			t.Errorf("%.150s: %.300v, want line 2 and %q", line, err, want)
		}
	}
	for _, line := range []string{
		hpaLine(`"minReplicas":2,"maxReplicas":2147483647`),
		hpaLine(`"minReplicas":0,"maxReplicas":3,"metrics":[{"type":"External","external":{"metric":{"name":"q"},"target":{"type":"AverageValue","averageValue":"5"}}}]`),
		hpaLine(`"maxReplicas":3,"behavior":{"scaleDown":{"stabilizationWindowSeconds":0}}`),
		`{"at":1,"autoscaler":{"name":"web","deleted":true,"spec":{"scaleTargetRef":{"kind":"","name":""},"maxReplicas":0},"status":{"desiredReplicas":0,"currentMetrics":null}}}`,
		`{"at":600000,"note":{"text":"later than planned"}}`, `{"at":1}`, `{"at":1,"kindOfAnotherVersion":{}}`,
	} {
		if _, err := Read(strings.NewReader(headerLine + line + "\n")); err != nil {
			t.Errorf("%s: %v", line, err)
		}
	}
}

// What entries cannot be together is refused at the first that shows it.
func TestSequenceIsBounded(t *testing.T) {
	note := func(at int) string { return fmt.Sprintf(`{"at":%d,"note":{"text":"x"}}`, at) }
	var reversed, pods []string
	for at := range 8000 {
		reversed = append(reversed, note(at))
	}
	slices.Reverse(reversed)
	for n := range MaxPods + 1 {
		line, _ := json.Marshal(Entry{At: 1e9, Pod: &Pod{Name: fmt.Sprint("p", n), UID: fmt.Sprint("u", n)}})
		pods = append(pods, string(line))
	}
	for name, c := range map[string]struct {
		lines []string
		want  string
	}{
		"reversed": {reversed, "line 63: it is of second 7938, after one of second 7999"},
		"pods":     {pods, fmt.Sprintf("line %d: there are %d pods, and may be %d", MaxPods+2, MaxPods+1, MaxPods)},
		"beside":   {[]string{note(5000), note(4940), note(5000)}, ""},
		"late":     {[]string{note(5000), `{"at":1400,"load":{"phase":0,"second":1399}}`, `{"at":1399,"answer":{"pod":"a"}}`}, "line 4"},
	} {
		_, err := Read(strings.NewReader(headerLine + strings.Join(c.lines, "\n") + "\n"))
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}
