package record

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

func TestJoinURL(t *testing.T) {
	for path, want := range map[string]string{
		"":                   "http://a:80/below",
		"/x?y=http://b/../z": "http://a:80/below/x?y=http://b/../z",
		"/x:@b/y":            "http://a:80/below/x:@b/y",
		"//b/x":              "http://a:80/below//b/x",
		"/@b":                "http://a:80/below/@b",
		`/\b/x`:              "http://a:80/below/%5Cb/x",
		"/a%2Fb":             "http://a:80/below/a%2Fb",
		"/...":               "http://a:80/below/...",
		"x:@b/y":             "no path",
		"@b/y":               "no path",
		":81/x":              "no path",
		".evil.example/x":    "no path",
		"?x":                 "no path",
		"http://b/x":         "no path",
		`\\b`:                "no path",
		" /x":                "no path",
		"/x#y":               "fragment",
		"/../../secrets":     "upwards",
		"/x/%2e%2e/y":        "upwards",
		"/x/..%2fy":          "upwards",
		`/x\..\..\y`:         "upwards",
		"/x\r\nHost: b":      "no path",
		"/x\x00":             "no path",
		"/%zz":               "no path",
		"u:secret@b/x":       "no path",
	} {
		got, err := JoinURL("http://a:80/below", path)
		if err != nil {
			got = err.Error()
		}
		if err == nil && got != want || err != nil && !strings.Contains(got, want) || strings.Contains(got, "secret") && want != "upwards" {
			t.Errorf("%q: %s, want %s", path, got, want)
		}
	}
}

func TestShownURL(t *testing.T) {
	for raw, want := range map[string]string{
		"http://a/x":            "http://a/x",
		"http://token@a/x":      "http://xxxxx@a/x",
		"http://u:secret@a/x":   "http://xxxxx@a/x",
		"http://u:sec@ret@a/x":  "http://xxxxx@a/x",
		"http://u:sec/ret@a":    "http://xxxxx@a",
		"http://u:sec@re/t@a":   "http://xxxxx@a",
		"http://u:123/secret@a": "http://xxxxx@a",
		"http://u:1?secret@a/x": "http://xxxxx@a/x",
		"http://u:s@c#secret@a": "http://xxxxx@a",
		"http://secret/x@y/z@a": "http://xxxxx@a",
		"u:sec://ret@a":         "xxxxx@a",
		"http:/u:sec://ret@a":   "xxxxx@a",
		"http://u:secret@a b/x": "http://xxxxx@a b/x",
		"http://u:secret@%zz":   "http://xxxxx@%zz",
		"u:secret@a":            "xxxxx@a",
		"//u:secret@a":          "//xxxxx@a",
		"":                      "",

		"http://host/@me":                              "http://host/@me",
		"http://host:8080/users/@me/x":                 "http://host:8080/users/@me/x",
		"http://u:secret@host/@me":                     "http://xxxxx@host/@me",
		"http://shop.example/npm/react@18/x":           "http://shop.example/npm/react@18/x",
		"http://127.0.0.1:8080/x?mail=me@b":            "http://127.0.0.1:8080/x?mail=me@b",
		"http://[::1]/a@b":                             "http://[::1]/a@b",
		"http://localhost/a@b":                         "http://localhost/a@b",
		"/@me":                                         "/@me",
		"/x?mail=me@b":                                 "/x?mail=me@b",
		"http://a/x?token=secret":                      "http://a/x?token=xxxxx",
		"/x?q=1&access_token=secret&b=2":               "/x?q=1&access_token=xxxxx&b=2",
		"/x?API_KEY=sec;ret&b=1":                       "/x?API_KEY=xxxxx&b=1",
		"/x?a=1;sig=secret;x=2#y":                      "/x?a=1;sig=xxxxx#y",
		"/x?apikey=secret#y":                           "/x?apikey=xxxxx#y",
		"/x?key=a=secret&password=&monkey=banana":      "/x?key=xxxxx&password=&monkey=banana",
		"/x?client%5Fsecret=secret":                    "/x?client%5Fsecret=xxxxx",
		"/x#id_token=secret":                           "/x#id_token=xxxxx",
		"/x?X-Amz-Signature=secret&accessToken=secret": "/x?X-Amz-Signature=xxxxx&accessToken=xxxxx",
		"http://token@a/x?secret=secret":               "http://xxxxx@a/x?secret=xxxxx",
		"http://u:p@%zz?token=secret":                  "http://xxxxx@%zz?token=xxxxx",
	} {
		if got := ShownURL(raw); got != want {
			t.Errorf("%s: %s, want %s", raw, got, want)
		}
	}
}

func TestOrigin(t *testing.T) {
	for raw, want := range map[string]string{
		"http://a":                        "http://a:80",
		"HTTP://A:80/x?y":                 "http://a:80",
		"https://a./":                     "https://a:443",
		"https://a:8443":                  "https://a:8443",
		"http://BÜCHER.example":           "http://xn--bcher-kva.example:80",
		"http://xn--bcher-kva.example:80": "http://xn--bcher-kva.example:80",
		"http://[::1]:80":                 "http://[::1]:80",
		"http://u:p@a":                    "http://a:80",
		"ftp://a":                         "",
		"x:@a":                            "",
		"//a":                             "",
		"/a":                              "",
		"http://:80":                      "",
	} {
		if got := Origin(raw); got != want {
			t.Errorf("%s: %s, want %s", raw, got, want)
		}
	}
}

func TestCheckURL(t *testing.T) {
	for raw, want := range map[string]string{
		"http://a": "", "HTTPS://a.example:65535/x": "", "http://[::1]:80": "", "http://u:hunter2@a": "",
		"": "no scheme", "127.0.0.1:80": "no scheme", "a/b": "no scheme", "ftp://a": `its scheme is "ftp"`,
		"http://": "no host", "http://:80": "no host", "http:///x": "no host",
		"http://a:99999": "its port is 99999: expected 1 to 65535", "http://a:0": "its port is 0", "http://a:65536": "its port is 65536",
		"http://a:-1": "cannot be read", "http://a:80x": "cannot be read", "http://[::1": "cannot be read", "http://u:hunter2@a:80x": "cannot be read",
		"http://a b/": "a space", "http://a: 80": "a space", "http://a/\n": "a control character",
		"http://a/?x": "a query", "http://a/?": "a query", "http://a/#x": "a fragment", "http://a/../b": "upwards",
	} {
		err := CheckURL(raw)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) || strings.Contains(fmt.Sprint(err), "hunter2") {
			t.Errorf("%q: %v, want %q", raw, err, want)
		}
	}
}

// A request goes to the host of its base, whatever its path.
func FuzzJoinURL(f *testing.F) {
	for _, path := range []string{"/", "x:@b", "//b", `/\b`, "/x#y", "/%2e%2e/", "?x", "http://b/"} {
		f.Add(path)
	}
	f.Fuzz(func(t *testing.T, path string) {
		joined, err := JoinURL("http://a:80/below", path)
		if err != nil {
			return
		}
		for _, target := range []string{joined, "http://a:80/below" + path} {
			req, err := http.NewRequest(http.MethodGet, target, nil)
			if err != nil || req.URL.Host != "a:80" || req.Host != "a:80" || req.URL.User != nil || !strings.HasPrefix(req.URL.Path, "/below") {
				t.Errorf("%q: %v, %v", target, req, err)
			}
			if u, err := url.Parse(target); err != nil || u.Scheme != "http" {
				t.Errorf("%q: %v", target, err)
			}
		}
	})
}
