package netx

import "testing"

func TestListenersShareTheirSlots(t *testing.T) {
	slots := NewSlots(1)
	one, two := quiet(t, Options{Name: "one", Slots: slots}), quiet(t, Options{Name: "two", Slots: slots})
	go func() { _ = one.Serve(echo) }()
	go func() { _ = two.Serve(echo) }()
	first := dial(t, one)
	if err := roundTrip(first); err != nil {
		t.Fatal(err)
	}
	if err := roundTrip(dial(t, two)); err == nil {
		t.Fatal("two connections, and one slot")
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	for range 1000 { // until the first handler has ended
		if roundTrip(dial(t, two)) == nil {
			return
		}
	}
	t.Error("the slot did not come back")
}
