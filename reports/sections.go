package reports

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/hpabench/hpabench/analysis"
	"github.com/hpabench/hpabench/record"
)

// section is one part of a report: a title, lines of text, a table or a chart,
// and remarks below it. Each of them may be empty.
type section struct {
	title  string
	text   []string
	grid   *grid
	notes  []string
	chart  bool
	folded bool // of less interest
}

// grid is a table. A row has a cell for each column.
type grid struct {
	columns []column
	rows    [][]string
}

// column says how a column of a grid behaves.
type column struct {
	name  string
	text  bool // aligned left; numbers are aligned right
	give  bool // gives way first when there is little room: its cells are cut
	tail  bool // when cut, the ends of its cells are kept
	spare int  // dropped when there is no room, the highest first; 0 stays
	noted bool // a note says so when it is dropped
	bars  bool // cells whose blanks count
}

func (g *grid) add(cells ...string) { g.rows = append(g.rows, cells) }

// sections makes what Table and Markdown show after the headline and the
// findings, for that many columns.
func sections(r *analysis.Result, width int) []section {
	list := []section{expectations(r, width)}
	for _, t := range r.Transitions {
		if t.ScaleUp != nil {
			list = append(list, scaleUp(t, width))
		} else {
			list = append(list, scaleDown(t, width))
		}
	}
	if !observed(r) {
		list = append(list, load(r), loadByPod(r), loadByWorker(r), queue(r))
	}
	if !r.LoadOnly() {
		list = append(list, elasticity(r), replicas(r), pods(r), events(r))
	}
	list = append(list, environment(r))
	return slices.DeleteFunc(list, func(s section) bool { return s.text == nil && s.grid == nil && !s.chart })
}

// expectations are a table, or sentences where it would have to be cut.
func expectations(r *analysis.Result, width int) section {
	if len(r.Expectations) == 0 {
		return section{}
	}
	g := &grid{columns: []column{{name: "outcome", text: true}, {name: "expected", text: true, give: true}, {name: "measured", text: true, give: true}}}
	s := section{title: "Expectations"}
	for _, e := range r.Expectations {
		g.add(e.Words(), e.Expression, e.Detail)
		s.text = append(s.text, fmt.Sprintf("%s: %s (%s)", e.Words(), e.Expression, e.Detail))
	}
	if g.width()+between <= width {
		s.text, s.grid = nil, g
	}
	return s
}

// headline is the answer in one sentence: its subject and the rest.
func headline(r *analysis.Result) (subject, rest string) {
	if r.LoadOnly() {
		l := r.Load.Total
		return fmt.Sprintf("%s to %s", record.Counted(l.Offered, "request"), r.Subject.URL), fmt.Sprintf("%d answered, %d failed, %d never sent; %s; half of the answers took %s, 99 %% at most %s",
			l.Answered, l.Failed, l.Unsent, record.Counted(l.Errors, "error"), answer(l.Latency.P50), answer(l.Latency.P99))
	}
	subject = path(r)
	var parts []string
	up, down := r.FirstUp(), r.LastDown()
	switch {
	case up == nil && down == nil && observed(r):
		parts = append(parts, "it did not scale while it was watched")
	case up == nil && down == nil:
		parts = append(parts, "the load did not change")
	case up != nil && up.ScaleUp.Latency.Seconds == nil:
		parts = append(parts, unmeasured(r, analysis.Up, up.ScaleUp.Latency.Missing))
	case up != nil:
		u := up.ScaleUp
		part := fmt.Sprintf("scale-up %s to the first new pod %s", exact(u.Latency), served(u.First))
		if slow := slowest(u.First); slow != nil {
			share := "the longest part"
			if *slow.Seconds > *u.Latency.Seconds/2 {
				share = "most of it"
			}
			part += fmt.Sprintf(", %s %s with %.1f s", share, slow.Name, *slow.Seconds)
		}
		if cold := u.ColdStart; cold != nil && cold.Latency.Seconds != nil {
			part = fmt.Sprintf("from zero %s to the first good answer; %s", exact(cold.Latency), part)
		}
		if u.TimeToFull.Seconds != nil {
			part += fmt.Sprintf("; all %s%s after %s", number(u.Plateau), ofPhase(r, up), seconds(u.TimeToFull.Seconds))
		} else {
			part += "; " + u.TimeToFull.Missing
		}
		parts = append(parts, part)
	}
	if down != nil {
		d := down.ScaleDown
		if d.Latency.Seconds == nil {
			parts = append(parts, unmeasured(r, analysis.Down, d.Latency.Missing))
		} else {
			part := "scale-down " + exact(d.Latency)
			if d.HeldByWindow.Seconds != nil {
				part += fmt.Sprintf(", %s of it the stabilization window", seconds(d.HeldByWindow.Seconds))
			}
			if d.Settle.Seconds != nil {
				part += fmt.Sprintf("; settled after %s", seconds(d.Settle.Seconds))
			}
			parts = append(parts, part)
		}
	}
	return subject, strings.Join(parts, "; ")
}

