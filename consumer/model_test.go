package consumer

import (
	"testing"

	"pgregory.net/rapid"
)

// model is what a cursor must do, the slow way: one entry a message.
type model struct {
	log    *busyLog
	c      *Cursor
	msgs   []offset // all that exist, in order
	acked  map[offset]bool
	seen   map[offset]bool      // a second delivery must say so
	count  map[offset]int       // returns
	holder map[offset]*Consumer // taken and unsettled
	hold   map[offset]bool      // on their way out
	due    map[offset]int64     // that wait, and for when
	now    int64
	handed offset
	credit *Credit
	limit  int
	ks     []*modelConsumer

	saved      []byte // last AppendState
	savedAcked map[offset]bool
	savedCount map[offset]int
}

type modelConsumer struct {
	k    *Consumer
	o    ConsumerOptions
	idle bool // its last Take got nothing, and no wake came since
}

func newModel(t *rapid.T) *model {
	m := &model{log: &busyLog{}, limit: rapid.IntRange(0, 4).Draw(t, "shared limit"), acked: map[offset]bool{}, seen: map[offset]bool{}, count: map[offset]int{}}
	m.open(t, State{})
	return m
}

func (m *model) open(t *rapid.T, st State) {
	c, err := New(m.log, st)
	if err != nil {
		t.Fatal(err)
	}
	m.c, m.holder, m.hold, m.due, m.ks, m.credit = c, map[offset]*Consumer{}, map[offset]bool{}, map[offset]int64{}, nil, NewCredit(m.limit)
}

func (m *model) publish(t *rapid.T) {
	n, gap := rapid.IntRange(0, 9).Draw(t, "n"), rapid.IntRange(0, 3).Draw(t, "gap")
	if rapid.IntRange(0, 9).Draw(t, "large") == 0 {
		n *= 700 // over the border of a page
	}
	before := m.log.end
	m.log.add(n, gap)
	for o := before + offset(gap); o < m.log.end; o++ {
		m.msgs = append(m.msgs, o)
	}
	m.c.Notify()
}

func (m *model) subscribe(t *rapid.T) {
	mk := &modelConsumer{o: ConsumerOptions{
		Priority: rapid.IntRange(0, 2).Draw(t, "priority"),
		Prefetch: rapid.SampledFrom([]int{0, 0, 1, 3, 300}).Draw(t, "prefetch"),
		NoAck:    rapid.IntRange(0, 3).Draw(t, "no ack") == 0,
	}}
	mk.o.Wake = func() { mk.idle = false }
	if rapid.Bool().Draw(t, "shared") {
		mk.o.Shared = m.credit
	}
	mk.idle = true
	k, err := m.c.Add(mk.o)
	if err != nil {
		t.Fatal(err)
	}
	mk.k = k
	m.ks = append(m.ks, mk)
}

func (m *model) pick(t *rapid.T) *modelConsumer {
	if len(m.ks) == 0 {
		return nil
	}
	return m.ks[rapid.IntRange(0, len(m.ks)-1).Draw(t, "consumer")]
}

func (m *model) take(t *rapid.T) {
	mk := m.pick(t)
	if mk == nil {
		return
	}
	n := rapid.SampledFrom([]int{1, 2, 7, 5000}).Draw(t, "max")
	dealt := mk.k.boxed > 0 // before others left, and maybe before an older message came back
	m.log.meanwhile = func() { m.meanwhile(t, mk) }
	m.log.cold = rapid.IntRange(0, 2).Draw(t, "cold") == 0
	runs := mk.k.Take(n, nil)
	m.log.cold = false
	m.log.meanwhile = nil
	mk.idle = len(runs) == 0
	if total(runs) > int64(n) {
		t.Fatalf("took %d of at most %d", total(runs), n)
	}
	if len(m.ks) == 1 && !dealt {
		m.checkInOrder(t, mk, n, runs)
	}
	m.handOut(t, mk.k, mk.o.NoAck, runs)
	if mk.o.Prefetch > 0 && mk.k.Held() > int64(mk.o.Prefetch) {
		t.Fatalf("holds %d with prefetch %d", mk.k.Held(), mk.o.Prefetch)
	}
}

// meanwhile is what may happen while a consumer's Take asks the log.
func (m *model) meanwhile(t *rapid.T, taker *modelConsumer) {
	m.log.meanwhile = nil
	switch rapid.SampledFrom([]string{"nothing", "publish", "get", "settle", "purge", "take", "leave", "release", "wait"}).Draw(t, "meanwhile") {
	case "publish":
		m.publish(t)
	case "get":
		m.get(t)
	case "settle":
		m.settle(t)
	case "purge":
		m.purge(t)
	case "leave":
		m.leave(t)
	case "release":
		m.release(t)
	case "wait":
		m.wait(t)
	case "take":
		if mk := m.pick(t); mk != taker {
			runs := mk.k.Take(3, nil)
			mk.idle = len(runs) == 0
			m.handOut(t, mk.k, mk.o.NoAck, runs)
		}
	}
	m.log.meanwhile = func() { m.meanwhile(t, taker) }
}

