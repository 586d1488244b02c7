package kafka

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leveret-mq/leveret/auth"
	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/internal/budget"
	"github.com/leveret-mq/leveret/kafka/wire"
	"github.com/leveret-mq/leveret/store"
)

// sessionClient is a client with a fetch session, and no idea of its own what is to be in it.
type sessionClient struct {
	*raw
	version   int16
	id, epoch int32
	wait, min int32
	isolation int8
	ids       map[string][16]byte
}

// part names a partition.
type part struct {
	topic string
	n     int32
}

// request names partitions with the offsets to read from, and others to forget.
func (c *sessionClient) request(at map[part]int64, forget ...part) *kmsg.FetchRequest {
	q := kmsg.NewPtrFetchRequest()
	q.MaxWaitMillis, q.MinBytes, q.MaxBytes, q.SessionID, q.SessionEpoch, q.IsolationLevel = c.wait, c.min, 1<<20, c.id, c.epoch, c.isolation
	q.Version = c.version
	byTopic := map[string]int{}
	for _, p := range slices.SortedFunc(maps.Keys(at), func(a, b part) int { return int(a.n - b.n) }) {
		i, ok := byTopic[p.topic]
		if !ok {
			i = len(q.Topics)
			byTopic[p.topic] = i
			t := kmsg.NewFetchRequestTopic()
			t.Topic, t.TopicID = p.topic, c.ids[p.topic]
			q.Topics = append(q.Topics, t)
		}
		fp := kmsg.NewFetchRequestTopicPartition()
		fp.Partition, fp.FetchOffset, fp.PartitionMaxBytes = p.n, at[p], 1<<20
		q.Topics[i].Partitions = append(q.Topics[i].Partitions, fp)
	}
	for _, p := range forget {
		f := kmsg.NewFetchRequestForgottenTopic()
		f.Topic, f.TopicID, f.Partitions = p.topic, c.ids[p.topic], []int32{p.n}
		q.ForgottenTopics = append(q.ForgottenTopics, f)
	}
	return q
}

// answer reads an answer: its code, and what it says of partitions.
func (c *sessionClient) answer() (wire.Code, map[part]kmsg.FetchResponseTopicPartition) {
	c.t.Helper()
	var res kmsg.FetchResponse
	c.receive(&res, c.version)
	got := map[part]kmsg.FetchResponseTopicPartition{}
	for i, t := range res.Topics {
		name := t.Topic
		if i > 0 && name == res.Topics[i-1].Topic && t.TopicID == res.Topics[i-1].TopicID {
			c.t.Errorf("topic %s %x begins again behind itself", name, t.TopicID)
		}
		for of, id := range c.ids {
			if c.version >= wire.IDsInFetch && id == t.TopicID {
				name = of
			}
		}
		for _, p := range t.Partitions {
			if _, twice := got[part{name, p.Partition}]; twice {
				c.t.Errorf("%s/%d is in the answer twice", name, p.Partition)
			}
			got[part{name, p.Partition}] = p
		}
	}
	if code := wire.Code(res.ErrorCode); code != wire.None {
		if res.SessionID != 0 || len(got) > 0 {
			c.t.Errorf("code %d with session %d, %d partitions", code, res.SessionID, len(got))
		}
		return code, got
	}
	if c.id = res.SessionID; c.id != 0 {
		c.epoch++
	}
	return wire.None, got
}

func (c *sessionClient) poll(at map[part]int64, forget ...part) (wire.Code, map[part]kmsg.FetchResponseTopicPartition) {
	c.t.Helper()
	c.send(c.request(at, forget...), c.version)
	return c.answer()
}

// expect polls and holds the answer against the partitions that are due.
func (c *sessionClient) expect(what string, at map[part]int64, forget []part, want ...part) map[part]kmsg.FetchResponseTopicPartition {
	c.t.Helper()
	code, got := c.poll(at, forget...)
	names := slices.SortedFunc(maps.Keys(got), func(a, b part) int { return int(a.n - b.n) })
	if code != wire.None || !slices.Equal(names, want) {
		c.t.Fatalf("%s: code %d, partitions %v; want %v", what, code, names, want)
	}
	return got
}

