package broker

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/leveret-mq/leveret/auth"
	"github.com/leveret-mq/leveret/internal/fs"
	"github.com/leveret-mq/leveret/store"
	"github.com/leveret-mq/leveret/store/local"
)

// openRecovering opens the rig's directory as --recover does.
func (r *rig) openRecovering() {
	r.t.Helper()
	st, err := local.Open(local.Options{Dir: r.dir, Mode: store.ModeOS, Gap: r.gap, Recover: true})
	if err != nil {
		r.t.Fatal(err)
	}
	b, err := Open(st, Options{Recover: true})
	if err != nil {
		r.t.Fatal(err)
	}
	r.Broker, r.store = b, st
}

// fill publishes bodies to a queue.
func (r *rig) fill(queue string, bodies ...string) {
	r.t.Helper()
	p := r.s.NewPublisher()
	for _, body := range bodies {
		publish(r.t, p, "", queue+"="+body)
	}
}

func (r *rig) stop() {
	r.t.Helper()
	if err := errors.Join(r.Close(), r.store.Close()); err != nil {
		r.t.Fatal(err)
	}
}

// TestLostDefinitionsAreRefusedAndRebuilt takes the definitions away, and with them
// the checkpoint that tells of them, as in a directory of an older version.
func TestLostDefinitionsAreRefusedAndRebuilt(t *testing.T) {
	for _, checkpoint := range []bool{true, false} {
		t.Run(fmt.Sprint("checkpoint ", checkpoint), func(t *testing.T) {
			r := start(t)
			r.queue("work", QueueOptions{Durable: true, AutoDelete: true})
			r.queue("idle", QueueOptions{Durable: true})
			other, err := r.s.CreateTopic("events", 2, configs("retention.ms", "4000000"))
			if err != nil {
				t.Fatal(err)
			}
			id := other.TopicID
			r.fill("work", "one", "two")
			r.fill("events", "three", "four", "five")
			if err := r.s.AddPartitions(other, 3); err != nil {
				t.Fatal(err)
			}
			change := "5000000"
			if err := r.s.SetConfig(other, map[string]*string{"retention.ms": &change}); err != nil {
				t.Fatal(err)
			}
			r.stop()
			if err := os.Remove(filepath.Join(r.dir, "defs", "entries")); err != nil {
				t.Fatal(err)
			}
			if !checkpoint {
				if err := os.RemoveAll(filepath.Join(r.dir, "checkpoint")); err != nil {
					t.Fatal(err)
				}
			}
			for range 2 {
				if err := tryOpen(r.dir); !errors.Is(err, store.ErrMissing) {
					t.Fatalf("opened with %v", err)
				}
			}
			r.openRecovering()
			first, err := r.newProducerID()
			if err != nil || first < 1<<40 {
				t.Errorf("producer id %d could have been given out before: %v", first, err)
			}
			r.restart() // without --recover: what was rebuilt lasts
			if _, err := r.v.Queue("idle"); err == nil {
				t.Error("a queue without messages came back out of nothing")
			}
			q, err := r.v.Queue("work")
			if err != nil || !q.AutoDelete || q.Topic {
				t.Fatalf("queue work is %+v, %v", q, err)
			}
			if got := strings.Join(drain(t, q), " "); got != "one two" {
				t.Errorf("it has %q", got)
			}
			topic, err := r.v.Queue("events")
			if err != nil || !topic.Topic || topic.TopicID != id || len(topic.Partitions()) != 3 || topic.Settings().RetentionAge.Milliseconds() != 5_000_000 {
				t.Fatalf("topic events is %+v, %v", topic, err)
			}
			if n := topic.Ready(); n != 3 {
				t.Errorf("it has %d messages", n)
			}
		})
	}
}

// tryOpen opens store and broker and closes both.
func tryOpen(dir string) error {
	st, err := local.Open(local.Options{Dir: dir, Mode: store.ModeOS})
	if err != nil {
		return err
	}
	b, err := Open(st, Options{})
	if err == nil {
		err = b.Close()
	}
	return errors.Join(err, st.Close())
}

func TestAQueueWhoseMessagesAreGoneIsRefused(t *testing.T) {
	r := start(t)
	for _, name := range []string{"a", "b", "c"} {
		r.queue(name, QueueOptions{Durable: true})
		r.fill(name, "one")
	}
	r.stop()
	dirs, err := filepath.Glob(filepath.Join(r.dir, "queues", "*", "*"))
	if err != nil || len(dirs) != 3 {
		t.Fatalf("%v, %v", dirs, err)
	}
	for _, dir := range dirs[:2] {
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	}
	err = tryOpen(r.dir)
	if !errors.Is(err, store.ErrMissing) || strings.Count(err.Error(), "its directory is gone") != 2 {
		t.Fatalf("opened with %v", err)
	}
	r.openRecovering()
	r.restart()
	ready := int64(0)
	for _, name := range []string{"a", "b", "c"} {
		q, err := r.v.Queue(name)
		if err != nil {
			t.Fatal(err)
		}
		ready += q.Ready()
		r.fill(name, "more")
	}
	if ready != 1 {
		t.Errorf("%d messages are left of 3, 2 of which are gone", ready)
	}
}

