package main

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hpabench/hpabench/embedded"
	"github.com/hpabench/hpabench/reports"
	"github.com/hpabench/hpabench/runner"
)

func (a *app) labCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "lab",
		Short: "Keep an embedded cluster, to look at it with kubectl",
		Long: `Keep an embedded cluster: a real control plane (API server, controllers, scheduler,
metrics) with modelled pods, in one process without root, containers or network.

hpabench run starts one for itself. One that is kept can be looked at with
kubectl while a run goes on, and hpabench run takes it in place of its own.`,
		Example: `  hpabench lab up && kubectl get hpa -w
  hpabench lab down`,
		Args: cobra.NoArgs, // or a misspelt command would print the help and be fine
		RunE: func(cmd *cobra.Command, args []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.labUpCommand(), a.labDownCommand(), a.labStatusCommand())
	return cmd
}

// addName adds --name, completed with the labs that are up.
func addName(cmd *cobra.Command, name *string, initial, help string) {
	cmd.Flags().StringVar(name, "name", initial, help)
	_ = cmd.RegisterFlagCompletionFunc("name", func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		var names []string
		all, _ := embedded.All(cmd.Context(), nil)
		for _, k := range all {
			names = append(names, k.Name)
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	})
}

func (a *app) labUpCommand() *cobra.Command {
	var f labFlags
	var name, kubeconfig string
	var quiet bool
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Start an embedded cluster that stays",
		Long: `Start an embedded cluster that stays until hpabench lab down, and add it to the
kubeconfig (by the rules of KUBECONFIG) as its current context: hpabench-lab, or
hpabench-lab-NAME with --name. hpabench run takes the one without a name; others
are named by --context.`,
		Example: `  hpabench lab up && kubectl get hpa -w
  hpabench lab up --timing fast --lab-flag nodes=20
  hpabench lab up --name other --kubeconfig other.yaml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.check(); err != nil {
				return err
			}
			if _, err := runner.Kubeconfig(kubeconfig, embedded.ContextOf(name)).RawConfig(); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return runner.BadInput{Err: fmt.Errorf("reading the kubeconfig: %w", err)} // which it is added to
			}
			defer a.orderly()()
			say := func(line string) {
				if !quiet || !strings.HasPrefix(line, "starting ") { // what it waits for is said all the same
					warn(line)
				}
			}
			k, there, err := embedded.Up(cmd.Context(), name, f.Options, kubeconfig, say)
			if err != nil {
				return labError(err)
			}
			if there {
				err := k.Allows(f.Options)
				if err == nil && kubeconfig != "" && !k.In(kubeconfig) {
					err = fmt.Errorf("the embedded cluster %s is up already, and not in %s: hpabench lab down --name %s ends it", k.Name, kubeconfig, k.Name)
				}
				if err != nil {
					return runner.BadInput{Err: err}
				}
				fmt.Fprintf(a.stdout, "the embedded cluster is up already%s\n", where(k))
				return nil
			}
			fmt.Fprintf(a.stdout, "the embedded cluster is up%s\n", where(k))
			if k.Entry.Before != "" {
				fmt.Fprintf(a.stdout, "the current context was %s before; hpabench lab down brings it back\n", k.Entry.Before)
			}
			return nil
		},
	}
	f.add(cmd)
	addName(cmd, &name, embedded.DefaultName, "of the embedded cluster, for more than one")
	addQuiet(cmd, &quiet)
	addKubeconfig(cmd, &kubeconfig, "`file` to add it to (default: the one that kubectl uses)")
	return cmd
}

// labError tells what the user mends by another command line.
func labError(err error) error {
	if errors.Is(err, embedded.ErrMissing) || errors.Is(err, embedded.ErrName) || errors.Is(err, embedded.ErrFlags) || errors.Is(err, embedded.ErrElsewhere) {
		return runner.BadInput{Err: err}
	}
	return err
}

// where says how kubectl gets to a lab.
func where(k *embedded.Kept) string {
	switch {
	case k.Entry == nil:
		return ": kubectl --kubeconfig " + k.Kubeconfig()
	case k.Entry.File != "":
		return fmt.Sprintf(": kubectl --kubeconfig %s --context %s", k.Entry.File, k.Entry.Context)
	}
	return ": kubectl --context " + k.Entry.Context
}

func (a *app) labDownCommand() *cobra.Command {
	var name, kubeconfig string
	var quiet bool
	cmd := &cobra.Command{
		Use:   "down",
		Short: "End an embedded cluster",
		Long: `End an embedded cluster with all that is in it, and take it out of the kubeconfig
to which hpabench lab up added it. The context that was current before is current
again, unless another was chosen since. With --kubeconfig it is ended only if hpabench
lab up added it to that file.`,
		Example: `  hpabench lab down
  hpabench lab down --name other --kubeconfig other.yaml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			defer a.orderly()()
			w := a.work(quiet)
			defer w.done()
			w.does("ending the embedded cluster")
			was, k, err := embedded.Down(cmd.Context(), name, kubeconfig, func(line string) { w.above(func() { warn(line) }) })
			w.done()
			if err != nil {
				return labError(err)
			}
			if !was {
				fmt.Fprintf(a.stdout, "no embedded cluster %s is up\n", name)
			} else {
				fmt.Fprintln(a.stdout, "the embedded cluster is down")
			}
			if k.Entry != nil && k.Entry.Restored != "" {
				fmt.Fprintf(a.stdout, "the current context is %s again\n", k.Entry.Restored)
			}
			return nil
		},
	}
	addName(cmd, &name, embedded.DefaultName, "of the embedded cluster")
	addQuiet(cmd, &quiet)
	addKubeconfig(cmd, &kubeconfig, "`file` that it was added to (default: whichever)")
	return cmd
}

func (a *app) labStatusCommand() *cobra.Command {
	var name string
	var quiet bool
	cmd := &cobra.Command{
		Use:     "status",
		Short:   "List the embedded clusters that are up, those of runs among them",
		Example: `  hpabench lab status`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			w := a.work(quiet)
			defer w.done()
			w.does("looking for embedded clusters")
			warn := func(line string) { w.above(func() { warn(line) }) }
			all, err := embedded.All(cmd.Context(), warn)
			if err == nil {
				err = embedded.Sweep(cmd.Context(), warn)
			}
			if err == nil && name != "" {
				var k *embedded.Kept
				if k, err = embedded.Find(cmd.Context(), name, warn); k != nil {
					all = []*embedded.Kept{k}
				} else {
					all = nil
				}
			}
			w.done()
			if err != nil {
				return labError(err)
			}
			if len(all) == 0 {
				fmt.Fprintln(a.stdout, "no embedded cluster is up: hpabench lab up starts one")
				return nil
			}
			rows := [][]string{{"NAME", "TIMING", "PROCESS", "CONTEXT", "KUBECONFIG"}}
			for _, k := range all {
				timing, context := "–", "–"
				if k.Entry != nil {
					timing, context = k.Timing(), k.Entry.Context
				}
				rows = append(rows, []string{k.Name, timing, fmt.Sprint(k.PID()), context, k.Kubeconfig()})
			}
			return reports.Columns(a.stdout, rows)
		},
	}
	addQuiet(cmd, &quiet)
	addName(cmd, &name, "", "only the embedded cluster of this name")
	return cmd
}
