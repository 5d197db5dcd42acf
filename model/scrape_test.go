package model

import (
	"math"
	"testing"
	"time"
)

// Worked out by hand, after two minutes with rate(x[1m]): rise × the time that it is taken
// to be over ÷ the time between the first reading and the last ÷ the window.
func TestRateIsThatOfPrometheus(t *testing.T) {
	at := func(seconds, value float64) Reading { return Reading{time.Duration(seconds * 1e9), value} }
	for _, c := range []struct {
		name     string
		readings []Reading
		want     float64 // -1 for none
	}{
		{"none", nil, -1},
		{"one", []Reading{at(110, 5)}, -1},
		{"one in the window", []Reading{at(50, 5), at(110, 5)}, -1},
		{"evenly", []Reading{at(65, 100), at(80, 250), at(95, 400), at(110, 550)}, 10},
		{"since half the window", []Reading{at(95, 100), at(110, 250)}, 150. * (15 + 7.5 + 10) / 15 / 60},
		{"since zero", []Reading{at(95, 0), at(110, 150)}, 150. * (15 + 10) / 15 / 60},
		{"begun anew", []Reading{at(65, 900), at(80, 1050), at(95, 0), at(110, 150)}, (1050. - 900 + 150) * 60 / 45 / 60},
		{"no rise", []Reading{at(95, 10), at(110, 10)}, 0},
	} {
		got, known := Rate(c.readings, 120*time.Second, time.Minute)
		if !known {
			got = -1
		}
		if math.Abs(got-c.want) > 1e-9 {
			t.Errorf("%s: %g, should be %g", c.name, got, c.want)
		}
	}
}
