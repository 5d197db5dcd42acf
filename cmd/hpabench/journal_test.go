package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hpabench/hpabench/record"
	"github.com/hpabench/hpabench/runner"
)

// TestJournal takes the record's folder, its file or its disk away in the middle of a
// run: what was written before is found with what came after.
func TestJournal(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	for name, c := range map[string]struct {
		harm   func(t *testing.T, j *journal)
		words  string // of the error; none if nothing went wrong
		within bool   // the record is where it was to be
	}{
		"nothing":             {func(*testing.T, *journal) {}, "", true},
		"the folder deleted":  {func(t *testing.T, j *journal) { remove(t, j.dir) }, "somebody deleted", true},
		"the record deleted":  {func(t *testing.T, j *journal) { remove(t, j.file.Name()) }, "somebody deleted", true},
		"the record replaced": {replace, "somebody deleted", false},
		"the folder is a file now": {func(t *testing.T, j *journal) {
			remove(t, j.dir)
			if err := os.WriteFile(j.dir, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}, "somebody deleted", false},
		"a disk that takes no more": {full, "bad file descriptor", false},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "out")
			said := ""
			j, err := createRecord(dir, func(line string) { said = line })
			if err != nil {
				t.Fatal(err)
			}
			rec := record.NewRecorder(record.StartClock(), j)
			rec.Add(record.Entry{Header: &record.Header{Format: record.Format, Run: "a"}})
			for n := range 10 {
				if n == 5 {
					c.harm(t, j)
					j.looked = time.Time{} // a second later
				}
				rec.Add(record.Entry{Note: &record.Note{Text: fmt.Sprint(n)}})
			}
			err = rec.Close()
			if c.words == "" && (err != nil || said != "") || !strings.Contains(fmt.Sprint(err), c.words) || !strings.Contains(said, c.words) {
				t.Errorf("said %q, and ended with %v", said, err)
			}
			if c.words != "" && !strings.Contains(fmt.Sprint(err), j.folder()) {
				t.Errorf("the error does not say where the record is: %v", err)
			}
			if (j.folder() == dir) != c.within {
				t.Errorf("the record is in %s", j.folder())
			}
			run, err := record.Open(filepath.Join(j.folder(), record.File))
			if err != nil || len(run.Entries) != 11 {
				t.Errorf("%d entries, want 11 (%v)", len(run.Entries), err)
			}
		})
	}
}

func remove(t *testing.T, name string) {
	t.Helper()
	if err := os.RemoveAll(name); err != nil {
		t.Fatal(err)
	}
}

func replace(t *testing.T, j *journal) {
	t.Helper()
	remove(t, j.file.Name())
	if err := os.WriteFile(j.file.Name(), []byte("of somebody else\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}

// full makes every write to the file fail, as one to a full disk does, while it can be
// read still.
func full(t *testing.T, j *journal) {
	t.Helper()
	file, err := os.Open(j.file.Name())
	if err != nil {
		t.Fatal(err)
	}
	j.file.Close()
	j.file = file
}

// TestJournalNowhere has no other folder either: the run learns it, and ends.
func TestJournalNowhere(t *testing.T) {
	t.Setenv("TMPDIR", filepath.Join(t.TempDir(), "missing"))
	j, err := createRecord(t.TempDir(), func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	rec := record.NewRecorder(record.StartClock(), j)
	full(t, j)
	rec.Add(record.Entry{Note: &record.Note{Text: "lost"}})
	select {
	case <-rec.Failed():
	default:
		t.Error("that nothing was written is not noticed")
	}
	if err := rec.Close(); err == nil || !strings.Contains(err.Error(), "cannot go elsewhere") {
		t.Errorf("it ended with %v", err)
	}
	if _, err := createRecord(j.dir, nil); !errors.As(err, &runner.BadInput{}) {
		t.Errorf("a record that is there is written over: %v", err)
	}
}

// TestJournalIsNotCopied deletes a record that cannot be read again, as when its disk is full
// for a copy: that is said once, nothing is left of what was tried, and the end tells.
func TestJournalIsNotCopied(t *testing.T) {
	temporary, dir := t.TempDir(), t.TempDir()
	t.Setenv("TMPDIR", temporary)
	var said []string
	j, err := createRecord(dir, func(line string) { said = append(said, line) })
	if err != nil {
		t.Fatal(err)
	}
	rec := record.NewRecorder(record.StartClock(), j)
	rec.Add(record.Entry{Note: &record.Note{Text: "first"}})
	j.file.Close()
	if j.file, err = os.OpenFile(j.file.Name(), os.O_WRONLY|os.O_APPEND, 0); err != nil {
		t.Fatal(err)
	}
	remove(t, j.file.Name())
	for range 3 {
		j.looked = time.Time{} // a second later
		rec.Add(record.Entry{Note: &record.Note{Text: "next"}})
	}
	if err := rec.Close(); err == nil || !strings.Contains(err.Error(), "somebody deleted") || !strings.Contains(err.Error(), "cannot go elsewhere") {
		t.Errorf("it ended with %v", err)
	}
	if len(said) != 1 || !strings.Contains(said[0], "cannot go elsewhere") {
		t.Errorf("said %q", said)
	}
	for _, in := range []string{temporary, dir} {
		if left, err := os.ReadDir(in); err != nil || len(left) > 0 {
			t.Errorf("left in %s: %v (%v)", in, left, err)
		}
	}
}

func TestWhereabouts(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct{ file, words string }{
		{"", "neither the record nor the reports are in "},
		{record.File, "the record is in "},
		{"result.json", "the record and the reports are in "},
	} {
		if c.file != "" {
			if err := os.WriteFile(filepath.Join(dir, c.file), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if got := whereabouts(dir); !strings.HasPrefix(got, c.words+dir) {
			t.Errorf("with %q: %s", c.file, got)
		}
	}
}

// TestCheckOut refuses a folder with a record; "" is none, even where there is a record in the current one.
func TestCheckOut(t *testing.T) {
	t.Chdir(t.TempDir())
	if _, err := createFile("."); err != nil {
		t.Fatal(err)
	}
	if err := checkOut("."); !errors.As(err, &runner.BadInput{}) {
		t.Errorf("a folder with a record: %v", err)
	}
	if err := checkOut(""); err != nil {
		t.Errorf("no folder: %v", err)
	}
}
