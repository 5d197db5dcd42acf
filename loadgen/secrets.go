package loadgen

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/hpabench/hpabench/record"
)

// minSecret is the least length in bytes of a secret that is hidden: shorter ones are parts of
// other words too, and protect nothing.
const minSecret = 4

// withoutSecrets is an error of a request without what is secret in its head: a server can
// send that back, and net/http quotes what it could not read.
func withoutSecrets(err error, req *http.Request) error {
	text := err.Error()
	shown := text
	for _, secret := range secretsOf(req) {
		quoted := strconv.Quote(secret)
		shown = strings.ReplaceAll(shown, secret, record.Hidden)
		shown = strings.ReplaceAll(shown, quoted[1:len(quoted)-1], record.Hidden)
	}
	if shown == text {
		return err
	}
	return errors.New(shown)
}

// secretsOf gives the credentials in the head of a request, whole and in parts, the longest
// first.
func secretsOf(req *http.Request) (secrets []string) {
	add := func(value string) {
		parts := []string{value}
		for _, part := range strings.FieldsFunc(value, func(r rune) bool { return strings.ContainsRune(" ;,", r) }) {
			_, after, _ := strings.Cut(part, "=") // of a cookie
			parts = append(parts, part, strings.Trim(after, `"`))
		}
		for _, part := range parts {
			if len(part) >= minSecret {
				secrets = append(secrets, part)
			}
		}
	}
	for name, values := range req.Header {
		if record.SecretName(name) {
			for _, value := range values {
				add(value)
			}
		}
	}
	if user, password, is := req.BasicAuth(); is {
		add(user)
		add(password)
	}
	if password, is := req.URL.User.Password(); is {
		add(password)
	}
	add(req.URL.User.Username())
	for pair := range strings.SplitSeq(req.URL.RawQuery, "&") {
		name, value, _ := strings.Cut(pair, "=")
		if plain, err := url.QueryUnescape(name); err == nil {
			name = plain
		}
		if record.SecretName(name) {
			add(value)
			if plain, err := url.QueryUnescape(value); err == nil {
				add(plain)
			}
		}
	}
	slices.SortFunc(secrets, func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	return secrets
}

// shownError is the text of a request's error, whose URL net/http puts in front, with the
// URL as it may be shown. Without is the text behind the URL.
func shownError(text string) (shown, without string) {
	method, rest, is := strings.Cut(text, " ")
	quoted, err := strconv.QuotedPrefix(rest)
	if !is || err != nil {
		return text, text
	}
	address, _ := strconv.Unquote(quoted) // QuotedPrefix has read it
	without, is = strings.CutPrefix(rest[len(quoted):], ": ")
	if !is {
		return text, text
	}
	return fmt.Sprintf("%s %q: %s", method, record.ShownURL(address), without), without
}
