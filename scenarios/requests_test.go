package scenarios

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hpabench/hpabench/record"
)

// requestsOf reads a scenario with these lines in its load, beside the given files.
func requestsOf(t *testing.T, load string, files map[string]string) (*File, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "mine")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	files["scenario.yaml"] = strings.Replace(loadHead, "    phases:\n", load+"    phases:\n", 1) + "    - {name: a, duration: 10s, rate: 1}\n"
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f, err := Read(filepath.Join(dir, "scenario.yaml"))
	if err != nil {
		return f, err.Error()
	}
	return f, ""
}

// Where the load goes is said by load.url or the Service, and by no target.
func TestTargetsNameNoOtherHost(t *testing.T) {
	for target, want := range map[string]string{
		"GET /x:@127.0.0.1:18081/y":                           "",
		"GET http://Shop.Example:80/x?y=z":                    "",
		"GET http://shop.example.":                            "",
		"GET x:@127.0.0.1:18081/evil":                         "neither a path",
		"GET x://shop.example/evil":                           "neither a path",
		"GET @127.0.0.1:18081/evil":                           "no method and URL",
		"GET :18081/evil":                                     "no method and URL",
		"GET .evil.example/":                                  "neither a path",
		"GET evil.example/":                                   "neither a path",
		"GET ?x":                                              "neither a path",
		"GET //evil.example/x":                                "names a host",
		"GET http://evil.example/x":                           "names another host than http://shop.example:80",
		"GET https://shop.example/x":                          "names another host",
		"GET http://shop.example:81/x":                        "names another host",
		"GET http://shop.example@evil/x":                      "has credentials",
		"GET http://u:secret@shop.example":                    "has credentials",
		"GET http:///x":                                       "neither a path",
		"GET file:///etc/passwd":                              "neither a path",
		"GET /a/../../x":                                      "leads upwards",
		"GET /x#y":                                            "fragment",
		"GET http://shop.example/x#y":                         "fragment",
		"CONNECT /x":                                          "tunnel",
		"PURGE /x":                                            "",
		"machine a.example password secret":                   "t.txt:1: the line is no target: expected a method and a path or URL such as GET /cart",
		"GET /\n\nsecret":                                     "t.txt:3: the line is no target",
		"GET /\n\nGET /x\nX: a\nHost: evil.example":           "t.txt:5: header Host: on a shared gateway",
		"GET /\nX: \x01":                                      "t.txt:2: the value of header X cannot be sent",
		"{\"method\": 5}":                                     "t.txt:1: the line is no target in JSON",
		"connect evil.example:443":                            "neither a path",
		`{"method": "GET", "url": "x:@127.0.0.1:18081/evil"}`: "neither a path",
		`{"method": "GET", "url": "http://evil.example/"}`:    "names another host",
		`{"method": "GET", "url": "/", "header": {"X": ["a\r\nHost: evil.example"]}}`: "cannot be sent",
		`{"method": "GET", "url": "/", "header": {"Host": ["evil.example/x@y z"]}}`:   "no host",
	} {
		f, err := requestsOf(t, "    url: http://shop.example\n    targets: [{file: t.txt}]\n", map[string]string{"t.txt": target + "\n"})
		if want == "" && err != "" || !strings.Contains(err, want) || strings.Contains(err, "secret") {
			t.Errorf("%s: %s, want %q", target, err, want)
		}
		if err == "" && !strings.HasPrefix(f.Requests()[0][0].Path, "/") {
			t.Errorf("%s: path %q", target, f.Requests()[0][0].Path)
		}
	}
	// The URL of a command line can be that of the targets as well.
	f, err := requestsOf(t, "    targets: [{file: t.txt}]\n", map[string]string{"t.txt": "GET http://shop.example/x\n"})
	if err != "" || f.CheckTargets("http://shop.example:80") != nil || f.CheckTargets("http://evil.example", "") == nil {
		t.Errorf("%s: %v, %v", err, f.CheckTargets("http://shop.example:80"), f.CheckTargets("http://evil.example"))
	}
}

