package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"

	"github.com/hpabench/hpabench/analysis"
	"github.com/hpabench/hpabench/embedded"
	"github.com/hpabench/hpabench/record"
	"github.com/hpabench/hpabench/runner"
	"github.com/hpabench/hpabench/scenarios"
)

type runFlags struct {
	cluster      clusterFlags
	lab          labFlags
	output       outputFlag
	out          string
	keep, quiet  bool
	metricsEvery time.Duration
	timeout      time.Duration
	repeat       int
	set          []string
	parallel     int
	inconclusive bool // is a failure
	image        string
	pullPolicy   string
	skipUnknown  bool
}

func (f *runFlags) addSkipUnknown(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&f.skipUnknown, "skip-unknown", false, "on the embedded cluster, leave out objects of the manifests whose kinds it does not have; the report names them")
}

func (a *app) runCommand() *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use:   "run SCENARIO",
		Short: "Run a scenario and report how it scaled",
		Long: `Run a scenario on the embedded cluster, or on one that is named, and report how
it scaled.

The embedded cluster is a real control plane with modelled pods, which is started
for the run and ends with it; if hpabench lab up keeps one, it is that one. With
--context or --kubeconfig the run is on the cluster that they name, with -n alone
on that of the kubeconfig's current context.

SCENARIO is a file, or the name of one of the library (hpabench scenarios).
The run looks whether it can work before it creates anything, makes a namespace
of its own, sends the load, and removes all that it created.

Ctrl-C, or SIGTERM, ends it in order. Within two seconds the load has stopped; a cluster
that was started for the run ends at once, with all that is in it. In another cluster
the removal of what was created has begun by then, and the run waits until that is gone:
some 10 s for a namespace, and the grace period of the pods. What was measured is
reported. A second Ctrl-C ends it at once, and says what is left.

With --repeat, --set or a matrix in the scenario there are several runs. They are made
in turn, so that what changes with time is the same for all, and begin at different
points of the HPA's period. Each has a folder of its own in that of --out. Of several
combinations the table marks the best of each figure and says which miss an
expectation; the exit code is 1 when one of them does.

The folder given by --out gets the record, from which hpabench report makes
every report again, and the reports: report.html, report.md, result.json,
summary.csv, stages.csv, findings.csv, timeline.csv, pods.csv, events.csv,
junit.xml and metrics.txt (OpenMetrics). In a job of GitHub Actions the report is in
the job's summary too, with an annotation for each expectation that was missed.

` + exitCodes,
		Example: `  hpabench run scenarios/demo-nginx.yaml
  hpabench run --timing fast --lab-flag nodes=20 spike
  hpabench run --context kind-kind scenarios/demo-nginx.yaml
  hpabench run --set target=40,60,80 --repeat 3 --parallel 2 --out targets spike
  hpabench run --kubeconfig ~/.kube/config slow-start --out before -o markdown`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeScenarios,
		RunE:              func(cmd *cobra.Command, args []string) error { return a.runScenario(cmd.Context(), args[0], &f) },
	}
	f.cluster.add(cmd, "existing `namespace` to create the objects in (default: one of the run's own); without --context, of the kubeconfig's current context")
	f.lab.add(cmd)
	f.output.add(cmd)
	cmd.Flags().StringVar(&f.out, "out", "", "`folder` for the record and the reports (default hpabench-SCENARIO-ID)")
	cmd.Flags().BoolVar(&f.keep, "keep", false, "leave what the run created")
	addQuiet(cmd, &f.quiet)
	addPositive(cmd, &f.metricsEvery, "metrics-every", time.Second, "how often the pods' metrics are read, each custom or external one of the HPA, and the queue of the load: the precision of their figures")
	addRepeat(cmd, &f.repeat, "make so many `runs`, one after the other, and judge the expectations over all of them (default: the scenario's repeat, else 1)")
	cmd.Flags().StringArrayVar(&f.set, "set", nil, "`name=value,...`: make a run of each value, and of each combination with those of other names (see matrix in hpabench schema); can be repeated")
	cmd.Flags().IntVar(&f.parallel, "parallel", 1, "of several runs, make so many at a time, each in a namespace of its own; one for which the cluster has no room beside others waits")
	cmd.Flags().BoolVar(&f.inconclusive, "fail-on-inconclusive", false, "with --repeat, exit with code 1 when it cannot be said whether an expectation holds")
	cmd.Flags().StringVar(&f.image, "image", runner.WorkerImage, "image of the workers of via: job (make image builds it)")
	addChoice(cmd, &f.pullPolicy, "image-pull-policy", "", "", "when nodes pull that image: Always, IfNotPresent or Never (default: as Kubernetes has it)",
		string(corev1.PullAlways), string(corev1.PullIfNotPresent), string(corev1.PullNever))
	f.addSkipUnknown(cmd)
	addPositive(cmd, &f.timeout, "timeout", 5*time.Minute, "how long the pods may take to get ready, and then the HPA to its first metric (90s at least for one of CPU or memory)")
	return cmd
}

