package record

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/net/idna"
)

// JoinURL returns the URL of a request to path, with its query, below base. The error
// says why that would lead elsewhere, or would not be sent as it is written.
func JoinURL(base, path string) (string, error) {
	to, err := url.Parse(base)
	if err != nil {
		return "", fmt.Errorf("%q is no URL", ShownURL(base))
	}
	u, err := url.Parse(base + path)
	switch {
	case path != "" && path[0] != '/':
		return "", fmt.Errorf("%q is no path: it does not begin with a slash", ShownURL(path))
	case err != nil:
		return "", fmt.Errorf("%q is no path: %w", path, withoutURL(err))
	case u.Scheme != to.Scheme || u.Host != to.Host || u.User.String() != to.User.String():
		return "", fmt.Errorf("path %q leads to another host", path)
	case strings.Contains(path, "#"):
		return "", fmt.Errorf("path %q has a fragment, which is never sent: write %%23 for #", path)
	case slices.ContainsFunc(strings.Split(strings.ReplaceAll(u.Path, `\`, "/"), "/"), func(s string) bool { return s == "." || s == ".." }):
		return "", fmt.Errorf("path %q leads upwards (..)", path)
	}
	return u.String(), nil
}

// withoutURL is an error of url.Parse without the URL.
func withoutURL(err error) error {
	var of *url.Error
	if errors.As(err, &of) {
		return of.Err
	}
	return err
}

// Origin returns where a URL leads, by which two URLs of the same server are the same:
// scheme, host and port, in small letters, with the port that is the scheme's default
// and the name without a dot at its end. It is empty for what is no http or https URL.
func Origin(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return ""
	}
	host, err := idna.Lookup.ToASCII(strings.TrimSuffix(u.Hostname(), "."))
	if err != nil { // an address, say
		host = strings.ToLower(u.Hostname())
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return u.Scheme + "://" + net.JoinHostPort(host, port)
}

// ShownURL returns a URL as it may be shown and recorded: without its password. In a
// text that is no URL, or has an @ behind the host, as a URL whose password holds a
// slash has, all that stands before the last @ is taken for a password.
func ShownURL(raw string) string {
	if u, err := url.Parse(raw); err == nil && u.Host != "" && !strings.Contains(u.RequestURI()+u.EscapedFragment(), "@") {
		return u.Redacted()
	}
	at := strings.LastIndex(raw, "@")
	if at < 0 {
		return raw
	}
	scheme, _, is := strings.Cut(raw[:at], "://")
	if !is || strings.ContainsAny(scheme, ":/") {
		return "xxxxx" + raw[at:]
	}
	return scheme + "://xxxxx" + raw[at:]
}
