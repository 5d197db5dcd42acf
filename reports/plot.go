package reports

import (
	"bytes"
	"fmt"
	"image/color"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	canvas "gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
	"gonum.org/v1/plot/vg/vgsvg"
	corev1 "k8s.io/api/core/v1"

	"github.com/hpabench/hpabench/analysis"
	"github.com/hpabench/hpabench/record"
)

// hue is a color that has a part to play; a page gives it another one where it is
// dark. No hue is black, which the SVG leaves out.
type hue struct {
	name string
	color.Color
}

func hueOf(name string, rgb uint32) hue {
	return hue{name, color.RGBA{uint8(rgb >> 16), uint8(rgb >> 8), uint8(rgb), 255}}
}

var (
	ink    = hueOf("ink", 0x1f2328)
	faint  = hueOf("faint", 0xc8ccd1)
	shade  = hueOf("shade", 0xf0f2f5)
	blue   = hueOf("blue", 0x0b69d4)
	orange = hueOf("orange", 0xb35a00)
	green  = hueOf("green", 0x1a7f38)
	red    = hueOf("red", 0xcf222d)
	purple = hueOf("purple", 0x8250de)

	// Of the stages, in their order. Neighbours are told apart by lightness too.
	stageHues = []hue{hueOf("stage0", 0x56739b), hueOf("stage1", 0xb6cbe8), hueOf("stage2", 0x2e7d6b), hueOf("stage3", 0xa5d9c8),
		hueOf("stage4", 0xb1591f), hueOf("stage5", 0xf2c08c), hueOf("stage6", 0x86508f), hueOf("stage7", 0xdcb4e2)}
	hues = append([]hue{ink, faint, shade, blue, orange, green, red, purple}, stageHues...)
)

// figure is one picture of a run.
type figure struct {
	Name, Title string
	Says        string // in words, for those who do not see it
	height      vg.Length
	plot        *plot.Plot
	legend      plot.Legend
}

// Sizes in points.
const (
	figureWidth  = 760
	figureHeight = 200
	legendWidth  = 125
	labelWidth   = 62  // of the vertical axis, so that those of all figures stand alike
	columns      = 600 // of data: more cannot be seen
	waterfalls   = 10  // of the first transitions; stages.csv has them all
)

// line is a series over the timeline.
type line struct {
	name   string
	hue    hue
	dashed bool
	value  func(analysis.Second) *float64
	steps  bool // a state that holds, and not a figure of each second
}

