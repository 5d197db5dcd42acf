package simulate

import (
	"strings"
	"testing"

	"github.com/hpabench/hpabench/record"
)

// A record of a ScaledObject is refused as its scenario is, also where the scenario cannot be read again.
func TestRecordOfScaledObject(t *testing.T) {
	_, err := FromRecord(record.Run{Entries: []record.Entry{
		{Header: &record.Header{Format: record.Format, Source: "spec: {workload: {manifests: [gateway.yaml]}}", Phases: []record.Phase{{Name: "load", Shape: record.ShapeRate, From: 1, Seconds: 60}}}},
		{Subject: &record.Subject{Name: "web", Autoscaler: "keda-hpa-web", ScaledObject: "web"}},
	}})
	if err == nil || !strings.Contains(err.Error(), "ScaledObject web") {
		t.Error(err)
	}
}
