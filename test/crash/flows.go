package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// A flow is one publisher's messages through one feature of queues, from where they are
// published to the queues in which they must be found, whatever is killed on the way:
//
//	expire   crash.expire ── 30 ms ─► crash.expired
//	reject   crash.reject ── a consumer rejects most ─► crash.rejected
//	drop     crash.drop   ── at most 200 ─► crash.dropped
//	refuse   crash.refuse    at most 200, the publisher takes some
//	delay    crash.delay  ── up to 250 ms ─► crash.late
//	levels   crash.levels    four priorities
//	tx       crash.tx     ─► crash.copy and crash.in ── moved on in transactions ─► crash.out
//
// Nobody else reads their last queues but the drain, and who is named here.
type flow struct {
	name     string
	exchange string
	key      string
	ends     []end
	waits    []string // queues that must be empty before all is in its end
	limit    int      // of messages that are ready at the end with a limit
	hops     bool     // each kill may double what is on its way, not only add one copy
}

// end is a queue in which messages of a flow are found.
type end struct {
	queue   string
	part    int    // a message must be in a queue of each part
	ordered bool   // first copies come in the order in which they were sent, on each level
	died    string // for that reason, in the flow's first queue
	whole   bool   // all of a transaction is there, or nothing
}

// flowLimit is the length of queues that have a limit.
const flowLimit = 200

// flowLevels is how many priorities there are.
const flowLevels = 4

func flows() []*flow {
	return []*flow{
		{name: "expire", key: "crash.expire", ends: []end{{queue: "crash.expired", ordered: true, died: "expired"}}, waits: []string{"crash.expire"}},
		{name: "reject", key: "crash.reject", ends: []end{{queue: "crash.reject"}, {queue: "crash.rejected", died: "rejected"}}},
		{name: "drop", key: "crash.drop", limit: flowLimit, ends: []end{{queue: "crash.drop", ordered: true}, {queue: "crash.dropped", ordered: true, died: "maxlen"}}},
		{name: "refuse", key: "crash.refuse", limit: flowLimit, ends: []end{{queue: "crash.refuse", ordered: true}}},
		{name: "delay", exchange: "crash.delay", key: "late", hops: true, ends: []end{{queue: "crash.late", ordered: true}}},
		{name: "levels", key: "crash.levels", ends: []end{{queue: "crash.levels", ordered: true}}},
		{name: "tx", exchange: "crash.tx", ends: []end{{queue: "crash.copy", ordered: true, whole: true},
			{queue: "crash.in", part: 1}, {queue: "crash.out", part: 1}}},
	}
}

// arguments are those of the queues of flows that have any.
func arguments() map[string]amqp.Table {
	dead := func(to string, t amqp.Table) amqp.Table {
		t["x-dead-letter-exchange"], t["x-dead-letter-routing-key"] = "", to
		return t
	}
	return map[string]amqp.Table{
		"crash.expire": dead("crash.expired", amqp.Table{"x-message-ttl": int32(30)}),
		"crash.reject": dead("crash.rejected", amqp.Table{}),
		"crash.drop":   dead("crash.dropped", amqp.Table{"x-max-length": int32(flowLimit)}),
		"crash.refuse": {"x-max-length": int32(flowLimit), "x-overflow": "reject-publish"},
		"crash.levels": {"x-max-priority": int32(flowLevels - 1)},
	}
}

// fate is what a publisher knows of a message.
type fate uint8

const (
	unknown   fate = iota // it is there or not
	confirmed             // it is there
	absent                // it was refused, or its transaction was not committed: it is nowhere
)

// flowMessage is one message; its index is its number.
type flowMessage struct {
	kills  int // before it was sent
	fate   fate
	done   bool      // a consumer acked it, or may have
	moved  bool      // its transaction out of crash.in was answered, in good time
	moving time.Time // when it was, in this life
	level  int
	dueMs  int64
	tx     int
	copies []int // in each end
}

// flowModel knows what must hold of one flow. Its methods may be called from any goroutine;
// the first violation is kept.
type flowModel struct {
	*flow
	mu    sync.Mutex
	kills int
	list  []flowMessage
	first [][flowLevels]int // of each end and level, the number after the last first copy
	wrong error

	txs, seen, again, refused int
}

func newFlowModels() (list []*flowModel) {
	for _, f := range flows() {
		list = append(list, &flowModel{flow: f, first: make([][flowLevels]int, len(f.ends))})
	}
	return list
}

// send numbers the next message.
func (m *flowModel) send(level int, dueMs int64, f fate) (number int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.list = append(m.list, flowMessage{kills: m.kills, fate: f, level: level, dueMs: dueMs, tx: m.txs, copies: make([]int, len(m.ends))})
	return len(m.list) - 1
}

// tell notes what became of messages.
func (m *flowModel) tell(f fate, numbers ...int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, n := range numbers {
		m.list[n].fate = f
		if f == absent {
			m.refused++
			m.unexpected(n)
		}
	}
}

// begin begins a transaction.
func (m *flowModel) begin() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.txs++
}

// ack notes that a consumer sends an ack of a message.
func (m *flowModel) ack(number int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.list[number].done = true
}

// move notes that messages were moved out of crash.in in a transaction that was answered.
func (m *flowModel) move(numbers []int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, n := range numbers {
		m.list[n].moving = time.Now()
	}
}