// figures are the pictures of r. Those without data are left out, and the stages of the
// eleventh transition and later ones.
func figures(r *analysis.Result) []figure {
	hpa := func(of func(*analysis.Autoscaler) *int32) func(analysis.Second) *float64 {
		return func(analysis.Second) *float64 {
			if r.Autoscaler == nil {
				return nil
			}
			return floating(of(r.Autoscaler))
		}
	}
	count := func(n uint64) *float64 { return new(float64(n) / float64(every(r.Timeline))) }
	milliseconds := func(s *float64) *float64 {
		if s == nil {
			return nil
		}
		return new(max(*s*1000, 0.01))
	}
	list := []figure{
		timeFigure(r, "replicas", "Replicas: wanted and ready, against demand", "replicas", true,
			line{name: "max", hue: faint, dashed: true, steps: true, value: hpa(func(a *analysis.Autoscaler) *int32 { return &a.Max })},
			line{name: "min", hue: faint, dashed: true, steps: true, value: hpa(func(*analysis.Autoscaler) *int32 { return r.Reach.Min })},
			line{name: "demand", hue: orange, dashed: true, steps: true, value: func(s analysis.Second) *float64 { return s.Demand }},
			line{name: "wanted", hue: blue, steps: true, value: func(s analysis.Second) *float64 { return floating(s.Spec) }},
			line{name: "ready", hue: green, steps: true, value: func(s analysis.Second) *float64 { return floating(s.Ready) }}),
		timeFigure(r, "utilization", "Utilization: the pods' CPU and what the HPA saw, against its target", "% of requests", true,
			line{name: "target", hue: orange, dashed: true, steps: true, value: hpa(func(a *analysis.Autoscaler) *int32 { return a.TargetPercent })},
			line{name: "CPU of pods", hue: blue, steps: true, value: func(s analysis.Second) *float64 { return s.CPUPercent }},
			line{name: "the HPA saw", hue: purple, steps: true, value: func(s analysis.Second) *float64 { return floating(s.HPAPercent) }}),
		timeFigure(r, "rate", "Load: offered and answered", "requests/s", false,
			line{name: "offered", hue: orange, dashed: true, value: func(s analysis.Second) *float64 { return count(s.Offered) }},
			line{name: "answered", hue: blue, value: func(s analysis.Second) *float64 { return count(s.Answered) }},
			line{name: "failed, unsent", hue: red, value: func(s analysis.Second) *float64 { return count(s.Failed + s.Unsent) }}),
		timeFigure(r, "latency", "Latency of the answers", "ms", false,
			line{name: "99 %", hue: red, value: func(s analysis.Second) *float64 { return milliseconds(s.P99) }},
			line{name: "90 %", hue: orange, value: func(s analysis.Second) *float64 { return milliseconds(s.P90) }},
			line{name: "50 %", hue: blue, value: func(s analysis.Second) *float64 { return milliseconds(s.P50) }}),
	}
	for i, s := range r.Signals {
		name, unit := "metric", s.Name
		if i > 0 {
			name = fmt.Sprintf("metric-%d", i+1)
		}
		if s.Of == analysis.OfPods {
			unit += " a pod"
		}
		list = append(list, timeFigure(r, name, "Metric "+s.Name+": where the HPA reads it, and its target", unit, true,
			line{name: "target", hue: orange, dashed: true, steps: true, value: func(n analysis.Second) *float64 {
				if s.TargetPerPod != nil && n.Spec != nil { // of as many pods as there are to be
					return new(*s.TargetPerPod * float64(*n.Spec))
				}
				return s.Target
			}},
			line{name: "activates above", hue: faint, dashed: true, steps: true, value: func(analysis.Second) *float64 { return s.Activation }},
			line{name: s.Name, hue: blue, steps: true, value: func(n analysis.Second) *float64 { return n.Signals[i] }}))
	}
	list = append(list,
		timeFigure(r, "queue", "Queue: messages that wait", "messages", true, line{name: "backlog", hue: blue, steps: true, value: func(s analysis.Second) *float64 { return s.Backlog }}),
		timeFigure(r, "queue-age", "Queue: how long the oldest message has waited", "s", true, line{name: "oldest", hue: purple, steps: true, value: func(s analysis.Second) *float64 { return s.Oldest }}))
	for i, t := range r.Transitions[:min(len(r.Transitions), waterfalls)] {
		list = append(list, waterfall(i, t))
	}
	return slices.DeleteFunc(list, func(f figure) bool { return f.plot == nil })
}

// ticks are five or so round numbers: steps of 1, 2 or 5 times a power of ten, not
// finer than whole numbers if it says so.
type ticks struct{ whole bool }

// Ticks implements plot.Ticker.
func (k ticks) Ticks(low, high float64) (list []plot.Tick) {
	rough := (high - low) / 7
	step := math.Pow(10, math.Ceil(math.Log10(rough)))
	for _, part := range []float64{5, 2} {
		if step/part >= rough {
			step /= part
			break
		}
	}
	if k.whole {
		step = max(1, step)
	}
	for i := math.Ceil(low / step); i*step <= high; i++ {
		list = append(list, plot.Tick{Value: i * step, Label: record.Plain(i*step, 6)})
	}
	return list
}