func (r *rig) sessionClient(version int16, topics ...string) *sessionClient {
	r.t.Helper()
	c := &sessionClient{raw: r.raw(), version: version, min: 1, ids: map[string][16]byte{}}
	for _, name := range topics {
		q, err := r.session().Queue(broker.Look, name)
		if err != nil {
			r.t.Fatal(err)
		}
		c.ids[name] = q.TopicID
	}
	return c
}

// appendTo produces a batch to a partition, over a connection of its own.
func (r *rig) appendTo(p part, values ...string) {
	r.t.Helper()
	if r.producer == nil {
		r.producer = r.raw()
	}
	r.producer.send(produceRequest(p.topic, p.n, 1, makeBatch(nil, values...)), 9)
	var res kmsg.ProduceResponse
	r.producer.receive(&res, 9)
	if code := res.Topics[0].Partitions[0].ErrorCode; code != 0 {
		r.t.Fatalf("produce to %v: code %d", p, code)
	}
}

func TestAFetchSessionTellsWhatHasChanged(t *testing.T) {
	for _, version := range []int16{7, 11, 12, 13, 16, 18} {
		t.Run(fmt.Sprint("version ", version), func(t *testing.T) {
			r := newRigMode(t, store.ModeOS, nil)
			r.topic("t", 5, nil)
			r.topic("u", 6, nil)
			c := r.sessionClient(version, "t", "u")
			p0, p1, u5 := part{"t", 0}, part{"t", 1}, part{"u", 5}
			r.appendTo(p1, "a")
			got := c.expect("the first one tells all", map[part]int64{p0: 0, p1: 0, u5: 0}, nil, p0, p1, u5)
			if c.id == 0 || len(got[p1].RecordBatches) == 0 || got[p1].HighWatermark != 1 || got[p0].HighWatermark != 0 {
				t.Fatalf("session %d: %+v", c.id, got)
			}
			c.expect("what was not read yet comes again", nil, nil, p1)
			r.appendTo(p0, "two of a topic")
			c.expect("two of a topic", nil, nil, p0, p1)
			c.expect("nothing is new", map[part]int64{p0: 1, p1: 1}, nil)
			c.expect("nothing is new still", nil, nil)
			r.appendTo(u5, "b", "c")
			got = c.expect("one has something", nil, nil, u5)
			if got[u5].HighWatermark != 2 || len(got[u5].RecordBatches) == 0 || got[u5].ErrorCode != 0 {
				t.Errorf("%+v", got[u5])
			}
			c.expect("read half of it: the batch comes", map[part]int64{u5: 1}, nil, u5)
			c.expect("and now all", map[part]int64{u5: 2}, nil)
			r.appendTo(p0, "d")
			c.expect("what was forgotten is not told", nil, []part{p0, {"u", 3}, {"t", 77}})
			c.expect("nor later", nil, nil)
			c.expect("until it is named again", map[part]int64{p0: 1}, nil, p0)
			if _, err := r.session().Truncate(r.partition(p1), 1); err != nil {
				t.Fatal(err)
			}
			got = c.expect("a start that has moved is told", map[part]int64{p0: 2}, nil, p1)
			if got[p1].LogStartOffset != 1 || len(got[p1].RecordBatches) > 0 {
				t.Errorf("%+v", got[p1])
			}
			c.expect("once", nil, nil)
			got = c.expect("an error is told", map[part]int64{p1: 99}, nil, p1)
			if wire.Code(got[p1].ErrorCode) != wire.OffsetOutOfRange || got[p1].HighWatermark != -1 {
				t.Errorf("%+v", got[p1])
			}
			c.expect("as long as it is there", nil, nil, p1)
			c.expect("and that it is over, too", map[part]int64{p1: 1}, nil, p1)
			c.expect("once", nil, nil)
			c.isolation = readCommitted
			c.expect("what is committed is nothing new", nil, nil)
			id := c.id
			c.expect("without partitions it is over", nil, []part{p0, p1, u5})
			if c.id != 0 {
				t.Errorf("session %d goes on as %d", id, c.id)
			}
			c.id = id
			if code, _ := c.poll(nil); code != wire.FetchSessionIDNotFound {
				t.Errorf("the session that is over: code %d", code)
			}
		})
	}
}

