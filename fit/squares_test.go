package fit

import (
	"math"
	"math/rand/v2"
	"testing"
)

// The factors are the best that are not negative, which are known by the conditions of Kuhn and
// Tucker: the sum of squares does not fall along any column, and not either way along those in use.
func TestLeastSquares(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	for n := range 3000 {
		columns, rows := 1+n%4, make([]sample, 3+random.IntN(20))
		for i := range rows {
			for c := range columns {
				x := random.NormFloat64()
				switch {
				case n%7 == 0 && c == 1:
					x = 0 // without values
				case n%7 == 1 && c == 2:
					x = 2 * rows[i].x[0] // depends on another
				}
				rows[i].x = append(rows[i].x, x*math.Pow(1000, float64(c)))
			}
			rows[i].y = random.NormFloat64()
		}
		isOptimal(t, rows, leastSquares(rows))
	}
}

// Dropping the most negative column until none is negative leaves out the first: the unbounded
// factors are -1.4, 4 and -1.3, then 2.7 and -0.7, and the second alone leaves a sum of squares of
// 5.9, where the first two leave 3.4.
func TestLeastSquaresKeepsWhatGreedyDrops(t *testing.T) {
	rows := []sample{{[]float64{2, 2, 0}, 5}, {[]float64{0, 1, 3}, 0}, {[]float64{0, 2, 3}, 4}, {[]float64{1, 1, 0}, 3}}
	isOptimal(t, rows, leastSquares(rows))
	for c, want := range []float64{1, 1.6, 0} {
		if got := leastSquares(rows)[c]; math.Abs(got-want) > 1e-9 {
			t.Errorf("factor %d is %g, should be %g", c, got, want)
		}
	}
}

func isOptimal(t *testing.T, rows []sample, factors []float64) {
	t.Helper()
	for c, f := range factors {
		gradient, length, y := 0.0, 0.0, 0.0
		for _, r := range rows {
			left := r.y
			for k, f := range factors {
				left -= f * r.x[k]
			}
			gradient, length, y = gradient+r.x[c]*left, length+r.x[c]*r.x[c], y+r.y*r.y
		}
		if unit := math.Sqrt(length * y); f < 0 || gradient > 1e-6*unit || f > 0 && gradient < -1e-6*unit {
			t.Fatalf("of %v the factors are %v: %g along column %d", rows, factors, gradient/unit, c)
		}
	}
}
