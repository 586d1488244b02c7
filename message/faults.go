package message

// Faults walks the records of a batch that a Check refused, once more, and lists those that a topic does not take. It is
// for who is to be told which they are.
type Faults struct {
	check          Check
	oldest, latest int64 // times that are taken, ms
	keyed          bool  // a record must have a key
	Found          []Fault
	most           int
}

// Fault is a record that is not taken.
type Fault struct {
	Record      int32 // of its batch, from 0 on
	NoKey       bool  // it has none; else its time is not taken
	TimestampMs int64
}

// NewFaults looks for at most so many records of a batch that have no key, if they must, or a time before oldest or behind latest,
// where it is not NoTime.
func NewFaults(count int32, baseMs int64, keyed bool, oldest, latest int64, most int) Faults {
	return Faults{check: NewCheck(count, baseMs), keyed: keyed, oldest: oldest, latest: latest, most: most}
}

// Records implements Walker.
func (f *Faults) Records(b []byte) (used int, err error) {
	for !f.Enough() {
		delta, n, err := f.check.any(b[used:], f.check.next)
		if err != nil || n == 0 {
			return used, err
		}
		f.look(f.check.baseMs+delta, hasKey(b[used:used+n]))
		used += n
	}
	return used, nil
}

func (f *Faults) look(ms int64, keyed bool) {
	noKey := f.keyed && !keyed
	if noKey || ms > f.latest || ms < f.oldest && ms != NoTime {
		f.Found = append(f.Found, Fault{Record: int32(f.check.next), NoKey: noKey, TimestampMs: ms})
	}
	f.check.next++
}

// Enough implements Walker.
func (f *Faults) Enough() bool { return len(f.Found) >= f.most || f.check.Enough() }

// Long implements Walker.
func (f *Faults) Long(s *Stretch) error {
	ms, keyed, err := f.check.long(s)
	if err == nil {
		f.look(ms, keyed)
	}
	return err
}

// End implements Walker.
func (f *Faults) End(int) error { return nil }