// partition finds one for an administrator.
func (r *rig) partition(p part) *broker.Partition {
	r.t.Helper()
	q, err := r.session().Queue(broker.Look, p.topic)
	if err != nil {
		r.t.Fatal(err)
	}
	return q.Partitions()[p.n]
}

func TestAFetchSessionIsHeldToItsRules(t *testing.T) {
	r := newRigMode(t, store.ModeOS, nil)
	r.topic("t", 2, nil)
	at := map[part]int64{{"t", 0}: 0}
	open := func(version int16) *sessionClient {
		c := r.sessionClient(version, "t")
		c.expect("opens", at, nil, part{"t", 0})
		if c.id == 0 {
			t.Fatal("declined")
		}
		return c
	}
	for name, tc := range map[string]struct {
		change func(c *sessionClient)
		want   wire.Code
		lives  bool
	}{
		"another id":               {func(c *sessionClient) { c.id ^= 1 }, wire.FetchSessionIDNotFound, true},
		"id 0":                     {func(c *sessionClient) { c.id = 0 }, wire.FetchSessionIDNotFound, true},
		"an epoch ahead":           {func(c *sessionClient) { c.epoch++ }, wire.InvalidFetchSessionEpoch, true},
		"an epoch again":           {func(c *sessionClient) { c.epoch += 3 }, wire.InvalidFetchSessionEpoch, true},
		"a negative epoch":         {func(c *sessionClient) { c.epoch = -2 }, wire.InvalidFetchSessionEpoch, true},
		"another connection":       {func(c *sessionClient) { c.raw = r.raw() }, wire.FetchSessionIDNotFound, false},
		"names where it had ids":   {func(c *sessionClient) { c.version = 12 }, wire.FetchSessionTopicIDError, true},
		"all is named anew":        {func(c *sessionClient) { c.epoch = 0 }, wire.None, false},
		"it wants no session more": {func(c *sessionClient) { c.epoch = -1 }, wire.None, false},
		"nothing":                  {func(c *sessionClient) {}, wire.None, false},
	} {
		t.Run(name, func(t *testing.T) {
			c := open(16)
			was := *c
			tc.change(c)
			if code, _ := c.poll(at); code != tc.want {
				t.Errorf("code %d, want %d", code, tc.want)
			}
			if tc.lives {
				if code, _ := was.poll(nil); code != wire.None || was.id == 0 {
					t.Errorf("the session that was asked for wrongly is gone: code %d", code)
				}
			}
		})
	}
	t.Run("ids where it had names", func(t *testing.T) {
		c := open(12)
		c.version = 13
		if code, _ := c.poll(nil); code != wire.FetchSessionTopicIDError {
			t.Errorf("code %d", code)
		}
	})
	t.Run("the one that is named anew replaces the old one", func(t *testing.T) {
		c := open(16)
		old, n := *c, r.fetchSessions()
		c.epoch = 0
		c.expect("opens", at, nil, part{"t", 0})
		if code, _ := old.poll(nil); c.id == old.id || code != wire.FetchSessionIDNotFound || r.fetchSessions() != n {
			t.Errorf("session %d after %d, which answers code %d", c.id, old.id, code)
		}
	})
	t.Run("a connection may have several", func(t *testing.T) {
		a := open(16)
		b := *a
		b.id, b.epoch = 0, 0
		b.expect("opens", map[part]int64{{"t", 1}: 0}, nil, part{"t", 1})
		r.appendTo(part{"t", 0}, "x")
		b.correlation, a.correlation = 100, 200
		b.expect("has another partition", nil, nil)
		a.expect("has it", nil, nil, part{"t", 0})
	})
	t.Run("versions before 7 have none", func(t *testing.T) {
		c := r.sessionClient(6, "t")
		if c.expect("reads", at, nil, part{"t", 0}); c.id != 0 {
			t.Error("a session")
		}
	})
	t.Run("who wants none gets none", func(t *testing.T) {
		c := r.sessionClient(12, "t")
		c.epoch = -1
		if c.expect("reads", at, nil, part{"t", 0}); c.id != 0 {
			t.Error("a session")
		}
	})
}

