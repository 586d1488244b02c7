package netx

import (
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
)

// Answers leave in the order in which they were asked for, whatever becomes ready
// first, and none before all that it waits for is done.
func TestAnswersLeaveInOrder(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	woken, failures := 0, 0
	q := NewAnswers[int](func() { woken++ }, func(error) { failures++ })
	type open struct {
		n    int
		done func(error)
	}
	var waiting []open
	left := map[int]int{} // things that an answer still waits for
	bad := map[int]bool{}
	next, out := 0, 0
	for range 20_000 {
		switch k := random.IntN(5); {
		case k < 2:
			a := q.New()
			a.Value = next
			for range 1 + random.IntN(2) {
				waiting = append(waiting, open{next, a.Wait()})
				left[next]++
			}
			q.Push(a)
			next++
		case k < 4 && len(waiting) > 0:
			i := random.IntN(min(len(waiting), 20))
			o := waiting[i]
			waiting = append(waiting[:i], waiting[i+1:]...)
			var err error
			if random.IntN(10) == 0 {
				err = errors.New("disk")
				bad[o.n] = true
			}
			before := woken
			o.done(err)
			if left[o.n]--; (woken > before) != (left[o.n] == 0) {
				t.Fatalf("woken: %v with %d things to wait for", woken > before, left[o.n])
			}
		default:
			for a := q.Next(); a != nil; a = q.Next() {
				if a.Value != out || left[out] != 0 || a.Failed() != bad[out] {
					t.Fatalf("answer %d (failed: %v) left as number %d", a.Value, a.Failed(), out)
				}
				out++
				q.Recycle(a)
			}
			if q.Len() != next-out || q.Len() > 0 && left[out] == 0 {
				t.Fatalf("%d are left of %d", q.Len(), next-out)
			}
		}
	}
	if failures == 0 || out < 1000 {
		t.Errorf("%d failures, %d answers", failures, out)
	}
}

// The functions that answers wait for come from any goroutine.
func TestAnswersAreDoneFromAnywhere(t *testing.T) {
	var mu sync.Mutex
	wake := make(chan struct{}, 1)
	q := NewAnswers[int](func() {
		select {
		case wake <- struct{}{}:
		default:
		}
	}, nil)
	flushes := make(chan func(error), 100)
	for range 4 {
		go func() {
			for done := range flushes {
				done(nil)
			}
		}()
	}
	const total = 20_000
	go func() {
		for i := range total {
			mu.Lock()
			a := q.New()
			a.Value = i
			done := a.Wait()
			q.Push(a)
			mu.Unlock()
			flushes <- done
		}
		close(flushes)
	}()
	for out := 0; out < total; {
		<-wake
		mu.Lock()
		for a := q.Next(); a != nil; a = q.Next() {
			if a.Value != out {
				t.Fatalf("%d left as number %d", a.Value, out)
			}
			out++
			q.Recycle(a)
		}
		mu.Unlock()
	}
}

func TestAnAnswerCostsNoAllocation(t *testing.T) {
	q := NewAnswers[[]int](func() {}, nil)
	n := testing.AllocsPerRun(100, func() {
		a := q.New()
		a.Value = append(a.Value[:0], 1, 2, 3)
		done := a.Wait()
		q.Push(a)
		done(nil)
		q.Recycle(q.Next())
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}
