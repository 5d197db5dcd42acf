package record

import (
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/adler32"
	"io"
	"math"
	"math/bits"
	"slices"
	"sync"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Scale is the bucketing of a histogram: as many buckets for each power of two as a
// number of significant digits takes.
type Scale struct {
	digits int32
	half   uint // binary digits of half of the buckets of the first power
}

// The scales of NewHistogram and NewPodHistogram. A value is off by less than a part in a
// thousand of itself, or in a hundred.
var (
	Fine   = Scale{digits: 3, half: 10}
	Coarse = Scale{digits: 2, half: 7}
)

// bucket is the bucket of a value, in microseconds.
func (s Scale) bucket(value int64) int32 {
	power := 64 - bits.LeadingZeros64(uint64(value)|(2<<s.half-1)) - int(s.half) - 1
	return int32(power<<s.half) + int32(value>>power)
}

// low is the least value of a bucket and width the number of its values.
func (s Scale) low(bucket int32) (value, width int64) {
	power := max(0, bucket>>s.half-1)
	return int64(bucket-power<<s.half) << power, 1 << power
}

// largest is the last bucket of the scale.
func (s Scale) largest() int32 { return s.bucket(MaxLatency.Microseconds()) }

// Count is how many values a bucket has.
type Count struct {
	Bucket int32
	N      uint64
}

// From is the least value of the bucket, in microseconds.
func (s Scale) From(c Count) int64 { v, _ := s.low(c.Bucket); return v }

// Range are the least and the largest value of the bucket, in microseconds.
func (s Scale) Range(c Count) (from, to int64) { v, width := s.low(c.Bucket); return v, v + width - 1 }

// Counts are the values of a histogram, by bucket from the lowest on. They take memory for
// the buckets that have values only.
type Counts []Count

// Total is how many values there are.
func (c Counts) Total() (n uint64) {
	for _, x := range c {
		n += x.N
	}
	return n
}

// Percentile is the largest value of the bucket up to which that many percent of the values
// are, in microseconds, as HdrHistogram has it; 0 without values.
func (c Counts) Percentile(s Scale, percent float64) int64 {
	total := c.Total()
	if total == 0 {
		return 0
	}
	rank := uint64(max(1, min(percent/100*float64(total)+0.5, float64(total))))
	for _, x := range c {
		if x.N >= rank {
			v, width := s.low(x.Bucket)
			return v + width - 1
		}
		rank -= x.N
	}
	v, width := s.low(c[len(c)-1].Bucket)
	return v + width - 1
}

// Merge sums up counts, which need not be in order.
func (c Counts) Merge() Counts {
	slices.SortFunc(c, func(a, b Count) int { return int(a.Bucket) - int(b.Bucket) })
	n := 0
	for _, x := range c {
		if n > 0 && c[n-1].Bucket == x.Bucket {
			c[n-1].N += x.N
			continue
		}
		c[n] = x
		n++
	}
	return c[:n]
}

// Plus appends to sum what c and other have together; all are in order of their buckets.
func (c Counts) Plus(other, sum Counts) Counts {
	for len(c) > 0 && len(other) > 0 {
		switch a, b := c[0], other[0]; {
		case a.Bucket < b.Bucket:
			sum, c = append(sum, a), c[1:]
		case a.Bucket > b.Bucket:
			sum, other = append(sum, b), other[1:]
		default:
			sum, c, other = append(sum, Count{a.Bucket, a.N + b.N}), c[1:], other[1:]
		}
	}
	return append(append(sum, c...), other...)
}

// Tally sums up many Counts in memory that does not grow with their number.
type Tally struct {
	pages  [][]uint64
	packed Counts // in place of pages
}

// page is how many buckets are counted side by side.
const page = 128

// Pack frees most of the memory of a Tally to which nothing is added for a while.
func (t *Tally) Pack() {
	if t != nil {
		t.packed, t.pages = t.Counts(), nil
	}
}

// Add adds counts.
func (t *Tally) Add(c Counts) {
	if packed := t.packed; packed != nil {
		t.packed = nil
		t.Add(packed)
	}
	for _, x := range c {
		i := int(x.Bucket / page)
		if i >= len(t.pages) {
			t.pages = append(t.pages, make([][]uint64, i+1-len(t.pages))...)
		}
		if t.pages[i] == nil {
			t.pages[i] = make([]uint64, page)
		}
		t.pages[i][x.Bucket%page] += x.N
	}
}

// Counts are what was added.
func (t *Tally) Counts() (c Counts) {
	switch {
	case t == nil:
		return nil
	case t.packed != nil:
		return t.packed
	}
	for i, p := range t.pages {
		for k, n := range p {
			if n > 0 {
				c = append(c, Count{int32(i*page + k), n})
			}
		}
	}
	return c
}

// The encoding of Histogram is that of hdrhistogram-go, which makes a histogram with all of its
// buckets, and a compressor, of each. Its layout:
// https://github.com/HdrHistogram/HdrHistogram/blob/master/src/main/java/org/HdrHistogram/EncodableHistogram.java
// and AbstractHistogram.encodeIntoByteBuffer, version 2.
const (
	cookie           = 0x1c849303 | 0x10
	compressedCookie = 0x1c849304 | 0x10
	headLength       = 40
)

var (
	decodings = sync.Pool{New: func() any { return new(decoding) }}
	// A second has so few values that compression saves a fifth, and takes most of the time.
	deflaters = sync.Pool{New: func() any {
		w, _ := zlib.NewWriterLevel(nil, zlib.NoCompression) // the level is a valid one
		return w
	}}
	errCut = errors.New("it is cut off")
)

// Encode encodes c; no counts are "".
func (c Counts) Encode(s Scale) Histogram {
	if len(c) == 0 {
		return ""
	}
	raw := make([]byte, headLength, headLength+4*len(c))
	next := int32(0)
	for _, x := range c {
		if gap := x.Bucket - next; gap == 1 {
			raw = binary.AppendVarint(raw, 0)
		} else if gap > 1 {
			raw = binary.AppendVarint(raw, -int64(gap))
		}
		raw = appendCount(raw, int64(x.N))
		next = x.Bucket + 1
	}
	binary.BigEndian.PutUint32(raw, cookie)
	binary.BigEndian.PutUint32(raw[4:], uint32(len(raw)-headLength))
	binary.BigEndian.PutUint32(raw[12:], uint32(s.digits))
	binary.BigEndian.PutUint64(raw[16:], 1)
	binary.BigEndian.PutUint64(raw[24:], uint64(MaxLatency.Microseconds()))
	binary.BigEndian.PutUint64(raw[32:], math.Float64bits(1))
	var out bytes.Buffer
	out.Write(make([]byte, 8))
	w := deflaters.Get().(*zlib.Writer)
	defer deflaters.Put(w)
	w.Reset(&out)
	_, _ = w.Write(raw) // to memory
	_ = w.Close()
	b := out.Bytes()
	binary.BigEndian.PutUint32(b, compressedCookie)
	binary.BigEndian.PutUint32(b[4:], uint32(len(b)-8))
	return Histogram(base64.StdEncoding.EncodeToString(b))
}

// appendCount writes as LEB128-64b9B does, in which the ninth byte has eight digits. No
// count of requests comes so far that this differs from the varint of package binary.
func appendCount(b []byte, n int64) []byte { return binary.AppendVarint(b, n) }

// Counts decodes h, of that scale.
func (h Histogram) Counts(s Scale) (Counts, error) {
	if h == "" {
		return nil, nil
	}
	if len(h) > maxHistogram {
		return nil, fmt.Errorf("decoding a latency histogram: it has %d bytes, and may have %d", len(h), maxHistogram)
	}
	c, ours, err := h.counts(s)
	if err != nil {
		return nil, fmt.Errorf("decoding a latency histogram: %w", err)
	}
	if !ours {
		return h.others(s)
	}
	return c, nil
}

// decoding is the memory that decoding a histogram takes.
type decoding struct {
	text, packed, raw []byte
	counts            Counts
	in                bytes.Reader
	inflater          io.ReadCloser
}

// counts decodes a histogram of the scale; ours is false if it is of another one.
func (h Histogram) counts(s Scale) (c Counts, ours bool, err error) {
	d := decodings.Get().(*decoding)
	defer decodings.Put(d)
	d.text = append(d.text[:0], h...)
	if d.packed, err = base64.StdEncoding.AppendDecode(d.packed[:0], d.text); err != nil {
		return nil, false, err
	}
	b := d.packed
	if len(b) < 8 || binary.BigEndian.Uint32(b) != compressedCookie {
		return nil, false, nil // or what the library says of it
	}
	if n := binary.BigEndian.Uint32(b[4:]); uint64(n) > uint64(len(b)-8) {
		return nil, false, errCut
	} else {
		b = b[8 : 8+n]
	}
	last := s.largest()
	most := int64(last+1) * 9
	raw, ok := stored(b)
	if !ok {
		if raw, err = d.inflate(b, headLength+most+1); err != nil {
			return nil, false, err
		}
	}
	if len(raw) < headLength {
		return nil, false, errCut
	}
	head, raw := raw[:headLength], raw[headLength:]
	const mostDigits, longest = 4, 6 * MaxLatency
	// A decoded one takes 8 bytes for each bucket that its scale has, however few it counts.
	if digits, highest := binary.BigEndian.Uint32(head[12:]), binary.BigEndian.Uint64(head[24:]); digits > mostDigits || highest > uint64(longest.Microseconds()) {
		return nil, false, fmt.Errorf("it tells %d digits apart up to %d µs; at most %d digits and %s can be read", digits, highest, mostDigits, longest)
	}
	if binary.BigEndian.Uint32(head) != cookie || binary.BigEndian.Uint32(head[12:]) != uint32(s.digits) ||
		binary.BigEndian.Uint64(head[16:]) != 1 || binary.BigEndian.Uint64(head[24:]) != uint64(MaxLatency.Microseconds()) {
		return nil, false, nil
	}
	length := int64(binary.BigEndian.Uint32(head[4:]))
	if length > most {
		return nil, false, fmt.Errorf("it has %d bytes", length)
	}
	if int64(len(raw)) != length {
		return nil, false, errCut
	}
	at := int64(0)
	d.counts = d.counts[:0]
	for len(raw) > 0 {
		n, took := binary.Varint(raw)
		if took <= 0 || took > 8 { // a longer one is written otherwise
			return nil, false, nil
		}
		raw = raw[took:]
		switch {
		case n < 0:
			// Eight bytes hold 2^55 at most: one gap does not wrap, many together would.
			if at -= n; at > int64(last)+1 {
				return nil, false, fmt.Errorf("bucket %d, and the last is %d", at, last)
			}
		case at > int64(last):
			return nil, false, fmt.Errorf("bucket %d, and the last is %d", at, last)
		default:
			if n > 0 {
				d.counts = append(d.counts, Count{int32(at), uint64(n)})
			}
			at++
		}
	}
	return slices.Clone(d.counts), true, nil
}

// stored is what b holds, if that is one block that is not compressed, as Encode writes it
// (RFC 1950 and 1951, section 3.2.4).
func stored(b []byte) ([]byte, bool) {
	const before, after = 2 + 5, 5 + 4 // the heads of the stream and of the block; an empty last block and the checksum
	n := len(b) - before - after
	if n < 0 || b[0]&0x0f != 8 || b[1]&0x20 != 0 || binary.BigEndian.Uint16(b)%31 != 0 || b[2] != 0 ||
		int(binary.LittleEndian.Uint16(b[3:])) != n || binary.LittleEndian.Uint16(b[5:]) != ^uint16(n) {
		return nil, false
	}
	raw, rest := b[before:before+n], b[before+n:]
	return raw, bytes.HasPrefix(rest, []byte{1, 0, 0, 0xff, 0xff}) && adler32.Checksum(raw) == binary.BigEndian.Uint32(rest[5:])
}

// inflate is what b holds, up to a number of bytes.
func (d *decoding) inflate(b []byte, most int64) (raw []byte, err error) {
	d.in.Reset(b)
	if d.inflater == nil {
		d.inflater, err = zlib.NewReader(&d.in)
	} else {
		err = d.inflater.(zlib.Resetter).Reset(&d.in, nil)
	}
	if err != nil {
		return nil, err
	}
	out := bytes.NewBuffer(d.raw[:0])
	_, err = out.ReadFrom(io.LimitReader(d.inflater, most))
	d.raw = out.Bytes()
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = errCut
	}
	return d.raw, err
}

// others decodes what the library does, and puts it into the buckets of the scale.
func (h Histogram) others(s Scale) (c Counts, err error) {
	d, err := hdrhistogram.Decode([]byte(h))
	if err != nil {
		return nil, fmt.Errorf("decoding a latency histogram: %w", err)
	}
	for _, bar := range d.Distribution() {
		if bar.Count == 0 {
			continue
		}
		if bar.From < 0 || bar.To > MaxLatency.Microseconds()+1<<s.half {
			return nil, fmt.Errorf("merging latency histograms: %d counts out of range", bar.Count)
		}
		c = append(c, Count{min(s.bucket(bar.To), s.largest()), uint64(bar.Count)})
	}
	return c.Merge(), nil
}

// Record counts n values of so many microseconds.
func (c Counts) Record(s Scale, micro int64, n uint64) Counts {
	return append(c, Count{s.bucket(micro), n})
}