// An epoch begins again at 1 behind the largest.
func TestTheEpochOfAFetchSessionWrapsAround(t *testing.T) {
	p := newPolling(t, 1)
	p.open()
	x := p.c.fetch.sessions[p.id]
	x.epoch = math.MaxInt32
	empty := *p.full
	empty.Topics = nil
	for _, p.epoch = range []int32{math.MaxInt32, 1, 2} {
		p.serve(&empty)
		if x.gone.Load() || p.c.fetch.sessions[p.id] != x {
			t.Fatal("the session is over")
		}
	}
	if x.epoch != 3 {
		t.Errorf("the next epoch is %d", x.epoch)
	}
}

func TestAFetchInASessionWaitsForWhatComes(t *testing.T) {
	r := newRigMode(t, store.ModeOS, nil)
	r.topic("t", 100, nil)
	c := r.sessionClient(16, "t")
	at := map[part]int64{}
	for i := range int32(100) {
		at[part{"t", i}] = 0
	}
	c.poll(at)
	c.wait = forEver
	r.topic("other", 1, nil)
	for _, n := range []int32{7, 93, 7} {
		p := part{"t", n}
		c.send(c.request(nil), c.version)
		eventually(t, "the fetch waits", func() bool { return r.waits(c.id) })
		r.appendTo(part{"other", 0}, "not in the session")
		r.appendTo(p, "x")
		_, got := c.answer()
		if len(got) != 1 || len(got[p].RecordBatches) == 0 {
			t.Fatalf("%v", got)
		}
		c.wait = 0
		c.poll(map[part]int64{p: got[p].HighWatermark})
		c.wait = forEver
	}
	t.Run("until it is enough", func(t *testing.T) {
		c.min = 300
		c.send(c.request(nil), c.version)
		eventually(t, "the fetch waits", func() bool { return r.waits(c.id) })
		p := part{"t", 50}
		for range 2 {
			r.appendTo(p, "x") // about 80 bytes each
			time.Sleep(3 * moreAfter)
			if !r.waits(c.id) {
				t.Fatal("answered too soon")
			}
		}
		r.appendTo(p, string(make([]byte, 300)))
		if _, got := c.answer(); len(got) != 1 || got[p].HighWatermark != 3 {
			t.Errorf("%v", got)
		}
	})
	t.Run("also where there is news that is nothing to read", func(t *testing.T) {
		c.min, c.wait = 1, 0
		p := part{"t", 50}
		c.expect("all is read", map[part]int64{p: 3}, nil)
		if _, err := r.session().Truncate(r.partition(p), 2); err != nil {
			t.Fatal(err)
		}
		c.wait = forEver
		c.send(c.request(nil), c.version)
		eventually(t, "the fetch has looked", func() bool { return r.waits(c.id) && r.listed(c.id) == 1 })
		r.appendTo(p, "x")
		if _, got := c.answer(); got[p].HighWatermark != 4 || got[p].LogStartOffset != 2 || len(got[p].RecordBatches) == 0 {
			t.Errorf("%v", got)
		}
	})
	t.Run("or an end", func(t *testing.T) {
		c.min = 1 << 20
		c.send(c.request(nil), c.version)
		eventually(t, "the fetch waits", func() bool { return r.waits(c.id) })
		if _, err := r.session().DeleteQueue("t", false, false); err != nil {
			t.Fatal(err)
		}
		_, got := c.answer()
		if p := got[part{"t", 50}]; wire.Code(p.ErrorCode) != wire.UnknownTopicID {
			t.Errorf("%+v", p)
		}
	})
}

// fetchSessions is how many there are.
func (r *rig) fetchSessions() int {
	s := &r.server.fetchSessions
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.byID)
}

// waits says whether a request of a session is parked.
func (r *rig) waits(id int32) bool {
	r.server.fetchSessions.mu.Lock()
	defer r.server.fetchSessions.mu.Unlock()
	x := r.server.fetchSessions.byID[id]
	return x != nil && x.waiting.Load()
}

// listed is how many partitions of a session are to be looked at.
func (r *rig) listed(id int32) (n int) {
	r.server.fetchSessions.mu.Lock()
	x := r.server.fetchSessions.byID[id]
	r.server.fetchSessions.mu.Unlock()
	x.changed.mu.Lock()
	defer x.changed.mu.Unlock()
	for p := x.changed.first; p != nil; p = p.next {
		n++
	}
	return n
}

