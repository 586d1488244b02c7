package kafka

import (
	"testing"
	"time"
)

func FuzzCheckBatch(f *testing.F) {
	f.Add([]byte(makeBatch(nil, "a", "b")))
	f.Add([]byte("short"))
	f.Fuzz(func(t *testing.T, records []byte) {
		b, code, _ := checkBatch(records, 1<<20, time.Now())
		if code == 0 && (b.Count() <= 0 || len(b) != len(records)) {
			t.Fatalf("took %x", records)
		}
		if len(records) >= 61 {
			dense(records)
		}
	})
}
