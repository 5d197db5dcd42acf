package record

import (
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// TestCountsAreThoseOfHdrHistogram holds the encoding, the buckets and the percentiles
// against the library's.
func TestCountsAreThoseOfHdrHistogram(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for name, c := range map[string]struct {
		scale Scale
		empty func() *hdrhistogram.Histogram
	}{"three digits": {Fine, NewHistogram}, "two digits": {Coarse, NewPodHistogram}} {
		t.Run(name, func(t *testing.T) {
			all, sum := Tally{}, c.empty()
			for _, values := range []int{0, 1, 2, 7, 90, 3000} {
				all.Pack() // and goes on
				for range 20 {
					want := c.empty()
					var mine Counts
					for range values {
						v, n := 1+random.Int64N(1<<random.IntN(29)), 1+random.Int64N(3)
						if values == 1 {
							v, n = []int64{0, 1, 2047, 2048, MaxLatency.Microseconds()}[random.IntN(5)], 1<<random.IntN(50)
						}
						if err := want.RecordValues(v, n); err != nil {
							t.Fatal(err)
						}
						mine = mine.Record(c.scale, v, uint64(n))
					}
					mine = mine.Merge()
					encoded, err := EncodeHistogram(want)
					if err != nil {
						t.Fatal(err)
					}
					read, err := encoded.Counts(c.scale)
					if err != nil || !slices.Equal(read, mine) {
						t.Fatalf("%d values: read %v, %v, want %v", values, read, err, mine)
					}
					back := c.empty()
					if err := mine.Encode(c.scale).AddTo(back); err != nil || !back.Equals(want) {
						t.Fatalf("%d values: the library reads other counts from what was encoded (%v)", values, err)
					}
					if again, err := mine.Encode(c.scale).Counts(c.scale); err != nil || !slices.Equal(again, mine) {
						t.Fatalf("%d values: %v became %v, %v", values, mine, again, err)
					}
					if sum := mine.Plus(read, nil); !slices.Equal(sum, append(slices.Clone(mine), read...).Merge()) {
						t.Fatalf("%d values: the sum is %v", values, sum)
					}
					for _, percent := range []float64{0.001, 1, 50, 90, 95, 99, 99.9, 100} {
						if is, should := mine.Percentile(c.scale, percent), want.ValueAtPercentile(percent); is != should {
							t.Errorf("%d values: %g %% is %d, not %d", values, percent, is, should)
						}
					}
					if values == 1 {
						continue // of which so many would not go into a sum
					}
					all.Add(read)
					sum.Merge(want)
				}
			}
			if is, should := all.Counts().Percentile(c.scale, 99), sum.ValueAtPercentile(99); is != should || all.Counts().Total() != uint64(sum.TotalCount()) {
				t.Errorf("p99 of all is %d, not %d", is, should)
			}
			bars := slices.DeleteFunc(sum.Distribution(), func(b hdrhistogram.Bar) bool { return b.Count == 0 })
			for i, x := range all.Counts() {
				if c.scale.From(x) != bars[i].From {
					t.Fatalf("bucket %d begins at %d, not at %d", x.Bucket, c.scale.From(x), bars[i].From)
				}
			}
		})
	}
}

// TestCountsOfOthers reads histograms of another scale, and refuses what is none.
func TestCountsOfOthers(t *testing.T) {
	wide := hdrhistogram.New(1, 3_600_000_000, 4)
	_ = wide.RecordValue(12_345)
	encoded, _ := EncodeHistogram(wide)
	c, err := encoded.Counts(Fine)
	if v := c.Percentile(Fine, 50); err != nil || v < 12_345*999/1000 || v > 12_345*1001/1000 {
		t.Errorf("%d, %v", v, err)
	}
	_ = wide.RecordValue(3_000_000_000)
	beyond, _ := EncodeHistogram(wide)
	vast, _ := EncodeHistogram(func() *hdrhistogram.Histogram {
		h := hdrhistogram.New(1, 1<<62, 5)
		_ = h.RecordValue(1)
		return h
	}())
	cut := string(Counts{{5, 1}, {500, 2}}.Encode(Fine))
	spoiled, _ := base64.StdEncoding.DecodeString(cut)
	spoiled[60]++ // the checksum is another one
	for _, bad := range []Histogram{"rubbish", Histogram(base64.StdEncoding.EncodeToString(spoiled)), "AAAA", beyond, vast, Histogram(cut[:len(cut)-8]), Histogram(cut[:40])} {
		if c, err := bad.Counts(Fine); err == nil {
			t.Errorf("%.40q was read as %v", bad, c)
		}
	}
}

// encodeRaw wraps what a hostile worker or record says of the buckets.
func encodeRaw(s Scale, varints ...int64) Histogram {
	raw := make([]byte, headLength)
	for _, n := range varints {
		raw = binary.AppendVarint(raw, n)
	}
	binary.BigEndian.PutUint32(raw, cookie)
	binary.BigEndian.PutUint32(raw[4:], uint32(len(raw)-headLength))
	binary.BigEndian.PutUint32(raw[12:], uint32(s.digits))
	binary.BigEndian.PutUint64(raw[16:], 1)
	binary.BigEndian.PutUint64(raw[24:], uint64(MaxLatency.Microseconds()))
	var b bytes.Buffer
	b.Write(binary.BigEndian.AppendUint32(nil, compressedCookie))
	b.Write(make([]byte, 4))
	z := zlib.NewWriter(&b)
	z.Write(raw)
	z.Close()
	binary.BigEndian.PutUint32(b.Bytes()[4:], uint32(b.Len()-8))
	return Histogram(base64.StdEncoding.EncodeToString(b.Bytes()))
}

// gaps that add up beyond 2^63, to a bucket before the first.
func gaps() []int64 {
	return append(slices.Repeat([]int64{-1 << 55}, 511), -(1<<55 - 1), 3)
}

// TestGapsAreBounded refuses buckets beyond the last, however the gaps before them add up.
func TestGapsAreBounded(t *testing.T) {
	for _, s := range []Scale{Fine, Coarse} {
		last := int64(s.largest())
		for _, bad := range [][]int64{
			gaps(), append(gaps(), gaps()...), slices.Repeat([]int64{-1 << 54, 1}, 600),
			{-1 << 55, 1}, {-last - 1, 1}, {-last - 2}, {-last, 1, -1, 1}, {-last / 2, 1, -last / 2, 1, -last, 1},
		} {
			if c, err := encodeRaw(s, bad...).Counts(s); err == nil {
				t.Errorf("%d digits, %d varints from %d on: read as %v", s.digits, len(bad), bad[0], c)
			}
		}
		c, err := encodeRaw(s, -last, 7).Counts(s)
		if err != nil || !slices.Equal(c, Counts{{int32(last), 7}}) {
			t.Errorf("the last bucket: %v, %v", c, err)
		}
	}
}

func FuzzCounts(f *testing.F) {
	f.Add(string(encodeRaw(Fine, gaps()...)))
	f.Add(string(encodeRaw(Coarse, gaps()...)))
	f.Add(string(Counts{{5, 1}, {500, 2}}.Encode(Fine)))
	f.Add(string(Counts{{5, 1}}.Encode(Coarse)))
	f.Fuzz(func(t *testing.T, text string) {
		for _, s := range []Scale{Fine, Coarse} {
			c, err := Histogram(text).Counts(s)
			if err != nil {
				continue
			}
			for _, x := range c {
				if x.Bucket < 0 || x.Bucket > s.largest() {
					t.Fatalf("bucket %d", x.Bucket)
				}
			}
			again, err := c.Encode(s).Counts(s)
			if err != nil || !slices.Equal(again, c) {
				t.Fatalf("%v became %v, %v", c, again, err)
			}
		}
	})
}
