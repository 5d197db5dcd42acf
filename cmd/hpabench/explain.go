package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hpabench/hpabench/expect"
	"github.com/hpabench/hpabench/reports"
	"github.com/hpabench/hpabench/runner"
	"github.com/hpabench/hpabench/scenarios"
)

func (a *app) explainCommand() *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "explain [VARIABLE]",
		Short: "Explain what an expectation can use",
		Long: `List the variables that the expectations of a scenario can use, with their types, or
explain one of them, or those that begin with a name.

An expectation is a condition in CEL. Durations are compared with duration("90s"). A
variable that was not measured makes it missed.`,
		Example: `  hpabench explain
  hpabench explain scaleUp
  hpabench explain load.surge.p99`,
		Args: cobra.MaximumNArgs(1),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return variableNames(), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(_ *cobra.Command, args []string) error {
			list := expect.Variables()
			if len(args) == 1 {
				if list = named(list, args[0]); len(list) == 0 {
					return runner.BadInput{Err: fmt.Errorf("there is no variable %q (%s); hpabench explain lists them", args[0], scenarios.DidYouMean(args[0], variableNames()))}
				}
			}
			var rows [][]string
			for _, v := range list {
				rows = append(rows, []string{v.Name, v.Type, v.Unit, v.Text})
			}
			if format == "markdown" {
				return reports.ListMarkdown(a.stdout, variableColumns, rows)
			}
			return reports.ListTable(a.stdout, variableColumns, rows, width(a.stdout))
		},
	}
	addOutput(cmd, &format, "table", "markdown", "table")
	return cmd
}

func variableNames() (names []string) {
	for _, v := range expect.Variables() {
		names = append(names, v.Name)
	}
	return names
}

var variableColumns = []string{"variable", "type", "unit", "what it is"}

var phasePart = regexp.MustCompile(`^load\.[^.]+`)

// named are the variables of that name, else those that begin with it, else those that have it in
// them in any case. Any phase stands for <phase>.
func named(list []expect.Variable, name string) (found []expect.Variable) {
	general := phasePart.ReplaceAllString(name, "load.<phase>")
	for _, v := range list {
		if v.Name == name || v.Name == general {
			return []expect.Variable{v}
		}
		if strings.HasPrefix(v.Name, name) || strings.HasPrefix(v.Name, general) {
			found = append(found, v)
		}
	}
	if len(found) > 0 {
		return found
	}
	return slices.DeleteFunc(list, func(v expect.Variable) bool {
		return name == "" || !strings.Contains(strings.ToLower(v.Name), strings.ToLower(name))
	})
}