// ofPhase names the phase whose replicas those of a scale-up are, where they are not the most of the run.
func ofPhase(r *analysis.Result, up *analysis.Transition) string {
	if r.Reach.Peak == nil || up.ScaleUp.Plateau == nil || *up.ScaleUp.Plateau >= *r.Reach.Peak || up.ToPhase == "" {
		return ""
	}
	return " of phase " + up.ToPhase
}

// setting says that the run was on the embedded cluster, whose figures are those
// of a model; it is empty for another.
func setting(r *analysis.Result) string {
	if r.Cluster == nil || r.Cluster.Lab == nil {
		return ""
	}
	l, sync := r.Cluster.Lab, 0.0
	if c := r.Cluster.Controllers; c != nil {
		sync = c.Sync.Seconds()
	}
	if l.Timing == record.SimulatedTiming {
		return fmt.Sprintf("Simulated: the HPA controller of Kubernetes in virtual time, on a modelled plant (HPA every %gs, metrics every %gs).", sync, l.MetricsResolution)
	}
	return fmt.Sprintf("Cluster: embedded, Kubernetes %s, modelled pods, %s timing (HPA every %gs, metrics every %gs).", r.Cluster.Version, l.Timing, sync, l.MetricsResolution)
}

// unmeasured says that there is no figure of the scale-ups or scale-downs of r, or that none happened, or
// that the first one came too late for the load that asked for it.
func unmeasured(r *analysis.Result, direction, missing string) string {
	what := "scale-" + direction
	if !strings.HasPrefix(missing, "no "+what) {
		return what + " not measured: " + missing
	}
	asked := false
	for _, t := range r.Transitions {
		asked = asked || t.Direction == direction
		for _, s := range t.Steps {
			switch {
			case !asked || t.Direction == direction:
			case direction == analysis.Up && s.To > s.From:
				return fmt.Sprintf("replicas rose only when the load had fallen again: %d → %d at %.1f s", s.From, s.To, s.AtSeconds)
			case direction == analysis.Down && s.To < s.From:
				return fmt.Sprintf("replicas fell only when the load had risen again: %d → %d at %.1f s", s.From, s.To, s.AtSeconds)
			}
		}
	}
	return missing
}

// path is how ready replicas went: "2 → 5 → 2 replicas".
func path(r *analysis.Result) string {
	if r.Reach.Peak == nil || len(r.Timeline) == 0 || r.Timeline[0].Ready == nil {
		return "Replicas not observed"
	}
	text := ""
	way := slices.Compact([]int{*r.Timeline[0].Ready, *r.Reach.Peak, *r.Reach.Last})
	for _, n := range way[:len(way)-1] {
		text += fmt.Sprintf("%d → ", n)
	}
	if last := way[len(way)-1]; text != "" || last != 1 {
		return fmt.Sprintf("%s%d replicas", text, last)
	}
	return "1 replica"
}

// served says what the last stage of p is.
func served(p *analysis.PodStages) string {
	if last := p.Stages[len(p.Stages)-1]; last.Seconds == nil {
		return "ready"
	}
	return "in service"
}

func slowest(p *analysis.PodStages) *analysis.Stage {
	var slow *analysis.Stage
	for i, s := range p.Stages {
		if s.Seconds != nil && (slow == nil || *s.Seconds > *slow.Seconds) {
			slow = &p.Stages[i]
		}
	}
	return slow
}

// observed says whether hpabench sent no load itself.
func observed(r *analysis.Result) bool {
	return len(r.Load.Phases) > 0 && r.Load.Phases[0].Plan == record.ShapeObserved
}

