package main

import (
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hpabench/hpabench/runner"
)

func (a *app) rbacCommand() *cobra.Command {
	p := runner.Permission{Task: runner.TaskRun}
	var quiet bool
	cmd := &cobra.Command{
		Use:   "rbac [SCENARIO]",
		Short: "Print the Role that a command needs",
		Long: `Print the least Role or ClusterRole that a command needs, as YAML, each rule with
what it is for. No cluster is asked.

A run makes a namespace of its own, with a random name, so that its rights hold in
all namespaces. With --namespace they hold in that one alone, but for what is in no
namespace: the nodes, and objects of the manifests.

--for says what the rights are for:
  run     hpabench run and calibrate of SCENARIO; without SCENARIO of any Deployment
          in the short form
  job     the same with via: job, whatever the scenario says
  watch   hpabench watch of SCENARIO's HPA or of TYPE/NAME; without both of any HPA
          that scales a Deployment
  doctor  hpabench doctor, of the cluster or of what is named as for watch
  clean   hpabench clean; with --namespace of what SCENARIO left there

A rule that is marked as optional can be taken out. A resource that is not one of
Kubernetes and that no CustomResourceDefinition of the manifests defines is named by
its kind in lower case with an s: look at it.`,
		Example: `  hpabench rbac scenarios/demo-nginx.yaml
  hpabench rbac -n bench --service-account ci/hpabench my-scenario.yaml | kubectl apply -f -
  hpabench rbac --for watch -n shop statefulset/web`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: completeScenarios,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				w := a.work(quiet)
				defer w.done()
				w.does("reading " + args[0])
				if err := a.permissionOf(&p, args[0]); err != nil {
					return err
				}
				w.done()
			}
			return p.Write(a.stdout)
		},
	}
	addQuiet(cmd, &quiet)
	addChoice(cmd, &p.Task, "for", "", p.Task, "what the rights are for: "+strings.Join(runner.Tasks, ", "), runner.Tasks...)
	cmd.Flags().StringVarP(&p.Namespace, "namespace", "n", "", "existing `namespace` that the command gets as -n")
	cmd.Flags().StringVar(&p.Account, "service-account", "", "also print this ServiceAccount, as `NAMESPACE/NAME`, and what binds it to the rights")
	return cmd
}

// permissionOf takes what is named: a scenario, or where a command takes it TYPE/NAME.
func (a *app) permissionOf(p *runner.Permission, name string) error {
	file, err := readScenario(name)
	if err == nil {
		variants, err := file.Variants(file.Settings(nil))
		for _, v := range variants {
			p.Files = append(p.Files, v.File)
		}
		return err
	}
	_, reference, typed := strings.Cut(name, "/")
	if (p.Task == runner.TaskWatch || p.Task == runner.TaskDoctor) && typed && !strings.ContainsAny(reference, "./") && errors.As(err, new(runner.BadInput)) {
		p.Ref = name
		return nil
	}
	return err
}
