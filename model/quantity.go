package model

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"

	"github.com/go-json-experiment/json"
	jsonv1 "github.com/go-json-experiment/json/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// longExponent is one of which Kubernetes keeps the last 32 bits alone: a number of a
// hundred million digits can come of it, for which its own parser takes all memory.
var longExponent = regexp.MustCompile(`[eE][+-]?[0-9]{4,}$`)

// maxQuantity bounds the characters of a quantity: Kubernetes' parser takes 2 s for a
// million digits and minutes for eight. The longest of use have some 25.
const maxQuantity = 100

// ErrQuantity is the error of a quantity that is not read.
var ErrQuantity = errors.New("a quantity has an exponent of more than three digits, or more than 100 characters")

// ParseQuantity is that of Kubernetes for text that a stranger wrote. The error of an
// exponent of more than three digits, or of a longer text, comes without reading the number.
func ParseQuantity(text string) (resource.Quantity, error) {
	if tooLong([]byte(text)) {
		return resource.Quantity{}, ErrQuantity
	}
	return resource.ParseQuantity(text)
}

func tooLong(text []byte) bool { return len(text) > maxQuantity || longExponent.Match(text) }

// JSON lets a decoder, which is the coming encoding/json/v2, take what encoding/json takes,
// but for quantities that ParseQuantity refuses. All that comes from outside is decoded with
// it where there may be a quantity.
var JSON = json.JoinOptions(jsonv1.DefaultOptionsV1(), json.WithUnmarshalers(json.UnmarshalFunc(
	func(value []byte, q *resource.Quantity) error {
		if text := bytes.TrimSpace(bytes.Trim(value, `"`)); tooLong(text) {
			return fmt.Errorf("%w: %.40q", ErrQuantity, text)
		}
		return q.UnmarshalJSON(value)
	})))
