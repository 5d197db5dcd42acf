package main

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/hpabench/hpabench/expect"
	"github.com/hpabench/hpabench/record"
	"github.com/hpabench/hpabench/runner"
	"github.com/hpabench/hpabench/scenarios"
)

func (a *app) validateCommand() *cobra.Command {
	var quiet bool
	cmd := &cobra.Command{
		Use:   "validate FILE...",
		Short: "Check scenario files without a cluster",
		Long: `Check scenario files without a cluster. Every fault is shown with its file and
line, all at once; the exit code is then 2. A note says what would keep the autoscaler
from scaling: bounds that are the same, a direction that is disabled, CPU limits below
the target. A dash in place of FILE stands for the
standard input; the files that such a scenario names are looked for in the working
directory.`,
		Example: `  hpabench validate scenarios/*.yaml
  generate-scenario | hpabench validate -`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			w := a.work(quiet)
			defer w.done()
			var all scenarios.Faults
			var unread error
			for _, name := range args {
				w.does("reading " + name)
				file, err := readScenario(name)
				var faults scenarios.Faults
				if errors.As(err, &faults) {
					all = append(all, faults...)
				} else if err != nil {
					unread = errors.Join(unread, err)
				} else {
					w.above(func() {
						a.notes(file.Notes)
						fmt.Fprintf(a.stdout, "%s: ok\n", name)
					})
				}
			}
			if len(all) > 0 {
				return errors.Join(all, unread)
			}
			return unread
		},
	}
	addQuiet(cmd, &quiet)
	return cmd
}

// notes says what a reader should know beside the output.
func (a *app) notes(list []string) {
	for _, note := range list {
		fmt.Fprintln(a.stderr, "note: "+note)
	}
}

// readScenario reads a scenario file or one of the library, and checks its
// expectations. Whatever is wrong with it is bad input.
func readScenario(name string) (*scenarios.File, error) {
	return readScenarioBy(scenarios.Read, name)
}

func readScenarioBy(read func(string) (*scenarios.File, error), name string) (*scenarios.File, error) {
	file, err := read(name)
	var faults scenarios.Faults
	if err != nil && !errors.As(err, &faults) {
		if files, _ := record.Files(name); len(files) > 0 && files[0] != name {
			err = fmt.Errorf("%w (it holds runs: hpabench simulate and tune take one of them, such as %s)", err, filepath.Dir(files[0]))
		}
		return nil, runner.BadInput{Err: err}
	}
	if file == nil {
		return nil, err
	}
	unfit, err := unfitExpectations(file)
	if err != nil {
		return nil, err
	}
	if faults = append(faults, unfit...); len(faults) > 0 {
		return nil, faults
	}
	if _, err := file.Variants(file.Settings(nil)); err != nil {
		return nil, err
	}
	return file, nil
}

// unfitExpectations are the faults of a scenario's expectations.
func unfitExpectations(file *scenarios.File) (faults scenarios.Faults, err error) {
	var phases []string
	for _, p := range file.Phases() {
		phases = append(phases, p.Name)
	}
	checker, err := expect.NewChecker(phases)
	if err != nil {
		return nil, err
	}
	for i, expression := range file.Spec.Expect {
		if err := checker.Check(expression); err != nil {
			hint := "a condition in CEL such as replicas.peak == hpa.max, over the variables that hpabench explain lists"
			var unknown *expect.UnknownPhase
			if errors.As(err, &unknown) {
				if hint = scenarios.Nearest(unknown.Name, unknown.Phases); hint != "" {
					hint = fmt.Sprintf("did you mean %q?", hint)
				}
			}
			faults = append(faults, file.Fault(fmt.Sprintf("spec.expect[%d]", i), err.Error(), hint))
		}
	}
	return faults, nil
}
