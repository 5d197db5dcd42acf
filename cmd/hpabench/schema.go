package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hpabench/hpabench/scenarios"
)

func (a *app) schemaCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of scenario files",
		Long: `Print the JSON Schema of scenario files, so that an editor completes and checks
them: with the YAML language server, put into a scenario's first line
# yaml-language-server: $schema=scenario.schema.json`,
		Example: `  hpabench schema > scenario.schema.json`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			schema, err := scenarios.JSONSchema()
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(a.stdout, strings.TrimSpace(string(schema)))
			return err
		},
	}
}
