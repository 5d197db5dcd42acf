package analysis

import (
	"slices"
	"strings"
	"testing"

	"github.com/hpabench/hpabench/record"
)

// Of a target that nobody saw it is not known that it had a replica when the load came.
func TestColdStartOfAnUnseenTarget(t *testing.T) {
	m := fromZero(record.ScaledObject{}).activated()
	m.entries = slices.DeleteFunc(m.entries, func(e record.Entry) bool { return e.Target != nil })
	for _, f := range m.analyze(t).Figures() {
		if strings.HasPrefix(f.Name, "scaleUp.coldStart") && (f.Value != nil || f.Missing != "the target was not observed") {
			t.Errorf("%s is %v (%s)", f.Name, f.Value, f.Missing)
		}
	}
}
