package record

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The records in testdata of package reports were made by hpabench as it was at one time
// or another, and there their figures are held. Each is read whole: no field is lost.
func TestRecordsOfOlderVersions(t *testing.T) {
	files, err := filepath.Glob("../reports/testdata/*.jsonl")
	if err != nil || len(files) < 5 {
		t.Fatal(files, err)
	}
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		lines := bufio.NewScanner(f)
		lines.Buffer(nil, 10<<20)
		for n := 1; lines.Scan(); n++ {
			var e Entry
			if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
				t.Fatalf("%s:%d: %v", name, n, err)
			}
			again, err := json.Marshal(e)
			if err != nil {
				t.Fatal(err)
			}
			var want, got any
			if err := json.Unmarshal(lines.Bytes(), &want); err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(again, &got); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(meaning(want), meaning(got)); d != "" {
				t.Fatalf("%s:%d (-in the file +as it was read):\n%s", name, n, d)
			}
		}
	}
}

// meaning leaves out what stands for nothing: null, "", 0, false and what is empty.
func meaning(v any) any {
	switch v := v.(type) {
	case map[string]any:
		m := map[string]any{}
		for name, value := range v {
			if value = meaning(value); value != nil {
				m[name] = value
			}
		}
		if len(m) > 0 {
			return m
		}
	case []any:
		list := make([]any, len(v))
		for i := range v {
			list[i] = meaning(v[i])
		}
		if len(v) > 0 {
			return list
		}
	case nil, string, float64, bool:
		if v != nil && !reflect.ValueOf(v).IsZero() {
			return v
		}
	}
	return nil
}

// docs/record.md has each kind of entry.
func TestFormatIsDocumented(t *testing.T) {
	doc, err := os.ReadFile("../docs/record.md")
	if err != nil {
		t.Fatal(err)
	}
	entry := reflect.TypeFor[Entry]()
	for i := range entry.NumField() {
		name, _, _ := strings.Cut(entry.Field(i).Tag.Get("json"), ",")
		if name != "at" && !strings.Contains(string(doc), "| `"+name+"` |") {
			t.Errorf("there is no %s", name)
		}
	}
	if !strings.Contains(string(doc), "`"+Format+"`") {
		t.Errorf("it is not of %s", Format)
	}
}
