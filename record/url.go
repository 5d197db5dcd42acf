package record

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
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
	if upwards(to) {
		return "", fmt.Errorf("the URL %q leads upwards (..)", ShownURL(base))
	}
	u, err := url.Parse(base + path)
	switch {
	case path != "" && path[0] != '/':
		return "", fmt.Errorf("%q is no path: it does not begin with a slash", ShownURL(path))
	case err != nil:
		return "", fmt.Errorf("%q is no path: %w", ShownURL(path), withoutURL(err))
	case u.Scheme != to.Scheme || u.Host != to.Host || u.User.String() != to.User.String():
		return "", fmt.Errorf("path %q leads to another host", ShownURL(path))
	case strings.Contains(path, "#"):
		return "", fmt.Errorf("path %q has a fragment, which is never sent: write %%23 for #", ShownURL(path))
	case upwards(u):
		return "", fmt.Errorf("path %q leads upwards (..)", ShownURL(path))
	}
	return u.String(), nil
}

// upwards says whether servers and proxies may take the path of a URL for a shorter one.
func upwards(u *url.URL) bool {
	return slices.ContainsFunc(strings.Split(strings.ReplaceAll(u.Path, `\`, "/"), "/"), func(s string) bool { return s == "." || s == ".." })
}

// withoutURL is an error of url.Parse without the URL.
func withoutURL(err error) error {
	var of *url.Error
	if errors.As(err, &of) {
		return of.Err
	}
	return err
}

// CheckURL says why a URL cannot be where load goes: it is an http or https URL with a host, a
// port that can be (RFC 9110, 4.2), and neither a query nor a fragment, which belong to the
// path of a request. The URL is in no error.
func CheckURL(raw string) error {
	const expected = "expected such as http://127.0.0.1:8080"
	scheme, rest, is := strings.Cut(raw, "://")
	switch {
	case !is:
		return errors.New("it has no scheme: " + expected)
	case !strings.EqualFold(scheme, "http") && !strings.EqualFold(scheme, "https"):
		return fmt.Errorf("its scheme is %.20q: expected http or https", scheme)
	case strings.ContainsFunc(rest, func(r rune) bool { return r <= ' ' || r == 0x7f }):
		return errors.New("it has a space or a control character: " + expected)
	}
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return errors.New("its host or port cannot be read: " + expected) // err may have a password
	case u.Hostname() == "":
		return errors.New("it has no host: " + expected)
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return errors.New("it has a query or a fragment, which belongs to the path of the request (load.path)")
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return fmt.Errorf("its port is %.20s: expected 1 to 65535", port)
		}
	}
	if upwards(u) {
		return errors.New("its path leads upwards (..)")
	}
	return nil
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

// Hidden stands for what is secret.
const Hidden = "xxxxx"

// ShownURL returns a URL or a path as it may be shown and recorded: without its user and
// password, and without the values of queries that have the name of a secret.
func ShownURL(raw string) string {
	shown := queryValue.ReplaceAllStringFunc(withoutUser(raw), func(pair string) string {
		name, value, _ := strings.Cut(pair, "=")
		plain, err := url.QueryUnescape(name[1:])
		if err != nil {
			plain = name[1:]
		}
		if value == "" || !SecretName(plain) {
			return pair
		}
		return name + "=" + Hidden
	})
	return secretRest.ReplaceAllString(shown, "="+Hidden)
}

// queryValue is a name and a value of a query, or of a fragment, which credentials are put
// into as well.
var queryValue = regexp.MustCompile(`[?&;#][^=&;#?]+=[^&;#]*`)

// secretRest is what may be the rest of a secret, for servers differ in whether a semicolon
// separates.
var secretRest = regexp.MustCompile(`=` + Hidden + `;[^&#]*`)

// withoutUser hides what stands before the host. In a text that is no URL, or has an @ behind
// the host, as a URL whose password holds a slash has, all that stands before the last @ is
// taken for a password, but for an @ that begins a part of a path, and for those behind what
// can only be a host.
func withoutUser(raw string) string {
	if strings.HasPrefix(raw, "/") && !strings.HasPrefix(raw, "//") {
		return raw // a path
	}
	if u, err := url.Parse(raw); err == nil && u.Host != "" {
		_, rest, _ := strings.Cut(raw, "//")
		_, rest, _ = strings.Cut(rest, u.Host)
		within := strings.Count(rest, "@") > strings.Count(rest, "/@")
		isHost := u.User == nil && (strings.ContainsAny(u.Hostname(), ".:") || u.Hostname() == "localhost")
		switch {
		case within && !isHost:
		case u.User == nil:
			return raw
		default:
			u.User = url.User(Hidden)
			return u.String()
		}
	}
	at := strings.LastIndex(raw, "@")
	if at < 0 {
		return raw
	}
	scheme, _, is := strings.Cut(raw[:at], "://")
	if !is || strings.ContainsAny(scheme, ":/") {
		return Hidden + raw[at:]
	}
	return scheme + "://" + Hidden + raw[at:]
}

// secretEnds are what names of secrets end in, in small letters and without separators;
// secretNames are such names that others end in too.
var (
	secretEnds  = []string{"token", "apikey", "accesskey", "privatekey", "secretkey", "secret", "password", "passwd", "passphrase", "signature", "authorization", "cookie", "credential", "credentials", "jwt"}
	secretNames = []string{"key", "sig", "auth", "pwd", "pass", "sid", "session"}
)

// SecretName says whether a query, a header or an environment variable holds a secret, as far
// as its name tells.
func SecretName(name string) bool {
	words := strings.FieldsFunc(strings.ToLower(name), func(r rune) bool { return strings.ContainsRune("-_. []", r) })
	if len(words) == 0 {
		return false
	}
	last, all := words[len(words)-1], strings.Join(words, "")
	return slices.Contains(secretNames, last) || slices.ContainsFunc(secretEnds, func(end string) bool { return strings.HasSuffix(all, end) })
}
