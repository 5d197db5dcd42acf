package reports

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/text"
	"golang.org/x/net/html"

	"github.com/hpabench/hpabench/analysis"
	"github.com/hpabench/hpabench/fit"
	"github.com/hpabench/hpabench/record"
	"github.com/hpabench/hpabench/tune"
)

// poisons are added before and behind a string: what steers a terminal, a renderer of
// Markdown, a browser, a spreadsheet, or the runner of a CI job.
var poisons = []string{
	"=HYPERLINK(\"https://evil\")\x1b]0;x\x07\x1b[2J\u202e\u2066\u200b\ufffe\uffff\U0001fffe\x00\x7f\u009b\r\n::error::x\n##[error]x",
	"+1\u2028<img src=https://evil/p.png><script>x</script><!-- ]]> &lt;b> </details> --> <a href='javascript:x'>\n\n<b>\n",
	"@team `<img src=x>` ``<i>` ```\n# h\n- l\n| a | b |\n|---|---|\n[x](https://evil) ![x](https://evil) [x]: https://evil https://evil www.evil.org a@evil.org",
	"-cmd|' /C calc'!A0\t`https://evil`<img src=x>`www.evil.org`<b>`x \xff\xfe\U000e0041\\\"{}%0A%3A",
}

// formats are all that reports writes, each with a check by a parser of the format.
var formats = map[string]struct {
	write func(io.Writer, *analysis.Result) error
	check func(text []byte) error
}{
	"table at 80":  {func(w io.Writer, r *analysis.Result) error { return Table(w, r, 80) }, checkText},
	"table at 200": {func(w io.Writer, r *analysis.Result) error { return Table(w, r, 200) }, checkText},
	"Markdown":     {Markdown, checkMarkdown},
	"HTML":         {HTML, checkHTML},
	"JSON":         {JSON, checkJSON},
	"summary.csv":  {SummaryCSV, checkCSV},
	"timeline.csv": {timelineCSV, checkCSV},
	"pods.csv":     {podsCSV, checkCSV},
	"events.csv":   {eventsCSV, checkCSV},
	"stages.csv":   {stagesCSV, checkCSV},
	"findings.csv": {findingsCSV, checkCSV},
	"JUnit":        {JUnit, checkXML},
	"OpenMetrics":  {OpenMetrics, checkOpenMetrics},
}

func checkVisible(text []byte) error {
	if i := bytes.IndexFunc(text, invisible); i >= 0 {
		return fmt.Errorf("a character that cannot be seen: %q", text[max(0, i-30):min(len(text), i+30)])
	}
	return nil
}

func checkText(text []byte) error {
	for line := range bytes.Lines(text) {
		if line = bytes.TrimSpace(line); bytes.HasPrefix(line, []byte("::error")) || bytes.Contains(line, []byte("##[")) {
			return fmt.Errorf("a command of a CI system: %q", line)
		}
	}
	return checkVisible(text)
}

// folds are the HTML of our own in Markdown.
var folds = regexp.MustCompile(`^(<details><summary>[^<>]*</summary>|</details>)\n$`)

func checkMarkdown(source []byte) error {
	var found []string
	document := goldmark.New(goldmark.WithExtensions(extension.GFM)).Parser().Parse(text.NewReader(source))
	err := ast.Walk(document, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if !entering {
			return ast.WalkContinue, nil
		}
		switch n := n.(type) {
		case *ast.Link, *ast.AutoLink, *ast.Image, *ast.RawHTML:
			found = append(found, n.Kind().String())
		case *ast.Heading:
			if _, ours := n.Parent().(*ast.Document); !ours {
				found = append(found, "a heading in something else")
			}
		case *ast.HTMLBlock:
			if block := string(n.Lines().Value(source)); !folds.MatchString(block) {
				found = append(found, "HTML: "+block)
			}
		}
		return ast.WalkContinue, nil
	})
	if len(found) > 0 {
		err = fmt.Errorf("%q", found)
	}
	return errors.Join(err, checkVisible(source))
}

// ourElements are those of report.html and of its pictures.
var ourElements = strings.Fields("html head meta link title style body main h1 h2 p strong em div table thead tbody tr th td code figure figcaption svg g path text rect details summary pre ul li")

