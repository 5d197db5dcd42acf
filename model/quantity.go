package model

import (
	"errors"
	"regexp"

	"k8s.io/apimachinery/pkg/api/resource"
)

// longExponent is one of which Kubernetes keeps the last 32 bits alone: a number of a
// hundred million digits can come of it, for which its own parser takes all memory.
var longExponent = regexp.MustCompile(`[eE][+-]?[0-9]{4,}$`)

// ParseQuantity is that of Kubernetes for text that a stranger wrote. The error of an
// exponent of more than three digits comes without reading the number.
func ParseQuantity(text string) (resource.Quantity, error) {
	if longExponent.MatchString(text) {
		return resource.Quantity{}, errors.New("its exponent has more than three digits")
	}
	return resource.ParseQuantity(text)
}