// TestStatsOpenNothing has a thousand queues with messages, restarts, and asks for
// everybody's figures.
func TestStatsOpenNothing(t *testing.T) {
	const queues = 1000
	r := startWith(t, 0)
	for i := range queues {
		name := fmt.Sprint("q", i)
		q := r.queue(name, QueueOptions{Durable: true})
		r.fill(name, make([]string, 1+i%5)...)
		if i%3 == 0 {
			g, err := r.s.Get(q.Name, true)
			if err != nil || g == nil {
				t.Fatal(err)
			}
		}
	}
	before := figuresOf(r.Broker)
	r.stop()
	opens := &openCounter{FS: fs.Real()}
	st, err := local.Open(local.Options{Dir: r.dir, Mode: store.ModeOS, FS: opens})
	if err != nil {
		t.Fatal(err)
	}
	b, err := Open(st, Options{})
	if err != nil {
		t.Fatal(err)
	}
	r.Broker, r.store = b, st
	opens.count.Store(0)
	after := figuresOf(b)
	if n := opens.count.Load(); n != 0 {
		t.Errorf("%d files of logs were opened by looking", n)
	}
	b.ages.mu.Lock()
	if n := len(b.ages.known); n != 0 {
		t.Errorf("%d logs are opened behind a look at all", n)
	}
	b.ages.mu.Unlock()
	for name, f := range before {
		if got := after[name]; got != f {
			t.Errorf("%s is %+v after a restart, was %+v", name, got, f)
		}
	}
	for _, q := range b.VHosts()[0].Queues() {
		if q.Partitions()[0].cursor.Load() != nil {
			t.Fatal("a cursor was made by looking")
		}
	}
}

// openCounter counts the files of logs that are opened.
type openCounter struct {
	fs.FS
	count atomic.Int64
}

// Open lets the files of the store itself be: what changed is noted in others beside, whenever it is time for that.
func (c *openCounter) Open(name string, flag int) (fs.File, error) {
	if strings.Contains(name, string(filepath.Separator)+"queues"+string(filepath.Separator)) {
		c.count.Add(1)
	}
	return c.FS.Open(name, flag)
}

// figuresOf is what is left and how much that is, by queue.
func figuresOf(b *Broker) map[string][2]int64 {
	out := map[string][2]int64{}
	for _, q := range b.QueueStats() {
		out[q.Name] = [2]int64{q.Ready + q.Unacked, int64(q.Segments)}
	}
	return out
}

// TestALogOfNoQueueIsRefusedUnlessAPowerCutMayHaveLeftIt takes one definition out of the
// table, whose log stays.
func TestALogOfNoQueueIsRefusedUnlessAPowerCutMayHaveLeftIt(t *testing.T) {
	dir := t.TempDir()
	open := func(boot string, recover bool) (*Broker, store.Store, error) {
		st, err := local.Open(local.Options{Dir: dir, Mode: store.ModeOS, BootID: boot, Recover: recover})
		if err != nil {
			t.Fatal(err)
		}
		b, err := Open(st, Options{Recover: recover})
		if err != nil {
			return nil, nil, errors.Join(err, st.Close())
		}
		return b, st, nil
	}
	b, st, err := open("one", false)
	if err != nil {
		t.Fatal(err)
	}
	v, err := b.VHost("/")
	if err != nil {
		t.Fatal(err)
	}
	s := v.NewSession(auth.Identity{Name: "guest"})
	for _, name := range []string{"a", "b"} {
		if _, err := s.DeclareQueue(name, QueueOptions{Durable: true}); err != nil {
			t.Fatal(err)
		}
		publish(t, s.NewPublisher(), "", name+"=body")
	}
	if err := b.defs.Put(t.Context(), store.Entry{Key: store.Key(prefixQueue, "/", "a")}); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(b.Close(), st.Close()); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, _, err := open("one", false); !errors.Is(err, store.ErrMissing) || !strings.Contains(err.Error(), `"/ a"`) {
			t.Fatalf("opened with %v", err)
		}
	}
	for _, boot := range []string{"two", "two"} { // once accepted it is no question again
		b, st, err := open(boot, false)
		if err != nil {
			t.Fatalf("after a power cut: %v", err)
		}
		if err := errors.Join(b.Close(), st.Close()); err != nil {
			t.Fatal(err)
		}
	}
	b, st, err = open("two", true)
	if err != nil {
		t.Fatal(err)
	}
	if v, err = b.VHost("/"); err != nil {
		t.Fatal(err)
	}
	if q, err := v.Queue("a"); err != nil || q.Ready() != 1 {
		t.Errorf("queue a after --recover: %v", err)
	}
	if err := errors.Join(b.Close(), st.Close()); err != nil {
		t.Fatal(err)
	}
}
