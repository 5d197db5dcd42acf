package nodeports

import (
	"net"
	"testing"
	"time"
)

func TestClaimRange(t *testing.T) {
	start := time.Now()
	base, size, guard, err := ClaimRange()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d–%d in %v", base, base+size-1, time.Since(start))
	if base < firstPort || base+size-1 > lastPort || size < enough {
		t.Errorf("%d ports from %d", size, base)
	}
	// A second claim by this machine is not the same one, and all ports are free.
	base2, size2, guard2, err := ClaimRange()
	if err != nil {
		t.Fatal(err)
	}
	defer guard2.Close()
	if base2 < base+size && base < base2+size2 {
		t.Errorf("%d+%d and %d+%d overlap", base, size, base2, size2)
	}
	for p := base; p < base+size; p++ {
		l, err := net.Listen("tcp4", address(p))
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
	}
	if err := guard.Close(); err != nil {
		t.Error(err)
	}
}

// A port that is taken cuts a stretch in two, and the longer one is used.
func TestLongestFree(t *testing.T) {
	base, size, guard, err := ClaimRange()
	if err != nil {
		t.Fatal(err)
	}
	defer guard.Close()
	last := base + size - 1
	if b, n := longestFree(base, last); b != base || n != size {
		t.Fatalf("%d from %d are free, want %d from %d", n, b, size, base)
	}
	for _, taken := range []struct{ at, base, size int }{
		{base + 10, base + 11, size - 11},
		{last, base + 11, size - 12},
		{base + 20, base + 21, size - 22},
	} {
		l, err := net.Listen("tcp4", address(taken.at))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		if b, n := longestFree(base, last); b != taken.base || n != taken.size {
			t.Errorf("with %d taken: %d from %d are free, want %d from %d", taken.at, n, b, taken.size, taken.base)
		}
	}
}
