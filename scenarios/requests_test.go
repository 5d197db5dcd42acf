package scenarios

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
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
		"    url: \"http://u:secret@shop example\"\n":                                     "no absolute",
		"    url: \"u:secret@shop.example\"\n":                                            "no absolute",
		"    url: \"http://u:secret@shop.example?x\"\n":                                   "query",
	} {
		_, err := requestsOf(t, load, map[string]string{"t.txt": "GET /\nHost: evil.example\n", "t.json": `{"method":"GET","url":"/","header":{"host":["evil.example"]}}`})
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
		if strings.Contains(source, "secret") || strings.Contains(source, `\x73`) || !strings.Contains(source, "u:xxxxx@shop.example") || f.Spec.Load.URL != "http://u:secret@shop.example" {
			t.Errorf("%s: %s", url, source)
		}
		if again, err := Parse("again", []byte(source), nil); err != nil || len(again.Phases()) != 1 {
			t.Errorf("%s: %v", url, err)
		}
	}
}
