package watch

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"

	"github.com/hpabench/hpabench/record"
)

type object interface {
	runtime.Object
	metav1.Object
}

// change is what happened to one object.
type change[T object] struct {
	at      record.Instant
	was     T // nil if it is new
	had     bool
	now     T // if removed, how it was at last
	removed bool
	listed  bool // it was there when observing began
}

// store keeps the current state of one resource for a Reflector, and tells of
// each change to it.
type store[T object] struct {
	cache.Store
	feed    *feed
	observe func(change[T])
	after   func() // called once for all changes that were seen at once
	listed  bool
}

func (s *store[T]) Add(obj any) error { return s.Update(obj) }

func (s *store[T]) Update(obj any) error {
	return s.apply(change[T]{now: obj.(T)}, s.Store.Update)
}

func (s *store[T]) Delete(obj any) error {
	return s.apply(change[T]{now: obj.(T), was: obj.(T), removed: true}, s.Store.Delete)
}

func (s *store[T]) apply(c change[T], do func(any) error) error {
	c.at = s.feed.rec.Clock.Now()
	if was, ok, _ := s.Get(c.now); ok {
		c.was, c.had = was.(T), true
	}
	if err := do(c.now); err != nil {
		return err
	}
	s.observe(c)
	s.after()
	return nil
}

// Replace gets the whole state: at the start, and again whenever the Reflector
// could not go on where it was.
func (s *store[T]) Replace(list []any, version string) error {
	at := s.feed.rec.Clock.Now()
	before := s.list()
	if err := s.Store.Replace(list, version); err != nil {
		return err
	}
	s.feed.replaced(at)
	for _, c := range diff(before, s.list()) {
		c.at, c.listed = at, !s.listed
		s.observe(c)
	}
	s.listed = true
	s.after()
	return nil
}

// diff returns what changed between two states, removals first. An object that
// was made anew under its old name counts as removed and new.
func diff[T object](before, after []T) []change[T] {
	now := map[types.UID]T{}
	for _, o := range after {
		now[o.GetUID()] = o
	}
	was := map[types.UID]T{}
	var changes []change[T]
	for _, o := range before {
		was[o.GetUID()] = o
		if _, ok := now[o.GetUID()]; !ok {
			changes = append(changes, change[T]{was: o, now: o, had: true, removed: true})
		}
	}
	for _, o := range after {
		old, ok := was[o.GetUID()]
		if !ok || old.GetResourceVersion() != o.GetResourceVersion() {
			changes = append(changes, change[T]{was: old, now: o, had: ok})
		}
	}
	return changes
}

func (s *store[T]) list() []T {
	var all []T
	for _, o := range s.Store.List() {
		all = append(all, o.(T))
	}
	return all
}

// named returns the object of that name, or nil. The objects are of one namespace.
func (s *store[T]) named(name string) (one T) {
	for _, o := range s.list() {
		if o.GetName() == name {
			one = o
		}
	}
	return one
}
