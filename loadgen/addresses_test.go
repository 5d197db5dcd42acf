package loadgen

import (
	"context"
	"errors"
	"net"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// Connections take the addresses of a name in turn, and find new ones after a while.
func TestAddresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		known, lookups, refused := []string{"10.0.0.1", "10.0.0.2", "::1"}, 0, ""
		var dialled []string
		a := newAddresses()
		a.lookup = func(context.Context, string) ([]string, error) {
			lookups++
			if known == nil {
				return nil, errors.New("no answer")
			}
			return slices.Clone(known), nil
		}
		a.dial = func(_ context.Context, _, address string) (net.Conn, error) {
			dialled = append(dialled, address)
			if address == refused {
				return nil, errors.New("connection refused")
			}
			return nil, nil
		}
		step := func(what string, wantLookups int, want ...string) {
			t.Helper()
			if _, err := a.connect(t.Context(), "tcp", "web.default.svc:80"); err != nil {
				t.Errorf("%s: %v", what, err)
			}
			if diff := cmp.Diff(want, dialled); diff != "" || lookups != wantLookups {
				t.Errorf("%s: %d lookups (-want +got):\n%s", what, lookups, diff)
			}
			dialled = nil
		}
		step("first", 1, "10.0.0.1:80")
		step("second", 1, "10.0.0.2:80")
		step("third", 1, "[::1]:80")
		refused = "10.0.0.1:80"
		step("refused", 1, "10.0.0.1:80", "10.0.0.2:80")
		known = []string{"10.0.0.9"}
		step("before it is looked up again", 1, "10.0.0.2:80")
		time.Sleep(addressesFor)
		step("moved", 2, "10.0.0.9:80")
		known = nil
		time.Sleep(addressesFor)
		step("no answer", 3, "10.0.0.9:80")
		if _, err := a.connect(t.Context(), "tcp", "127.0.0.1:80"); err != nil || lookups != 3 {
			t.Errorf("an address was looked up: %v", err)
		}
		a.names = map[string]*addressesOf{}
		if _, err := a.connect(t.Context(), "tcp", "web.default.svc:80"); err == nil {
			t.Error("no error though nothing is known of the name")
		}
	})
}