// answer has the log answer what it was to be asked later.
func (m *model) answer(t *rapid.T) {
	m.log.meanwhile = func() { m.meanwhile(t, nil) }
	m.log.answer()
	m.log.meanwhile = nil
}

// checkInOrder: alone, a consumer gets the first messages that are ready.
func (m *model) checkInOrder(t *rapid.T, mk *modelConsumer, n int, runs []Run) {
	if mk.o.Prefetch > 0 && !mk.o.NoAck {
		n = min(n, mk.o.Prefetch-m.held(mk.k))
	}
	if mk.o.Shared != nil && m.limit > 0 {
		if left := m.limit - m.heldShared(); !mk.o.NoAck || left <= 0 {
			n = min(n, left)
		}
	}
	var want []offset
	for _, o := range m.msgs {
		if len(want) < n && !m.acked[o] && m.holder[o] == nil && !m.hold[o] && !m.waits(o) {
			want = append(want, o)
		}
	}
	i := 0
	for _, r := range runs {
		for o := r.First; o <= r.Last; o++ {
			if i == len(want) || want[i] != o {
				t.Fatalf("message %d out of order in %v, want %d messages", o, runs, len(want))
			}
			i++
		}
	}
	if i == 0 && len(want) > 0 && len(m.log.asked) == 0 { // it may stop where it would have to ask the log
		t.Fatalf("took nothing, want up to %d messages", len(want))
	}
}

func (m *model) held(k *Consumer) (n int) {
	for _, h := range m.holder {
		if h == k {
			n++
		}
	}
	return n
}

func (m *model) heldShared() (n int) {
	for _, h := range m.holder {
		if h.opts.Shared != nil && !h.opts.NoAck {
			n++
		}
	}
	return n
}

func (m *model) handOut(t *rapid.T, k *Consumer, noAck bool, runs []Run) {
	for _, r := range runs {
		for o := r.First; o <= r.Last; o++ {
			if m.acked[o] || m.holder[o] != nil || m.hold[o] || m.waits(o) {
				t.Fatalf("message %d handed out twice", o)
			}
			if int(r.Returned) != m.count[o] {
				t.Fatalf("message %d returned %d times, want %d", o, r.Returned, m.count[o])
			}
			if r.Redelivered != m.seen[o] {
				t.Fatalf("message %d redelivered %v, want %v", o, r.Redelivered, m.seen[o])
			}
			m.handed = max(m.handed, o+1)
			if noAck {
				m.acked[o] = true
				delete(m.count, o)
			} else {
				m.holder[o] = k
			}
		}
	}
}

func (m *model) get(t *rapid.T) {
	if r, ok := m.c.Get(); ok {
		m.handOut(t, m.c.Getter(), false, []Run{r})
	} else if m.c.Ready() != 0 {
		t.Fatalf("get found nothing of %d", m.c.Ready())
	}
}

// settle settles a run of messages that one consumer holds, or fails to.
func (m *model) settle(t *rapid.T) {
	if len(m.msgs) == 0 {
		return
	}
	at := rapid.IntRange(0, len(m.msgs)-1).Draw(t, "at")
	if len(m.holder) > 0 { // begin at something that is held
		for m.holder[m.msgs[at]] == nil {
			at = (at + 1) % len(m.msgs)
		}
	}
	r := Run{First: m.msgs[at], Last: m.msgs[at]}
	k := m.holder[r.First]
	for n := rapid.SampledFrom([]int{1, 1, 3, 5000}).Draw(t, "n"); n > 1 && k != nil && m.holder[r.Last+1] == k; n-- {
		r.Last++
	}
	how := rapid.SampledFrom([]settling{acked, acked, requeued, unseen, onHold, later, later}).Draw(t, "how")
	settle := func(k *Consumer) error { return k.settle([]Run{r}, how) }
	after := m.after(t)
	if how == later {
		settle = func(k *Consumer) error {
			next, err := k.RequeueLater(r.First, r.Last, m.now, after)
			for o := r.First; o <= r.Last && err == nil; o++ {
				m.due[o] = m.now + after(m.count[o]+1)
			}
			if first, ok := m.firstDue(); err == nil && (!ok || next != first) {
				t.Fatalf("next is due at %d, want %d, %v", next, first, ok)
			}
			return err
		}
	}
	if k == nil {
		if mk := m.pick(t); mk != nil && settle(mk.k) == nil {
			t.Fatalf("settled %v, which nobody holds", r)
		}
		return
	}
	if err := settle(k); err != nil {
		t.Fatal(err)
	}
	for o := r.First; o <= r.Last; o++ {
		delete(m.holder, o)
		switch how {
		case acked:
			m.acked[o] = true
			delete(m.count, o)
		case requeued, later:
			m.seen[o] = true
			m.count[o]++
		case onHold:
			m.hold[o] = true
		}
	}
}

