package runner

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/hpabench/hpabench/scenarios"
	"github.com/hpabench/hpabench/watch"
)

// Permission says for what Write prints the rights.
type Permission struct {
	Task      string            // one of Tasks
	Files     []*scenarios.File // the variants of a scenario; none: any scenario of the short form
	Ref       string            // TYPE/NAME of what is watched or examined
	Namespace string            // empty: the run's own, and for the other tasks all
	Account   string            // NAMESPACE/NAME of the ServiceAccount that gets them; empty: nobody yet
}

// tasks are the tasks of a Permission, one a variant.
func (p *Permission) tasks() ([]task, error) {
	t := task{command: p.Task, namespace: p.Namespace, metricsServer: metav1.NamespaceSystem}
	t.one = p.Ref != "" || len(p.Files) > 0
	if p.Ref != "" {
		ref, err := parseReference(p.Ref)
		if err != nil {
			return nil, err
		}
		if t.target, err = scaled(ref.kind); err != nil {
			return nil, err
		}
		switch t.name = ref.name; t.target {
		case hpaResource:
			t.target, t.name = deploymentResource, ""
		case watch.ScaledObjects.GroupResource():
			t.target, t.name, t.scaled = deploymentResource, "", ref.name
		}
	}
	if len(p.Files) == 0 {
		if t.target.Empty() && p.Task != TaskDoctor {
			t.target = deploymentResource
		}
		t.own = t.runs() && p.Namespace == ""
		return []task{t}, nil
	}
	var tasks []task
	for _, file := range p.Files {
		s, err := subjectOf(file, p.Namespace)
		if err != nil {
			return nil, err
		}
		t := t
		t.file, t.own, t.namespace, t.spec = file, s.own && t.runs(), s.namespace, file.Autoscaling()
		if s.own {
			t.namespace = ""
		}
		t.name, t.scaled = file.TargetRef().Name, file.ScaledObject()
		gvr, _, _ := t.resource(schema.FromAPIVersionAndKind(file.TargetRef().APIVersion, file.TargetRef().Kind))
		t.target = gvr.GroupResource()
		tasks = append(tasks, t)
	}
	return tasks, nil
}

var (
	hpaResource        = schema.GroupResource{Group: "autoscaling", Resource: "horizontalpodautoscalers"}
	deploymentResource = schema.GroupResource{Group: "apps", Resource: "deployments"}
)

// scaled is the resource of the TYPE of a reference: of those that Kubernetes itself
// can scale with the names that kubectl takes, of another one as resource.group.
func scaled(kind string) (schema.GroupResource, error) {
	kind = strings.ToLower(kind)
	for resource, names := range map[schema.GroupResource][]string{
		hpaResource:        {"hpa", "horizontalpodautoscaler"},
		deploymentResource: {"deploy", "deployment"},
		{Group: "apps", Resource: "statefulsets"}:       {"sts", "statefulset"},
		{Group: "apps", Resource: "replicasets"}:        {"rs", "replicaset"},
		{Group: "", Resource: "replicationcontrollers"}: {"rc", "replicationcontroller"},
		watch.ScaledObjects.GroupResource():             {"so", "scaledobject"},
	} {
		plural := resource.Resource
		if slices.Contains(names, kind) || kind == plural || slices.ContainsFunc(append(names, plural), func(n string) bool { return kind == n+"."+resource.Group }) {
			return resource, nil
		}
	}
	resource := schema.ParseGroupResource(kind)
	if resource.Group == "" {
		return resource, BadInput{fmt.Errorf("the resource of %q is not known without a cluster: name it as resource.group, such as rollouts.argoproj.io", kind)}
	}
	return resource, nil
}

