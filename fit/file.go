package fit

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"sigs.k8s.io/yaml"

	"github.com/hpabench/hpabench/model"
	"github.com/hpabench/hpabench/record"
	"github.com/hpabench/hpabench/scenarios"
)

// recordHead is how a record begins.
const recordHead = `{"at"`

// Open gives the plant of runs, by their records or their folders, or of a file that Write
// made. A folder of several trials is all of them.
func Open(names ...string) (*Fit, error) {
	return OpenWith(func(file string) (io.ReadCloser, error) { return record.OpenFile(file) }, nil, names...)
}

// OpenWith is Open with what opens each file, and check, which is called with each fit of a
// record unless it is nil.
func OpenWith(read func(file string) (io.ReadCloser, error), check func(file string, f *Fit) error, names ...string) (*Fit, error) {
	var fits []*Fit
	for _, name := range names {
		files, err := record.Files(name)
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			f, err := open(read, file)
			if err != nil {
				return nil, err
			}
			if check != nil {
				if err := check(file, f); err != nil {
					return nil, err
				}
			}
			fits = append(fits, f)
		}
	}
	return merge(fits), nil
}

func open(read func(file string) (io.ReadCloser, error), name string) (*Fit, error) {
	in, err := read(name)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	text := bufio.NewReader(in)
	head, _ := text.Peek(text.Size())
	plain, err := record.PlainText(head)
	if err != nil {
		return nil, fmt.Errorf("%s is neither a record nor a plant: %w", name, err)
	}
	if bytes.HasPrefix(plain, []byte(recordHead)) {
		s, err := Read(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		f, err := s.Learn()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		return f, nil
	}
	b, err := scenarios.ReadAll(text, scenarios.MaxSource)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	return parse(name, b)
}

// parse reads a plant.
func parse(name string, b []byte) (*Fit, error) {
	var f Fit
	b, err := yaml.YAMLToJSONStrict(b)
	if err == nil {
		err = json.Unmarshal(b, &f, model.JSON, json.RejectUnknownMembers(true))
	}
	if err != nil {
		return nil, fmt.Errorf("%s is neither a record nor a plant, as hpabench fit writes it: %w", name, err)
	}
	if f.Version != Version {
		return nil, fmt.Errorf("%s is no plant: its version is %q, not %s", name, f.Version, Version)
	}
	if err := f.Plant.Check(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return &f, nil
}

// Write writes f as YAML, what was measured with six digits.
func (f *Fit) Write(w io.Writer) error {
	rounded := *f
	rounded.Measured = slices.Clone(f.Measured)
	for i := range rounded.Measured {
		p := &rounded.Measured[i]
		for _, v := range []*float64{&p.Value, &p.Low, &p.High} {
			*v, _ = strconv.ParseFloat(strconv.FormatFloat(*v, 'g', 6, 64), 64)
		}
	}
	b, err := scenarios.YAML(&rounded)
	if err != nil {
		return err
	}
	_, err = w.Write(b)
	return err
}

// Show is a value with its unit.
func (p Parameter) Show(v float64) string {
	switch p.Unit {
	case "s":
		d := seconds(v)
		for _, digits := range []time.Duration{time.Second, time.Millisecond, time.Microsecond} {
			if d >= digits {
				d = d.Round(digits / 1000)
				break
			}
		}
		return d.String()
	case "cores":
		return record.Plain(v*1000, 2) + "m"
	case "bytes":
		for _, unit := range []string{"B", "KiB", "MiB"} {
			if v < 1024 {
				return record.Plain(v, 4) + " " + unit
			}
			v /= 1024
		}
		return record.Plain(v, 4) + " GiB"
	}
	return record.Plain(v, 4)
}
