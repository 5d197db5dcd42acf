package scenarios

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/hpabench/hpabench/record"
	"golang.org/x/net/http/httpguts"
	"k8s.io/utils/ptr"
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
	weight := ptr.Deref(t.Weight, 1)
	if t.File != "" {
		if t.Method != "" || t.Path != "" || t.Headers != nil || t.Body != "" || t.BodyFile != "" {
			c.fault(at+".file", "the file says all of it", "%s has a file, and a request of its own beside it", at)
		}
		list, err := c.readTargets(open, t.File)
		if err != nil {
			c.fault(at+".file", lookedFor("targets", err), "%v", err)
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
		_, body, err := c.beside(open, t.BodyFile)
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

// sendable says what net/http would refuse for each request, and what would lead
// elsewhere than to the workload.
func sendable(r HTTPRequest) error {
	if strings.EqualFold(r.Method, http.MethodConnect) {
		return errors.New("CONNECT asks for a tunnel to another host")
	}
	if _, err := http.NewRequest(r.Method, "http://host", nil); err != nil {
		return err
	}
	_, err := record.JoinURL("http://host", r.Path)
	return err
}

// errOutside is the error about a file that beside does not open.
var errOutside = errors.New("it is not in the folder of the scenario, and what is sent must be: copy it there")

// lookedFor is the hint about a file that is not there, or elsewhere.
func lookedFor(what string, err error) string {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errOutside) {
		return what + " are looked for beside the scenario file"
	}
	return ""
}

// beside opens a file whose content is sent to the workload, or is a trace. It must lie in
// the scenario's folder: a scenario of somebody else would send away what else can be read,
// or show it in its faults.
func (c *checker) beside(open Open, name string) (shown string, content []byte, err error) {
	if !filepath.IsLocal(filepath.FromSlash(name)) {
		return name, nil, errOutside
	}
	if shown, content, err = open(name); err != nil {
		return shown, nil, err
	}
	// By way of a symbolic link neither. What is not on disk comes from the library.
	folder, err1 := filepath.EvalSymlinks(c.files.folder)
	real, err2 := filepath.EvalSymlinks(shown)
	if err1 != nil || err2 != nil {
		return shown, content, nil
	}
	if inside, err := filepath.Rel(folder, real); err != nil || !filepath.IsLocal(inside) {
		return shown, nil, errOutside
	}
	return shown, content, nil
}

func (c *checker) checkHeaders(at string, headers map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		if strings.EqualFold(name, "Authorization") && c.Spec.Load.Auth != nil {
			c.fault("spec.load.auth", "", "there are both spec.load.auth and a header %s in %s", name, at)
			continue
		}
		if at == "spec.load" && strings.EqualFold(name, "Host") && c.Spec.Load.Auth != nil {
			continue // who says where the credentials go says it here
		}
		if err := c.checkHeader(name, headers[name]); err != nil {
			c.fault(at+".headers", "", "%v", err)
		}
	}
}

// checkHeader says why a request cannot have a header: it cannot be sent, or would lead
// the request, or the credentials in it, elsewhere.
func (c *checker) checkHeader(name, value string) error {
	via, auth := c.Spec.Load.ViaOrAuto(), c.Spec.Load.Auth != nil
	is := func(names ...string) bool {
		return slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, name) })
	}
	switch {
	case !httpguts.ValidHeaderFieldName(name):
		return fmt.Errorf("%q cannot be the name of a header", name)
	case !httpguts.ValidHeaderFieldValue(value) && record.SecretName(name):
		return fmt.Errorf("the value of header %s cannot be sent: it has a control character", name)
	case !httpguts.ValidHeaderFieldValue(value):
		return fmt.Errorf("the value of header %s cannot be sent: %q", name, value)
	case is("Content-Length", "Transfer-Encoding", "Trailer"):
		return fmt.Errorf("header %s: Go's HTTP client sets it by the body, and does not send this one: remove it", name)
	case c.Spec.Load.HTTP2 && is("Connection", "Proxy-Connection", "Keep-Alive", "Upgrade"):
		return fmt.Errorf("header %s: HTTP/2 has none, and it is not sent: remove it", name)
	case is("Host") && !httpguts.ValidHostHeader(value):
		return fmt.Errorf("header Host: %q is no host", value)
	case is("Host") && via == ViaIngress:
		return errors.New("header Host: via: ingress asks for the host of the Ingress; another one could be another application")
	case via == ViaAPIProxy && (is("Host", "Authorization") || strings.HasPrefix(strings.ToLower(name), "impersonate-")):
		return fmt.Errorf("header %s: the API server takes it for itself with via: apiProxy", name)
	case is("Host") && auth:
		return errors.New("header Host of a target: the credentials of spec.load.auth would go to another host; spec.load.headers can name one for all requests")
	case is("Authorization") && auth:
		return errors.New("header Authorization: there is spec.load.auth too")
	}
	return nil
}

