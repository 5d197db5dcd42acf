package reports

import (
	"testing"

	"github.com/hpabench/hpabench/analysis"
	"github.com/hpabench/hpabench/record"
)

// What could not be looked at for want of a right is no fault, and hides none.
func TestDiagnose(t *testing.T) {
	right, fault := record.Check{Outcome: record.Fault, Forbidden: true}, record.Check{Outcome: record.Fault}
	blocked := &analysis.Result{Findings: []analysis.Finding{{Severity: analysis.Blocks}}}
	for _, c := range []struct {
		checks           []record.Check
		result           *analysis.Result
		able, ill, blind bool
	}{
		{[]record.Check{{Outcome: record.Warning}}, nil, true, false, false},
		{[]record.Check{right}, nil, false, false, true},
		{[]record.Check{right, fault}, nil, false, true, true},
		{nil, blocked, false, true, false},
	} {
		if d := Diagnose(c.checks, nil, c.result); d.Able != c.able || d.Ill() != c.ill || d.Blind() != c.blind {
			t.Errorf("%+v: able %t, ill %t, blind %t", c.checks, d.Able, d.Ill(), d.Blind())
		}
	}
}