// leave puts the first ready messages on hold.
func (m *model) leave(t *rapid.T) {
	n := rapid.SampledFrom([]int64{1, 2, 5000}).Draw(t, "most")
	head, ok := m.c.Head(n)
	if !ok {
		return
	}
	if head.Len() > n {
		t.Fatalf("head %v of at most %d", head, n)
	}
	for _, r := range m.c.HoldReady(head.First, head.Last, nil) {
		for o := r.First; o <= r.Last; o++ {
			if m.acked[o] || m.holder[o] != nil || m.hold[o] || m.waits(o) {
				t.Fatalf("message %d was not ready", o)
			}
			m.hold[o] = true
		}
	}
}

// release ends a hold in one of the two ways.
func (m *model) release(t *rapid.T) {
	back := rapid.Bool().Draw(t, "back")
	for _, o := range m.msgs {
		switch {
		case !m.hold[o]:
			continue
		case back:
			m.c.Unhold(o, o)
		default:
			m.c.Free(o, o)
			m.acked[o] = true
			delete(m.count, o)
		}
		delete(m.hold, o)
	}
}

// after draws for how long a message waits that came back that often: short enough to be exact.
func (m *model) after(t *rapid.T) func(int) int64 {
	least := rapid.SampledFrom([]int64{1, 2, 10, 300}).Draw(t, "least")
	return func(returns int) int64 { return min(least*int64(returns), 1000) }
}

func (m *model) waits(o offset) bool {
	_, ok := m.due[o]
	return ok
}

func (m *model) firstDue() (at int64, ok bool) {
	for _, due := range m.due {
		if !ok || due < at {
			at, ok = due, true
		}
	}
	return at, ok
}

// wait lets time pass.
func (m *model) wait(t *rapid.T) {
	m.now += rapid.SampledFrom([]int64{0, 1, 5, 50, 1000}).Draw(t, "passes")
	next, ok := m.c.RetryDue(m.now)
	for o, due := range m.due {
		if due <= m.now {
			delete(m.due, o)
		}
	}
	if first, more := m.firstDue(); ok != more || ok && next != first {
		t.Fatalf("at %d the next is due at %d, %v, want %d, %v", m.now, next, ok, first, more)
	}
}

func (m *model) cancel(t *rapid.T) {
	mk := m.pick(t)
	if mk == nil {
		return
	}
	mk.k.Cancel()
	var left []*modelConsumer
	for _, other := range m.ks {
		if other != mk {
			left = append(left, other)
		}
	}
	m.ks = left
}

func (m *model) purge(t *rapid.T) {
	want := m.c.Ready() + int64(len(m.due))
	held := m.c.Unacked()
	if n := m.c.Purge(always); n != want {
		t.Fatalf("purged %d of %d", n, want)
	}
	if m.c.Ready() != 0 || m.c.Unacked() != held {
		t.Fatalf("ready %d, unacked %d after a purge, want 0, %d", m.c.Ready(), m.c.Unacked(), held)
	}
	m.due = map[offset]int64{}
	m.c.mu.Lock()
	defer m.c.mu.Unlock()
	for _, o := range m.msgs { // what is in an inbox is not purged: ask the cursor which
		if m.holder[o] == nil && !m.c.dealt.has(o) && !m.hold[o] {
			m.acked[o] = true
			delete(m.count, o)
		}
	}
}

func (m *model) save() {
	m.saved = m.c.AppendState(nil)
	m.savedAcked, m.savedCount = clone(m.acked), clone(m.count)
}

func clone[V any](from map[offset]V) map[offset]V {
	to := map[offset]V{}
	for k, v := range from {
		to[k] = v
	}
	return to
}

// crash opens the cursor again from what was saved some time ago, with floor and
// handed of now.
func (m *model) crash(t *rapid.T) {
	st := State{Data: m.saved}
	st.Floor, st.Handed = m.c.Progress()
	if rapid.Bool().Draw(t, "clean") {
		m.save()
		st.Data = m.saved
	}
	m.acked, m.count = clone(m.savedAcked), clone(m.savedCount)
	m.seen = map[offset]bool{}
	for _, o := range m.msgs {
		if o < st.Floor {
			m.acked[o] = true
			delete(m.count, o)
		}
		m.seen[o] = o < st.Handed
	}
	m.log.asked = nil
	m.open(t, st)
	m.handed = st.Handed
}

