package record

import (
	"fmt"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Histogram is an encoded latency histogram: HdrHistogram V2, compressed,
// base64, counting microseconds. It stays encoded in a record, because decoded
// it takes a thousand times the room.
type Histogram string

// NewHistogram returns an empty latency histogram that counts microseconds from
// 1 µs to 10 minutes with three significant digits. Longer latencies are to be
// recorded as 10 minutes.
func NewHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(1, MaxLatency.Microseconds(), 3)
}

// NewPodHistogram is NewHistogram with two significant digits: there is one for each
// pod, and it takes a fifth of the memory.
func NewPodHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(1, MaxLatency.Microseconds(), 2)
}

// MaxLatency is the largest latency that a histogram tells apart.
const MaxLatency = 10 * time.Minute

// EncodeHistogram encodes h; an empty one is "".
func EncodeHistogram(h *hdrhistogram.Histogram) (Histogram, error) {
	if h.TotalCount() == 0 {
		return "", nil
	}
	b, err := h.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
	return Histogram(b), err
}

// AddTo adds the counts of h to sum, without loss.
func (h Histogram) AddTo(sum *hdrhistogram.Histogram) error {
	if h == "" {
		return nil
	}
	d, err := hdrhistogram.Decode([]byte(h))
	if err != nil {
		return fmt.Errorf("decoding a latency histogram: %w", err)
	}
	if dropped := sum.Merge(d); dropped > 0 {
		return fmt.Errorf("merging latency histograms: %d counts out of range", dropped)
	}
	return nil
}
