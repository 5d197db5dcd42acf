package model

import (
	"errors"
	"regexp"

	"k8s.io/apimachinery/pkg/api/resource"
)

// longExponent is one of which Kubernetes keeps the last 32 bits alone: a number of a
// hundred million digits can come of it, for which its own parser takes all memory.
var longExponent = regexp.MustCompile(`[eE][+-]?[0-9]{4,}$`)

// ErrExponent is the error of a quantity with a long exponent.
var ErrExponent = errors.New("a number has an exponent of more than three digits")

// ParseQuantity is that of Kubernetes for text that a stranger wrote. The error of an
// exponent of more than three digits comes without reading the number.
func ParseQuantity(text string) (resource.Quantity, error) {
	if longExponent.MatchString(text) {
		return resource.Quantity{}, ErrExponent
	}
	return resource.ParseQuantity(text)
}

var longInJSON = regexp.MustCompile(`:\s*"?[+-]?[0-9.]+[eE][+-]?[0-9]{4,}["},\s]`)

// HasLongExponent says whether a value of JSON text is a number that ParseQuantity refuses,
// which decoding it into a Quantity would read.
func HasLongExponent(text []byte) bool {
	for i := 1; i+5 < len(text); i++ { // a regular expression alone takes ten times as long
		if (text[i] == 'e' || text[i] == 'E') && (text[i-1] == '.' || '0' <= text[i-1] && text[i-1] <= '9') {
			return longInJSON.Match(text)
		}
	}
	return false
}
