package scenarios

import (
	"encoding/json"
	"fmt"
	"regexp"

	"sigs.k8s.io/yaml"
)

// unwritable are the characters that JSON allows in a string as they are and YAML
// (https://yaml.org/spec/1.1/#id868524) does not, or takes for a line break.
var unwritable = regexp.MustCompile(`[\x{7f}-\x{9f}\x{feff}\x{fffe}\x{ffff}]`)

// YAML writes a value by its JSON, as sigs.k8s.io/yaml's Marshal does, and takes every
// character that a string can have.
func YAML(value any) ([]byte, error) {
	b, err := json.Marshal(value)
	if err != nil {
		return nil, err
	}
	return yaml.JSONToYAML(unwritable.ReplaceAllFunc(b, func(c []byte) []byte {
		return fmt.Appendf(nil, `\u%04x`, []rune(string(c))[0])
	}))
}