// Who reads what is committed and then all, or the other way round, has every partition looked at.
func TestAFetchSessionIsLookedThroughWhenItsIsolationChanges(t *testing.T) {
	p := newPolling(t, 50)
	p.open()
	x := p.c.fetch.sessions[p.id]
	for i, step := range []struct {
		isolation int8
		want      int
	}{{0, 0}, {readCommitted, 50}, {readCommitted, 0}, {0, 50}} {
		x.update(&wire.FetchRequest{Isolation: step.isolation}, time.Now())
		n := 0
		for q, _ := x.changed.take(); q != nil; q = q.unlist() {
			n++
		}
		if n != step.want {
			t.Errorf("step %d: %d partitions are looked at", i, n)
		}
	}
}

// What a client was told is no news, and anything else is.
func TestNewsOfAPartition(t *testing.T) {
	told := wire.FetchState{HighWatermark: 7, LastStableOffset: 5, LogStartOffset: 2}
	for name, tc := range map[string]struct {
		before, now wire.FetchState
		news        bool
	}{
		"nothing":              {told, told, false},
		"records":              {told, wire.FetchState{HighWatermark: 7, LogStartOffset: 2, Records: 1}, true},
		"the end":              {told, wire.FetchState{HighWatermark: 8, LogStartOffset: 2}, true},
		"the start":            {told, wire.FetchState{HighWatermark: 7, LogStartOffset: 3}, true},
		"the last stable one":  {told, wire.FetchState{HighWatermark: 7, LastStableOffset: 6, LogStartOffset: 2}, false}, // as in Kafka
		"an error":             {told, wire.FetchState{HighWatermark: 7, LogStartOffset: 2, Err: wire.StorageError}, true},
		"an error is over":     {wire.FetchState{HighWatermark: 7, LogStartOffset: 2, Err: wire.StorageError}, told, true},
		"an error that stays":  {wire.FetchState{HighWatermark: -1, Err: wire.StorageError}, wire.FetchState{HighWatermark: -1, Err: wire.StorageError}, true},
		"never told of it yet": {wire.FetchState{HighWatermark: -1, LogStartOffset: -1}, wire.FetchState{}, true},
	} {
		p := &fetchPart{}
		p.tell(&tc.before)
		if got := (&fetched{of: p, state: tc.now}); got.news() != tc.news {
			t.Errorf("%s: news %v", name, got.news())
		}
	}
}

// A topic that is made again is another one for who named it by its id, and the same for who named it by its name.
func TestAFetchSessionSeesThatItsTopicIsMadeAgain(t *testing.T) {
	for version, want := range map[int16][2]wire.Code{12: {wire.UnknownTopicOrPartition, wire.None}, 16: {wire.UnknownTopicID, wire.UnknownTopicID}} {
		r := newRigMode(t, store.ModeOS, nil)
		r.topic("t", 1, nil)
		c := r.sessionClient(version, "t")
		p := part{"t", 0}
		c.expect("opens", map[part]int64{p: 0}, nil, p)
		c.expect("quiet", nil, nil)
		if _, err := r.session().DeleteQueue("t", false, false); err != nil {
			t.Fatal(err)
		}
		if got := c.expect("deleted", nil, nil, p); wire.Code(got[p].ErrorCode) != want[0] {
			t.Errorf("version %d: %+v", version, got[p])
		}
		r.topic("t", 1, nil)
		r.appendTo(p, "new")
		if got := c.expect("made again", nil, nil, p); wire.Code(got[p].ErrorCode) != want[1] || want[1] == wire.None && len(got[p].RecordBatches) == 0 {
			t.Errorf("version %d: %+v", version, got[p])
		}
	}
}

// A right that is lost is an error of a session's partitions, and one that comes back has them told again.
func TestAFetchSessionObeysWhatTheClientMay(t *testing.T) {
	r, have := newRightsRig(t)
	have.set("read", "write")
	c := r.sessionClientNamed(12)
	p := part{"t", 0}
	c.expect("opens", map[part]int64{p: 1}, nil, p)
	c.expect("quiet", nil, nil)
	have.set("write")
	r.broker.PolicyChanged()
	if got := c.expect("refused", nil, nil, p); wire.Code(got[p].ErrorCode) != wire.TopicAuthorizationFailed {
		t.Errorf("%+v", got[p])
	}
	r.appendTo(p, "meanwhile")
	have.set("read", "write")
	r.broker.PolicyChanged()
	if got := c.expect("let in again", nil, nil, p); got[p].ErrorCode != 0 || len(got[p].RecordBatches) == 0 {
		t.Errorf("%+v", got[p])
	}
	c.expect("quiet", map[part]int64{p: 2}, nil)
	r.appendTo(p, "it is watched again")
	c.expect("news", nil, nil, p)
}