func (m *model) check(t *rapid.T) {
	var left int64
	lowest := m.log.end
	for _, o := range m.msgs {
		if !m.acked[o] {
			left++
			lowest = min(lowest, o)
		}
	}
	ready, unacked := m.c.Ready(), m.c.Unacked()
	if n := m.c.Retrying(); n != int64(len(m.due)) {
		t.Fatalf("%d wait, want %d", n, len(m.due))
	}
	if ready+unacked+int64(len(m.hold)+len(m.due)) != left || unacked < int64(len(m.holder)) {
		t.Fatalf("ready %d, unacked %d, but %d of %d left, %d held", ready, unacked, left, len(m.msgs), len(m.holder))
	}
	floor, handed := m.c.Progress()
	if floor > lowest {
		t.Fatalf("floor %d above unacked message %d", floor, lowest)
	}
	if floor < lowest && lowest < m.handed && floor < m.handed && m.c.open.has(lowest) {
		t.Fatalf("floor %d lags behind %d", floor, lowest)
	}
	if handed < m.handed || handed > max(m.handed, floor) && handed != m.handed {
		t.Fatalf("handed %d, want %d", handed, m.handed)
	}
	for o, n := range m.count {
		if got := m.c.Returned(o); got != n {
			t.Fatalf("message %d returned %d times, want %d", o, got, n)
		}
	}
	if m.limit > 0 && m.credit.Used() > int64(m.limit) {
		t.Fatalf("shared credit used %d of %d", m.credit.Used(), m.limit)
	}
	m.checkAwake(t, ready)
}

// checkAwake: where a message waits and someone could take it, someone is awake.
func (m *model) checkAwake(t *rapid.T, ready int64) {
	if ready == 0 || len(m.log.asked) > 0 {
		return
	}
	idle := 0
	for _, mk := range m.ks {
		can := (mk.o.NoAck || mk.o.Prefetch == 0 || mk.k.Held() < int64(mk.o.Prefetch)) &&
			(mk.o.Shared == nil || m.limit == 0 || m.credit.Used() < int64(m.limit))
		if can && !mk.idle {
			return
		}
		if can {
			idle++
		}
	}
	if idle > 0 {
		t.Fatalf("%d messages ready, %d consumers could take them, and nobody was woken", ready, idle)
	}
}

// drain takes and acks everything; every message must have come.
func (m *model) drain(t *rapid.T) {
	for o, k := range m.holder {
		if err := k.Ack(o, o); err != nil {
			t.Fatal(err)
		}
		m.acked[o] = true
	}
	m.holder = map[offset]*Consumer{}
	for o := range m.hold {
		m.c.Unhold(o, o)
	}
	m.hold = map[offset]bool{}
	m.c.RetryDue(m.now + 1000)
	m.due = map[offset]int64{}
	m.ks = append(m.ks, &modelConsumer{k: add(t, m.c, ConsumerOptions{Priority: -1})})
	for quiet := false; !quiet; {
		quiet = m.log.answer() == 0
		for _, mk := range m.ks {
			runs := mk.k.Take(1000, nil)
			quiet = quiet && len(runs) == 0
			m.handOut(t, mk.k, mk.o.NoAck, runs)
			if !mk.o.NoAck {
				if err := mk.k.AckRuns(runs); err != nil {
					t.Fatal(err)
				}
			}
			for _, r := range runs {
				for o := r.First; o <= r.Last; o++ {
					delete(m.holder, o)
					m.acked[o] = true
				}
			}
		}
	}
	for _, o := range m.msgs {
		if !m.acked[o] {
			t.Fatalf("message %d never came", o)
		}
	}
	if f := m.c.Floor(); f != m.log.end || m.c.Ready() != 0 || m.c.Unacked() != 0 || m.credit.Used() != 0 {
		t.Fatalf("floor %d of %d, ready %d, unacked %d, credit %d after all is done", f, m.log.end, m.c.Ready(), m.c.Unacked(), m.credit.Used())
	}
}

func TestCursorAgreesWithModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newModel(t)
		m.save()
		t.Repeat(map[string]func(*rapid.T){
			"publish":   m.publish,
			"subscribe": m.subscribe,
			"take":      m.take,
			"take too":  m.take,
			"settle":    m.settle,
			"settle 2":  m.settle,
			"get":       m.get,
			"cancel":    m.cancel,
			"purge":     m.purge,
			"leave":     m.leave,
			"release":   m.release,
			"wait":      m.wait,
			"answer":    m.answer,
			"save":      func(*rapid.T) { m.save() },
			"crash":     m.crash,
			"":          m.check,
		})
		m.drain(t)
	})
}