// Write prints the least Role or ClusterRole, in YAML, each rule with what it is for,
// and with an Account its binding. The error is a BadInput.
func (p *Permission) Write(w io.Writer) error {
	if err := checkNamespaceName("-n", p.Namespace); err != nil {
		return err
	}
	account, name, _ := strings.Cut(p.Account, "/")
	if p.Account != "" && (len(validation.IsDNS1123Label(account)) > 0 || len(validation.IsDNS1123Subdomain(name)) > 0) {
		return BadInput{fmt.Errorf("a ServiceAccount is named as NAMESPACE/NAME, not %q", p.Account)}
	}
	tasks, err := p.tasks()
	if err != nil {
		return err
	}
	var rights []right
	for _, t := range tasks {
		for _, r := range t.rights() {
			if r.where == here {
				r.where = cmp.Or(t.namespace, everywhere)
			}
			rights = append(rights, r)
		}
	}
	var b strings.Builder
	b.WriteString(p.about(tasks[0]))
	if p.Account != "" {
		fmt.Fprintf(&b, "apiVersion: v1\nkind: ServiceAccount\nmetadata:\n  name: %q\n  namespace: %q\n---\n", name, account)
	}
	rules := rulesOf(rights)
	for n, where := range slices.Sorted(maps.Keys(rules)) { // the ClusterRole is first
		if n > 0 {
			b.WriteString("---\n")
		}
		role := "hpabench-" + p.Task
		if f := tasks[0].file; f != nil {
			role += "-" + f.Metadata.Name
		} else if t := tasks[0]; t.name != "" { // or the Role for one would take the place of that for another
			role += "-" + t.target.Resource + "-" + t.name
		}
		kind, in := "Role", fmt.Sprintf("  namespace: %q\n", where)
		if where == everywhere {
			kind, in = "ClusterRole", ""
			if tasks[0].namespace != "" {
				role += "-" + tasks[0].namespace // there is a Role of that name in each namespace
			}
		}
		fmt.Fprintf(&b, "apiVersion: rbac.authorization.k8s.io/v1\nkind: %s\nmetadata:\n  name: %q\n%srules:\n", kind, role, in)
		for _, r := range rules[where] {
			b.WriteString(r.String())
		}
		if p.Account != "" {
			fmt.Fprintf(&b, "---\napiVersion: rbac.authorization.k8s.io/v1\nkind: %[1]sBinding\nmetadata:\n  name: %[6]q\n%[5]sroleRef:\n  apiGroup: rbac.authorization.k8s.io\n  kind: %[1]s\n  name: %[2]q\n"+
				"subjects:\n- kind: ServiceAccount\n  name: %[4]q\n  namespace: %[3]q\n", kind, role, account, name, in, role+"-"+account+"-"+name)
		}
	}
	_, err = io.WriteString(w, b.String())
	return err
}

// about is the comment that comes first.
func (p *Permission) about(t task) string {
	lines := []string{"The least rights for hpabench " + p.command() + "."}
	switch {
	case t.own:
		lines = append(lines, "The run makes a namespace of its own, whose name is random, so that they hold in all namespaces.",
			"With --namespace they hold in that one alone.")
	case t.namespace == "":
		lines = append(lines, "They hold in all namespaces; with --namespace in that one alone.")
	}
	lines = append(lines, "A rule that is optional can be taken out: the preflight says what is lost.")
	for i := range lines {
		lines[i] = printable(lines[i])
	}
	return "# " + strings.Join(lines, "\n# ") + "\n"
}

// printable makes text of manifests fit for a comment: it cannot end it.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, text)
}

// command says in words what the rights are for.
func (p *Permission) command() string {
	what := p.Task
	if p.Task == TaskJob {
		what = "run with via: job"
	}
	switch {
	case len(p.Files) > 0:
		what += " of scenario " + p.Files[0].Metadata.Name
	case p.Ref != "":
		what += " of " + p.Ref
	case p.Task == TaskRun || p.Task == TaskJob:
		what += " of a Deployment that the scenario describes in its short form"
	}
	return what
}

// rule is a rule of a Role with comments, and where it holds.
type rule struct {
	where                  string
	verbs                  []string
	group                  string
	resources, names, urls []string
	purposes               []string
	optional               string
}