func title(t analysis.Transition) string {
	switch t.OnsetBy {
	case analysis.OnsetMetric:
		return fmt.Sprintf("Scale-%s from %.1f s on, when its metric passed the target", t.Direction, t.OnsetSeconds)
	case analysis.OnsetDecision:
		return fmt.Sprintf("Scale-%s from %.1f s on, with its first step: its metric was not seen to pass the target before", t.Direction, t.OnsetSeconds)
	}
	from := t.FromPhase
	if from == "" {
		from = "start"
	}
	return fmt.Sprintf("Scale-%s: %s → %s (%s → %s requests/s at %.1f s)", t.Direction, from, t.ToPhase, record.Plain(t.FromRate, 4), record.Plain(t.ToRate, 4), t.OnsetSeconds)
}

// asked says what each metric asked for in a step, which of several decided, and the rounding in
// what it asked for.
func asked(s analysis.Step) string {
	if len(s.Proposals) == 0 {
		return fmt.Sprintf("%s asks for %d", s.Metric, *s.Recommended)
	}
	var parts []string
	for _, p := range s.Proposals {
		text := fmt.Sprintf("%s %s of %s", p.Metric, p.Current, p.Target)
		switch {
		case p.Replicas == nil:
			text = p.Metric + " has no value"
		case p.Decided && len(s.Proposals) > 1:
			text += fmt.Sprintf(" asks for %d, which decides", *p.Replicas)
		default:
			text += fmt.Sprintf(" asks for %d", *p.Replicas)
		}
		for _, n := range p.Or {
			text += fmt.Sprintf(" or %d", n)
		}
		if why := cmp.Or(p.Rounding, p.Uncounted); p.Decided && why != "" {
			text += " (" + why + ")"
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, ", ")
}

func steps(t analysis.Transition) []string {
	var list []string
	if t.Doubt != "" {
		list = append(list, "Doubtful: "+t.Doubt+".")
	}
	for _, s := range t.Steps {
		line := fmt.Sprintf("%d → %d after %.1f s", s.From, s.To, s.AfterSeconds)
		if s.Earlier {
			line += ", no part of the latency: the HPA decided it on samples from before the load changed"
		}
		switch {
		case s.Foreign && s.By != "":
			line += fmt.Sprintf(" by %s, not by the HPA", s.By)
		case s.Foreign:
			line += ", not by the HPA"
		case s.Recommended != nil:
			line += ": " + asked(s)
			if s.LimitedBy != "" {
				line += fmt.Sprintf("; limited by %s (%s)", s.LimitedBy, s.Limit)
			}
		case s.Event != "":
			// The HPA leaves the reason empty at times.
			line += " (" + strings.TrimSuffix(oneLine(s.Event), "; reason:") + ")"
		}
		if s.Disagrees != "" {
			line += "; " + s.Disagrees
		}
		list = append(list, line)
	}
	return list
}

// reasons collects remarks, each of them once.
type reasons []string

func (l *reasons) add(format string, args ...any) {
	if s := fmt.Sprintf(format, args...); !slices.Contains(*l, s) {
		*l = append(*l, s)
	}
}

func (l *reasons) missing(name string, x analysis.Latency) {
	if x.Missing != "" {
		l.add("%s: %s", name, x.Missing)
	}
}

// stages remarks on stages that are missing, those with the same reason
// together, and on those that include them.
func (l *reasons) stages(list []analysis.Stage) {
	for i, s := range list {
		if s.Missing != "" && (i == 0 || list[i-1].Missing != s.Missing) {
			names := s.Name
			for _, next := range list[i+1:] {
				if next.Missing != s.Missing {
					break
				}
				names += ", " + next.Name
			}
			l.add("%s: %s", names, s.Missing)
		}
		if s.Includes != nil {
			l.add("%s includes %s", s.Name, strings.Join(s.Includes, ", "))
		}
	}
}

func scaleUp(t analysis.Transition, width int) section {
	u := t.ScaleUp
	s := section{title: title(t), text: steps(t)}
	var notes reasons
	if u.First == nil {
		s.text = append(s.text, "No new pod: "+u.Latency.Missing)
		return s
	}
	shown := podsShown(u.First, u.Median, u.Slowest, &notes)
	s.grid = stageGrid(shown, width)
	row := func(name string, of func(*analysis.PodStages) *analysis.Latency) {
		cells := []string{name}
		for i, p := range shown {
			l := of(p)
			if l == nil {
				l = &analysis.Latency{}
			}
			if cells = append(cells, hundredths(l.Seconds)); i == 0 {
				cells = append(cells, precision(*l))
			}
		}
		s.grid.fill(cells)
	}
	row("in all", func(p *analysis.PodStages) *analysis.Latency { return &p.Latency })
	if u.First.FirstAnswer != nil {
		row("first answer after", func(p *analysis.PodStages) *analysis.Latency { return p.FirstAnswer })
	}
	if u.First.FairShare != nil {
		row("fair share after", func(p *analysis.PodStages) *analysis.Latency { return p.FairShare })
	}
	if c := u.ColdStart; c != nil {
		s.grid.fill([]string{"cold start", hundredths(c.Latency.Seconds), precision(c.Latency)})
		notes.missing("cold start", c.Latency)
		if c.Latency.Seconds != nil || c.Held+c.Failed > 0 {
			notes.add("cold start: to the first good answer. Of %s that were sent before it %d failed and %d were held.", record.Counted(c.Sent, "request"), c.Failed, c.Held)
		}
	}
	s.grid.fill([]string{"to full", hundredths(u.TimeToFull.Seconds), precision(u.TimeToFull)})
	notes.missing("in all", u.Latency)
	notes.missing("to full", u.TimeToFull)
	if u.NeverServed != nil {
		notes.add("never in service: %s", strings.Join(u.NeverServed, ", "))
	}
	s.notes = notes
	return s
}

// podsShown are the pods that have a column: the first, and if there are others
// the median and the slowest. Notes get their names and what is to be said of
// their stages.
func podsShown(first, median, slowest *analysis.PodStages, notes *reasons) []*analysis.PodStages {
	shown := []*analysis.PodStages{first}
	named := func(what string, p *analysis.PodStages) string {
		if p.Ended == "" || p.Ended == "exit code 0" {
			return what + p.Pod
		}
		return fmt.Sprintf("%s%s (%s)", what, p.Pod, p.Ended)
	}
	names := named("first: ", first)
	if slowest != nil && slowest.Pod != first.Pod {
		shown = append(shown, median, slowest)
		names += "; " + named("median: ", median) + "; " + named("slowest: ", slowest)
	}
	if first.Pod != "" {
		notes.add("Pods: %s", names)
	}
	for _, p := range shown {
		notes.stages(p.Stages)
	}
	return shown
}

// stageGrid has a row for each stage: its length for each pod, and bars from
// where it starts to where it ends, of the first pod and of the slowest, on one
// scale.
func stageGrid(shown []*analysis.PodStages, width int) *grid {
	g := &grid{columns: []column{{name: "stage", text: true}, {name: "first pod"}, {name: "±"}}}
	if len(shown) > 1 {
		g.columns = append(g.columns, column{name: "median pod", spare: 2}, column{name: "slowest pod"})
	}
	drawn := []*analysis.PodStages{shown[0]}
	if len(shown) > 1 {
		drawn = append(drawn, shown[len(shown)-1])
	}
	room := 30 // of a bar: what the figures leave
	if len(shown) > 1 {
		room = 52
	}
	bar := min(max((width-room)/len(drawn)-2*len(drawn), 10), 40)
	if len(drawn) > 1 && bar < 20 {
		drawn, bar = drawn[1:], min(max(width-room-4, 10), 40) // the slowest has it all
	}
	var onset, end float64
	var names []string // of all of them, each after the one that it follows
	for _, p := range shown {
		at := 0
		for _, s := range p.Stages {
			i := slices.Index(names, s.Name)
			if i < 0 {
				i = at
				names = slices.Insert(names, i, s.Name)
			}
			at = i + 1
		}
	}
	for _, p := range drawn {
		for _, s := range p.Stages {
			if s.EndsAtSeconds != nil {
				onset = *s.EndsAtSeconds - total(p.Stages, s.Name)
				end = max(end, *s.EndsAtSeconds)
			}
		}
	}
	for _, p := range drawn {
		name := "first pod's time"
		if p != shown[0] {
			name = "slowest pod's time"
		}
		g.columns = append(g.columns, column{name: name, text: true, bars: true})
	}
	for _, name := range names {
		var cells []string
		for i, p := range shown {
			s := stageOf(p, name)
			if cells = append(cells, hundredths(s.Seconds)); i == 0 {
				cells = append(cells, precision(s.Latency))
			}
		}
		for _, p := range drawn {
			cells = append(cells, barOf(stageOf(p, name), onset, end, bar))
		}
		g.add(append([]string{name}, cells...)...)
	}
	return g
}

// total is the sum of the stages up to and with the one of that name, and so the
// time from the onset to its end.
func total(stages []analysis.Stage, upTo string) (sum float64) {
	for _, s := range stages {
		if s.Seconds != nil {
			sum += *s.Seconds
		}
		if s.Name == upTo {
			break
		}
	}
	return sum
}

func stageOf(p *analysis.PodStages, name string) analysis.Stage {
	for _, s := range p.Stages {
		if s.Name == name {
			return s
		}
	}
	return analysis.Stage{Name: name}
}

// barOf draws a stage on a scale from onset to end of that many characters. A
// stage that is too short for one has a thin mark, a missing one nothing.
func barOf(s analysis.Stage, onset, end float64, width int) string {
	if s.Seconds == nil || s.EndsAtSeconds == nil || end <= onset {
		return ""
	}
	place := func(t float64) int { return int(math.Round((t - onset) / (end - onset) * float64(width))) }
	from, to := place(*s.EndsAtSeconds-*s.Seconds), place(*s.EndsAtSeconds)
	if from == to {
		return strings.Repeat(" ", min(from, width-1)) + "▏"
	}
	return strings.Repeat(" ", from) + strings.Repeat("█", to-from)
}

// fill adds a row that has cells for the first columns only.
func (g *grid) fill(cells []string) {
	g.add(append(cells, make([]string, len(g.columns)-len(cells))...)...)
}

func precision(l analysis.Latency) string {
	if l.Seconds == nil {
		return none
	}
	return seconds(&l.PrecisionSeconds)
}

func scaleDown(t analysis.Transition, width int) section {
	d := t.ScaleDown
	s := section{title: title(t), text: steps(t)}
	if d.Latency.Seconds == nil {
		s.text = append(s.text, d.Latency.Missing)
		return s
	}
	var notes reasons
	line := fmt.Sprintf("Decided after %s", exact(d.Latency))
	if d.HeldByWindow.Seconds != nil {
		line += fmt.Sprintf(", of which the stabilization window took %s and the rest %s", seconds(d.HeldByWindow.Seconds), seconds(d.LessWindow.Seconds))
		if d.Higher.AtSeconds != nil {
			notes.add("The HPA last recommended more replicas at %.1f s; its window runs from there.", *d.Higher.AtSeconds)
		}
	}
	if d.Settle.Seconds != nil {
		line += fmt.Sprintf("; settled at %s after %s", number(d.Plateau), exact(d.Settle))
	}
	s.text = append(s.text, line+".")
	if d.First != nil {
		shown := podsShown(d.First, d.Median, d.Slowest, &notes)
		s.grid = stageGrid(shown, width)
		cells := []string{"in all", hundredths(d.First.Latency.Seconds), precision(d.First.Latency)}
		for _, p := range shown[1:] {
			cells = append(cells, hundredths(p.Latency.Seconds))
		}
		s.grid.fill(cells)
	}
	notes.missing("held by the window", d.HeldByWindow)
	notes.missing("settled", d.Settle)
	s.notes = notes
	return s
}

func load(r *analysis.Result) section {
	g := &grid{columns: []column{
		{name: "phase", text: true, give: true}, {name: "plan", text: true, spare: 3}, {name: "lasted"},
		{name: "offered/s"}, {name: "answered/s"}, {name: "answers", spare: 2}, {name: "unsent"}, {name: "errors"},
		{name: "p50"}, {name: "p90", spare: 1}, {name: "p95", spare: 4}, {name: "p99"}, {name: "max", spare: 2},
	}}
	var notes reasons
	if slices.ContainsFunc(r.Load.Phases, func(p analysis.PhaseLoad) bool {
		return p.AchievedRate != nil && math.Abs(*p.AchievedRate**p.Seconds-float64(p.Answered)) >= 0.5
	}) {
		notes.add("answered/s counts the answers that came while the phase ran; answers counts the answers to the requests of the phase, whenever they came")
	}
	for i, p := range append(slices.Clone(r.Load.Phases), r.Load.Total) {
		g.add(p.Name, p.Plan, seconds(p.Seconds), rate(p.OfferedRate), rate(p.AchievedRate), number(&p.Answered), number(&p.Unsent), percent(p.ErrorShare),
			answer(p.Latency.P50), answer(p.Latency.P90), answer(p.Latency.P95), answer(p.Latency.P99), answer(p.Latency.Max))
		if i == len(r.Load.Phases) {
			continue // the total has no causes of its own
		}
		if p.Seconds == nil {
			notes.add("%s: the phase did not run", p.Name)
		}
		if p.SLOViolated != nil {
			notes.add("%s: %s did not meet the SLO", p.Name, percent(p.SLOViolated))
		}
		if p.Doubt != "" {
			notes.add("%s: not as planned: %s", p.Name, p.Doubt)
		}
		var faults []string
		for code, n := range p.Codes {
			if code < "200" || code >= "400" {
				faults = append(faults, fmt.Sprintf("%d × %s", n, code))
			}
		}
		for cause, n := range p.Failures {
			faults = append(faults, fmt.Sprintf("%d × %s", n, oneLine(cause)))
		}
		if slices.Sort(faults); faults != nil {
			notes.add("%s, errors: %s", p.Name, strings.Join(faults, ", "))
		}
		if p.Aborted > 0 {
			notes.add("%s: when the run was cut short, %s had no answer yet", p.Name, record.Counted(p.Aborted, "request"))
		}
		if p.Unknown > 0 {
			notes.add("%s: what became of %s is not known", p.Name, record.Counted(p.Unknown, "request"))
		}
	}
	return section{title: "Load by phase", grid: g, notes: notes}
}

// loadByPod shows which pod answered how much, where that is known.
func loadByPod(r *analysis.Result) section {
	g := &grid{columns: []column{
		{name: "phase", text: true, give: true}, {name: "pod", text: true, give: true, tail: true}, {name: "answers"}, {name: "share"}, {name: "answered/s"},
		{name: "errors"}, {name: "p50"}, {name: "p99", spare: 1}, {name: "max", spare: 2},
	}}
	var notes reasons
	for _, p := range r.Load.Phases {
		for _, of := range p.Pods {
			g.add(p.Name, of.Pod, number(&of.Answered), percent(&of.Share), rate(of.Rate), number(&of.Errors), answer(of.Latency.P50), answer(of.Latency.P99), answer(of.Latency.Max))
		}
		if s := p.Spread; s != nil {
			notes.add("%s: the busiest of %d pods got %.2f times the mean of their rates; Gini %.2f", p.Name, s.Pods, s.MaxOverMean, s.Gini)
		}
	}
	if len(g.rows) == 0 {
		return section{}
	}
	notes.add("answered/s: over the time in which the pod was in service")
	return section{title: "Load by pod", grid: g, notes: notes, folded: true}
}

func loadByWorker(r *analysis.Result) section {
	g := &grid{columns: []column{
		{name: "worker", text: true}, {name: "offered"}, {name: "answers"}, {name: "unsent"}, {name: "failed"}, {name: "aborted"}, {name: "unknown", spare: 3}, {name: "late"}, {name: "late p99", spare: 1}, {name: "late max", spare: 2},
	}}
	for _, w := range r.Load.Workers {
		g.add(number(&w.Worker), number(&w.Offered), number(&w.Answered), number(&w.Unsent), number(&w.Failed), number(&w.Aborted), number(&w.Unknown), number(&w.Late), answer(w.LateP99), answer(&w.LateMax))
	}
	if len(g.rows) == 0 {
		return section{}
	}
	return section{title: "Load by worker", grid: g, notes: reasons{"late: sent more than 10 ms behind its schedule"}, folded: true}
}

func queue(r *analysis.Result) section {
	q := r.Queue
	switch {
	case q == nil:
		return section{}
	case q.Peak == nil:
		return section{title: "Queue", text: []string{oneLine(q.Missing)}}
	}
	line := fmt.Sprintf("Most messages waiting: %s at %.1f s; at the last reading: %s", record.Plain(*q.Peak, 0), *q.PeakAt, record.Plain(*q.Last, 0))
	var notes reasons
	if q.Oldest.Seconds != nil {
		line += fmt.Sprintf("; longest wait of the oldest: %s", exact(q.Oldest))
	}
	switch {
	case q.Drain.Seconds != nil && *q.Drain.Seconds == 0:
		line += "; empty at the end of the load"
	case q.Drain.Seconds != nil:
		line += fmt.Sprintf("; drained %s after the end of the load", exact(q.Drain))
	}
	notes.missing("drained", q.Drain)
	return section{title: "Queue", text: []string{line + "."}, notes: notes}
}

func elasticity(r *analysis.Result) section {
	if r.Elasticity == nil {
		return section{}
	}
	return elasticityOf(*r.Elasticity)
}

func elasticityOf(e analysis.Elasticity) section {
	g := &grid{columns: []column{{name: "supply against demand", text: true}, {name: "too few"}, {name: "too many"}, {name: "", text: true}}}
	figure := func(x float64) string { return fmt.Sprintf("%.3f", x) }
	g.add("accuracy", figure(e.AccuracyUnder), figure(e.AccuracyOver), "replicas, on average")
	g.add("normalized", figure(e.NormalizedUnder), figure(e.NormalizedOver), "of the demand")
	g.add("timeshare", percent(&e.TimeshareUnder), percent(&e.TimeshareOver), "of the time")
	return section{title: "Elasticity", grid: g, notes: reasons{
		fmt.Sprintf("jitter: %.2f changes a minute more than those of the demand; used: %.0f replica-seconds, %.0f of them not needed", e.Jitter, e.ReplicaSeconds, e.Wasted)}}
}

func replicas(r *analysis.Result) section {
	s := section{title: "Replicas", chart: len(r.Timeline) > 0}
	if r.Reach.Missing != "" {
		s.text = append(s.text, "Reach: "+r.Reach.Missing)
	} else if r.Reach.Peak != nil && r.Reach.Max != nil {
		line := fmt.Sprintf("Peak %d ready, between min %d and max %d", *r.Reach.Peak, *r.Reach.Min, *r.Reach.Max)
		if r.Reach.Fraction != nil {
			line += fmt.Sprintf(" (reach %.0f %%)", *r.Reach.Fraction*100)
		}
		if at := r.Reach.FirstAtMax; at.AtSeconds != nil {
			line += fmt.Sprintf("; first at max at %.1f s, there for %s of the run", *at.AtSeconds, percent(r.Reach.Saturated))
		}
		s.text = append(s.text, fmt.Sprintf("%s; %d at the end.", line, *r.Reach.Last))
	}
	return s
}

func pods(r *analysis.Result) section {
	if len(r.Pods) == 0 {
		return section{}
	}
	g := &grid{columns: []column{
		{name: "pod", text: true, give: true, tail: true}, {name: "node", text: true, spare: 3}, {name: "created"}, {name: "scheduled", spare: 2},
		{name: "started"}, {name: "ready"}, {name: "in service"}, {name: "terminating"}, {name: "out", spare: 1}, {name: "gone"}, {name: "restarts", spare: 4},
	}}
	at := func(s *float64) string {
		if s == nil {
			return none
		}
		return fmt.Sprintf("%.1f", *s)
	}
	before, returned := false, false
	for _, p := range r.Pods {
		created, out := at(p.Created), at(p.OutOfService)
		if p.Returned {
			out, returned = "back", true
		}
		if p.Before {
			created, before = "before", true
		}
		g.add(p.Name, p.Node, created, at(p.Scheduled), at(p.Started), at(p.Ready), at(p.InService), at(p.Terminating), out, at(p.Gone), fmt.Sprint(p.Restarts))
	}
	s := section{title: "Pods", grid: g, folded: true, notes: []string{"In seconds of the run's clock, when the watch showed it; – was not seen."}}
	if before {
		s.notes = append(s.notes, "before: the pod was there when the watch opened.")
	}
	if returned {
		s.notes = append(s.notes, "back: the pod went out of service and came back.")
	}
	return s
}

func environment(r *analysis.Result) section {
	var list []string
	add := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }
	add("Run %s of scenario %s, started %s, hpabench %s", r.Run, r.Scenario, r.Started.UTC().Format("2006-01-02 15:04:05 UTC"), r.Hpabench)
	if s := r.Subject; s != nil && !r.LoadOnly() {
		line := fmt.Sprintf("Target: %s %s in namespace %s", s.Kind, s.Name, s.Namespace)
		if s.Way != "" {
			line += fmt.Sprintf("; reached by %s (%s)", s.Way, s.URL)
		}
		if s.Why != "" {
			line += ": " + s.Why
		}
		list = append(list, line)
	}
	if a := r.Autoscaler; a != nil {
		add("HPA: min %d, max %d, %s; tolerance +%g/−%g, scale-down window %g s", a.Min, a.Max, strings.Join(a.Metrics, ", "), a.ScaleUpTolerance, a.ScaleDownTolerance, a.ScaleDownWindowSeconds)
	}
	if s := r.ScaledObject; s != nil {
		line := fmt.Sprintf("ScaledObject %s: KEDA polls each %d s and takes the target to %s when no trigger was active for %d s; min %d, max %d", s.Name, s.PollingSeconds, record.Counted(s.Least(), "replica"), s.CooldownSeconds, s.Min, s.Max)
		if s.Min > 0 && s.Idle == nil {
			line = fmt.Sprintf("ScaledObject %s: KEDA polls each %d s; min %d, max %d", s.Name, s.PollingSeconds, s.Min, s.Max)
		}
		for _, t := range s.Triggers {
			line += "; trigger " + t.Type
			if t.Metric != "" {
				line += fmt.Sprintf(" (%s), active above %s", t.Metric, record.Plain(t.Activation, 4))
			}
		}
		list = append(list, line)
	}
	if c := r.Cluster; c != nil {
		add("Kubernetes %s", c.Version)
		if l := c.Lab; l != nil {
			what := "The embedded cluster, " + l.Timing + " timing"
			if l.Timing == record.SimulatedTiming {
				what = "Simulated, without a cluster"
			}
			add("%s: metrics are taken every %g s", what, l.MetricsResolution)
		}
		if f := c.Controllers; f != nil {
			from := ""
			if c.ControllersFrom != "" {
				from = " (read from " + c.ControllersFrom + ")"
			}
			add("HPA controller%s: it looks every %g s; where the HPA's spec is silent, tolerance %g and scale-down window %g s; CPU initialization %g s, initial readiness delay %g s",
				from, f.Sync.Seconds(), f.Tolerance, f.DownscaleStabilization.Seconds(), f.CPUInitialization.Seconds(), f.InitialReadiness.Seconds())
		}
		var kinds []string
		alike := map[string][]string{} // names by what they are
		for _, n := range c.Nodes {
			cpus := record.Plain(n.CPU, 0) + " CPUs"
			if n.CPU == 1 {
				cpus = "1 CPU"
			}
			what := fmt.Sprintf("%s, %.1f GiB", cpus, float64(n.Memory)/(1<<30))
			if n.Kubelet != "" { // a simulated node has none
				what += fmt.Sprintf(", %s, kubelet %s, %s", n.OS, n.Kubelet, n.Runtime)
			}
			if !n.Schedule {
				what += ", not schedulable"
			}
			if alike[what] == nil {
				kinds = append(kinds, what)
			}
			alike[what] = append(alike[what], n.Name)
		}
		for _, what := range kinds {
			if names := alike[what]; len(names) == 1 {
				add("Node %s: %s", names[0], what)
			} else {
				add("%d nodes alike, %s to %s: %s", len(names), names[0], names[len(names)-1], what)
			}
		}
	}
	for _, c := range r.Checks {
		if c.Outcome != "ok" {
			line := fmt.Sprintf("Preflight %s: %s: %s", c.Outcome, c.Name, c.Message)
			if c.Hint != "" {
				line += " (" + c.Hint + ")"
			}
			list = append(list, line)
		}
	}
	for _, g := range r.Gaps {
		add("Gap: %s not watched from %.1f to %.1f s: %s", g.Source, g.From.Seconds(), g.To.Seconds(), oneLine(g.Cause))
	}
	return section{title: "Environment", text: list}
}

