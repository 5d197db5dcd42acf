package signals

import (
	"encoding/csv"
	"errors"
	"fmt"
	"math"
	"sort"
	"strconv"
	"strings"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/ext"
)

// A ConfigMap with the label says what sources outside the cluster show: each of its data is a Course by the name of its metric. The embedded
// cluster and the simulation have it as an External metric, and as a series of Prometheus.
const (
	CourseLabel = "hpabench.dev/signals"
	// BeganAnnotation is when the courses began, by RFC 3339. Default: when the ConfigMap was made. A run sets it when its load begins.
	BeganAnnotation = "hpabench.dev/signals-began"
)

// Course is a value over time.
type Course struct {
	rows       [][2]float64 // of seconds, in their order, and the value from then on
	expression cel.Program
}

// MaxCourse bounds the text of a course, in bytes.
const MaxCourse = 256 << 10

// ParseCourse reads a number; or rows of seconds and value, as CSV, each of which holds until the next; or an expression in CEL over t,
// the seconds since the course began, such as t < 60.0 ? 0.0 : 40.0. The error says what is wrong with it.
func ParseCourse(text string) (*Course, error) {
	if len(text) > MaxCourse {
		return nil, fmt.Errorf("it has %d bytes, and may have %d", len(text), MaxCourse)
	}
	text = strings.TrimSpace(text)
	if v, err := number(text); err == nil {
		return &Course{rows: [][2]float64{{0, v}}}, nil
	}
	if strings.Contains(text, "\n") && strings.Contains(text, ",") {
		rows, err := readRows(text)
		return &Course{rows: rows}, err
	}
	env, err := cel.NewEnv(cel.Variable("t", cel.DoubleType), ext.Math())
	if err != nil {
		return nil, err
	}
	checked, issues := env.Compile(text)
	if issues.Err() != nil {
		return nil, fmt.Errorf("it is no number, no rows of seconds and value, and no expression of t in CEL: %s", issues.Errors()[0].Message)
	}
	if kind := checked.OutputType(); kind != cel.DoubleType && kind != cel.IntType {
		return nil, fmt.Errorf("the expression gives a %s, and should give a number", kind)
	}
	program, err := env.Program(checked, cel.CostLimit(10_000))
	if err != nil {
		return nil, err
	}
	c := &Course{expression: program}
	_, err = c.At(0)
	return c, err
}

func readRows(text string) (rows [][2]float64, err error) {
	all, err := csv.NewReader(strings.NewReader(text)).ReadAll()
	if err != nil {
		return nil, err
	}
	for i, r := range all {
		if len(r) != 2 {
			return nil, fmt.Errorf("row %d has %d columns, and should have two: seconds and value", i+1, len(r))
		}
		at, err := number(strings.TrimSpace(r[0]))
		v, err2 := number(strings.TrimSpace(r[1]))
		switch {
		case errors.Join(err, err2) != nil && i == 0: // names of columns
		case errors.Join(err, err2) != nil:
			return nil, fmt.Errorf("row %d is not two numbers", i+1)
		case len(rows) > 0 && at <= rows[len(rows)-1][0]:
			return nil, fmt.Errorf("row %d is not after the one before", i+1)
		default:
			rows = append(rows, [2]float64{at, v})
		}
	}
	if len(rows) == 0 {
		return nil, errors.New("it has no row of two numbers")
	}
	return rows, nil
}

func number(text string) (float64, error) {
	v, err := strconv.ParseFloat(text, 64)
	if err == nil && (math.IsNaN(v) || math.IsInf(v, 0)) {
		err = errors.New("it is not finite")
	}
	return v, err
}

// At is the value so long after the course began; before that, and before the first row, that of the begin. The error is that of an
// expression, such as a division by zero.
func (c *Course) At(since time.Duration) (float64, error) {
	t := max(0, since.Seconds())
	if c.expression == nil {
		n := sort.Search(len(c.rows), func(n int) bool { return c.rows[n][0] > t })
		return c.rows[max(0, n-1)][1], nil
	}
	out, _, err := c.expression.Eval(map[string]any{"t": t})
	if err != nil {
		return 0, err
	}
	switch v := out.Value().(type) {
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return 0, fmt.Errorf("at %g s it is %g", t, v)
		}
		return v, nil
	case int64:
		return float64(v), nil
	}
	return 0, fmt.Errorf("at %g s it is a %s", t, out.Type().TypeName())
}
