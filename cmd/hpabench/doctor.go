package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/hpabench/hpabench/analysis"
	"github.com/hpabench/hpabench/reports"
	"github.com/hpabench/hpabench/runner"
)

// errIll says that doctor came to its end and found something.
var errIll = errors.New("not able to autoscale")

// errBlind says that doctor may not look.
var errBlind = errors.New("a right is missing (see above), so whether it is able to scale is not known")

func (a *app) doctorCommand() *cobra.Command {
	var cluster clusterFlags
	var output string
	var quiet bool
	cmd := &cobra.Command{
		Use:   "doctor [TYPE/NAME]",
		Short: "Find out why an autoscaler, or any on a cluster, does not scale",
		Long: `Find out whether a cluster is able to autoscale at all: its API server, the rights
to look, who serves the metrics and how old these are, the nodes and their room,
and of each HPA of the namespace, or of all that may be read, its spec and its
conditions: name one to look at its pods and their metrics too.

With TYPE/NAME, an HPA (hpa/web, or just web) or the object that it scales
(deployment/web), find out whether that one can scale: what it is set to, what it
sees, what it would do now and what limits that, and what stands in its way. It is
watched for three seconds; nothing is created or changed and no load is sent.

` + existingHelp + `
Exit codes:
  0  nothing was found that keeps it from scaling
  1  something was: a fault above but for missing rights, or a finding that blocks
  2  bad input: the command line or what it names is at fault
  3  the cluster failed, or nothing was found and a right to look is missing`,
		Example: `  hpabench doctor --context prod
  hpabench doctor --context prod -n shop
  hpabench doctor --context prod -n shop hpa/web
  hpabench doctor web -o json`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: cluster.completeAutoscalers,
		RunE: func(cmd *cobra.Command, args []string) error {
			ref := ""
			if len(args) > 0 {
				ref = args[0]
			}
			return a.doctor(cmd.Context(), ref, &cluster, output == "json", quiet)
		},
	}
	cluster.add(cmd, "`namespace` of the autoscaler (default: that of the context; without a NAME all); without --context, of the kubeconfig's current context")
	addOutput(cmd, &output, "table", "json", "table")
	addQuiet(cmd, &quiet)
	return cmd
}

func (a *app) doctor(ctx context.Context, ref string, f *clusterFlags, asJSON, quiet bool) error {
	w := a.work(quiet)
	defer w.done()
	w.does("asking the cluster")
	cluster, err := f.existing(ctx, w.say)
	if err != nil {
		return err
	}
	show := newDisplay(a.stdout, false)
	if asJSON {
		show = newDisplay(a.stderr, true)
	}
	doctor, err := runner.NewDoctor(cluster, ref, runner.ObserveOptions{ID: runner.NewID(), Namespace: f.namespace, Version: version()}, func(p runner.Progress) {
		switch {
		case p.Message != "":
			w.say(p.Message)
		case p.Check != nil:
			w.above(func() { show.progress(p) })
		}
	})
	if err != nil {
		return err
	}
	e, err := doctor.Examine(ctx)
	if err != nil {
		return err
	}
	w.done()
	var r *analysis.Result
	if e.Run != nil {
		if r, err = analysis.Analyze(*e.Run); err != nil {
			return err
		}
	}
	d := reports.Diagnose(e.Checks, e.Cluster, r)
	if asJSON {
		err = reports.DiagnosisJSON(a.stdout, d)
	} else {
		err = reports.DiagnosisText(a.stdout, d, width(a.stdout))
	}
	switch {
	case err != nil:
	case d.Ill() && d.Blind():
		err = fmt.Errorf("%w; a right is missing too (see above), so more may be at fault", errIll)
	case d.Ill():
		err = errIll
	case d.Blind():
		err = errBlind
	}
	return err
}