// A header leads neither the load nor its credentials elsewhere.
func TestHeadersLeadNowhere(t *testing.T) {
	const auth = "    auth: {bearer: {env: TOKEN}}\n"
	for load, want := range map[string]string{
		"    headers: {Host: shop.example}\n":                                             "",
		"    targets: [{headers: {host: shop.example}}]\n":                                "",
		auth + "    headers: {Host: shop.example}\n":                                      "",
		auth + "    targets: [{headers: {host: evil.example}}]\n":                         "credentials of spec.load.auth",
		auth + "    targets: [{file: t.txt}]\n":                                           "credentials of spec.load.auth",
		"    targets: [{file: t.txt}]\n":                                                  "a file of targets cannot",
		"    headers: {Host: shop.example}\n    targets: [{file: t.txt}]\n":               "a file of targets cannot",
		"    targets: [{file: t.json}]\n":                                                 "a file of targets cannot",
		auth + "    headers: {authorization: x}\n":                                        "both spec.load.auth",
		"    via: ingress\n    headers: {Host: evil.example}\n":                           "via: ingress",
		"    via: ingress\n    targets: [{file: t.txt}]\n":                                "via: ingress",
		"    via: apiProxy\n    headers: {Host: evil.example}\n":                          "the API server takes it",
		"    via: apiProxy\n    headers: {Authorization: x}\n":                            "the API server takes it",
		"    via: apiProxy\n    targets: [{headers: {Impersonate-User: system:admin}}]\n": "the API server takes it",
		"    via: apiProxy\n    targets: [{path: /../../../../api/v1/secrets}]\n":         "leads upwards",
		"    method: CONNECT\n":                                                           "tunnel",
		"    url: http://u:secret@shop.example\n" + auth:                                  "credentials in spec.load.url and",
		"    url: \"http://u:secret@shop example\"\n":                                     "it has a space",
		"    headers: {Content-Length: '5'}\n":                                            "header Content-Length: Go's HTTP client sets it by the body",
		"    targets: [{headers: {transfer-encoding: chunked}}]\n":                        "header transfer-encoding: Go's HTTP client",
		"    targets: [{file: trailer.txt}]\n":                                            "header Trailer: Go's HTTP client",
		"    url: https://a\n    http2: true\n    headers: {Connection: close}\n":         "header Connection: HTTP/2 has none",
		"    headers: {Connection: close}\n":                                              "",
		"    url: http://shop.example/a/../b\n":                                           "its path leads upwards",
		"    url: http://u:secret@shop.example/%2e%2e/b\n":                                "spec.load.url \"http://xxxxx@shop.example/%2e%2e/b\": its path leads upwards",
		"    url: \"u:secret@shop.example\"\n":                                            "it has no scheme",
		"    url: \"http://shop.example:99999\"\n":                                        "scenario.yaml:9: spec.load.url \"http://shop.example:99999\": its port is 99999: expected 1 to 65535",
		"    url: \"http://u:secret@shop.example?x\"\n":                                   "query",
	} {
		_, err := requestsOf(t, load, map[string]string{"t.txt": "GET /\nHost: evil.example\n", "trailer.txt": "GET /\nTrailer: X\n", "t.json": `{"method":"GET","url":"/","header":{"host":["evil.example"]}}`})
		if want == "" && err != "" || !strings.Contains(err, want) || strings.Contains(err, "secret@") {
			t.Errorf("%s: %s, want %q", load, err, want)
		}
	}
}