func (r *rig) sessionClientNamed(version int16) *sessionClient {
	return &sessionClient{raw: r.raw(), version: version, min: 1}
}

func TestAFetchSessionEndsWithItsConnectionAndLeavesNothing(t *testing.T) {
	b := budget.New(budget.Options{})
	r := newRigMode(t, store.ModeOS, func(o *Options) { o.Budget = b })
	r.topic("t", 200, nil)
	held := r.server.members.Held()
	at := map[part]int64{}
	for i := range int32(200) {
		at[part{"t", i}] = 0
	}
	for _, park := range []bool{false, true} {
		c := r.sessionClient(16, "t")
		c.poll(at)
		c.poll(nil)
		if took := r.server.members.Held() - held; took < 200*fetchPartBytes {
			t.Errorf("200 partitions are counted with %d bytes", took)
		}
		if park {
			c.wait = forEver
			c.send(c.request(nil), c.version)
			eventually(t, "the fetch waits", func() bool { return r.waits(c.id) })
		}
		c.nc.Close()
		eventually(t, "the session ends", func() bool { return r.fetchSessions() == 0 && r.server.members.Held() == held })
	}
}

func TestWithoutMemoryAFetchSessionIsDeclinedAndTheFetchAnswered(t *testing.T) {
	r := newRigMode(t, store.ModeOS, func(o *Options) { o.Budget = budget.New(budget.Options{Bytes: 1 << 20}) })
	r.topic("t", 1000, nil)
	c := r.sessionClient(16, "t")
	at := map[part]int64{}
	for i := range int32(1000) {
		at[part{"t", i}] = 0
	}
	if code, got := c.poll(at); code != wire.None || c.id != 0 || len(got) != 1000 || r.server.members.Held() != 0 {
		t.Errorf("code %d, session %d, %d partitions, %d bytes held", code, c.id, len(got), r.server.members.Held())
	}
	few := map[part]int64{{"t", 0}: 0}
	c.poll(few)
	if c.id == 0 {
		t.Fatal("a small one is declined, too")
	}
	if code, _ := c.poll(at); code != wire.FetchSessionIDNotFound || r.server.members.Held() != 0 {
		t.Errorf("one that grows beyond the memory: code %d, %d bytes held", code, r.server.members.Held())
	}
}

// The places are Kafka's to give: first those of who was away for two minutes, then those of old ones with fewer partitions.
func TestFetchSessionsGiveWayAsInKafka(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	made := func(size int64, made, used time.Duration) *fetchSession {
		x := &fetchSession{made: now.Add(-made), memory: budget.New(budget.Options{}).OpenCommon()}
		x.size.Store(size)
		x.used.Store(now.Add(-used).UnixNano())
		return x
	}
	fill := func() *fetchSessions {
		s := &fetchSessions{}
		for range maxFetchSessions - 2 {
			if !s.add(made(100, time.Minute, 0), now) {
				t.Fatal("no place")
			}
		}
		return s
	}
	for name, tc := range map[string]struct {
		a, b *fetchSession
		size int64
		out  int // 0 none, 1 a, 2 b
	}{
		"none is old":                       {made(1, time.Minute, 0), made(2, time.Minute, 0), 1000, 0},
		"an old one that is as large":       {made(50, time.Hour, 0), made(60, time.Hour, 0), 50, 0},
		"the smallest old one":              {made(50, time.Hour, 0), made(40, time.Hour, time.Minute), 51, 2},
		"one that is unused for long":       {made(5000, time.Hour, time.Hour), made(1, time.Hour, 0), 2, 1},
		"whichever was unused the longest":  {made(5000, time.Hour, 3*time.Minute), made(9000, time.Hour, 4*time.Minute), 1, 2},
		"one that is unused for not enough": {made(5000, time.Hour, time.Minute), made(6000, time.Hour, time.Minute), 1, 0},
	} {
		s := fill()
		if !s.add(tc.a, now) || !s.add(tc.b, now) {
			t.Fatal("no place")
		}
		x := made(tc.size, 0, 0)
		ok := s.add(x, now)
		out := 0
		if tc.a.gone.Load() {
			out = 1
		}
		if tc.b.gone.Load() {
			out += 2
		}
		if out != tc.out || ok != (tc.out != 0) || len(s.byID) != maxFetchSessions || ok && s.byID[x.id] != x {
			t.Errorf("%s: a place %v, %d gave way", name, ok, out)
		}
	}
}