// addRepeat adds --repeat: 0 is for the scenario's, and cannot be said.
func addRepeat(cmd *cobra.Command, repeat *int, usage string) {
	cmd.Flags().IntVar(repeat, "repeat", 0, usage)
	cmd.PreRunE = func(*cobra.Command, []string) error {
		if cmd.Flags().Changed("repeat") && (*repeat < 1 || *repeat > scenarios.MaxRepeat) {
			return runner.BadInput{Err: fmt.Errorf("--repeat is %d, and must be from 1 to %d", *repeat, scenarios.MaxRepeat)}
		}
		return nil
	}
}

func (a *app) runScenario(ctx context.Context, name string, f *runFlags) error {
	switch {
	case f.parallel < 1:
		return runner.BadInput{Err: errors.New("--parallel must be 1 at least")}
	case f.parallel > 1 && f.cluster.namespace != "":
		return runner.BadInput{Err: errors.New("--parallel makes each run in a namespace of its own: leave out -n and name the cluster by --context")}
	}
	reads := scenarios.Read
	if f.cluster.namespace != "" {
		reads = scenarios.ReadAdmitted
	}
	file, err := readScenarioBy(reads, name)
	if err != nil {
		return err
	}
	if file.Embedded && filepath.Ext(name) != "" {
		fmt.Fprintf(a.stderr, "there is no file %s here: taking the library's %s\n", name, file.Metadata.Name)
	}
	if f.parallel > 1 && file.Spec.Workload.Existing != nil {
		return runner.BadInput{Err: file.Fault("spec.workload.existing", "--parallel makes several runs at a time, and there is only one such object", "leave --parallel out")}
	}
	settings, variants, said, err := variantsOf(file, f.set)
	if err != nil {
		return err
	}
	f.repeat = cmp.Or(f.repeat, file.Spec.Repeat, 1)
	several := f.repeat > 1 || len(variants) > 1
	if err := f.output.allowTrials(); err != nil && several {
		return err
	}
	id := runner.NewID()
	dir := cmp.Or(f.out, fmt.Sprintf("hpabench-%s-%s", file.Metadata.Name, id))
	if err := checkOut(dir); err != nil {
		return err
	}
	show := newDisplay(a.stderr, f.quiet)
	defer show.close()
	over := a.orderly()
	defer over()
	if said != "" {
		show.progress(runner.Progress{Message: said})
	}
	cluster, lab, err := f.connect(ctx, file, id, func(line string) { show.progress(runner.Progress{Message: line}) })
	if err != nil {
		return err
	}
	if lab != nil {
		defer func() {
			defer a.orderly()()
			lab.Stop()
		}()
	}
	t := trial{runFlags: f, file: variants[0].File, cluster: cluster, lab: lab, id: id, dir: dir, show: show}
	if lab != nil {
		t.ends = ctx
	} else if !f.keep {
		a.sayOnInterrupt(inCluster)
	}
	if !several {
		return t.run(ctx, a, over)
	}
	show.close()
	over() // each of them has its own
	return a.several(ctx, t, settings, variants)
}

