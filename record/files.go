package record

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// File is the name of the record in the folder of a run.
const File = "record.jsonl"

// Files are the records that name stands for: a file, the record in the folder of a run,
// or those in the folders of the trials in a folder, by the order of their names. The error
// says what a folder without records lacks.
func Files(name string) (files []string, err error) {
	info, err := os.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: no such file or folder (give the folder that a run wrote, or the %s in it)", name, File)
	}
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return []string{name}, nil
	}
	if own := filepath.Join(name, File); exists(own) {
		return []string{own}, nil
	}
	folders, err := inside(name)
	if err != nil {
		return nil, err
	}
	for _, folder := range folders {
		if file := filepath.Join(folder, File); exists(file) {
			files = append(files, file)
		}
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("%s holds neither %s nor folders of runs", name, File)
	}
	return files, nil
}

// Folders are those in a folder that hold records, by the order of their names: of the trials
// of a scenario, or of combinations of its settings. There are none in the folder of a run.
func Folders(name string) (folders []string) {
	if exists(filepath.Join(name, File)) {
		return nil
	}
	all, _ := inside(name) // Files says what is wrong with name
	for _, folder := range all {
		if _, err := Files(folder); err == nil {
			folders = append(folders, folder)
		}
	}
	return folders
}

// inside are the folders in a folder.
func inside(name string) (folders []string, err error) {
	entries, err := os.ReadDir(name)
	for _, e := range entries {
		if info, err := os.Stat(filepath.Join(name, e.Name())); err == nil && info.IsDir() {
			folders = append(folders, filepath.Join(name, e.Name()))
		}
	}
	return folders, err
}

// OpenFile opens a file of a user for reading. A named pipe or a device is refused, as its end
// may never come, but for what the process was started with: the standard input, and what a
// shell puts in place of <(...).
func OpenFile(name string) (*os.File, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if mode := info.Mode(); !mode.IsRegular() && !mode.IsDir() && !inherited(info) {
		what := "a device"
		switch {
		case mode&fs.ModeNamedPipe != 0:
			what = "a named pipe"
		case mode&fs.ModeSocket != 0:
			what = "a socket"
		}
		return nil, &fs.PathError{Op: "open", Path: name, Err: fmt.Errorf("it is %s, whose end may never come: give a file, /dev/stdin or <(...)", what)}
	}
	return os.Open(name)
}

// inherited says whether the process has a file open already.
func inherited(info fs.FileInfo) bool {
	const open = "/dev/fd"
	entries, err := os.ReadDir(open)
	return err == nil && slices.ContainsFunc(entries, func(e fs.DirEntry) bool {
		own, err := os.Stat(filepath.Join(open, e.Name()))
		return err == nil && os.SameFile(info, own)
	})
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}