// timeFigure draws lines over the seconds of the run, with its phases behind them and,
// where decided, the steps of the replicas. Its plot is nil when only what is dashed has
// data.
func timeFigure(r *analysis.Result, name, title, unit string, decided bool, lines ...line) figure {
	f := figure{Name: name, Title: title, height: figureHeight}
	p := f.newPlot()
	p.X.Label.Text, p.Y.Label.Text = "seconds", unit
	p.Y.Tick.Marker = ticks{whole: unit == "replicas" || unit == "messages"}
	log := name == "latency"
	if log {
		p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: 6}
	}
	p.Add(phases{r})
	if decided {
		p.Add(decisions{r})
	}
	var says []string
	top, low, drawn := 0.0, math.Inf(1), false
	for _, l := range lines {
		pieces := l.pieces(r.Timeline)
		if len(pieces) == 0 {
			continue
		}
		drawn = drawn || !l.dashed
		var thumb plot.Thumbnailer
		for _, points := range pieces {
			for _, at := range points {
				top, low = max(top, at.Y), min(low, at.Y)
			}
			drawing := &plotter.Line{XYs: points, LineStyle: canvas.LineStyle{Color: l.hue, Width: 1.5}}
			if l.steps {
				drawing.StepStyle = plotter.PostStep
			}
			if l.dashed {
				drawing.Dashes = []vg.Length{4, 3}
			}
			p.Add(drawing)
			thumb = drawing
		}
		f.legend.Add(l.name, thumb)
		says = append(says, l.says(r.Timeline))
	}
	if !drawn {
		return f
	}
	p.X.Min, p.X.Max = float64(r.Timeline[0].Second), float64(r.Timeline[len(r.Timeline)-1].Second+every(r.Timeline))
	p.Y.Min, p.Y.Max = 0, max(top*1.12, 1)
	if log {
		p.Y.Min, p.Y.Max = math.Pow(10, math.Floor(math.Log10(low))), math.Pow(10, math.Ceil(math.Log10(top*1.01)))
	}
	f.plot, f.Says = p, title+", in "+unit+". "+strings.Join(says, "; ")+"."
	return f
}

// pieces are the stretches of the timeline with values. A run that is too long for
// each second to be seen has the largest value of each stretch.
func (l line) pieces(timeline []analysis.Second) (pieces []plotter.XYs) {
	stretch := max(1, (len(timeline)+columns-1)/columns)
	var points plotter.XYs
	end := func(at float64) {
		if l.steps && len(points) > 0 {
			points = append(points, plotter.XY{X: at, Y: points[len(points)-1].Y})
		}
		if len(points) > 0 {
			pieces = append(pieces, points)
		}
		points = nil
	}
	for seconds := range slices.Chunk(timeline, stretch) {
		at := float64(seconds[0].Second)
		v, ok := largest(seconds, l.value)
		switch {
		case !ok:
			end(at)
		case !l.steps || len(points) == 0 || points[len(points)-1].Y != v:
			points = append(points, plotter.XY{X: at, Y: v})
		}
	}
	if n := len(timeline); n > 0 {
		end(float64(timeline[n-1].Second + every(timeline)))
	}
	return pieces
}

// says gives a line's first, largest and last value.
func (l line) says(timeline []analysis.Second) string {
	var first, top, last *float64
	at := 0
	for _, s := range timeline {
		v := l.value(s)
		if v == nil {
			continue
		}
		if last = v; first == nil {
			first = v
		}
		if top == nil || *v > *top {
			top, at = v, s.Second
		}
	}
	if *first == *top && *last == *top {
		return l.name + ": " + record.Plain(*top, 4)
	}
	return fmt.Sprintf("%s: first %s, at most %s at %d s, last %s", l.name, record.Plain(*first, 4), record.Plain(*top, 4), at, record.Plain(*last, 4))
}

// waterfall draws the stages of the transition's pods, one below the other.
func waterfall(i int, t analysis.Transition) figure {
	f := figure{Name: fmt.Sprintf("stages-%d", i+1), Title: "Stages: " + title(t)}
	var pods []analysis.PodStages
	if t.ScaleUp != nil {
		pods = t.ScaleUp.Pods
	} else {
		pods = t.ScaleDown.Pods
	}
	bars := stageBars{onset: t.OnsetSeconds}
	var says []string
	for _, p := range pods {
		if len(bars.pods) < 20 && slices.ContainsFunc(p.Stages, func(s analysis.Stage) bool { return s.EndsAtSeconds != nil }) {
			bars.pods = append(bars.pods, p)
		}
	}
	if len(bars.pods) == 0 {
		return f
	}
	p := f.newPlot()
	p.X.Label.Text = "seconds since the onset"
	var names plot.ConstantTicks
	for row, pod := range bars.pods {
		names = append(names, plot.Tick{Value: float64(len(bars.pods) - 1 - row), Label: tailOf(oneLine(pod.Pod), 11)})
		var parts []string
		for _, s := range pod.Stages {
			if s.Seconds == nil || s.EndsAtSeconds == nil {
				continue
			}
			parts = append(parts, fmt.Sprintf("%s %.2f s", s.Name, *s.Seconds))
			if !slices.Contains(bars.names, s.Name) {
				bars.names = append(bars.names, s.Name)
			}
			p.X.Max = max(p.X.Max, *s.EndsAtSeconds-t.OnsetSeconds)
		}
		says = append(says, pod.Pod+": "+strings.Join(parts, ", "))
	}
	order := []string{analysis.StageRising, analysis.StageFalling, analysis.StageMetrics, analysis.StageWindow, analysis.StageDecision, analysis.StageCreate, analysis.StageSchedule, analysis.StagePull,
		analysis.StageStart, analysis.StageReady, analysis.StageInService, analysis.StageTerminating, analysis.StageOutOfService, analysis.StagePreStop, analysis.StageExit, analysis.StageGone}
	slices.SortFunc(bars.names, func(a, b string) int { return slices.Index(order, a) - slices.Index(order, b) })
	p.Add(bars)
	for _, name := range bars.names {
		f.legend.Add(oneLine(name), swatch{bars.hue(name)})
	}
	p.X.Min, p.X.Max = 0, max(p.X.Max*1.02, 0.1)
	p.Y.Min, p.Y.Max = -0.5, float64(len(bars.pods))-0.5
	p.Y.Tick.Marker, p.Y.Tick.Length = names, 0
	p.Y.Padding = vg.Points(10) // where the font is not there, another is up to a sixth wider
	f.plot, f.Says = p, f.Title+". "+strings.Join(says, "; ")+"."
	f.height = vg.Length(max(60+16*len(bars.pods), 20+13*len(bars.names)))
	return f
}

