package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/hpabench/hpabench/reports"
	"github.com/hpabench/hpabench/runner"
	"github.com/hpabench/hpabench/scenarios"
)

func (a *app) scenariosCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "scenarios [NAME]",
		Short: "List the library of scenarios, or print one of them",
		Long: `List the scenarios that hpabench carries, or print one of them as a start for a
scenario of your own.`,
		Example: `  hpabench scenarios
  hpabench scenarios spike > mine.yaml`,
		Args: cobra.MaximumNArgs(1),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return libraryNames(), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				rows := [][]string{{"NAME", "DESCRIPTION"}}
				for _, s := range scenarios.Library() {
					rows = append(rows, []string{s.Metadata.Name, s.Metadata.Description})
				}
				return reports.Columns(a.stdout, rows)
			}
			for _, s := range scenarios.Library() {
				if s.Metadata.Name == args[0] {
					_, err := a.stdout.Write(s.Source)
					return err
				}
			}
			return runner.BadInput{Err: fmt.Errorf("there is no scenario %q in the library (%s)", args[0], scenarios.DidYouMean(args[0], libraryNames()))}
		},
	}
}

// completeScenarios offers the names of the library beside files.
func completeScenarios(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return libraryNames(), cobra.ShellCompDirectiveDefault
}

func libraryNames() (names []string) {
	for _, s := range scenarios.Library() {
		names = append(names, s.Metadata.Name)
	}
	return names
}
