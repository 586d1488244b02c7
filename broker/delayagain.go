package broker

import (
	"fmt"
	"slices"
	"time"

	"github.com/leveret-mq/leveret/message"
)

// A message whose time has come and that no queue takes because the logs there fail waits
// for a while longer in its exchange. It is in nobody's way, and those who have theirs already
// get nothing twice. Where some of its queues take it, the others do without, as it is with
// dead letters.
//
// It stands in one lane until it is tried again, so that it is written once a try: for nearly
// a minute, and each time in the next lane, of up to nearly eight.

// moveAgain and moveAgain2 are about how long such a message waits, first and at most.
const (
	moveAgain  = time.Minute
	moveAgain2 = 8 * time.Minute
)

// againLane is where a message waits again that stood in a lane.
func againLane(from int) int {
	first, last := laneOf(moveAgain.Milliseconds()), laneOf(moveAgain2.Milliseconds())
	if from < first {
		return first
	}
	return min(from+1, last)
}

// again puts what was published since the last commit and is in no queue back into a lane.
// It fails when there is no room for that either: all of the round stays where it was.
func (m *mover) again() error {
	f := m.p.fates
	slices.Sort(f.stay) // by lane, and in each by its order
	stay, nowMs := slices.Compact(f.stay), m.b.opts.Now().UnixMilli()
	m.lost[LostRefused] += int(f.lost + f.refused)
	m.tell(len(stay), f.err)
	*f = fates{}
	var l lane
	for i, ref := range stay {
		if from := &m.lanes[ref>>refOffsetBits]; i == 0 || l.number != from.number {
			l = lane{part: from.part, number: from.number, loaded: true, next: refOffset(ref)}
			l.hungry.Store(true) // the mover's own lane is the one that wakes it
		}
		if err := m.putAgain(&l, refOffset(ref), nowMs); err != nil {
			return err
		}
	}
	if len(stay) == 0 {
		return nil
	}
	m.p.Store()
	defer func() { *f = fates{} }()
	if len(f.stay) > 0 {
		return f.err
	}
	return nil
}

// putAgain reads on to a message of a lane, of which the lane's own buffer may be gone, and
// has it wait.
func (m *mover) putAgain(l *lane, o message.Offset, nowMs int64) error {
	for l.some = false; !l.some; l.some = l.head.offset == o {
		if err := l.fill(); err != nil {
			return err
		}
		if !l.some || l.head.offset > o {
			return fmt.Errorf("offset %d can't be read again", o)
		}
	}
	e, ok := l.head.rec.Envelope()
	if !ok {
		return fmt.Errorf("offset %d: %w", o, message.ErrEnvelope)
	}
	l.head.dueMs, m.in.Ref = nowMs+laneWaitMs(againLane(l.number)), l.ref(o)
	m.wait(&l.head, &e, nowMs)
	return nil
}

// tell says now and then that messages wait again.
func (m *mover) tell(kept int, cause error) {
	m.kept += kept
	if now := m.b.opts.Now(); m.kept > 0 && (now.Sub(m.keptTold) >= tellEvery || now.Before(m.keptTold)) {
		m.b.opts.Log.Error("delayed messages can't be stored in their queues; they are kept, and it is tried again", "vhost", m.p.v.Name,
			"exchange", m.d.x.Name, "messages", m.kept, "error", cause)
		m.kept, m.keptTold = 0, now
	}
}
