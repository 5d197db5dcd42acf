package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/hpabench/hpabench/analysis"
	"github.com/hpabench/hpabench/record"
	"github.com/hpabench/hpabench/reports"
	"github.com/hpabench/hpabench/runner"
)

// errIll says that doctor came to its end and found something.
var errIll = errors.New("not able to autoscale")

func (a *app) doctorCommand() *cobra.Command {
	var cluster clusterFlags
	output := "table"
	var quiet bool
	cmd := &cobra.Command{
		Use:   "doctor [TYPE/NAME]",
		Short: "Find out why an autoscaler, or any on a cluster, does not scale",
		Long: `Find out whether a cluster is able to autoscale at all: its API server, the rights
to look, who serves the metrics and how old these are, the nodes and their room,
and each HPA of the namespace, or of all that may be read.

With TYPE/NAME, an HPA (hpa/web, or just web) or the object that it scales
(deployment/web), find out whether that one can scale: what it is set to, what it
sees, what it would do now and what limits that, and what stands in its way. It is
watched for three seconds; nothing is created or changed and no load is sent.

` + existingHelp + `
Exit codes:
  0  nothing was found that keeps it from scaling
  1  something was: a fault above, or a finding that blocks
  2  bad input: the command line or what it names is at fault
  3  the cluster failed`,
		Example: `  hpabench doctor --context prod
  hpabench doctor --context prod -n shop
  hpabench doctor --context prod -n shop hpa/web
  hpabench doctor web -o json`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: cluster.completeAutoscalers,
		RunE: func(cmd *cobra.Command, args []string) error {
			if output != "table" && output != "json" {
				return runner.BadInput{Err: fmt.Errorf("-o must be one of json, table, is %q", output)}
			}
			ref := ""
			if len(args) > 0 {
				ref = args[0]
			}
			return a.doctor(cmd.Context(), ref, &cluster, output == "json", quiet)
		},
	}
	cluster.add(cmd, "`namespace` of the autoscaler (default: that of the context; without a NAME all); without --context, of the kubeconfig's current context")
	cmd.Flags().StringVarP(&output, "output", "o", output, "what to print: json, table")
	addQuiet(cmd, &quiet)
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"json", "table"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// diagnosis is what doctor found; it is also its JSON document. What is of one
// autoscaler is as in analysis.Result, and absent if none was named.
type diagnosis struct {
	Able       bool                 `json:"able"` // nothing keeps it from scaling
	Checks     []record.Check       `json:"checks"`
	Cluster    *record.Cluster      `json:"cluster,omitempty"`
	Subject    *record.Subject      `json:"subject,omitempty"`
	Autoscaler *analysis.Autoscaler `json:"autoscaler,omitempty"`
	Now        *analysis.Now        `json:"now,omitempty"`
	Events     []analysis.Event     `json:"events,omitempty"` // warnings, and the HPA's own
	Findings   []analysis.Finding   `json:"findings,omitempty"`

	started time.Time
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
	d, err := diagnose(e)
	if err != nil {
		return err
	}
	if asJSON {
		out := json.NewEncoder(a.stdout)
		out.SetEscapeHTML(false)
		out.SetIndent("", "  ")
		err = out.Encode(d)
	} else {
		_, err = io.WriteString(a.stdout, d.text(width(a.stdout)))
	}
	if err == nil && !d.Able {
		err = errIll
	}
	return err
}

func diagnose(e *runner.Examination) (*diagnosis, error) {
	d := &diagnosis{Able: e.Able(), Checks: e.Checks, Cluster: e.Cluster}
	if e.Run == nil {
		return d, nil
	}
	r, err := analysis.Analyze(*e.Run)
	if err != nil {
		return nil, err
	}
	d.Subject, d.Autoscaler, d.Now, d.Findings, d.started = r.Subject, r.Autoscaler, r.Now, r.Findings, r.Started
	d.Events = notable(r.Events)
	d.Able = d.Able && !slices.ContainsFunc(d.Findings, func(f analysis.Finding) bool { return f.Severity == analysis.Blocks })
	return d, nil
}

// notable keeps warnings and the HPA's own events, of each its last count, by time.
func notable(all []analysis.Event) (kept []analysis.Event) {
	type key struct{ kind, name, reason, message string }
	last := map[key]analysis.Event{}
	for _, e := range all {
		// This one always comes with another that has its cause.
		if (e.Type == "Warning" || e.Kind == "HorizontalPodAutoscaler") && e.Reason != "FailedComputeMetricsReplicas" {
			last[key{e.Kind, e.Name, e.Reason, e.Message}] = e
		}
	}
	return slices.SortedFunc(maps.Values(last), func(a, b analysis.Event) int {
		return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Reason, b.Reason))
	})
}

