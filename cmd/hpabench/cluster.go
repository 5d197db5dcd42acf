package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hpabench/hpabench/runner"
)

// clusterFlags name the cluster that a command works on.
type clusterFlags struct {
	kubeconfig, context, namespace string
}

func (f *clusterFlags) add(cmd *cobra.Command, namespaceHelp string) {
	cmd.Flags().StringVar(&f.kubeconfig, "kubeconfig", "", "kubeconfig `file` of the cluster")
	cmd.Flags().StringVar(&f.context, "context", "", "`name` of the kubeconfig's context")
	cmd.Flags().StringVarP(&f.namespace, "namespace", "n", "", namespaceHelp)
	_ = cmd.MarkFlagFilename("kubeconfig")
	_ = cmd.RegisterFlagCompletionFunc("context", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return runner.Contexts(f.kubeconfig), cobra.ShellCompDirectiveNoFileComp
	})
}

// connect wants the cluster to be named: hpabench creates and deletes things
// and sends load, which is not for whatever cluster kubectl happens to point to.
func (f *clusterFlags) connect() (*runner.Cluster, error) {
	if f.kubeconfig == "" && f.context == "" {
		hint := ""
		if names := runner.Contexts(""); len(names) > 0 {
			hint = fmt.Sprintf(" (there are: %s)", strings.Join(names, ", "))
		}
		return nil, runner.BadInput{Err: errors.New("name the cluster: --context NAME" + hint + " or --kubeconfig FILE")}
	}
	return runner.Connect(f.kubeconfig, f.context)
}