// variantsOf are those of a scenario with what --set says, and what is to be said of
// their calibration.
func variantsOf(file *scenarios.File, set []string) (settings []scenarios.Setting, variants []scenarios.Variant, said string, err error) {
	var others []scenarios.Setting
	for _, text := range set {
		s, err := scenarios.ParseSetting(text)
		if err != nil {
			return nil, nil, "", runner.BadInput{Err: fmt.Errorf("--set: %w", err)}
		}
		if slices.ContainsFunc(others, func(o scenarios.Setting) bool { return o.Name == s.Name }) {
			return nil, nil, "", runner.BadInput{Err: fmt.Errorf("--set %s is given twice: write all its values in one, such as --set target=40,60", s.Name)}
		}
		others = append(others, s)
	}
	settings = file.Settings(others)
	if variants, err = file.Variants(settings); err != nil {
		return nil, nil, "", err
	}
	judged := slices.ContainsFunc(settings, func(s scenarios.Setting) bool {
		return strings.Contains(s.Name, "expect") || strings.HasSuffix(s.Name, "name") || strings.Contains(s.Name, "phases")
	})
	for _, v := range variants {
		if judged {
			if unfit, err := unfitExpectations(v.File); err != nil {
				return nil, nil, "", err
			} else if len(unfit) > 0 {
				return nil, nil, "", unfit
			}
		}
		if err := calibrated(v.File, func(line string) { said = line }); err != nil {
			return nil, nil, "", err
		}
	}
	return settings, variants, said, nil
}

// trial is one run of a scenario.
type trial struct {
	*runFlags
	file    *scenarios.File
	cluster *runner.Cluster
	lab     *embedded.Lab   // that was started for it; nil for another cluster
	ends    context.Context // the cluster, when the command is interrupted; nil for another cluster
	id, dir string
	show    *display
	part    float64 // of the HPA's sync period, that the load waits
	// beside is how many others may go on at the same time; alone waits until there is
	// none, where the cluster has no room for them.
	beside int
	alone  func() error
	seen   func(runner.Progress) // gets the progress too, if it is there
	fixed  bool                  // the HPA has one number of replicas on purpose
}

// run makes the run and reports it. Over is called when there is nothing to end in order any more.
func (t *trial) run(ctx context.Context, a *app, over func()) error {
	run, err := t.measure(ctx, a)
	if t.lab != nil {
		t.lab.Stop()
	}
	over()
	if run == nil {
		return err
	}
	result, reported := a.report(run, t.dir, t.output, a.work(t.quiet))
	fmt.Fprintln(a.stderr, whereabouts(t.dir))
	return errors.Join(err, spoiled(result, err), reported)
}

// spoiled says that somebody changed what was measured, unless that ended the run.
func spoiled(r *analysis.Result, ended error) error {
	if r == nil || ended != nil || r.Spoiled() == nil {
		return nil
	}
	f := r.Spoiled()[0]
	return fmt.Errorf("the measurement is spoiled (finding %s): %s: %s", f.Kind, f.Object, f.Seen)
}

// measure makes the run. What it has measured is in dir however it ends, and is returned
// unless no load was sent.
func (t *trial) measure(ctx context.Context, a *app) (*analysis.Builder, error) {
	o := runner.Options{ID: t.id, Namespace: t.runFlags.cluster.namespace, Keep: t.keep, MetricsEvery: t.metricsEvery, Timeout: t.timeout, Version: version(),
		WorkerImage: t.image, WorkerPullPolicy: corev1.PullPolicy(t.pullPolicy), Part: t.part, Beside: t.beside, Ends: t.ends, SkipUnknown: t.skipUnknown, FixedReplicas: t.fixed}
	r, room, err := t.prepare(ctx, o)
	if err == nil && !room && t.beside > 0 {
		t.show.progress(runner.Progress{Message: "the cluster has no room for this run beside others: waiting for them"})
		if err := t.alone(); err != nil {
			return nil, err
		}
		o.Beside = 0
		r, _, err = t.prepare(ctx, o)
	}
	if err != nil {
		return nil, err
	}
	journal, err := createRecord(t.dir, func(line string) { t.show.progress(runner.Progress{Message: line}) })
	if err != nil {
		return nil, err
	}
	left := r.Left
	if t.lab != nil {
		left = func() []string { return nil } // it all goes with the cluster
	}
	a.mu.Lock()
	a.left = append(a.left, left)
	a.mu.Unlock()
	rec, run := recorder(journal)
	runErr := r.Run(ctx, rec)
	t.show.close()
	a.sayLeft(left())
	if t.lab != nil {
		select {
		case <-t.lab.Ended():
			runErr = errors.Join(runErr, t.lab.Err())
		default:
		}
	}
	runErr = errors.Join(runErr, rec.Close())
	t.dir = journal.folder()
	if runErr != nil && !run.Began() {
		fmt.Fprintf(a.stderr, "no load was sent, so there is nothing to report; what was seen is in %s\n", filepath.Join(t.dir, record.File))
		return nil, runErr
	}
	return run, runErr
}