// One that has to give way while its client waits is over for it, and lets go of all it has.
func TestAFetchSessionThatGaveWayIsNotFound(t *testing.T) {
	r := newRigMode(t, store.ModeOS, nil)
	r.topic("t", 3, nil)
	at := map[part]int64{{"t", 0}: 0, {"t", 1}: 0}
	for _, parked := range []bool{false, true} {
		c := r.sessionClient(16, "t")
		c.poll(at)
		c.poll(nil)
		r.server.fetchSessions.mu.Lock()
		x := r.server.fetchSessions.byID[c.id]
		r.server.fetchSessions.mu.Unlock()
		c.wait = 300
		if parked {
			c.send(c.request(nil), c.version)
			eventually(t, "the fetch waits", func() bool { return r.waits(c.id) })
		}
		r.server.fetchSessions.remove(x)
		x.evict()
		if !parked {
			c.send(c.request(nil), c.version)
		}
		if code, _ := c.answer(); code != wire.FetchSessionIDNotFound || r.server.members.Held() != 0 {
			t.Errorf("parked %v: code %d, %d bytes held", parked, code, r.server.members.Held())
		}
		c.nc.Close()
	}
}

// Who reads by a session gets everything that many write at a time, once, in order, whatever leaves and enters the session
// meanwhile.
func TestAFetchSessionMissesNothing(t *testing.T) {
	const parts, writers, each = 40, 4, 150
	r := newRigMode(t, store.ModeOS, nil)
	r.topic("t", parts, nil)
	var group sync.WaitGroup
	var mu sync.Mutex
	written := map[part]int64{}
	for w := range writers {
		p := r.raw()
		rng := rand.New(rand.NewPCG(1, uint64(w)))
		group.Go(func() {
			for range each {
				to := part{"t", rng.Int32N(parts)}
				p.send(produceRequest(to.topic, to.n, 1, makeBatch(nil, "v")), 9)
				var res kmsg.ProduceResponse
				p.receive(&res, 9)
				mu.Lock()
				written[to]++
				mu.Unlock()
			}
		})
	}
	c := r.sessionClient(16, "t")
	c.wait = 20
	next, asked, out := map[part]int64{}, map[part]int64{}, map[part]bool{}
	for i := range int32(parts) {
		next[part{"t", i}], asked[part{"t", i}] = 0, 0
	}
	rng := rand.New(rand.NewPCG(2, 2))
	done := make(chan struct{})
	go func() { group.Wait(); close(done) }()
	over := 0
	for polls := 0; over < 3; polls++ {
		var forget []part
		for p := range next {
			switch {
			case out[p] && rng.IntN(3) == 0:
				delete(out, p)
				asked[p] = next[p]
			case !out[p] && rng.IntN(40) == 0 && over == 0:
				out[p] = true
				delete(asked, p)
				forget = append(forget, p)
			}
		}
		code, got := c.poll(asked, forget...)
		if code != wire.None {
			t.Fatalf("code %d", code)
		}
		clear(asked)
		for p, res := range got {
			if out[p] || res.ErrorCode != 0 {
				t.Fatalf("%v, which is out: %v: %+v", p, out[p], res)
			}
			data := res.RecordBatches
			for len(data) > 0 {
				b, rest, err := batch.Next(data)
				if err != nil || b.BaseOffset() != next[p] {
					t.Fatalf("%v: a batch at %d where %d was due: %v", p, b.BaseOffset(), next[p], err)
				}
				next[p] = b.LastOffset() + 1
				data = rest
			}
			asked[p] = next[p]
		}
		select {
		case <-done:
			if len(got) == 0 && len(out) == 0 {
				over++
			}
		default:
		}
		if polls > 20_000 {
			t.Fatal("it does not end")
		}
	}
	if !maps.Equal(written, func() map[part]int64 {
		m := maps.Clone(next)
		maps.DeleteFunc(m, func(_ part, n int64) bool { return n == 0 })
		return m
	}()) {
		t.Errorf("written %v, read %v", written, next)
	}
}

