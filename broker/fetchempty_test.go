package broker

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/message"
)

// TestNoReaderGetsTwoEmptyBatchesInARow, nor nothing but an empty one unless nothing else is there, wherever it begins and however much
// it takes; and it gets each record.
func TestNoReaderGetsTwoEmptyBatchesInARow(t *testing.T) {
	c := newCompacting(t, "segment.bytes", "65536", "delete.retention.ms", "0")
	filler := strings.Repeat("x", 900)
	for i := range 300 { // batches of nobody, and of producers of whom each leaves its newest
		h := nobody
		if i%3 > 0 {
			h = batch.Header{ProducerID: int64(i)}
		}
		c.put(0, h, keyedRecord{key: fmt.Sprint("k", i%7), value: filler}, keyedRecord{key: fmt.Sprint("l", i), value: "1"})
		if i%10 > 0 {
			if h.ProducerID >= 0 {
				h.BaseSequence = 2
			}
			c.put(0, h, keyedRecord{key: fmt.Sprint("l", i)})
		}
	}
	for range 3 {
		c.compact(time.Second)
	}
	c.puts("end=1")
	empties, last := c.walk()
	if empties < 50 {
		t.Fatalf("%d empty batches are left", empties)
	}
	end := c.end()
	want := c.records()
	for _, most := range []int{1, 200, 5000, 1 << 20} {
		for from := message.Offset(0); from < end; from += 37 {
			at, seen := from, 0
			for at < end {
				n, next := c.fetched(at, most)
				if next <= at {
					t.Fatalf("from %d, %d bytes: it does not get on from %d", from, most, at)
				}
				at, seen = next, seen+n
			}
			if n := len(slices.DeleteFunc(slices.Clone(want), func(r keyedRecord) bool { return r.offset < from })); seen < n || seen > n+1 {
				t.Errorf("from %d, %d bytes: %d records, want %d", from, most, seen, n)
			}
			if most == 1 {
				from += 400
			}
		}
	}
	if last != end {
		t.Errorf("the log ends at %d, want %d", last, end)
	}
}

// walk counts the empty batches of the log as they lie there.
func (c *compacting) walk() (empties int, next message.Offset) {
	c.t.Helper()
	for {
		v, err := await(c.part().log, next, 1<<20)
		if err != nil {
			c.t.Fatal(err)
		}
		if v.Len() == 0 {
			v.Done()
			return empties, next
		}
		err = v.Use(func(data []byte) error {
			for len(data) > 0 {
				b, rest, err := batch.Next(data)
				if err != nil {
					return err
				}
				if data, next = rest, message.Offset(b.LastOffset())+1; b.Count() == 0 {
					empties++
				}
			}
			return nil
		})
		v.Done()
		if err != nil {
			c.t.Fatal(err)
		}
	}
}

// fetched is one Fetch: its records, and where it ends.
func (c *compacting) fetched(from message.Offset, most int) (records int, next message.Offset) {
	c.t.Helper()
	_, pieces, err := c.s.Fetch(c.part(), Fetch{From: from, MaxBytes: most, Whole: true}, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	next = from
	was := false
	for i := range pieces {
		err := pieces[i].Use(func(data []byte) error {
			if string(data) != string(pieces[i].Raw()) {
				return fmt.Errorf("it is not what is sent")
			}
			for len(data) > 0 {
				b, rest, err := batch.Next(data)
				if err != nil {
					return err
				}
				empty := b.Count() == 0
				if empty && was {
					c.t.Errorf("from %d, %d bytes: two empty batches in a row, the second at %d", from, most, b.BaseOffset())
				}
				was = empty
				for _, one := range recordsOf(c.t, b) {
					if one.offset >= from {
						records++
					}
				}
				data, next = rest, message.Offset(b.LastOffset())+1
			}
			return nil
		})
		pieces[i].Release()
		if err != nil {
			c.t.Fatal(err)
		}
	}
	if records == 0 && next < c.end() {
		c.t.Errorf("from %d, %d bytes: no record, and there is one behind %d", from, most, next)
	}
	return records, next
}

func (c *compacting) end() message.Offset {
	_, end, err := c.part().log.Bounds()
	if err != nil {
		c.t.Fatal(err)
	}
	return end
}
