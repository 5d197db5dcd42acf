package scenarios

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// HTTPRequest is one of the requests that a phase sends. Headers of the load are
// not among its own.
type HTTPRequest struct {
	Weight  int
	Method  string
	Path    string // with its query
	Headers http.Header
	Body    []byte
}

// Requests are what each of Phases sends.
func (f *File) Requests() (list [][]HTTPRequest) {
	for _, p := range f.flatten(f.Spec.Load.Phases, "", "") {
		list = append(list, p.requests)
	}
	return list
}

// readRequests reads what the load and its phases send, with the files that are
// named there. A phase without targets sends those of what is around it.
func (c *checker) readRequests(open Open) {
	l := &c.Spec.Load
	if l.Targets != nil && (l.Method != "" || l.Path != "" || l.Body != "" || l.BodyFile != "") {
		c.fault("spec.load.targets", "", "spec.load has targets, and a request of its own beside them")
	}
	whole := c.requests(open, "spec.load.targets", l.Targets)
	if l.Targets == nil {
		whole = c.request(open, "spec.load", HTTPTarget{Method: l.Method, Path: l.Path, Body: l.Body, BodyFile: l.BodyFile})
	}
	c.checkHeaders("spec.load", l.Headers)
	c.readPhaseRequests(open, "spec.load.phases", l.Phases, whole)
}

func (c *checker) readPhaseRequests(open Open, at string, phases []Phase, around []HTTPRequest) {
	for i := range phases {
		p, here := &phases[i], fmt.Sprintf("%s[%d]", at, i)
		if p.requests = around; p.Targets != nil {
			p.requests = c.requests(open, here+".targets", p.Targets)
		}
		c.readPhaseRequests(open, here+".phases", p.Phases, p.requests)
	}
}

func (c *checker) requests(open Open, at string, targets []HTTPTarget) (list []HTTPRequest) {
	for i, t := range targets {
		here := fmt.Sprintf("%s[%d]", at, i)
		if list = append(list, c.request(open, here, t)...); len(list) > maxTargets {
			c.fault(here, "", "there are %d targets up to here, and may be %d", len(list), maxTargets)
			return nil
		}
	}
	c.targets += len(list)
	if turns := turnsOf(list); turns*len(list) > maxTurns {
		c.fault(at, "give targets weights with a common divisor, such as 10 and 20", "the order of %d targets repeats after %d requests only, by their weights: the product may be %d", len(list), turns, maxTurns)
	}
	return list
}

// turnsOf is after how many requests the order of targets repeats, by their weights.
func turnsOf(list []HTTPRequest) (turns int) {
	divisor := 0
	for _, r := range list {
		turns += r.Weight
		for a, b := divisor, r.Weight; ; a, b = b, a%b {
			if divisor = a; b == 0 {
				break
			}
		}
	}
	return turns / max(1, divisor)
}

// request is what a target stands for: one request, or those of its file.
func (c *checker) request(open Open, at string, t HTTPTarget) []HTTPRequest {
	weight := 1
	if t.Weight != nil {
		weight = *t.Weight
	}
	if t.File != "" {
		if t.Method != "" || t.Path != "" || t.Headers != nil || t.Body != "" || t.BodyFile != "" {
			c.fault(at+".file", "the file says all of it", "%s has a file, and a request of its own beside it", at)
		}
		list, err := readTargets(open, t.File)
		if err != nil {
			c.fault(at+".file", "targets are looked for beside the scenario file, in vegeta's format", "%v", err)
		}
		for i := range list {
			list[i].Weight = weight
		}
		return list
	}
	r := HTTPRequest{Weight: weight, Method: t.Method, Path: cmp.Or(t.Path, "/"), Headers: http.Header{}, Body: []byte(t.Body)}
	for name, value := range t.Headers {
		r.Headers.Set(name, value)
	}
	c.checkHeaders(at, t.Headers)
	if t.BodyFile != "" {
		if t.Body != "" {
			c.fault(at+".bodyFile", "", "%s has both body and bodyFile", at)
		}
		_, body, err := open(t.BodyFile)
		if err != nil {
			c.fault(at+".bodyFile", "bodies are looked for beside the scenario file", "body %s: %v", t.BodyFile, cause(err))
		}
		r.Body = body
	}
	if r.Method == "" {
		r.Method = http.MethodGet
		if t.Body != "" || t.BodyFile != "" {
			r.Method = http.MethodPost
		}
	}
	if err := sendable(r); err != nil {
		wrong := at + ".path"
		if sendable(HTTPRequest{Method: r.Method, Path: "/"}) != nil {
			wrong = at + ".method"
		}
		c.fault(wrong, "", "%s cannot be sent: %v", wrong, err)
	}
	return []HTTPRequest{r}
}