// text is what comes below the checks.
func (d *diagnosis) text(width int) string {
	var b strings.Builder
	line := func(mark, text string) {
		for _, l := range reports.Wrap(text, width-9) {
			fmt.Fprintf(&b, "%-7s  %s\n", mark, l)
			mark = ""
		}
	}
	if d.Now != nil && d.Autoscaler != nil {
		b.WriteString("\n")
		line("set to", d.setting())
		line("now", d.state())
		line("does", d.Now.Says)
		mark := "says"
		for _, c := range d.Now.Conditions {
			if matters(c) && !strings.Contains(d.Now.Says, c.Reason) {
				line(mark, condition(c))
				mark = ""
			}
		}
	}
	mark := "events"
	for _, e := range d.Events {
		times := ""
		if e.Count > 1 {
			times = fmt.Sprintf(" (%d times)", e.Count)
		}
		line(mark, fmt.Sprintf("%s ago  %s/%s  %s%s: %s", clock(d.started.Sub(e.Time)), short(e.Kind), e.Name, e.Reason, times, e.Message))
		mark = ""
	}
	if d.Subject != nil {
		b.WriteString("\n")
	}
	for _, f := range d.Findings {
		object := f.Object
		if len(f.Others) > 0 {
			object += fmt.Sprintf(" and %d more", len(f.Others))
		}
		line(f.Severity, object+": "+f.Seen)
		line("", f.Cause)
		line("", f.Advice)
	}
	if d.Subject != nil && len(d.Findings) == 0 && d.Able {
		line("ok", "nothing was found that stands in its way")
	}
	return b.String()
}

func (d *diagnosis) setting() string {
	a := d.Autoscaler
	s := fmt.Sprintf("%d to %d replicas, on %s; tolerance %g %%", a.Min, a.Max, strings.Join(a.Metrics, ", "), a.ScaleUpTolerance*100)
	if a.ScaleDownTolerance != a.ScaleUpTolerance {
		s += fmt.Sprintf(" up and %g %% down", a.ScaleDownTolerance*100)
	}
	s += fmt.Sprintf(", scale-down window %.0f s", a.ScaleDownWindowSeconds)
	if len(a.Assumed) > 0 {
		s += " (assumed, as these are flags of the controller manager: " + strings.Join(a.Assumed, ", ") + ")"
	}
	return s
}

func (d *diagnosis) state() string {
	var parts []string
	if n := d.Now; n.Replicas != nil && n.Ready != nil {
		parts = append(parts, fmt.Sprintf("%d of %d replicas ready", *n.Ready, *n.Replicas))
	}
	for _, m := range d.Now.Metrics {
		s := fmt.Sprintf("%s: target %s, the HPA's status has ", m.Name, m.Target)
		if m.Status == "" {
			s += "none"
		} else {
			s += m.Status
		}
		if m.Pods != "" {
			s += ", the pods' metrics " + m.Pods
		}
		if m.OldestSampleSeconds != nil {
			s += fmt.Sprintf(" (up to %.0f s old)", *m.OldestSampleSeconds)
		}
		parts = append(parts, s)
	}
	return strings.Join(parts, "; ")
}

// matters says whether a condition is not what it is when all is well.
func matters(c analysis.Condition) bool {
	if c.Type == "ScalingLimited" {
		return c.Status == "True"
	}
	return c.Status == "False" && c.Type != "ScaledToZero" || strings.HasSuffix(c.Reason, "Stabilized")
}

func condition(c analysis.Condition) string {
	s := fmt.Sprintf("%s is %s", c.Type, c.Status)
	// The time is that of the status, not of the reason.
	if c.SinceSeconds != nil && !strings.HasSuffix(c.Reason, "Stabilized") {
		s += " since " + clock(time.Duration(*c.SinceSeconds*float64(time.Second)))
	}
	return fmt.Sprintf("%s (%s): %s", s, c.Reason, c.Message)
}

// short is the kind as kubectl's users write it.
func short(kind string) string {
	if kind == "HorizontalPodAutoscaler" {
		return "hpa"
	}
	return strings.ToLower(kind)
}