// aTarget is a line that begins with a method that people use, or has a path or a URL behind
// a word.
var aTarget = regexp.MustCompile(`^((?i:GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS|TRACE|CONNECT)(\s|$)|[A-Za-z]+\s+(/|https?://))`)

// checkFileHeader is checkHeader for a file of targets.
func (c *checker) checkFileHeader(name, value string) error {
	if err := c.checkHeader(name, value); err != nil || !strings.EqualFold(name, "Host") {
		return err
	}
	return errors.New("header Host: on a shared gateway it could choose another application; the headers of the scenario itself can name a host, a file of targets cannot")
}

// readTargets reads the targets of a file in one of vegeta's two formats: lines of
// a method and a URL, each with its headers and an @file for the body below, or
// one JSON object a line. See https://github.com/tsenart/vegeta#-format
func (c *checker) readTargets(open Open, file string) (list []HTTPRequest, err error) {
	shown, source, err := c.beside(open, file)
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
			r, err := c.targetOfJSON(fmt.Sprintf("%s:%d", shown, n), line)
			if err != nil {
				return nil, fault(err)
			}
			list = append(list, r)
		case strings.HasPrefix(line, "@") && len(list) > 0 && !complete:
			if _, list[len(list)-1].Body, err = c.beside(open, line[1:]); err != nil {
				return nil, fault(fmt.Sprintf("body %s: %v", line[1:], cause(err)))
			}
		default:
			method, rest, _ := strings.Cut(line, " ")
			name, value, isHeader := strings.Cut(line, ":")
			switch {
			case isHeader && httpguts.ValidHeaderFieldName(name) && len(list) > 0 && !complete:
				value = strings.TrimSpace(value)
				if err := c.checkFileHeader(name, value); err != nil {
					return nil, fault(err)
				}
				list[len(list)-1].Headers.Add(name, value)
			case !aTarget.MatchString(line):
				// The file may be any, and a secret: nothing of the line is shown.
				return nil, fault("the line is no target: expected a method and a path or URL such as GET /cart, below it headers such as Accept: text/plain and @FILE for a body, then an empty line")
			default:
				r, err := c.targetOf(fmt.Sprintf("%s:%d", shown, n), method, strings.TrimSpace(rest))
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

// targetOfJSON reads a target at a place of a file.
func (c *checker) targetOfJSON(at, line string) (HTTPRequest, error) {
	var t struct {
		Method, URL string
		Body        []byte
		Header      http.Header
	}
	if err := json.Unmarshal([]byte(line), &t); err != nil {
		return HTTPRequest{}, fmt.Errorf("the line is no target in JSON (%w): expected such as {\"method\": \"GET\", \"url\": \"/cart\"}", err)
	}
	r, err := c.targetOf(at, t.Method, t.URL)
	if err != nil {
		return r, err
	}
	r.Body = t.Body
	for _, name := range slices.Sorted(maps.Keys(t.Header)) {
		for _, value := range t.Header[name] {
			if err := c.checkFileHeader(name, value); err != nil {
				return r, err
			}
			r.Headers.Add(name, value)
		}
	}
	return r, nil
}

// targetOf takes a path or a URL at a place of a file. Where the load goes is said by
// load.via, not by a target: see CheckTargets.
func (c *checker) targetOf(at, method, address string) (HTTPRequest, error) {
	shown := strings.TrimSpace(method + " " + record.ShownURL(address))
	u, err := url.Parse(address)
	if err != nil || address == "" {
		return HTTPRequest{}, fmt.Errorf("%q is no method and URL", shown)
	}
	r := HTTPRequest{Method: method, Path: address, Headers: http.Header{}}
	switch {
	case u.Scheme == "" && strings.HasPrefix(address, "//"):
		return r, fmt.Errorf("%q names a host: write the path alone", shown)
	case u.Scheme != "" && record.Origin(address) == "", u.Scheme == "" && address[0] != '/':
		return r, fmt.Errorf("%q is neither a path, such as /cart, nor an http or https URL", shown)
	case u.User != nil:
		return r, fmt.Errorf("%q has credentials: spec.load.auth is for them", shown)
	case u.Scheme != "":
		c.absolute = append(c.absolute, absolute{at, shown, record.Origin(address)})
		r.Path = u.RequestURI()
		if strings.Contains(address, "#") {
			r.Path += "#" + u.Fragment
		}
	default:
		r.Path = address
	}
	return r, sendable(r)
}

// absolute is a target that is a whole URL.
type absolute struct{ at, shown, origin string }

// CheckTargets says which target names another host than the load goes to, when that
// is to one of the URLs. Otherwise only path and query of a target are used.
func (f *File) CheckTargets(urls ...string) error {
	var origins []string
	for _, u := range urls {
		if o := record.Origin(u); o != "" {
			origins = append(origins, o)
		}
	}
	for _, a := range f.absolute {
		if len(origins) > 0 && !slices.Contains(origins, a.origin) {
			return fmt.Errorf("%s: %q names another host than %s, where the load goes: write the path alone", a.at, a.shown, origins[0])
		}
	}
	return nil
}
