package broker

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leveret-mq/leveret/internal/fakeclock"
	"github.com/leveret-mq/leveret/internal/fs"
	"github.com/leveret-mq/leveret/store"
)

func sortedLines(lines []string) string {
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// freezeRemoval has the removal of the logs' files wait.
func (r *frozenRig) freezeRemoval() {
	r.disk.Freeze(func(op fs.Op, name string) bool {
		return op == fs.OpRemove && strings.Contains(name, "/queues/")
	})
}

// removals counts the logs that the definitions say are to be removed.
func (r *frozenRig) removals() (n int) {
	err := r.b.defs.Load(r.t.Context(), func(e store.Entry) error {
		if isRemoval(e.Key) {
			n++
		}
		return nil
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return n
}

// logFiles are the files of all logs.
func logFiles(t *testing.T, f fs.FS) (names []string) {
	t.Helper()
	groups, _ := f.ReadDir("data/queues")
	for _, g := range groups {
		dirs, _ := f.ReadDir("data/queues/" + g)
		for _, d := range dirs {
			files, _ := f.ReadDir("data/queues/" + g + "/" + d)
			names = append(names, fmt.Sprint(d, files))
		}
	}
	return names
}

// TestRemovalsFormatIsKept holds what stands in the definitions of every version.
func TestRemovalsFormatIsKept(t *testing.T) {
	c := &change{}
	if err := c.put(removalKey("258"), removalDef{VHost: "/", Queue: "a/b", Log: "258"}); err != nil {
		t.Fatal(err)
	}
	if e := c.entries[0]; e.Key != "d/258" || string(e.Value) != `{"vhost":"/","queue":"a/b","log":258}` {
		t.Errorf("%s %s", e.Key, e.Value)
	}
}

func TestADeletionDoesNotWaitForItsFiles(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		r := startFrozen(t, fs.NewMem(1))
		defer r.close()
		if _, err := r.s.DeclareQueue("q", durable); err != nil {
			t.Fatal(err)
		}
		publish(t, r.s.NewPublisher(), "", "q=1", "q=2")
		r.freezeRemoval()
		if n, err := r.s.DeleteQueue("q", false, false); err != nil || n != 2 {
			t.Fatal(n, err)
		}
		r.disk.AwaitWaiting(1)
		q, err := r.s.DeclareQueue("q", durable)
		if err != nil || q.Ready() != 0 {
			t.Fatalf("a new queue of the name: %v, %d ready", err, q.Ready())
		}
		publish(t, r.s.NewPublisher(), "", "q=3")
		r.disk.Thaw()
		time.Sleep(time.Minute)
		if n := len(logFiles(t, r.mem)); n != 1 || r.removals() != 0 {
			t.Errorf("%d logs and %d removals are left, want 1 and none", n, r.removals())
		}
		want(t, "the new queue", drain(t, q), []string{"3"})
	})
}

// TestAKillBetweenDeletionAndRemovalLeavesNothing: what was answered as deleted is
// gone after the next start, with its files.
func TestAKillBetweenDeletionAndRemovalLeavesNothing(t *testing.T) {
	for seed := range uint64(8) {
		fakeclock.Test(t, func(t *testing.T) {
			r := startFrozen(t, fs.NewMem(seed))
			for _, name := range []string{"q", "kept"} {
				if _, err := r.s.DeclareQueue(name, durable); err != nil {
					t.Fatal(err)
				}
				publish(t, r.s.NewPublisher(), "", name+"=1")
			}
			if _, err := r.s.CreateTopic("t", 3, nil); err != nil {
				t.Fatal(err)
			}
			r.freezeRemoval()
			for _, name := range []string{"q", "t"} {
				if _, err := r.s.DeleteQueue(name, false, false); err != nil {
					t.Fatal(err)
				}
			}
			after := r.mem.Crash(rand.New(rand.NewPCG(seed, 2)))
			r.close()
			r = startFrozen(t, after)
			defer r.close()
			time.Sleep(time.Minute)
			if files := logFiles(t, after); len(files) != 1 || r.removals() != 0 {
				t.Errorf("%v and %d removals are left, want the files of one log", files, r.removals())
			}
			q, err := r.s.Queue(Look, "kept")
			if err != nil {
				t.Fatal(err)
			}
			want(t, "the other queue", drain(t, q), []string{"1"})
		})
	}
}

// TestAStopDoesNotWaitForALongRemoval: what is left is removed after the next start.
func TestAStopDoesNotWaitForALongRemoval(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		mem := fs.NewMem(1)
		r := startFrozen(t, mem)
		topic, err := r.s.CreateTopic("t", 1, configs("segment.bytes", "65536"))
		if err != nil {
			t.Fatal(err)
		}
		for range 50 {
			publish(t, r.s.NewPublisher(), "", "t="+strings.Repeat("x", 8000))
		}
		if segments := topic.Partitions()[0].log.Figures().Segments; segments < 3 {
			t.Fatalf("only %d segments", segments)
		}
		r.freezeRemoval()
		if _, err := r.s.DeleteQueue("t", false, false); err != nil {
			t.Fatal(err)
		}
		r.disk.AwaitWaiting(1)
		closed := make(chan error, 1)
		go func() { closed <- r.b.Close() }()
		synctest.Wait()
		r.disk.Thaw()
		if err := errors.Join(<-closed, r.st.Close()); err != nil {
			t.Fatal(err)
		}
		if len(logFiles(t, mem)) == 0 {
			t.Error("the stop waited until all was removed")
		}
		r = startFrozen(t, mem)
		defer r.close()
		time.Sleep(time.Minute)
		if files := logFiles(t, mem); len(files) != 0 {
			t.Errorf("%v is left", files)
		}
	})
}