// definitions says in short what the figures mean.
var definitions = []string{
	"All instants are those at which a change arrived by watch, on the one clock of the run; ± is by how much they may be off (the watch's delay or gap; for metrics the polling interval).",
	"Onset: the start of the phase that changed the load. Scale-up: onset → first new pod in service (its address ready in an EndpointSlice). To full: onset → the number in service reaches where it stays.",
	"Stages: each starts where the last ended. Load rising (of a ramp, a sine or a curve): until the offered rate alone would put the metric above target × (1 + tolerance), by the line through the samples before and after. Metrics lag: until the pods' metrics first exceed it. Decision: until spec.replicas changes. Create, schedule: until the pod is seen, PodScheduled. Pull + init: until Initialized and images are pulled. Start: until all containers run. Ready: until the probes passed. First answer, fair share: in service → the first answer that came from the pod, and → the first second in which it gave half of the mean answers of the pods in service; no part of the sum.",
	"Scale-down: onset → first fall of spec.replicas. Held by the window: from when the metrics ask for fewer replicas until the HPA's stabilization window lets go; it runs from the last time that the HPA recommended more. Settled: onset → replicas where they stay and the last pod gone.",
	"Stages of a pod that goes: load falling, on a ramp, a sine or a curve, until the offered rate alone asks for no more than the step leaves; metrics lag until the metrics first ask for fewer replicas, below target × (1 − tolerance) and not rounded up to those there are, and for no more than the step leaves; stabilization until the window lets go; decision until spec.replicas changes; terminating until its deletion is seen; out of service until its address is no longer ready; preStop until a hook that sleeps is over; exit until its containers have ended; gone until the object is removed.",
	"Offered: what the plan says. Answered: answers of any code. Unsent: planned and never sent, because the load generator could not keep up. Errors: neither 2xx nor 3xx, or no answer.",
}
