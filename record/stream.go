package record

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
)

// block is how many bytes of a record are decoded in one go.
const block = 256 << 10

// longestLine is how long a line of a record can be: that of a Pod, of 1.5 MiB in etcd at
// most, or of a header with a scenario, and some room.
const longestLine = 64 << 20

// part is a block of a record's lines and what was made of them.
type part[T any] struct {
	text  []byte
	first int // number of its first line
	made  []T
	facts []fact // of each of made
	ended bool   // its last entry is an End
	err   error
	done  chan struct{} // closed when it is decoded
}

// read reads lines from the one with the number first on into p, up to a block. It gives the
// number of the line after them: 0 where there is none, or p.err says why it cannot be read.
func (p *part[T]) read(lines *bufio.Reader, first int) (next int) {
	*p = part[T]{text: p.text[:0], made: p.made[:0], facts: p.facts[:0], first: first, done: make(chan struct{})}
	for length := 0; len(p.text) < block || length > 0; {
		line, err := lines.ReadSlice('\n')
		p.text = append(p.text, line...)
		length += len(line)
		switch {
		case err == nil:
			first, length = first+1, 0
			continue
		case !errors.Is(err, bufio.ErrBufferFull):
		case length <= longestLine:
			continue
		default:
			err = fmt.Errorf("line %d is longer than %d MiB, which no entry of a record is", first, longestLine>>20)
		}
		p.text = p.text[:bytes.LastIndexByte(p.text, '\n')+1] // the rest has no line end
		if !errors.Is(err, io.EOF) {
			p.text, p.err = nil, err
		}
		return 0
	}
	return first
}

// decode decodes the lines of p, up to one that is wrong.
func (p *part[T]) decode(d *decoder, prepare func(line []byte, e *Entry) (T, error)) {
	defer close(p.done)
	for n, rest := p.first, p.text; len(rest) > 0; n++ {
		line, after, _ := bytes.Cut(rest, []byte("\n"))
		rest = after
		line = bytes.TrimSpace(line)
		e, err := d.entry(line)
		switch {
		case n == 1 && err != nil:
			p.err = fmt.Errorf("line 1 is no entry of a record (%w): expected one, whose first line is a header with format %q", err, Format)
			return
		case n == 1 && (e.Header == nil || e.Header.Format != Format):
			p.err = fmt.Errorf("line 1 is no header with format %q: expected a record, such as the %s of a run", Format, File)
			return
		case err != nil:
			p.err = fmt.Errorf("line %d is not an entry of a record: %w", n, err)
			return
		}
		p.ended = e.End != nil
		var made T
		if err = d.check(&e); err == nil {
			made, err = prepare(line, &e)
		}
		if err != nil {
			p.err = fmt.Errorf("line %d: %w", n, err)
			return
		}
		p.made, p.facts = append(p.made, made), append(p.facts, factOf(&e))
	}
}

// Stream reads a record without holding it: each is called with what prepare makes of its
// entries, one after the other in the order of the file. Prepare is called by several
// goroutines side by side. Entries share what their lines have in common, so that nothing an
// entry points to may be changed; line has no end, and is there until each has returned. It
// says whether the record has no end. A last line without its end is dropped: it was being
// written when the run was cut off. Entries of the load follow it then, in which the requests of
// which the record does not tell what became are unknown.
func Stream[T any](in io.Reader, prepare func(line []byte, e *Entry) (T, error), each func(T) error) (truncated bool, err error) {
	lines := bufio.NewReaderSize(in, block)
	head, _ := lines.Peek(textHead)
	text, err := PlainText(head)
	if err != nil {
		return true, err
	}
	_, _ = lines.Discard(len(head) - len(text))
	var parts sync.Pool // that were used
	workers := runtime.GOMAXPROCS(0)
	todo, inOrder, stop := make(chan *part[T]), make(chan *part[T], workers), make(chan struct{})
	var wait sync.WaitGroup
	defer wait.Wait()
	defer close(stop)
	for range workers {
		wait.Go(func() {
			var d decoder
			for p := range todo {
				p.decode(&d, prepare)
			}
		})
	}
	wait.Go(func() {
		defer close(inOrder)
		defer close(todo)
		for next := 1; next > 0; {
			p, _ := parts.Get().(*part[T])
			if p == nil {
				p = &part[T]{text: make([]byte, 0, block+block/4)}
			}
			next = p.read(lines, next)
			for _, queue := range []chan<- *part[T]{inOrder, todo} {
				select {
				case queue <- p:
				case <-stop:
					return
				}
			}
		}
	})
	truncated, any := true, false
	var all sequence
	for p := range inOrder {
		<-p.done
		for i, x := range p.made {
			any = true
			if err := all.check(p.facts[i]); err != nil {
				return truncated, fmt.Errorf("line %d: %w", p.first+i, err)
			}
			if err := each(x); err != nil {
				return truncated, err
			}
		}
		if p.err != nil {
			return truncated, p.err
		}
		if len(p.made) > 0 {
			truncated = !p.ended
		}
		clear(p.facts)
		if clear(p.made); cap(p.text) <= 2*block {
			parts.Put(p)
		}
	}
	if !any {
		return truncated, errors.New("the record is empty")
	}
	if truncated {
		for _, e := range all.unknown() {
			line, err := json.Marshal(e)
			if err != nil {
				panic(err) // it is made of numbers
			}
			made, err := prepare(line, &e)
			if err == nil {
				err = each(made)
			}
			if err != nil {
				return truncated, err
			}
		}
	}
	return truncated, nil
}
