package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/hpabench/hpabench/embedded"
	"github.com/hpabench/hpabench/record"
	"github.com/hpabench/hpabench/runner"
)

// clusterFlags name the cluster that a command works on.
type clusterFlags struct {
	kubeconfig, context, namespace string
}

func (f *clusterFlags) add(cmd *cobra.Command, namespaceHelp string) {
	addKubeconfig(cmd, &f.kubeconfig, "kubeconfig `file` of the cluster")
	cmd.Flags().StringVar(&f.context, "context", "", "`name` of the kubeconfig's context")
	cmd.Flags().StringVarP(&f.namespace, "namespace", "n", "", namespaceHelp)
	_ = cmd.RegisterFlagCompletionFunc("context", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return runner.Contexts(f.kubeconfig), cobra.ShellCompDirectiveNoFileComp
	})
}

func addKubeconfig(cmd *cobra.Command, file *string, help string) {
	cmd.Flags().StringVar(file, "kubeconfig", "", help)
	_ = cmd.MarkFlagFilename("kubeconfig")
}

// named says whether the command line names a cluster. Without that hpabench
// never takes the one of the user's kubeconfig: it creates and deletes things and
// sends load, which is not for whatever cluster kubectl happens to point to.
func (f *clusterFlags) named() bool {
	return f.kubeconfig != "" || f.context != "" || f.namespace != ""
}

// connect connects to the named cluster. A namespace alone names it too: that of
// the current context, as with kubectl.
func (f *clusterFlags) connect(say func(string)) (*runner.Cluster, error) {
	cluster, err := runner.Connect(f.kubeconfig, f.context)
	if errors.Is(err, runner.ErrNoContext) {
		err = runner.BadInput{Err: fmt.Errorf("-n %s is a namespace of the kubeconfig's current context, and there is none: name one with --context NAME%s", f.namespace, contextsHint())}
	}
	if err != nil {
		return nil, err
	}
	if f.kubeconfig == "" && f.context == "" {
		say(fmt.Sprintf("using the current context of the kubeconfig, %s, as -n names a namespace", cluster.Context))
	}
	cluster.Say = say
	if strings.HasPrefix(cluster.Config.Host, "https://127.0.0.1:") {
		// It may be an embedded one that is kept.
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		all, _ := embedded.All(ctx, nil)
		for _, k := range all {
			if config, err := runner.Kubeconfig(k.Kubeconfig(), "").ClientConfig(); err == nil && config.Host == cluster.Config.Host {
				cluster.Ended = k.Ended(context.Background())
			}
		}
	}
	return cluster, nil
}

func contextsHint() string {
	if names := runner.Contexts(""); len(names) > 0 {
		return fmt.Sprintf(" (there are: %s)", strings.Join(names, ", "))
	}
	return ""
}

// warn tells the user what a command waits for, be it quiet or not.
func warn(line string) { fmt.Fprintln(os.Stderr, line) }

// kept connects to the embedded cluster that hpabench lab up keeps; nil if there
// is none.
func (f *clusterFlags) kept(ctx context.Context, say func(string)) (*runner.Cluster, *embedded.Kept, error) {
	k, err := embedded.Find(ctx, embedded.DefaultName, warn)
	if err != nil || k == nil {
		return nil, nil, err
	}
	say(fmt.Sprintf("using the embedded cluster that hpabench lab up keeps (%s timing)", k.Timing()))
	cluster, err := runner.Connect(k.Kubeconfig(), "")
	if err == nil {
		cluster.Ended = k.Ended(context.Background())
	}
	return cluster, k, err
}

// existing connects to the named cluster, or to the kept embedded one when none is
// named: for what is of no use on a cluster that has just been started.
func (f *clusterFlags) existing(ctx context.Context, say func(string)) (*runner.Cluster, error) {
	if f.named() {
		return f.connect(say)
	}
	cluster, _, err := f.kept(ctx, say)
	if err == nil && cluster == nil {
		err = runner.BadInput{Err: fmt.Errorf("name the cluster: --context NAME%s or --kubeconfig FILE (no embedded one is up)", contextsHint())}
	}
	return cluster, err
}

// labFlags say how an embedded cluster is to be set.
type labFlags struct{ embedded.Options }

func (f *labFlags) add(cmd *cobra.Command) {
	addChoice(cmd, &f.Timing, "timing", "", "", "of the embedded cluster: real (HPA and metrics every 15s, the default) or fast (5s)", record.RealTiming, record.FastTiming)
	cmd.Flags().StringArrayVar(&f.Flags, "lab-flag", nil, "`name=value` for hpabench-lab, such as nodes=20 or horizontal-pod-autoscaler-tolerance=0.2; can be repeated")
}

func (f *labFlags) given() bool { return f.Timing != "" || f.Flags != nil }

// reserved are the flags of hpabench-lab that hpabench itself sets.
var reserved = []string{"name", "timing", "stdin"}

func (f *labFlags) check() error {
	for _, flag := range f.Flags {
		name, _, whole := strings.Cut(flag, "=")
		if !whole || name == "" || name[0] == '-' {
			return runner.BadInput{Err: fmt.Errorf("--lab-flag takes name=value, such as nodes=20, not %q", flag)}
		}
		if slices.Contains(reserved, name) {
			return runner.BadInput{Err: fmt.Errorf("--lab-flag cannot set %s", name)}
		}
	}
	return nil
}
