package signals

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestCourse(t *testing.T) {
	for text, want := range map[string]string{
		"40":                                   "40 40 40",
		" 1.5\n":                               "1.5 1.5 1.5",
		"seconds,value\n0,0\n60,40\n100,2.5":   "0 40 2.5",
		"30, 7\n90, 8":                         "7 7 8",
		"t < 60.0 ? 0.0 : 40.0":                "0 40 40",
		"t < 60.0 ? 0 : 40":                    "0 40 40",
		"math.least(t, 75.0)":                  "0 70 75",
		"20.0 + 0.1 * t":                       "20 27 32",
		"math.floor(t / 50.0) * 10.0\n+ 1.0":   "1 11 21",
		"t < 200.0 ? 1.0 : double('too late')": "1 1 1",
	} {
		c, err := ParseCourse(text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		var got []string
		for _, at := range []time.Duration{-time.Hour, 70 * time.Second, 2 * time.Minute} {
			v, err := c.At(at)
			if err != nil {
				t.Errorf("%q: %v", text, err)
			}
			got = append(got, fmt.Sprint(v))
		}
		if s := strings.Join(got, " "); s != want {
			t.Errorf("%q: %s, want %s", text, s, want)
		}
	}
	for text, want := range map[string]string{
		"":                                     "no number",
		"NaN":                                  "undeclared reference",
		"x + 1":                                "undeclared reference",
		"'text'":                               "gives a string",
		"t > 1.0":                              "gives a bool",
		"1.0 / 0.0":                            "it is +Inf",
		"0,1\n0,2":                             "row 2 is not after the one before",
		"0,1\n5":                               "wrong number of fields",
		"a,b\nc,d":                             "row 2 is not two numbers",
		"a,b\n":                                "no rows of seconds and value",
		strings.Repeat("1", MaxCourse+1):       "may have",
		"[1,2,3].map(x, [1,2,3]).size() / 0":   "division by zero",
		"lists.range(100000).map(i, i).size()": "undeclared reference",
	} {
		if c, err := ParseCourse(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v, %v, want %s", text, c, err, want)
		}
	}
}