func (r *rule) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n", printable(strings.Join(r.purposes, ", ")))
	if r.optional != "" {
		fmt.Fprintf(&b, "# optional: without it %s\n", printable(r.optional))
	}
	start := "- "
	list := func(name string, values []string) {
		quoted := make([]string, len(values))
		for i, value := range values {
			quoted[i] = strconv.Quote(value) // which YAML reads as Go does
		}
		fmt.Fprintf(&b, "%s%s: [%s]\n", start, name, strings.Join(quoted, ", "))
		start = "  "
	}
	if len(r.urls) > 0 {
		list("nonResourceURLs", r.urls)
	} else {
		list("apiGroups", []string{r.group})
		list("resources", r.resources)
		if len(r.names) > 0 {
			list("resourceNames", r.names)
		}
	}
	list("verbs", r.verbs)
	return b.String()
}

// verbOrder is the order of the verbs in a rule.
var verbOrder = []string{"get", "list", "watch", "create", "update", "patch", "delete"}

// rulesOf are the rules that give the rights, by where they hold: those that a command
// cannot do without come first.
func rulesOf(rights []right) map[string][]*rule {
	// What holds for all objects, or everywhere, needs no rule for one of them.
	wider := func(a, b right) bool {
		return a.verb == b.verb && a.group == b.group && a.resource == b.resource && (a.name == "" || a.name == b.name) &&
			(a.where == everywhere || a.where == b.where) && (a.optional == "" || b.optional != "")
	}
	var rules []*rule
	for _, r := range rights {
		if slices.ContainsFunc(rights, func(other right) bool { return wider(other, r) && !wider(r, other) }) {
			continue
		}
		of := &rule{where: r.where, verbs: []string{r.verb}, group: r.group, purposes: []string{r.purpose}, optional: r.optional}
		if strings.HasPrefix(r.resource, "/") {
			of.urls = []string{r.resource}
		} else {
			of.resources = []string{r.resource}
		}
		if r.name != "" {
			of.names = []string{r.name}
		}
		rules = append(rules, of)
	}
	rules = merged(rules, func(a, b *rule) bool {
		return a.where == b.where && a.group == b.group && a.optional == b.optional &&
			slices.Equal(a.resources, b.resources) && slices.Equal(a.urls, b.urls) && slices.Equal(a.names, b.names)
	})
	for _, r := range rules {
		slices.SortFunc(r.verbs, func(a, b string) int {
			return cmp.Or(cmp.Compare(slices.Index(verbOrder, a), slices.Index(verbOrder, b)), cmp.Compare(a, b))
		})
	}
	slices.SortStableFunc(rules, func(a, b *rule) int { return cmp.Compare(min(len(a.optional), 1), min(len(b.optional), 1)) })
	alike := func(a, b *rule) bool {
		return a.where == b.where && a.group == b.group && a.optional == b.optional && slices.Equal(a.verbs, b.verbs) && slices.Equal(a.purposes, b.purposes)
	}
	rules = merged(rules, func(a, b *rule) bool {
		return alike(a, b) && len(a.names) > 0 && len(b.names) > 0 && slices.Equal(a.resources, b.resources)
	})
	rules = merged(rules, func(a, b *rule) bool {
		return alike(a, b) && slices.Equal(a.names, b.names) && len(a.urls) == len(b.urls)
	})
	byPlace := map[string][]*rule{}
	for _, r := range rules {
		byPlace[r.where] = append(byPlace[r.where], r)
	}
	return byPlace
}

// merged puts each rule into the first one that is like it, if there is one.
func merged(rules []*rule, like func(a, b *rule) bool) (least []*rule) {
	for _, r := range rules {
		i := slices.IndexFunc(least, func(into *rule) bool { return like(into, r) })
		if i < 0 {
			least = append(least, r)
			continue
		}
		into := least[i]
		addNew(&into.verbs, r.verbs...)
		addNew(&into.purposes, r.purposes...)
		addNew(&into.names, r.names...)
		addNew(&into.resources, r.resources...)
		addNew(&into.urls, r.urls...)
	}
	return least
}

// addNew appends those values that are not there yet.
func addNew(list *[]string, values ...string) {
	for _, v := range values {
		if !slices.Contains(*list, v) {
			*list = append(*list, v)
		}
	}
}