// What was in a session and is not any more hears nothing of appends.
func TestAFetchSessionThatIsOverIsNotWokenAnyMore(t *testing.T) {
	for name, end := range map[string]func(p *polling, x *fetchSession){
		"all forgotten": func(p *polling, x *fetchSession) {
			t0 := wire.FetchTopic{Name: []byte("t0"), Len: 5}
			x.update(&wire.FetchRequest{Forgotten: []wire.FetchTopic{t0}, ForgottenOf: []int32{0, 1, 2, 3, 4}}, time.Now())
		},
		"ended":                func(p *polling, x *fetchSession) { p.c.endFetchSession(x.id) },
		"gave way":             func(p *polling, x *fetchSession) { x.evict() },
		"gave way at a look":   func(p *polling, x *fetchSession) { x.gone.Store(true); p.c.lookInSession(x, 1) },
		"another user's login": func(p *polling, x *fetchSession) { _ = p.c.admit(auth.Identity{Name: "other"}, "") },
	} {
		p := newPolling(t, 5)
		p.open()
		x := p.c.fetch.sessions[p.id]
		p.add(makeBatch(nil, "v"))
		first, _ := x.changed.take()
		if first == nil {
			t.Fatal("an append is not heard")
		}
		first.unlist()
		end(p, x)
		x.changed.take()
		if p.add(makeBatch(nil, "v")); x.changed.first != nil {
			t.Errorf("%s: an append is heard", name)
		}
		if held := p.c.s.members.Held(); held != 0 {
			t.Errorf("%s: %d bytes are held", name, held)
		}
	}
}

// More than may be in an answer, or than a partition may give, is not waited for.
func TestAFetchDoesNotWaitForMoreThanItMayBeAnswered(t *testing.T) {
	r := newRigMode(t, store.ModeOS, nil)
	r.topic("t", 1, nil)
	p := part{"t", 0}
	for range 20 {
		r.appendTo(p, string(make([]byte, 1000)))
	}
	for name, edit := range map[string]func(q *kmsg.FetchRequest){
		"min bytes above max bytes":           func(q *kmsg.FetchRequest) { q.MinBytes, q.MaxBytes = 1<<20, 5000 },
		"min bytes are the partition's limit": func(q *kmsg.FetchRequest) { q.MinBytes, q.Topics[0].Partitions[0].PartitionMaxBytes = 5000, 5000 },
	} {
		c := r.sessionClient(12, "t")
		c.wait = forEver
		q := c.request(map[part]int64{p: 0})
		edit(q)
		c.send(q, c.version)
		_, got := c.answer()
		if n := len(got[p].RecordBatches); n == 0 || n > 5000 {
			t.Errorf("%s: %d bytes", name, n)
		}
	}
}

// Topics by very many ids are found without looking through all topics for each.
func TestManyTopicsOfASessionAreFoundByTheirIDs(t *testing.T) {
	r := newRigMode(t, store.ModeOS, nil)
	at := map[part]int64{}
	var names []string
	for i := range 60 {
		name := fmt.Sprint("t", i)
		r.topic(name, 1, nil)
		names = append(names, name)
		at[part{name, 0}] = 0
	}
	c := r.sessionClient(16, names...)
	c.ids["nobody"] = [16]byte{1, 2, 3}
	at[part{"nobody", 0}] = 0
	_, got := c.poll(at)
	for p, res := range got {
		want := wire.None
		if p.topic == "nobody" {
			want = wire.UnknownTopicID
		}
		if wire.Code(res.ErrorCode) != want {
			t.Errorf("%v: code %d", p, res.ErrorCode)
		}
	}
	if len(got) != 61 {
		t.Errorf("%d partitions are told", len(got))
	}
}
