package demo_test

import (
	"testing"
	"time"

	"github.com/leveret-mq/leveret/examples/internal/demo"
)

func TestNumbersForPeople(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", -1000: "-1,000", -100: "-100", 1234567: "1,234,567"} {
		if got := demo.Grouped(n); got != want {
			t.Errorf("%d is %s", n, got)
		}
	}
	for n, want := range map[float64]string{0: "0 B", 999: "999 B", 1500: "1.5 kB", 2e9: "2.0 GB", 3e12: "3.0 TB"} {
		if got := demo.Size(n); got != want {
			t.Errorf("%v is %s, want %s", n, got, want)
		}
	}
	for d, want := range map[time.Duration]string{1500: "1.5 µs", 1234567: "1.23 ms", 1234 * time.Millisecond: "1.23 s", time.Minute: "60 s"} {
		if got := demo.Short(d); got != want {
			t.Errorf("%v is %s, want %s", int64(d), got, want)
		}
	}
	if got := demo.Cut("a\x1b[31m\xffb", 40); got != "a.[31m.b" {
		t.Errorf("%q", got)
	}
}