func checkHTML(page []byte) error {
	z := html.NewTokenizer(bytes.NewReader(page))
	for {
		switch z.Next() {
		case html.ErrorToken:
			if z.Err() != io.EOF {
				return z.Err()
			}
			return checkVisible(page)
		case html.StartTagToken, html.SelfClosingTagToken:
			token := z.Token()
			if !slices.Contains(ourElements, token.Data) {
				return fmt.Errorf("<%s>", token.Data)
			}
			for _, a := range token.Attr {
				if strings.HasPrefix(a.Key, "on") || (a.Key == "href" || a.Key == "src") && a.Val != "data:," {
					return fmt.Errorf("<%s %s=%q>", token.Data, a.Key, a.Val)
				}
			}
		case html.CommentToken:
			return fmt.Errorf("a comment: %s", z.Text())
		}
	}
}

func checkJSON(document []byte) error {
	var r analysis.Result
	return errors.Join(json.Unmarshal(document, &r), checkVisible(document))
}

func checkCSV(table []byte) error {
	rows, err := csv.NewReader(bytes.NewReader(table)).ReadAll()
	if err != nil {
		return err
	}
	for _, row := range rows {
		for _, cell := range row {
			if _, err := strconv.ParseFloat(cell, 64); err != nil && strings.IndexAny(cell, "=+-@\t\r") == 0 || strings.Contains(cell, "\n") {
				return fmt.Errorf("a cell %q", cell)
			}
		}
	}
	return checkVisible(table)
}

func checkXML(document []byte) error {
	for d := xml.NewDecoder(bytes.NewReader(document)); ; {
		if _, err := d.Token(); err == io.EOF {
			return checkVisible(document)
		} else if err != nil {
			return err
		}
	}
}

func checkOpenMetrics(text []byte) error {
	parser := expfmt.NewTextParser(model.LegacyValidation)
	_, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	return errors.Join(err, checkVisible(text))
}

// checkFormats writes r in each format but some and checks it.
func checkFormats(t *testing.T, what string, r *analysis.Result, but ...string) {
	t.Helper()
	for name, format := range formats {
		if slices.Contains(but, name) {
			continue
		}
		var b bytes.Buffer
		err := format.write(&b, r)
		if err == nil {
			err = format.check(b.Bytes())
		}
		if err != nil {
			t.Errorf("%s: %s: %v", what, name, err)
		}
	}
}

