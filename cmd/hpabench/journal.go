package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/hpabench/hpabench/record"
	"github.com/hpabench/hpabench/runner"
)

// journalLooks is how often a journal looks whether its file is still in its folder.
const journalLooks = time.Second

// journal is the record of a run on disk while the run goes on. When somebody deletes
// it, or its disk is full, it goes on elsewhere with all that was written before.
type journal struct {
	say func(string)

	mu     sync.Mutex
	dir    string
	file   *os.File
	size   int64 // of what was written
	looked time.Time
	moved  error // why it is not, or not all the time was, where it was to be
	lost   error // why it is in no folder now; Close tries once more
}

// createRecord opens the record in dir, and refuses to write over one. Say tells at
// once that it had to go elsewhere.
func createRecord(dir string, say func(string)) (*journal, error) {
	file, err := newRecord(dir)
	if err != nil {
		return nil, err
	}
	return &journal{say: say, dir: dir, file: file}, nil
}

// checkOut refuses a folder for new runs that holds runs already: a record in it would hide those of
// trials and combinations, and theirs would stand among others. The name "" is of no folder.
func checkOut(dir string) error {
	there, err := record.Files(dir)
	if err != nil {
		there = record.Folders(dir)
	}
	if len(there) == 0 {
		return nil
	}
	return runner.BadInput{Err: fmt.Errorf("%s exists already: name another folder than %s with --out", there[0], dir)}
}

// newRecord is createFile whose error is for the user.
func newRecord(dir string) (*os.File, error) {
	if err := checkOut(dir); err != nil {
		return nil, err
	}
	file, err := createFile(dir)
	if err != nil {
		return nil, runner.BadInput{Err: fmt.Errorf("creating the record: %w", err)}
	}
	return file, nil
}

func createFile(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, err
	}
	return os.OpenFile(filepath.Join(dir, record.File), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
}

// Write appends a line. The error is that of the journal's own disk when no other
// would take it either.
func (j *journal) Write(line []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.lost == nil && time.Since(j.looked) >= journalLooks {
		j.look()
	}
	n, err := j.file.Write(line)
	if err != nil {
		if err := j.move(err); err != nil {
			return 0, err
		}
		n, err = j.file.Write(line)
	}
	if err == nil {
		j.size += int64(n)
	}
	return n, err
}

// look goes elsewhere if the file is not in its folder any more. If it cannot, the file is
// written on, though nobody can find it yet.
func (j *journal) look() {
	j.looked = time.Now()
	if j.there() {
		return
	}
	said := j.lost != nil
	if j.lost = j.move(nil); j.lost != nil && !said {
		j.say("warning: " + j.lost.Error() + "; that is tried once more when the run ends")
	}
}

func (j *journal) there() bool {
	is, err := j.file.Stat()
	named, missing := os.Stat(j.file.Name())
	return err == nil && missing == nil && os.SameFile(is, named)
}

// move makes the journal anew, with what was written: where it was if it was deleted,
// else in a folder for temporary files. The error is why, if that fails too.
func (j *journal) move(why error) error {
	dir, file, err := j.dir, (*os.File)(nil), why
	if why == nil {
		why = fmt.Errorf("somebody deleted %s while the run went on", j.file.Name())
		file, err = j.copyTo(dir)
	}
	if err != nil {
		if dir, err = os.MkdirTemp("", filepath.Base(j.dir)+"-"); err == nil {
			if file, err = j.copyTo(dir); err != nil {
				_ = os.Remove(dir)
			}
		}
	}
	if err != nil {
		return fmt.Errorf("%w; and it cannot go elsewhere: %w", why, err)
	}
	_ = j.file.Close() // its disk has told what is wrong with it
	j.dir, j.file, j.moved = dir, file, fmt.Errorf("%w; all that was measured was written anew to %s", why, file.Name())
	j.say("warning: " + j.moved.Error())
	return nil
}

// copyTo makes a file in dir of what was written: all of it or none.
func (j *journal) copyTo(dir string) (*os.File, error) {
	file, err := createFile(dir)
	if err != nil {
		return nil, err
	}
	if _, err := io.Copy(file, io.NewSectionReader(j.file, 0, j.size)); err != nil {
		_ = file.Close()
		_ = os.Remove(file.Name())
		return nil, err
	}
	return file, nil
}

// Close closes the journal. The error is also that it had to go elsewhere, or is lost.
func (j *journal) Close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.look()
	return errors.Join(j.moved, j.lost, j.file.Close())
}

// folder is where the record is.
func (j *journal) folder() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.dir
}

// whereabouts says what of a run is to be found in dir.
func whereabouts(dir string) string {
	there := func(name string) bool { _, err := os.Stat(filepath.Join(dir, name)); return err == nil }
	switch {
	case there(record.File) && there("result.json"):
		return "the record and the reports are in " + dir
	case there(record.File):
		return fmt.Sprintf("the record is in %s, and the reports are not: hpabench report %s makes them", dir, dir)
	case there("result.json"):
		return fmt.Sprintf("the reports are in %s, and the record is lost", dir)
	}
	return fmt.Sprintf("neither the record nor the reports are in %s", dir)
}
