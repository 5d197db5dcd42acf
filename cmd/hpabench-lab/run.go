package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/hpabench/hpabench/lab"
	"github.com/hpabench/hpabench/model"
)

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	// Kubernetes registers flags of its own there, which cobra would take over.
	pflag.CommandLine = pflag.NewFlagSet("", pflag.ContinueOnError)

	hpa, err := lab.HPADefaults(lab.Real)
	if err != nil {
		return err
	}
	var o lab.Options
	var timing, cpu, memory string
	var tied, serving bool
	c := &cobra.Command{
		Use:   "hpabench-lab",
		Short: "An embedded Kubernetes control plane with modelled nodes",
		Long: `hpabench-lab starts a Kubernetes control plane in one process, with modelled
nodes that need no container engine, no root and no network. When it is ready it
prints the path of its kubeconfig, and runs until it is interrupted. All that it
keeps is then gone. The flags that begin with horizontal-pod-autoscaler are those
of kube-controller-manager.`,
		Example: `  hpabench-lab --name demo --timing fast
  hpabench-lab --nodes 20 --node-cpu 16 --horizontal-pod-autoscaler-tolerance 0.05`,
		Args:          cobra.NoArgs,
		Version:       lab.Version(),
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.Nodes.CPU, err = model.ParseQuantity(cpu); err != nil {
				return fmt.Errorf("reading --node-cpu: %w", err)
			}
			if o.Nodes.Memory, err = model.ParseQuantity(memory); err != nil {
				return fmt.Errorf("reading --node-memory: %w", err)
			}
			if o.Nodes.Count < 1 || o.Nodes.Pods < 1 {
				return errors.New("--nodes and --node-pods must be 1 or more")
			}
			if o.ScrapeEvery < time.Second || !o.KEDA && cmd.Flags().Changed("scrape-interval") {
				return errors.New("--scrape-interval is of --keda, and must be 1s or more")
			}
			if o.Resolution < 0 || o.Resolution > 0 && o.Resolution < time.Second {
				return errors.New("--metric-resolution must be 1s or more")
			}
			o.Timing = lab.Timing(timing)
			if !cmd.Flags().Changed("horizontal-pod-autoscaler-sync-period") {
				d, err := lab.HPADefaults(o.Timing)
				if err != nil {
					return err
				}
				hpa.HorizontalPodAutoscalerSyncPeriod = d.HorizontalPodAutoscalerSyncPeriod
			}
			o.HPA = hpa
			ctx, cancel := context.WithCancel(cmd.Context())
			defer cancel()
			if tied {
				go func() {
					if told, _ := io.ReadAll(io.LimitReader(stdin, 1<<10)); string(told) != stay {
						cancel()
					}
				}()
			}
			o.Say = func(line string) { fmt.Fprintln(cmd.ErrOrStderr(), "hpabench-lab:", line) }
			o.LogFile = divert
			serving = true
			return serve(ctx, o, cmd.OutOrStdout())
		},
	}
	flags := c.Flags()
	flags.StringVar(&o.Name, "name", "", "name of the lab (default: a fresh one)")
	flags.StringVar(&timing, "timing", string(lab.Real), "HPA sync period and metrics resolution: real (15s each) or fast (5s each)")
	flags.DurationVar(&o.Resolution, "metric-resolution", 0, "how often metrics-server asks the kubelets (default: as --timing says)")
	flags.IntVar(&o.Nodes.Count, "nodes", 8, "number of nodes")
	flags.StringVar(&cpu, "node-cpu", "4", "processors of each node")
	flags.StringVar(&memory, "node-memory", "16Gi", "memory of each node")
	flags.IntVar(&o.Nodes.Pods, "node-pods", 110, "pods that fit on each node")
	flags.BoolVar(&o.KEDA, "keda", false, "act on ScaledObjects as KEDA does, with a Prometheus that scrapes all pods")
	flags.DurationVar(&o.ScrapeEvery, "scrape-interval", 15*time.Second, "how often the Prometheus of --keda scrapes")
	flags.BoolVar(&tied, "stdin", false, "run until standard input ends, and so no longer than the parent that holds it open; if all that was written to it is "+stay+", go on")
	ofHPA := pflag.NewFlagSet("", pflag.ContinueOnError)
	hpa.AddFlags(ofHPA)
	flags.AddFlagSet(ofHPA)
	c.SetArgs(args)
	c.SetOut(stdout)
	c.SetErr(stderr)
	if err = c.ExecuteContext(ctx); err != nil && !serving {
		return usageError{err}
	}
	return err
}

// usageError is why the lab was not begun: its flags are at fault.
type usageError struct{ error }

// stay on standard input lets the lab outlive its parent.
const stay = "stay"

// errInterrupted says that the lab was told to end before it was ready.
var errInterrupted = errors.New("interrupted before the cluster was ready")

// serve runs a lab until ctx ends or a part of it does, and removes its folder in
// each case. What it keeps is of no use to anybody once it is told to end, and the API
// server takes seconds to end in order: to remove the folder is enough.
func serve(ctx context.Context, o lab.Options, stdout io.Writer) error {
	ended := make(chan error, 1)
	var ready atomic.Bool
	go func() { ended <- live(ctx, o, stdout, &ready) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	if err := lab.Abandon(); err != nil || ready.Load() {
		return err
	}
	return errInterrupted
}

func live(ctx context.Context, o lab.Options, stdout io.Writer, ready *atomic.Bool) error {
	l, err := lab.Start(ctx, o)
	if ctx.Err() != nil && err != nil {
		return errors.Join(errInterrupted, lab.Abandon())
	}
	if err != nil {
		return err
	}
	ready.Store(true)
	fmt.Fprintln(stdout, l.Kubeconfig())
	err = <-l.Failed()
	_ = l.Stop()
	return err
}