// Whatever a string of a record says, no format lets it steer what shows it.
func TestPoisonedRecord(t *testing.T) {
	for _, name := range []string{"workers", "embedded"} {
		content, err := os.ReadFile("testdata/" + name + ".jsonl")
		if err != nil {
			t.Fatal(err)
		}
		var entries []any
		paths := map[string]bool{}
		for line := range bytes.Lines(content) {
			var entry any
			if err := json.Unmarshal(line, &entry); err != nil {
				t.Fatal(err)
			}
			entries = append(entries, entry)
			poisoned(entry, "", func(path, s string) string { paths[path] = true; return s })
		}
		shown := 0
		for i, path := range slices.Sorted(maps.Keys(paths)) {
			poison := poisons[i%len(poisons)]
			var lines bytes.Buffer
			encoder := json.NewEncoder(&lines)
			for _, entry := range entries {
				if err := encoder.Encode(poisoned(entry, "", func(at, s string) string {
					if at == path {
						return poison + s + poison
					}
					return s
				})); err != nil {
					t.Fatal(err)
				}
			}
			file := filepath.Join(t.TempDir(), "record.jsonl")
			if err := os.WriteFile(file, lines.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
			run, err := record.Open(file)
			if err != nil {
				continue // a time or a quantity, or what is not a record any more
			}
			r, err := analysis.Analyze(run)
			if err != nil {
				continue
			}
			shown++
			checkFormats(t, name+path, r, "HTML") // whose pictures take most of the time
		}
		if t.Logf("%s: %d of %d kinds of strings", name, shown, len(paths)); shown < len(paths)/2 {
			t.Errorf("%s: only %d of %d kinds of strings got as far as the reports", name, shown, len(paths))
		}
	}
}

// poisoned is a copy of a JSON value whose strings, and the keys of maps by name, are
// what change makes of them. A path has no indices.
func poisoned(v any, path string, change func(path, s string) string) any {
	switch v := v.(type) {
	case string:
		return change(path, v)
	case []any:
		list := make([]any, len(v))
		for i, e := range v {
			list[i] = poisoned(e, path+"[]", change)
		}
		return list
	case map[string]any:
		named := strings.HasSuffix(path, "codes") || strings.HasSuffix(path, "errors") || strings.HasSuffix(path, "load.pods")
		m := map[string]any{}
		for k, e := range v {
			if named {
				m[change(path+"{}", k)] = poisoned(e, path+"{}.", change)
			} else {
				m[k] = poisoned(e, path+"."+k, change)
			}
		}
		return m
	}
	return v
}

// The same of what a result says, wherever it comes from.
func TestPoisonedResult(t *testing.T) {
	for _, poison := range poisons {
		r := results(t)["testdata/workers"]
		poisonStrings(reflect.ValueOf(r), poison)
		checkFormats(t, fmt.Sprintf("%.9q", poison), r)
	}
	r := results(t)["testdata/workers"]
	poisonStrings(reflect.ValueOf(r), poisons[0])
	dir := t.TempDir()
	if err := WritePlots(dir, r); err != nil {
		t.Fatal(err)
	}
	pictures, _ := filepath.Glob(filepath.Join(dir, "*.svg"))
	for _, file := range pictures {
		svg, err := os.ReadFile(file)
		if err = errors.Join(err, checkXML(svg)); err != nil {
			t.Errorf("%s: %v", filepath.Base(file), err)
		}
	}
	if len(pictures) < 4 {
		t.Errorf("pictures: %q", pictures)
	}
	c := analysis.Compare([]analysis.Trials{
		{Name: poisons[0], Sources: []string{poisons[1]}, Results: []*analysis.Result{results(t)["testdata/workers"]}},
		{Name: poisons[2], Sources: []string{poisons[3]}, Results: []*analysis.Result{r}}}, regexp.MustCompile(""))
	verdicts := [][]analysis.Verdict{{{Expression: poisons[1], Verdict: analysis.Fail, Trials: 3}}, {{Expression: poisons[3], Verdict: analysis.Pass}}}
	for name, check := range map[string]error{
		"compare":          checked(checkText, func(w io.Writer) error { return CompareTable(w, c, 80) }),
		"compare Markdown": checked(checkMarkdown, func(w io.Writer) error { return CompareMarkdown(w, c) }),
		"compare CSV":      checked(checkCSV, func(w io.Writer) error { return CompareCSV(w, c) }),
		"compare JSON":     checked(checkVisible, func(w io.Writer) error { return CompareJSON(w, c) }),
		"trials":           checked(checkText, func(w io.Writer) error { return TrialsTable(w, c, verdicts, 80) }),
		"trials Markdown":  checked(checkMarkdown, func(w io.Writer) error { return TrialsMarkdown(w, poisons[2], c, verdicts) }),
		"trials JSON":      checked(checkVisible, func(w io.Writer) error { return TrialsJSON(w, c, verdicts) }),
		"trials JUnit":     checked(checkXML, func(w io.Writer) error { return TrialsJUnit(w, poisons[0], c, verdicts) }),
		"calibration": checked(checkText, func(w io.Writer) error {
			return CalibrationTable(w, analysis.Calibration{Scenario: poisons[0], Points: []analysis.CalibrationPoint{{Doubt: poisons[3]}}}, tune.Capacity{}, errors.New(poisons[1]), 80)
		}),
		"fit": checked(checkText, func(w io.Writer) error {
			return FitTable(w, &fit.Fit{From: poisons[0], Measured: []fit.Parameter{{Name: poisons[1]}, {Name: poisons[2], Missing: poisons[3], Assumed: poisons[0]}}}, 80)
		}),
		"diagnosis": checked(checkText, func(w io.Writer) error {
			return DiagnosisText(w, Diagnose(nil, nil, r), 80)
		}),
	} {
		if check != nil {
			t.Errorf("%s: %v", name, check)
		}
	}
}

func checked(check func([]byte) error, write func(io.Writer) error) error {
	var b bytes.Buffer
	return errors.Join(write(&b), check(b.Bytes()))
}

// poisonStrings puts poison before every string that v holds, keys of maps included.
func poisonStrings(v reflect.Value, poison string) {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			poisonStrings(v.Elem(), poison)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				poisonStrings(v.Field(i), poison)
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			poisonStrings(v.Index(i), poison)
		}
	case reflect.String:
		if v.CanSet() {
			v.SetString(poison + v.String())
		}
	case reflect.Map:
		if v.Type().Key().Kind() != reflect.String || v.Len() == 0 {
			return
		}
		m := reflect.MakeMap(v.Type())
		for _, k := range v.MapKeys() {
			m.SetMapIndex(reflect.ValueOf(poison+k.String()).Convert(v.Type().Key()), v.MapIndex(k))
		}
		v.Set(m)
	}
}
