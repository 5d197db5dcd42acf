package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/hpabench/hpabench/scenarios"
)

func (a *app) validateCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "validate FILE...",
		Short: "Check scenario files without a cluster",
		Long: `Check scenario files without a cluster. Every fault is shown with its file and
line, all at once; the exit code is then 2.`,
		Example: `  hpabench validate scenarios/*.yaml`,
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var all scenarios.Faults
			for _, name := range args {
				_, err := readScenario(name)
				var faults scenarios.Faults
				if errors.As(err, &faults) {
					all = append(all, faults...)
				} else if err != nil {
					return err
				} else {
					fmt.Fprintf(a.stdout, "%s: ok\n", name)
				}
			}
			if len(all) > 0 {
				return all
			}
			return nil
		},
	}
}
