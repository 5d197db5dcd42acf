package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	authenticationv1 "k8s.io/api/authentication/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/yaml"
)

// accounts makes service accounts with the rights that `hpabench rbac` prints.
type accounts struct {
	t       *testing.T
	config  *clientcmdapi.Config
	kube    kubernetes.Interface
	dynamic dynamic.Interface
}

func newAccounts(t *testing.T) *accounts {
	t.Helper()
	config := must(clientcmd.LoadFromFile(kubeconfig))
	client := must(clientcmd.NewDefaultClientConfig(*config, nil).ClientConfig())
	client.QPS = -1
	return &accounts{t, config, must(kubernetes.NewForConfig(client)), must(dynamic.NewForConfig(rest.CopyConfig(client)))}
}

// create creates the objects of some YAML, and deletes them at the end of the test.
func (a *accounts) create(source string) {
	a.t.Helper()
	for _, document := range strings.Split(source, "\n---\n") {
		o := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(document), &o.Object); err != nil {
			a.t.Fatalf("%v in\n%s", err, document)
		}
		resource, _ := meta.UnsafeGuessKindToResource(o.GroupVersionKind())
		var client dynamic.ResourceInterface = a.dynamic.Resource(resource)
		if o.GetNamespace() != "" {
			client = a.dynamic.Resource(resource).Namespace(o.GetNamespace())
		}
		if _, err := client.Create(a.t.Context(), o, metav1.CreateOptions{FieldValidation: metav1.FieldValidationStrict}); err != nil {
			a.t.Fatalf("%v: creating\n%s", err, document)
		}
		a.t.Cleanup(func() { client.Delete(context.Background(), o.GetName(), metav1.DeleteOptions{}) })
	}
}

// kubeconfig is that of a service account, with a token of its own.
func (a *accounts) kubeconfig(namespace, name string) string {
	a.t.Helper()
	token, err := a.kube.CoreV1().ServiceAccounts(namespace).CreateToken(a.t.Context(), name, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		a.t.Fatal(err)
	}
	config := a.config.DeepCopy()
	current := config.Contexts[config.CurrentContext]
	config.AuthInfos = map[string]*clientcmdapi.AuthInfo{current.AuthInfo: {Token: token.Status.Token}}
	file := filepath.Join(a.t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*config, file); err != nil {
		a.t.Fatal(err)
	}
	return file
}

// printed are the rights that `hpabench rbac` prints, for a service account.
func printed(t *testing.T, account string, args ...string) string {
	t.Helper()
	i := hpabench(t, append([]string{"rbac", "--service-account", account}, args...)...)
	i.wait(0, time.Minute)
	return i.stdout.String()
}

// printedRule is one rule of a Role as it is printed, with its comments.
type printedRule struct {
	text    string
	cluster bool // it is one of a ClusterRole
}

func rulesOf(text string) (rules []printedRule) {
	for _, document := range strings.Split(text, "\n---\n") {
		for _, rule := range regexp.MustCompile(`(?m)^# .*\n(?:# .*\n)*- .*\n(?:  .*\n?)*`).FindAllString(document, -1) {
			rules = append(rules, printedRule{rule, strings.Contains(document, "\nkind: ClusterRole\n")})
		}
	}
	return rules
}

func (r printedRule) optional() bool { return strings.Contains(r.text, "# optional:") }

// rights are those of a rule, in the words of the preflight.
func (r printedRule) rights() (rights []string) {
	list := func(name string) []string {
		match := regexp.MustCompile(name + `: \["(.*)"\]`).FindStringSubmatch(r.text)
		if match == nil {
			return []string{""}
		}
		return strings.Split(match[1], `", "`)
	}
	group := list("apiGroups")[0]
	if group != "" {
		group = "." + group
	}
	for _, verb := range list("verbs") {
		for _, resource := range append(list("resources"), list("nonResourceURLs")...) {
			for _, name := range list("resourceNames") {
				if resource != "" {
					rights = append(rights, strings.TrimSpace(verb+" "+resource+group+" "+name))
				}
			}
		}
	}
	return rights
}

// covers says whether r gives a right of another rule too.
func (r printedRule) covers(other printedRule, right string) bool {
	verb, rest, _ := strings.Cut(right, " ")
	resource, _, _ := strings.Cut(rest, " ")
	return (r.cluster || !other.cluster) && (slices.Contains(r.rights(), right) || slices.Contains(r.rights(), verb+" "+resource))
}

