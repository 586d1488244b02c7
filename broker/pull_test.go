package broker

import "runtime"

// pull is Pull for a test without a writer: what has to be waited for is waited for.
func (s *Subscription) pull(max, maxBytes int, emit func(*Delivery)) (n int, err error) {
	size := 0
	for idle := 0; ; { // an errand may be done before it is seen
		more, err := s.Pull(max-n, maxBytes-size, func(d *Delivery) {
			size += len(d.Body)
			emit(d)
		})
		if idle++; more > 0 || s.onErrands() {
			idle = 0
		}
		if n += more; err != nil || n >= max || size >= maxBytes || idle > 4 || n > 0 && idle > 0 {
			return n, err
		}
		s.q.idleDisk()
	}
}

// onErrands reports whether there may be something when the errands are done.
func (s *Subscription) onErrands() bool {
	waits := s.opening != nil
	for _, pc := range s.partitions {
		waits = waits || pc.errand != nil || pc.part.active().errands.busy()
	}
	if s.stream != nil {
		for _, p := range s.stream.parts {
			waits = waits || p.errand != nil || p.part.active().errands.busy()
		}
	}
	return waits
}

func (x *errands) busy() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.running
}

// idleDisk returns when nothing of the queue waits for the disk.
func (q *Queue) idleDisk() {
	for _, p := range q.Partitions() {
		for p.active().errands.busy() {
			runtime.Gosched()
		}
	}
}
