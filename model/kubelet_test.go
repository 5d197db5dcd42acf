package model

import (
	"math/rand/v2"
	"testing"
	"time"
)

// A back-off lasts up to half of itself longer, and up to half of the rest again where the kubelet looked too early.
func TestRestart(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	for _, c := range []struct{ backOff, least, most time.Duration }{
		{0, time.Second / 2, time.Second / 2},
		{10 * time.Second, 10 * time.Second, 15 * time.Second},
		{40 * time.Second, 40 * time.Second, 60 * time.Second},
		{80 * time.Second, 80 * time.Second, 91 * time.Second}, // after a minute to a minute and a half, and the rest
	} {
		low, high := time.Hour, time.Duration(0)
		for range 1000 {
			at := Restart(c.backOff, time.Second/2, random)
			low, high = min(low, at), max(high, at)
		}
		if low < c.least || high > c.most || high-low < (c.most-c.least)*9/10 {
			t.Errorf("after a back-off of %s it starts again after %s to %s, should after %s to %s", c.backOff, low, high, c.least, c.most)
		}
	}
}
