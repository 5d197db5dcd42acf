package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/hpabench/hpabench/runner"
)

func (a *app) cleanCommand() *cobra.Command {
	var f clusterFlags
	var o runner.CleanOptions
	var quiet bool
	cmd := &cobra.Command{
		Use:   "clean",
		Short: "Remove what earlier runs left in a cluster",
		Long: `Remove what earlier runs left in a cluster: their namespaces, the objects without
a namespace and, with -n, the objects that they made in a namespace that exists.
The Lease of a run names what it made. A label alone is no proof: a copy of an
object is named, and left alone. So is what belongs to a run that is still going
on, which renews its Lease: clean watches for up to 35 s.

It takes the right to list namespaces and Leases, and to get and delete what the
Leases name. Without them clean says what it could not look at, and exits with 3.

Name the cluster. Without --context, --kubeconfig and -n it is the embedded one
that hpabench lab up keeps; -n alone means the kubeconfig's current context.

A namespace that stays Terminating is reported with what holds it. --finalize
then takes off its finalizers, through the namespace's finalize subresource:
what is still in the namespace is given up, and may come back to light if a
namespace of that name is made again.`,
		Example: `  hpabench clean --context kind-kind --dry-run
  hpabench clean --context kind-kind
  hpabench clean --context kind-kind --finalize`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			w := a.work(quiet)
			defer w.done()
			w.does("looking for what runs left")
			cluster, err := f.existing(cmd.Context(), w.say)
			if err != nil {
				return err
			}
			o.Namespace = f.namespace
			return cluster.Clean(cmd.Context(), o, func(line string) { w.above(func() { fmt.Fprintln(a.stdout, line) }) })
		},
	}
	f.add(cmd, "also remove what runs left in this `namespace`")
	addQuiet(cmd, &quiet)
	cmd.Flags().BoolVar(&o.DryRun, "dry-run", false, "only say what would be removed")
	cmd.Flags().BoolVar(&o.All, "all", false, "also remove what belongs to a run that is still alive")
	cmd.Flags().BoolVar(&o.Finalize, "finalize", false, "take the finalizers off namespaces that do not go")
	addPositive(cmd, &o.Timeout, "timeout", time.Minute, "how long to wait for each object to go")
	return cmd
}