const rightsManifests = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: corners.rights.example.com}
spec:
  group: rights.example.com
  scope: Cluster
  names: {kind: Corner, plural: corners, singular: corner, listKind: CornerList}
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}]
---
{apiVersion: rights.example.com/v1, kind: Corner, metadata: {name: shop}}
---
{apiVersion: v1, kind: Secret, metadata: {name: token}, stringData: {t: secret}}
---
{apiVersion: v1, kind: ServiceAccount, metadata: {name: web}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: reader}
rules: [{apiGroups: [""], resources: [configmaps], resourceNames: [one], verbs: [get, update]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: reads}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader}
subjects: [{kind: ServiceAccount, name: web}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: views}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view}
subjects: [{kind: ServiceAccount, name: web}]
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: web}
spec:
  serviceName: web
  selector: {matchLabels: {app: rights-web}}
  template:
    metadata: {labels: {app: rights-web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{name: web, image: "nginx:1.15.2", imagePullPolicy: IfNotPresent, resources: {requests: {cpu: 50m}}}]
---
{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {type: NodePort, selector: {app: rights-web}, ports: [{port: 80}]}}
`

const rightsScenario = `apiVersion: hpabench.dev/v1alpha1
kind: Scenario
metadata: {name: %s}
spec:
  workload: %s
  %s
  load: {%s, phases: [{name: some, duration: 3s, rate: 10}]}
`

const (
	rightsShort      = `{deployment: {image: "nginx:1.15.2", imagePullPolicy: IfNotPresent, port: 80, resources: {requests: {cpu: 50m}}, template: {spec: {terminationGracePeriodSeconds: 1}}}}`
	rightsAutoscaler = `autoscaler: {cpuPercent: 50, min: 1, max: 2}`
)

// rightsCase is a command, and what `hpabench rbac` gets for it.
type rightsCase struct {
	name          string
	rbac, command []string
}

func rightsCases(t *testing.T) []rightsCase {
	t.Helper()
	write := func(name, workload, autoscaler, load string) string {
		file := scenario(t, fmt.Sprintf(rightsScenario, name, workload, autoscaler, load))
		if err := os.WriteFile(filepath.Join(filepath.Dir(file), "objects.yaml"), []byte(rightsManifests), 0o666); err != nil {
			t.Fatal(err)
		}
		return file
	}
	own := write("rights", rightsShort, rightsAutoscaler, "via: auto")
	objects := write("rights", "{manifests: [objects.yaml], target: {kind: StatefulSet, name: web}}", rightsAutoscaler, `via: portForward, auth: {bearer: {secret: {name: token, key: t}}}`)
	existing := write("rights-existing", "{existing: {kind: Deployment, name: stood, namespace: rights}}", "", "via: apiProxy, service: stood")
	return []rightsCase{
		{"run in a namespace of its own", []string{own}, []string{"run", own}},
		{"run of manifests with -n", []string{"-n", "rights", objects}, []string{"run", "-n", "rights", objects}},
		{"run of what exists", []string{existing}, []string{"run", existing}},
		{"job", []string{"--for", "job", "-n", "rights", own}, []string{"run", "-n", "rights", write("rights", rightsShort, rightsAutoscaler, "via: job")}},
		{"watch", []string{"--for", "watch", "-n", "rights", "deployment/stood"}, []string{"watch", "-n", "rights", "--for", "2s", "deployment/stood"}},
		{"doctor", []string{"--for", "doctor", "-n", "rights", "deployment/stood"}, []string{"doctor", "-n", "rights", "deployment/stood"}},
	}
}

// stand makes a namespace with a Deployment that has an HPA.
func (a *accounts) stand() {
	a.t.Helper()
	kubectl(a.t, "create", "namespace", "rights")
	a.t.Cleanup(func() { kubectl(a.t, "delete", "namespace", "rights") })
	file := filepath.Join(a.t.TempDir(), "stood.yaml")
	if err := os.WriteFile(file, fmt.Appendf(nil, standing+"---\n{apiVersion: v1, kind: Service, metadata: {name: stood}, spec: {selector: {app: stood}, ports: [{port: 80}]}}\n", "stood", "", healthy, "stood"), 0o666); err != nil {
		a.t.Fatal(err)
	}
	kubectl(a.t, "apply", "-n", "rights", "-f", file)
}

// TestRightsTakenAway takes each rule that `hpabench rbac` prints away in turn, and
// wants the preflight to name its rights and no other, before anything is created.
// So that each preflight ends there, another rule that a command cannot do without is
// taken away too.
func TestRightsTakenAway(t *testing.T) {
	realWillDo(t)
	a := newAccounts(t)
	a.stand()
	type trial struct {
		rightsCase
		account     string
		taken, kept []printedRule
	}
	var trials []trial
	for _, c := range rightsCases(t) {
		if c.name == "job" && embedded {
			continue // its modelled pods cannot send load
		}
		text := printed(t, "rights/account-0", c.rbac...)
		rules := rulesOf(text)
		last := slices.IndexFunc(rules, func(r printedRule) bool { return strings.Contains(r.text, `"endpointslices"`) })
		if len(rules) < 8 || last < 0 {
			t.Fatalf("%s: no rules in\n%s", c.name, text)
		}
		for n, r := range rules {
			trial := trial{c, fmt.Sprintf("account-%d", len(trials)+1), []printedRule{r, rules[last]}, nil}
			for m, kept := range rules {
				if m != n && m != last {
					trial.kept = append(trial.kept, kept)
				}
			}
			a.create(strings.NewReplacer(r.text, "", rules[last].text, "", "account-0", trial.account, `"hpabench-`, `"`+trial.account+"-").Replace(text))
			trials = append(trials, trial)
		}
	}
	t.Logf("%d rules", len(trials))
	var running errgroup.Group
	running.SetLimit(4)
	for _, trial := range trials {
		file := a.kubeconfig("rights", trial.account)
		running.Go(func() error {
			i := hpabench(t, append(trial.command, "--kubeconfig", file)...)
			<-i.exited
			said := i.stderr() + "\n" + i.stdout.String()
			about := func(outcome string) string {
				return strings.Join(regexp.MustCompile(`(?m)^`+outcome+` +rights: .*(?:\n .*)*`).FindAllString(said, -1), "\n")
			}
			if i.code == 0 {
				t.Errorf("%s went on without\n%s:\n%s", trial.name, trial.taken[0].text, said)
			}
			for _, r := range trial.taken {
				in := about("fault")
				if r.optional() {
					in = about("warning")
				}
				for _, right := range r.rights() {
					kept := slices.ContainsFunc(trial.kept, func(other printedRule) bool { return other.covers(r, right) })
					if !kept && !strings.Contains(in, right) {
						t.Errorf("%s without\n%sdid not name %q:\n%s", trial.name, r.text, right, said)
					}
				}
			}
			for _, r := range trial.kept {
				for _, right := range r.rights() {
					taken := slices.ContainsFunc(trial.taken, func(other printedRule) bool { return slices.Contains(other.rights(), right) })
					if !taken && regexp.MustCompile(`(to|,) `+regexp.QuoteMeta(right)+`(,| in |$)`).MatchString(about("(?:fault|warning)")) {
						t.Errorf("%s has %q, and the preflight misses it:\n%s", trial.name, right, said)
					}
				}
			}
			return nil
		})
	}
	running.Wait()
	wantNothingLeft(t)
}

// TestRights makes each command do its work as a service account that has what
// `hpabench rbac` prints for it, and no more.
func TestRights(t *testing.T) {
	realWillDo(t)
	a := newAccounts(t)
	a.stand()
	until(t, "True", "get", "hpa", "stood", "-n", "rights", "-o", `jsonpath={.status.conditions[?(@.type=="ScalingActive")].status}`)
	cases := rightsCases(t)
	t.Run("commands", func(t *testing.T) { commandsWithRights(t, a, cases) })

	// Two of them left something, as --keep says.
	clean := []string{"--for", "clean"}
	a.create(printed(t, "rights/cleaner", append(clean, cases[1].rbac...)...))
	i := hpabench(t, "clean", "-n", "rights", "--kubeconfig", a.kubeconfig("rights", "cleaner"))
	i.wait(0, 2*time.Minute)
	for _, removed := range []string{"namespace/hpabench-rights-", "statefulset/web", "corner/shop", "lease/hpabench-"} {
		if !regexp.MustCompile(`(?m)^` + removed + `.*: removed$`).MatchString(i.stdout.String()) {
			t.Errorf("clean did not remove %s", removed)
		}
	}
	wantNothingLeft(t)
}

func commandsWithRights(t *testing.T, a *accounts, cases []rightsCase) {
	for n, c := range cases {
		real := strings.Contains(strings.Join(c.rbac, " "), "job") || c.name == "run of what exists"
		if real && embedded {
			continue // its modelled pods can neither send load nor be reached by a proxy
		}
		account := fmt.Sprintf("whole-%d", n)
		if n < 2 {
			c.command = append(c.command, "--keep")
		}
		a.create(printed(t, "rights/"+account, c.rbac...))
		file := a.kubeconfig("rights", account)
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if c.name == "job" {
				loadImage(t)
			}
			i := hpabench(t, append(c.command, "--kubeconfig", file)...)
			i.wait(0, 5*time.Minute)
			if said := i.stderr() + i.stdout.String(); regexp.MustCompile(`(?m)^(warning|fault) +rights|orbidden|no right`).MatchString(said) {
				t.Errorf("rights were missing:\n%s", said)
			}
		})
	}
}