// The directory of a log that is to be removed may be gone already, and whoever removed it killed before that was
// noted: nothing is missing then, and figures are saved as ever.
func TestALogThatIsRemovedAlreadyIsNotMissed(t *testing.T) {
	r := startWith(t, 0)
	q := r.queue("q", QueueOptions{Durable: true})
	publish(t, r.s.NewPublisher(), "", "q=m")
	id := q.Partitions()[0].log.ID()
	var c change
	c.drop(store.Key(prefixQueue, "/", "q"))
	if err := c.put(removalKey(id), removalDef{VHost: "/", Queue: "q", Log: id}); err != nil {
		t.Fatal(err)
	}
	if err := r.putDef(c.entries...); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(r.Close(), r.store.Close()); err != nil {
		t.Fatal(err)
	}
	dirs, _ := filepath.Glob(filepath.Join(r.dir, "queues", "*", "*", "*.log"))
	if len(dirs) != 1 {
		t.Fatal(dirs)
	}
	if err := os.RemoveAll(filepath.Dir(dirs[0])); err != nil {
		t.Fatal(err)
	}
	before := newestCheckpoint(t, r.dir)
	r.open()
	r.queue("other", QueueOptions{Durable: true})
	publish(t, r.s.NewPublisher(), "", "other=m")
	r.restart()
	if after := newestCheckpoint(t, r.dir); after <= before {
		t.Errorf("the newest checkpoint is %s, after the next process %s", before, after)
	}
	if q, err := r.v.Queue("other"); err != nil || q.Ready() != 1 {
		t.Error(err)
	}
}

// newestCheckpoint is the name of the last one that stands in a directory.
func newestCheckpoint(t *testing.T, dir string) string {
	t.Helper()
	files, err := os.ReadDir(filepath.Join(dir, "checkpoint"))
	if err != nil {
		t.Fatal(err)
	}
	newest := ""
	for _, f := range files {
		if name := strings.TrimSuffix(f.Name(), ".clean"); !strings.Contains(name, ".") {
			newest = max(newest, name)
		}
	}
	return newest
}
