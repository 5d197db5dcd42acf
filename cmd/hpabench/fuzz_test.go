package main

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/hpabench/hpabench/analysis"
)

func TestLevels(t *testing.T) {
	for text, want := range map[string]string{
		"":                                     "is empty: it needs the header seconds,replicas",
		"seconds,replicas\n0\n":                `l.csv:2: the line is "0"`,
		"seconds,replicas\n0,1\n0,2\n":         `l.csv:3: time "0" is not after that of line 2: times must rise`,
		"seconds,replicas\n0,1e7\n":            "from 0 to 1000000",
		"seconds,replicas\n0,Inf\n":            "from 0 to 1000000",
		"seconds,pods of mine\n0,1\n":          "l.csv:1",
		"\xff\xfe":                             "UTF-16",
		"seconds,replicas\n\"0,1\n":            "l.csv",
		"\ufeffSeconds; Replicas\r\n0;2,5\r\n": "",
		"time,pods\n2026-01-31T10:00:00Z,3\n":  "",
	} {
		levels, err := parseLevels("l.csv", []byte(text))
		if want == "" && (err != nil || len(levels) != 1) || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v %v, want %q", text, levels, err, want)
		}
	}
}

func TestCalibrationIsBounded(t *testing.T) {
	for text, want := range map[string]string{
		"": "unexpected end", "\x1f\x8b": "compressed by gzip", "[]": "cannot unmarshal", `{"version": "x"}`: `its version is "x"`,
		`{"version": "` + analysis.CalibrationVersion + `", "capacityPerReplica": 0}`:     "its capacityPerReplica is 0",
		`{"version": "` + analysis.CalibrationVersion + `", "capacityPerReplica": 1e300}`: "must be from 0.000001 to 1000000000",
		`{"version": "` + analysis.CalibrationVersion + `", "capacityPerReplica": 1e999}`: "cannot unmarshal",
		strings.Repeat("[", 100_000): "exceeded max depth",
	} {
		if _, err := parseCalibration([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60q: %v, want %q", text, err, want)
		}
	}
}

func FuzzLevels(f *testing.F) {
	f.Add([]byte("seconds,replicas\n0,2\n60,3.5\n"))
	f.Add([]byte("\ufefftime;pods\r\n00:00:00;2,5\r\n00:01:00;3\r\n"))
	other := []analysis.Level{{At: 0, Replicas: 1}, {At: 100, Replicas: 2}}
	f.Fuzz(func(t *testing.T, source []byte) {
		if len(source) > 4096 {
			return
		}
		levels, err := parseLevels("l.csv", source)
		if err != nil {
			if !strings.Contains(err.Error(), "l.csv") {
				t.Errorf("%q does not name the file", err)
			}
			return
		}
		e, err := analysis.MeasureElasticity(levels, other)
		if err == nil && (math.IsNaN(e.Jitter+e.NormalizedOver+e.ReplicaSeconds) || math.IsInf(e.Jitter+e.NormalizedOver+e.ReplicaSeconds, 0)) {
			t.Errorf("%+v of %q", e, source)
		}
	})
}

func FuzzCalibration(f *testing.F) {
	good, err := json.Marshal(analysis.Calibration{Version: analysis.CalibrationVersion, CapacityPerReplica: 12.5})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Fuzz(func(t *testing.T, source []byte) {
		if c, err := parseCalibration(source); err == nil && !(c.CapacityPerReplica >= 1e-6 && c.CapacityPerReplica <= 1e9) {
			t.Errorf("%+v", c)
		}
	})
}