// ackPatience is how long an ack in order may wait for the disk, which a queue asks now and then before it hands on: no answer waits for
// acks of AMQP.
const ackPatience = 100 * time.Millisecond

// unexpected fails for a message that must be nowhere.
func (m *flowModel) unexpected(n int) {
	if f := &m.list[n]; f.fate == absent && slices.Max(f.copies) > 0 {
		m.fail("flow %s: message %d was refused or not committed, and is there", m.name, n)
	}
}

// take checks a message that came out of a queue on its way, not the drain.
func (m *flowModel) take(number int) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case number >= len(m.list):
		m.fail("flow %s: message %d was never sent", m.name, number)
	case m.list[number].fate == absent:
		m.fail("flow %s: message %d was refused or not committed, and is delivered", m.name, number)
	case m.list[number].moved || !m.list[number].moving.IsZero():
		m.fail("flow %s: message %d came back though the transaction with its ack was answered", m.name, number)
	}
	return m.wrong == nil
}

// deliver checks a message that an end has.
func (m *flowModel) deliver(at, number int, redelivered bool, nowMs int64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if number >= len(m.list) {
		m.fail("flow %s: message %d was never sent", m.name, number)
		return false
	}
	f, e := &m.list[number], &m.ends[at]
	what := fmt.Sprintf("flow %s: message %d (%d kills ago) in queue %s", m.name, number, m.kills-f.kills, e.queue)
	m.seen++
	if f.copies[at] == 0 {
		if next := &m.first[at][f.level]; e.ordered && number < *next {
			m.fail("%s came after message %d", what, *next-1)
		} else {
			*next = number + 1
		}
	} else {
		m.again++
	}
	if f.copies[at] == 0 || !redelivered {
		f.copies[at]++
	}
	most := 1 + m.kills - f.kills
	if m.hops {
		most = 1 << min(most-1, 30)
	}
	switch {
	case f.copies[at] > most:
		m.fail("%s is there %d times", what, f.copies[at])
	case f.dueMs > nowMs:
		m.fail("%s came %d ms before its time", what, f.dueMs-nowMs)
	}
	m.unexpected(number)
	return m.wrong == nil
}

// missing is what was promised and not found yet.
func (m *flowModel) missing() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for n := range m.list {
		f := &m.list[n]
		if f.fate != confirmed || f.done {
			continue
		}
		for part := range m.ends[len(m.ends)-1].part + 1 {
			if !m.has(f, part) {
				return fmt.Errorf("flow %s: message %d, confirmed %d kills ago, is lost", m.name, n, m.kills-f.kills)
			}
		}
	}
	return nil
}

func (m *flowModel) has(f *flowMessage, part int) bool {
	for at, e := range m.ends {
		if e.part == part && f.copies[at] > 0 {
			return true
		}
	}
	return false
}

// drained checks, with every queue read empty, that nothing is missing and no transaction torn.
func (m *flowModel) drained() error {
	if err := m.missing(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for at, e := range m.ends {
		if !e.whole {
			continue
		}
		for n := 1; n < len(m.list); n++ {
			a, b := &m.list[n-1], &m.list[n]
			if a.tx == b.tx && (a.copies[at] > 0) != (b.copies[at] > 0) {
				m.fail("flow %s: of messages %d and %d of one transaction queue %s has one", m.name, n-1, n, e.queue)
			}
		}
	}
	return m.wrong
}

// killed begins a new life of the broker.
func (m *flowModel) killed() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.kills++
	for i := range m.list {
		m.list[i].moving = time.Time{}
	}
}

// dying decides what of a life that is about to end must hold.
func (m *flowModel) dying() {
	m.mu.Lock()
	defer m.mu.Unlock()
	sure := time.Now().Add(-ackPatience)
	for i := range m.list {
		if f := &m.list[i]; !f.moving.IsZero() && f.moving.Before(sure) {
			f.moved = true
		}
	}
}

func (m *flowModel) violation() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.wrong
}

// fail keeps the first violation. The caller holds mu.
func (m *flowModel) fail(format string, args ...any) {
	if m.wrong == nil {
		m.wrong = fmt.Errorf(format, args...)
	}
}

// bad is fail for callers without mu.
func (m *flowModel) bad(format string, args ...any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fail(format, args...)
}

// checkDeath checks what a dead letter tells of its last death.
func checkDeath(h amqp.Table, queue, reason string) error {
	deaths, _ := h["x-death"].([]any)
	if len(deaths) == 0 {
		return errors.New("it tells of no death")
	}
	last, _ := deaths[0].(amqp.Table)
	if count, _ := last["count"].(int64); last["queue"] != queue || last["reason"] != reason || count < 1 {
		return fmt.Errorf("it died in %v for %v, %v times", last["queue"], last["reason"], last["count"])
	}
	return nil
}

func flowSummary(list []*flowModel) string {
	var b strings.Builder
	for i, m := range list {
		m.mu.Lock()
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%s %d sent, %d seen", m.name, len(m.list), m.seen)
		if m.again > 0 {
			fmt.Fprintf(&b, " (%d again)", m.again)
		}
		if m.refused > 0 {
			fmt.Fprintf(&b, " (%d refused)", m.refused)
		}
		m.mu.Unlock()
	}
	return b.String()
}

// nowMs is the time as delays are counted.
func nowMs() int64 { return time.Now().UnixMilli() }
