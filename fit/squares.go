package fit

import (
	"math"
	"math/rand/v2"
	"slices"

	"gonum.org/v1/gonum/mat"
)

// quantile interpolates linearly between order statistics (Hyndman and Fan 1996, type 7).
func quantile(sorted []float64, q float64) float64 {
	at := q * float64(len(sorted)-1)
	i := int(at)
	if i+1 >= len(sorted) {
		return sorted[len(sorted)-1]
	}
	return sorted[i] + (sorted[i+1]-sorted[i])*(at-float64(i))
}

// mostDrawn bounds the rows that bootstrap draws at a time: the samples of a day and ten pods.
const mostDrawn = 60_000

// atRandom draws rows without repetition, as many as most, and keeps their order: every nth row
// could be of the same pods.
func atRandom[T any](rows []T, most int) []T {
	if len(rows) <= most {
		return rows
	}
	at := rand.New(rand.NewPCG(1, 3)).Perm(len(rows))[:most]
	slices.Sort(at)
	some := make([]T, most)
	for i, n := range at {
		some[i] = rows[n]
	}
	return some
}

// bootstrap gives an estimate from all rows, and the bounds of nine of ten that are made
// from as many rows drawn at random with repetition (Efron 1979). Of very many it draws fewer,
// m of n, which are off by sqrt(n/m) times as much (Bickel, Götze and van Zwet 1997).
//
// Of 200 draws the share beyond a bound is 5 ± 1.5 %, √(5 × 95/200). Another 200 move the bounds of a request's
// CPU time by 9 % of their distance at most, for seven of eight real runs; the eighth has seven samples.
func bootstrap[T any](rows []T, estimate func([]T) []float64) (best, low, high []float64) {
	best = estimate(rows)
	random := rand.New(rand.NewPCG(1, 2))
	all := make([][]float64, len(best))
	drawn := make([]T, min(len(rows), mostDrawn))
	for range 200 {
		for i := range drawn {
			drawn[i] = rows[random.IntN(len(rows))]
		}
		for i, v := range estimate(drawn) {
			all[i] = append(all[i], v)
		}
	}
	scale := math.Sqrt(float64(len(drawn)) / float64(len(rows)))
	for i, a := range all {
		slices.Sort(a)
		bound := func(q float64) float64 { return (1-scale)*best[i] + scale*quantile(a, q) }
		low, high = append(low, bound(0.05)), append(high, bound(0.95))
	}
	return best, low, high
}

// sample is a measured y, and the x of which it is made.
type sample struct {
	x []float64
	y float64
}

// leastSquares gives the factors x ≥ 0 of the columns that come closest to y: the algorithm NNLS of
// Lawson and Hanson, Solving Least Squares Problems, 1974, chapter 23, on the normal equations
// (Bro and de Jong 1997), whose few columns are scaled to the length 1. A column without values, or
// that is the sum of others, has 0.
func leastSquares(of []sample) []float64 {
	n := len(of[0].x)
	gram, right, scale := mat.NewSymDense(n, nil), make([]float64, n), make([]float64, n)
	for i := range n {
		for _, s := range of {
			scale[i] += s.x[i] * s.x[i]
		}
		scale[i] = math.Sqrt(scale[i])
	}
	for i := range n {
		for j := i; j < n && scale[i] > 0; j++ {
			sum := 0.0
			for _, s := range of {
				sum += s.x[i] * s.x[j]
			}
			if scale[j] > 0 {
				gram.SetSym(i, j, sum/scale[i]/scale[j])
			}
		}
		for _, s := range of {
			if scale[i] > 0 {
				right[i] += s.x[i] * s.y / scale[i]
			}
		}
	}
	factors := nonNegative(gram, right)
	for i := range factors {
		if scale[i] > 0 {
			factors[i] /= scale[i]
		}
	}
	return factors
}

// nonNegative minimizes xᵀGx − 2rᵀx over x ≥ 0. passive are the columns whose factors may be more
// than 0, in the words of Lawson and Hanson; each round adds the one along which the sum of squares
// falls fastest, and takes out those that this would make negative.
func nonNegative(gram *mat.SymDense, right []float64) []float64 {
	n := len(right)
	x, passive, barred := make([]float64, n), []int{}, make([]bool, n)
	largest := 0.0
	for _, r := range right {
		largest = max(largest, math.Abs(r))
	}
	for range 3 * n { // the rounds that Lawson and Hanson allow
		next, steepest := -1, rounding*largest
		for j := range n {
			gradient := right[j]
			for k := range n {
				gradient -= gram.At(j, k) * x[k]
			}
			if gradient > steepest && !barred[j] && !slices.Contains(passive, j) {
				next, steepest = j, gradient
			}
		}
		if next < 0 {
			return x
		}
		passive = append(passive, next)
		z, ok := solve(gram, right, passive)
		if !ok || z[len(z)-1] <= 0 { // it depends on the others, as far as rounding lets it be told
			passive, barred[next] = passive[:len(passive)-1], true
			continue
		}
		clear(barred)
		for len(passive) > 0 && slices.Min(z) <= 0 {
			step, first := math.Inf(1), -1
			for i, c := range passive {
				if s := x[c] / (x[c] - z[i]); z[i] <= 0 && s < step {
					step, first = s, c
				}
			}
			var kept []int
			for i, c := range passive {
				if x[c] += step * (z[i] - x[c]); c == first || x[c] <= 0 {
					x[c] = 0
				} else {
					kept = append(kept, c)
				}
			}
			if passive = kept; len(passive) > 0 {
				z, _ = solve(gram, right, passive)
			}
		}
		for i, c := range passive {
			x[c] = z[i]
		}
	}
	return x
}

// rounding is what is left of sums by rounding alone, relative to them: half of the digits of a
// float64, since the normal equations square the columns.
const rounding = 1e-8

// solve gives the factors of some of the columns, negative ones too; ok is false if one of the
// columns depends on the others.
func solve(gram *mat.SymDense, right []float64, columns []int) (factors []float64, ok bool) {
	n := len(columns)
	a, b := mat.NewSymDense(n, nil), mat.NewVecDense(n, nil)
	for i, c := range columns {
		for j := i; j < n; j++ {
			a.SetSym(i, j, gram.At(c, columns[j]))
		}
		b.SetVec(i, right[c])
	}
	var factorized mat.Cholesky
	if !factorized.Factorize(a) || factorized.Cond() > 1/rounding {
		return nil, false
	}
	var x mat.VecDense
	if err := factorized.SolveVecTo(&x, b); err != nil {
		return nil, false
	}
	return x.RawVector().Data, true
}
