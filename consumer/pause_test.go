package consumer

import "testing"

func TestAPausedConsumerIsDealtNothingAndKeepsWhatItTook(t *testing.T) {
	shared := NewCredit(100)
	s := newSim(t, 10, ConsumerOptions{Shared: shared}, ConsumerOptions{Prefetch: 4})
	a, b := s.ks[0], s.ks[1]
	s.turn(0, 2)
	s.turn(1, 2) // what it was dealt meanwhile
	s.turn(1, 2) // which deals to the other too
	if a.boxed == 0 {
		t.Fatal("nothing was dealt to it")
	}
	took := a.Held() - a.boxed
	if took != 2 {
		t.Fatalf("%d taken", took)
	}
	a.Pause()
	if n := a.Held(); n != 2 || shared.Used() != 2 {
		t.Errorf("it has %d, on %d of credit", n, shared.Used())
	}
	s.run(100)
	for i := 0; i < 20; i++ { // the other settles and gets all the rest
		for _, o := range s.got[1] {
			_ = b.Ack(o, o)
		}
		s.turn(1, 100)
	}
	if n := len(s.got[1]); n != 8 {
		t.Errorf("the other got %d of 8: %v", n, s.got[1])
	}
	s.awake[0] = false
	s.log.add(3, 0)
	s.c.Notify()
	if s.awake[0] {
		t.Error("it is woken")
	}
	if err := a.Requeue(s.got[0][0], s.got[0][0]); err != nil {
		t.Error(err)
	}
	a.Pause()
	a.Resume()
	s.turn(0, 100)
	if n := len(s.got[0]); n < 3 {
		t.Errorf("after it goes on it has %v", s.got[0])
	}
	if err := a.Ack(s.got[0][1], s.got[0][1]); err != nil {
		t.Error(err)
	}
	a.Cancel()
	a.Pause()
	a.Resume()
	if runs := a.Take(5, nil); len(runs) != 0 {
		t.Errorf("it was cancelled, and takes %v", runs)
	}
}