// tailOf keeps the end of a name, in which pods differ.
func tailOf(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return "…" + string(r[len(r)-n+1:])
	}
	return s
}

func floating[N int | int32](n *N) *float64 {
	if n == nil {
		return nil
	}
	return new(float64(*n))
}

func (f *figure) newPlot() *plot.Plot {
	p := plot.New()
	p.BackgroundColor = nil // that of the page
	f.legend = plot.NewLegend()
	f.legend.Top, f.legend.Left, f.legend.ThumbnailWidth, f.legend.Padding = true, true, 16, 2
	f.legend.TextStyle.Font.Size = 9
	for _, style := range []*text.Style{&f.legend.TextStyle, &p.X.Tick.Label, &p.X.Label.TextStyle, &p.Y.Tick.Label, &p.Y.Label.TextStyle} {
		style.Color, style.Font.Variant, style.Font.Size = ink, "Sans", 9
	}
	for _, a := range []*plot.Axis{&p.X, &p.Y} {
		a.Color, a.Tick.Color, a.Padding, a.Tick.Marker = faint, faint, 0, ticks{}
	}
	return p
}

// draw draws the figure with its legend to the right.
func (f figure) draw(c canvas.Canvas) {
	left := f.plot.DataCanvas(c).Min.X - c.Min.X
	f.plot.Draw(canvas.Crop(c, labelWidth-left, -legendWidth, 2, -4))
	f.legend.Draw(canvas.Crop(c, figureWidth-legendWidth+10, 0, 0, -8))
}

// SVG is the figure for a page that styles the variables of its hues: --ink, --faint
// and so on.
func (f figure) SVG() (string, error) {
	c := vgsvg.New(figureWidth, f.height)
	f.draw(canvas.New(c))
	var b bytes.Buffer
	if _, err := c.WriteTo(&b); err != nil {
		return "", err
	}
	_, svg, _ := strings.Cut(b.String(), "<svg")
	var pairs []string
	for _, h := range hues {
		r, g, b, _ := h.RGBA()
		pairs = append(pairs, fmt.Sprintf("#%02X%02X%02X", r>>8, g>>8, b>>8), "var(--"+h.name+")")
	}
	return "<svg" + strings.NewReplacer(pairs...).Replace(svg), nil
}

// WritePlots writes each picture of r as SVG and as PNG into dir, which it makes if
// need be: replicas, utilization, rate, latency, metric, queue, queue-age and stages-<transition>,
// those that have data.
func WritePlots(dir string, r *analysis.Result) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("writing the plots: %w", err)
	}
	for _, f := range figures(r) {
		f.plot.BackgroundColor = color.White
		svg := vgsvg.New(figureWidth, f.height)
		png := vgimg.NewWith(vgimg.UseWH(figureWidth, f.height), vgimg.UseDPI(144))
		for end, c := range map[string]vg.CanvasWriterTo{".svg": svg, ".png": vgimg.PngCanvas{Canvas: png}} {
			all := canvas.New(c)
			all.SetColor(color.White)
			all.Fill(all.Rectangle.Path())
			f.draw(all)
			file := filepath.Join(dir, f.Name+end)
			if err := writeFile(file, func(w io.Writer) error { _, err := c.WriteTo(w); return err }); err != nil {
				return fmt.Errorf("writing plot %s: %w", file, err)
			}
		}
	}
	return nil
}

