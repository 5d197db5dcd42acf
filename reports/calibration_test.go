package reports

import (
	"bytes"
	"strings"
	"testing"

	"github.com/hpabench/hpabench/analysis"
	"github.com/hpabench/hpabench/tune"
)

// An HPA by a calibration says what it rests on, as the table does.
func TestCalibrationYAML(t *testing.T) {
	c := analysis.Calibration{Latency: 0.15, Percentile: 99, CapacityPerReplica: 36.3, Assumed: []string{"a request takes 1ms."},
		Points: []analysis.CalibrationPoint{{Replicas: 1, Rate: 40, Below: 42}, {Replicas: 2, Rate: 72.6, Below: 76.9, Doubt: "requests were sent up to 0.084 s late"}}}
	target := tune.Capacity{Reason: "it meets the SLO", Notes: []string{"With 1.3 times the load it misses the SLO."}, Assumed: []string{"a request takes 1ms.", "pods start\nin 600ms."}, Manifest: []byte("kind: HorizontalPodAutoscaler\n")}
	var b, table bytes.Buffer
	if err := CalibrationYAML(&b, c, target); err != nil {
		t.Fatal(err)
	}
	if want := `# Assumed: a request takes 1ms.
# Assumed: pods start in 600ms.
# At 76.9 requests/s the load was not as planned: requests were sent up to 0.084 s late. The load generator may be what did not keep up, and the capacity higher.
# One replica serves 36.3 requests/s: 99 % of the answers within 150ms, 0.1 % errors at most. The capacity is between the two rates.
# Target: it meets the SLO.
# With 1.3 times the load it misses the SLO.
kind: HorizontalPodAutoscaler
`; b.String() != want {
		t.Errorf("%s\nshould be\n%s", b.String(), want)
	}
	if err := CalibrationTable(&table, c, target, nil, 1000); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"Assumed: a request takes 1ms.\n", "pods start", "0.084 s late. The load", "With 1.3 times"} {
		if !strings.Contains(table.String(), text) {
			t.Errorf("%s\nshould have %q", table.String(), text)
		}
	}
}