// prepare makes the preflight of the run, and says whether there is room for its pods.
func (t *trial) prepare(ctx context.Context, o runner.Options) (r *runner.Runner, room bool, err error) {
	room = true
	r, err = runner.New(t.cluster, t.file, o, func(p runner.Progress) {
		if p.Check != nil && p.Check.Name == runner.RoomCheck && p.Check.Outcome != record.OK {
			room = false
		}
		if t.seen != nil {
			t.seen(p)
		}
		t.show.progress(p)
	})
	if err == nil {
		over := t.show.slow("asking the cluster")
		err = r.Preflight(ctx)
		over()
	}
	return r, room, err
}

// connect connects to the cluster that is named, else to the embedded one: that
// which is kept, or else one that is started for this run and returned.
func (f *runFlags) connect(ctx context.Context, file *scenarios.File, id string, say func(string)) (*runner.Cluster, *embedded.Lab, error) {
	if err := f.lab.check(); err != nil {
		return nil, nil, err
	}
	if f.cluster.named() {
		if f.lab.given() {
			return nil, nil, runner.BadInput{Err: errors.New("--timing and --lab-flag are for the embedded cluster, and another is named by --context, --kubeconfig or -n")}
		}
		cluster, err := f.cluster.connect(say)
		return cluster, nil, err
	}
	cluster, kept, err := f.cluster.kept(ctx, say)
	if err != nil {
		return nil, nil, err
	}
	if kept != nil {
		if err := kept.Allows(f.lab.Options); err != nil {
			return nil, nil, runner.BadInput{Err: err}
		}
		return cluster, nil, nil
	}
	if f.keep {
		return nil, nil, runner.BadInput{Err: errors.New("--keep: the embedded cluster of one run ends with it; hpabench lab up first makes one that stays")}
	}
	if file.Spec.Workload.Existing != nil {
		return nil, nil, runner.BadInput{Err: file.Fault("spec.workload.existing", "an embedded cluster that is started for this run has no object that exists already",
			"name the cluster: --context NAME"+contextsHint()+", or make one that stays with hpabench lab up")}
	}
	options := f.lab.Options
	if file.HasScaledObjects() && !slices.ContainsFunc(options.Flags, func(flag string) bool { return strings.HasPrefix(flag, "keda=") }) {
		options.Flags = append(slices.Clone(options.Flags), "keda=true")
	}
	say("starting the embedded cluster…")
	lab, err := embedded.Start(ctx, "run-"+id, options)
	if err != nil {
		return nil, nil, labError(err)
	}
	if cluster, err = runner.Connect(lab.Kubeconfig, ""); err != nil {
		lab.Stop()
		return nil, nil, err
	}
	cluster.Ended = lab.Ended()
	return cluster, lab, nil
}

// recorder records to a journal, and what the figures need into run.
func recorder(journal *journal) (rec *record.Recorder, run *analysis.Builder) {
	run, rec = new(analysis.Builder), record.NewRecorder(record.StartClock(), journal)
	rec.Each = run.AddEntry
	return rec, run
}