// sendable says what net/http would refuse for each request.
func sendable(r HTTPRequest) error {
	_, err := http.NewRequest(r.Method, "http://host"+r.Path, nil)
	return err
}

func (c *checker) checkHeaders(at string, headers map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		switch {
		case !httpguts.ValidHeaderFieldName(name):
			c.fault(at+".headers", "", "%q cannot be the name of a header", name)
		case !httpguts.ValidHeaderFieldValue(headers[name]):
			c.fault(at+".headers", "", "the value of header %s cannot be sent: %q", name, headers[name])
		}
		if strings.EqualFold(name, "Authorization") && c.Spec.Load.Auth != nil {
			c.fault("spec.load.auth", "", "there are both spec.load.auth and a header %s in %s", name, at)
		}
	}
}

// readTargets reads the targets of a file in one of vegeta's two formats: lines of
// a method and a URL, each with its headers and an @file for the body below, or
// one JSON object a line. See https://github.com/tsenart/vegeta#-format
func readTargets(open Open, file string) (list []HTTPRequest, err error) {
	shown, source, err := open(file)
	if err != nil {
		return nil, fmt.Errorf("targets %s: %w", file, cause(err))
	}
	source, err = plainText(source)
	if err != nil {
		return nil, fmt.Errorf("targets %s: %w", shown, err)
	}
	lines := bufio.NewScanner(bytes.NewReader(source))
	lines.Buffer(nil, len(source)+1)
	complete := true // the last target
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		fault := func(why any) error { return fmt.Errorf("%s:%d: %v", shown, n, why) }
		if len(list) > maxTargets {
			return nil, fault(fmt.Sprintf("there are more than %d targets", maxTargets))
		}
		switch {
		case strings.HasPrefix(line, "#"):
		case line == "":
			complete = true
		case strings.HasPrefix(line, "{"):
			var t struct {
				Method, URL string
				Body        []byte
				Header      http.Header
			}
			if err := json.Unmarshal([]byte(line), &t); err != nil {
				return nil, fault(err)
			}
			r, err := targetOf(t.Method, t.URL)
			if err != nil {
				return nil, fault(err)
			}
			r.Headers, r.Body = t.Header, t.Body
			list = append(list, r)
		case strings.HasPrefix(line, "@") && len(list) > 0 && !complete:
			if _, list[len(list)-1].Body, err = open(line[1:]); err != nil {
				return nil, fault(fmt.Sprintf("body %s: %v", line[1:], cause(err)))
			}
		default:
			method, rest, _ := strings.Cut(line, " ")
			name, value, isHeader := strings.Cut(line, ":")
			switch {
			case isHeader && httpguts.ValidHeaderFieldName(name) && len(list) > 0 && !complete:
				list[len(list)-1].Headers.Add(name, strings.TrimSpace(value))
			default:
				r, err := targetOf(method, strings.TrimSpace(rest))
				if err != nil {
					return nil, fault(err)
				}
				list, complete = append(list, r), false
			}
		}
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("targets %s: there are none", shown)
	}
	return list, nil
}

// targetOf takes a path or a URL; of the latter the path and the query, because
// where the load goes is said by load.via.
func targetOf(method, address string) (HTTPRequest, error) {
	u, err := url.Parse(address)
	if err != nil || address == "" {
		return HTTPRequest{}, fmt.Errorf("%q is no method and URL", strings.TrimSpace(method+" "+address))
	}
	r := HTTPRequest{Method: method, Path: u.RequestURI(), Headers: http.Header{}}
	return r, sendable(r)
}