// phases shades every other phase of the load and names them all.
type phases struct{ r *analysis.Result }

func (s phases) Plot(c canvas.Canvas, p *plot.Plot) {
	x, _ := p.Transforms(&c)
	for i, phase := range s.r.Load.Phases {
		if phase.StartSeconds == nil || phase.Seconds == nil {
			continue
		}
		from, to := max(x(*phase.StartSeconds), c.Min.X), min(x(*phase.StartSeconds+*phase.Seconds), c.Max.X)
		if to <= from {
			continue
		}
		if i%2 == 0 {
			c.FillPolygon(shade, []vg.Point{{X: from, Y: c.Min.Y}, {X: to, Y: c.Min.Y}, {X: to, Y: c.Max.Y}, {X: from, Y: c.Max.Y}})
		}
		style := p.X.Tick.Label
		style.XAlign = canvas.XLeft
		name := oneLine(phase.Name)
		if style.Font.Size = 8; style.Width(name) < to-from {
			style.YAlign = canvas.YTop
			c.FillText(style, vg.Point{X: from + 2, Y: c.Max.Y - 1}, name)
		}
	}
}

// decisions marks each step of the replicas by a line, with its figures where there is
// room, and each warning of Kubernetes by a wedge at the foot.
type decisions struct{ r *analysis.Result }

func (d decisions) Plot(c canvas.Canvas, p *plot.Plot) {
	x, _ := p.Transforms(&c)
	style := p.X.Tick.Label
	style.Font.Size, style.XAlign, style.YAlign = 8, canvas.XLeft, canvas.YBottom
	free := c.Min.X
	for _, t := range d.r.Transitions {
		for _, s := range t.Steps {
			at := x(s.AtSeconds)
			c.StrokeLine2(canvas.LineStyle{Color: ink, Width: 0.5, Dashes: []vg.Length{1, 2}}, at, c.Min.Y, at, c.Max.Y)
			if label := fmt.Sprintf("%d→%d", s.From, s.To); at+2 >= free && at+2+style.Width(label) < c.Max.X {
				c.FillText(style, vg.Point{X: at + 2, Y: c.Min.Y + 8}, label)
				free = at + 4 + style.Width(label)
			}
		}
	}
	for _, e := range d.r.Events {
		if at := x(e.AtSeconds); e.Type == corev1.EventTypeWarning && at >= c.Min.X && at <= c.Max.X {
			c.FillPolygon(orange, []vg.Point{{X: at - 3, Y: c.Min.Y}, {X: at + 3, Y: c.Min.Y}, {X: at, Y: c.Min.Y + 7}})
		}
	}
}

// stageBars draws the stages of pods, the first at the top.
type stageBars struct {
	onset float64
	pods  []analysis.PodStages
	names []string
}

func (b stageBars) hue(name string) hue {
	return stageHues[slices.Index(b.names, name)%len(stageHues)]
}

func (b stageBars) Plot(c canvas.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	for row, pod := range b.pods {
		middle := y(float64(len(b.pods) - 1 - row))
		for _, s := range pod.Stages {
			if s.Seconds == nil || s.EndsAtSeconds == nil {
				continue
			}
			to := x(*s.EndsAtSeconds - b.onset)
			from := min(x(*s.EndsAtSeconds-b.onset-*s.Seconds), to-0.7) // what is too short is seen all the same
			c.FillPolygon(b.hue(s.Name), []vg.Point{{X: from, Y: middle - 5}, {X: to, Y: middle - 5}, {X: to, Y: middle + 5}, {X: from, Y: middle + 5}})
		}
	}
}

// swatch is what the legend shows of a color.
type swatch struct{ hue }

func (s swatch) Thumbnail(c *canvas.Canvas) {
	c.FillPolygon(s.hue, []vg.Point{c.Min, {X: c.Max.X, Y: c.Min.Y}, c.Max, {X: c.Min.X, Y: c.Max.Y}})
}
