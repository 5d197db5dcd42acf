package record

import (
	"fmt"
	"os"
	"path/filepath"
)

// File is the name of the record in the folder of a run.
const File = "record.jsonl"

// Files are the records that name stands for: a file, the record in the folder of a run,
// or those in the folders of the trials in a folder, by the order of their names; trials
// says that it is the latter. The error says what a folder without records lacks.
func Files(name string) (files []string, trials bool, err error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, false, err
	}
	if !info.IsDir() {
		return []string{name}, false, nil
	}
	if own := filepath.Join(name, File); exists(own) {
		return []string{own}, false, nil
	}
	entries, err := os.ReadDir(name)
	if err != nil {
		return nil, false, err
	}
	for _, e := range entries {
		if file := filepath.Join(name, e.Name(), File); exists(file) {
			files = append(files, file)
		}
	}
	if len(files) == 0 {
		return nil, false, fmt.Errorf("%s holds neither %s nor folders of runs", name, File)
	}
	return files, true, nil
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}
