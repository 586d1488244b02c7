package broker

import (
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/leveret-mq/leveret/internal/alloc"
)

// TestQueuesAreFoundByName compares the table with a map, while it grows and shrinks.
func TestQueuesAreFoundByName(t *testing.T) {
	var table queueTable
	want := map[string]*Queue{}
	rng := rand.New(rand.NewPCG(1, 2))
	check := func() {
		t.Helper()
		n := 0
		table.all(func(q *Queue) {
			if n++; want[q.Name] != q {
				t.Errorf("queue %q is there and should not be", q.Name)
			}
		})
		if n != len(want) || table.find("") != nil {
			t.Fatalf("%d queues of %d, and %v without a name", n, len(want), table.find(""))
		}
	}
	for step, chance := range []int{90, 10, 60, 50, 0} { // of 100, that one comes
		for range 20_000 {
			name := strconv.Itoa(rng.IntN(8000))
			if rng.IntN(100) < chance {
				q := &Queue{Name: name}
				table.put(q)
				want[name] = q
			} else {
				table.remove(name)
				delete(want, name)
			}
			name = strconv.Itoa(rng.IntN(8000))
			if got := table.find(name); got != want[name] || table.findBytes([]byte(name)) != got {
				t.Fatalf("step %d: find(%q) is %v", step, name, got)
			}
		}
		check()
	}
	for name := range want {
		table.remove(name)
		delete(want, name)
	}
	check()
	slots := 0
	for i := range table.parts {
		slots += len(*table.parts[i].slots.Load())
	}
	if slots > len(table.parts)*minQueueSlots {
		t.Errorf("an empty table has %d slots", slots)
	}
}

// TestQueuesThatComeAndGoHideNoOther has readers look for a queue that stays, and for all,
// while others come and go in its part of the table and have it grow and shrink.
func TestQueuesThatComeAndGoHideNoOther(t *testing.T) {
	var table queueTable
	stays := &Queue{Name: "stays"}
	table.put(stays)
	var stop atomic.Bool
	var group sync.WaitGroup
	for range 2 {
		group.Go(func() {
			for !stop.Load() {
				if table.find("stays") != stays {
					t.Error("the queue was not found")
					return
				}
				there := 0
				table.all(func(q *Queue) {
					if q == stays {
						there++
					}
				})
				if there != 1 {
					t.Errorf("the queue was listed %d times", there)
					return
				}
			}
		})
	}
	for round := range 30 {
		for i := range 1000 {
			table.put(&Queue{Name: strconv.Itoa(round*1000 + i)})
		}
		for i := range 1000 {
			table.remove(strconv.Itoa(round*1000 + i))
		}
	}
	stop.Store(true)
	group.Wait()
}

// TestQueuesThatComeAndGoSeldomMoveOthers holds that places of queues that went are taken again.
func TestQueuesThatComeAndGoSeldomMoveOthers(t *testing.T) {
	var table queueTable
	queues := make([]Queue, 10_000)
	for i := range queues {
		queues[i].Name = strconv.Itoa(i)
		table.put(&queues[i])
	}
	next := len(queues)
	change := func() {
		for i := range 1000 {
			table.remove(queues[i].Name)
			queues[i].Name = strconv.Itoa(next)
			next++
			table.put(&queues[i])
		}
	}
	for range 100 {
		change()
	}
	if n := alloc.Least(1100, 20, change); n > 1100 { // a name each
		t.Errorf("%v allocations for 1000 queues", n)
	}
}

func TestFindingAQueueAllocatesNothing(t *testing.T) {
	var table queueTable
	name := []byte("a name of more than a few letters, so that it would be copied to the heap")
	table.put(&Queue{Name: string(name)})
	if n := alloc.Least(0, 100, func() {
		if table.findBytes(name) == nil {
			t.Fatal("not found")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