// What is sent lies in the scenario's folder: others' scenarios send no keys of ours.
func TestSentFilesAreBeside(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(outside, []byte("GET /key\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{outside, "../key", "x/../../key", "/etc/passwd", "../mine/../../etc/passwd", "link", "./link"} {
		for _, load := range []string{"    bodyFile: " + name + "\n", "    targets: [{bodyFile: " + name + "}]\n", "    targets: [{file: " + name + "}]\n", "    targets: [{file: t.txt}]\n"} {
			dir := t.TempDir()
			for file, content := range map[string]string{
				"t.txt":         "PUT /\n@" + name + "\n",
				"scenario.yaml": strings.Replace(loadHead, "    phases:\n", load+"    phases:\n", 1) + "    - {name: a, duration: 10s, rate: 1}\n",
			} {
				if err := os.WriteFile(filepath.Join(dir, file), []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.Symlink(outside, filepath.Join(dir, "link")); err != nil {
				t.Fatal(err)
			}
			if _, err := Read(filepath.Join(dir, "scenario.yaml")); err == nil || !strings.Contains(err.Error(), "not in the folder of the scenario") {
				t.Errorf("%s%v", load, err)
			}
		}
	}
	if _, err := requestsOf(t, "    bodyFile: ./body\n", map[string]string{"body": "x"}); err != "" {
		t.Error(err)
	}
}

// A password in load.url is sent and gets into no record.
func TestHeaderShowsNoPassword(t *testing.T) {
	for _, url := range []string{"http://u:secret@shop.example", `"http://u:secret@shop.example"`, `"http://u:\x73ecret@shop.example"`, `"http://u:se\` + "\n" + `      cret@shop.example"`} {
		f, err := requestsOf(t, "    url: "+url+"\n", map[string]string{})
		if err != "" {
			t.Fatal(err)
		}
		source := f.Header().Source
		if strings.Contains(source, "secret") || strings.Contains(source, `\x73`) || !strings.Contains(source, "//xxxxx@shop.example") || f.Spec.Load.URL != "http://u:secret@shop.example" {
			t.Errorf("%s: %s", url, source)
		}
		if again, err := Parse("again", []byte(source), nil); err != nil || len(again.Phases()) != 1 {
			t.Errorf("%s: %v", url, err)
		}
	}
}

// Secrets that are written into a scenario are sent, and get into no record.
func TestHeaderShowsNoSecrets(t *testing.T) {
	for _, load := range []string{
		"    headers: {Authorization: Bearer s3cret, X-Api-Key: 's3cret', Accept: a}\n",
		"    headers: {cookie: \"s3cr\\x65t\"}\n",
		"    path: /x?q=1&access_token=s3cret\n",
		"    url: http://s3cret@shop.example\n",
		"    targets: [{path: '/x?sig=s3cret', headers: {X-Auth-Token: s3cret}}, {path: /y}]\n",
		"    headers: {X-Api-Key: a}\n    path: /?token=s3cret\n", // the letter a is elsewhere too
	} {
		f, err := requestsOf(t, load, map[string]string{})
		if err != "" {
			t.Fatal(err)
		}
		source := f.Header().Source
		if strings.Contains(source, "s3cret") || strings.Contains(source, "x65") || !strings.Contains(source, record.Hidden) {
			t.Errorf("%s: %s", load, source)
		}
		again, parsed := Parse("again", []byte(source), nil)
		if parsed != nil || len(again.Phases()) != len(f.Phases()) || again.Spec.Workload.Deployment.Image != f.Spec.Workload.Deployment.Image {
			t.Errorf("%s: %v of %s", load, parsed, source)
		}
	}
	const deployment = "apiVersion: hpabench.dev/v1alpha1\nkind: Scenario\nmetadata: {name: a} # a comment\nspec:\n  workload: {deployment: {image: a, port: 80, resources: {requests: {cpu: 1}}, env: [{name: DB_PASSWORD, value: s3cret}, {name: COLOUR, value: blue}]}}\n" +
		"  autoscaler: {cpuPercent: 50, max: 3}\n  load: {phases: [{name: a, duration: 30s, rate: 5}]}\n"
	f, err := Parse("s.yaml", []byte(deployment), nowhere)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := f.Header().Source, strings.Replace(deployment, "s3cret", record.Hidden, 1); got != want {
		t.Errorf("recorded %s, want %s", got, want)
	}
}

// No message repeats what is a secret by its place.
func TestMessagesShowNoSecrets(t *testing.T) {
	for load, want := range map[string]string{
		"    auth: {bearer: s3cret}\n":                     "spec.load.auth.bearer wants a mapping, has a string",
		"    auth: s3cret\n":                               "spec.load.auth wants a mapping, has a string",
		"    auth: {basic: 'u:s3cret'}\n":                  "spec.load.auth.basic wants a mapping, has a string",
		"    auth: {basic: {user: u, password: s3cret}}\n": "spec.load.auth.basic.password wants a mapping, has a string",
		"    auth: {bearer: 73241}\n":                      "spec.load.auth.bearer wants a mapping, has a number",
		"    headers: {X-Api-Key: 73241}\n":                "wants a string, has a number",
		"    headers: {Authorization: \"s3cret\\x07\"}\n":  "the value of header Authorization cannot be sent",
		"    path: /../x?token=s3cret\n":                   `path "/../x?token=xxxxx" leads upwards`,
		"    path: x?token=s3cret\n":                       "a path that starts with /",
		"    targets: [{file: t.txt}]\n":                   "leads upwards",
		"    url: http://s3cret@shop.example/?x\n":         "has a query",
		"    url: http://shop.example/?token=s3cret\n":     "has a query",
		"    url: ftp://shop.example/?token=s3cret\n":      `its scheme is "ftp": expected http or https`,
		"    url: http://s3cret@shop.example/../x\n":       "leads upwards",
	} {
		_, err := requestsOf(t, load, map[string]string{"t.txt": "GET /../x?token=s3cret\n"})
		if !strings.Contains(err, want) || strings.Contains(err, "s3cret") || strings.Contains(err, "73241") {
			t.Errorf("%s: %s, want %s", load, err, want)
		}
	}
	_, err := ofShop(t, front, front+"---\n{apiVersion: v1, kind: Secret, metadata: {name: s}, stringData: {a: 73241}}\n")
	if err == nil || strings.Contains(err.Error(), "73241") {
		t.Errorf("a Secret: %v", err)
	}
	_, err = ofShop(t, "image: nginx,", "image: nginx, env: [{name: DB_PASSWORD, value: 73241}],")
	if err == nil || strings.Contains(err.Error(), "73241") {
		t.Errorf("a variable: %v", err)
	}
}
