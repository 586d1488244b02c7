package batch

import (
	"bytes"
	"testing"
)

func TestSetTimesKeepsTheChecksumRight(t *testing.T) {
	for _, c := range []struct {
		attributes int16
		latest     int64
		appendTime bool
		set        int64
		want       int16
	}{
		{4, 100, false, 100, 4},
		{4, 100, false, 99, 4},
		{4 | LogAppendTime, 100, false, 100, 4},
		{4 | LogAppendTime, 100, true, 100, 4 | LogAppendTime},
		{1 | Transactional, -1, true, 7, 1 | Transactional | LogAppendTime},
		{0, 100, false, -1, 0},
	} {
		b := Batch(make([]byte, HeaderBytes+9))
		b.Seal(Header{Attributes: c.attributes, LastOffsetDelta: 2, Count: 3, BaseTimestamp: 50, MaxTimestamp: c.latest, ProducerID: 8})
		before := bytes.Clone(b)
		b.SetTimes(c.appendTime, c.set)
		if err := b.Check(); err != nil {
			t.Errorf("%+v: %v", c, err)
		}
		if b.Attributes() != c.want || b.MaxTimestamp() != c.set || b.BaseTimestamp() != 50 || b.ProducerID() != 8 || b.Count() != 3 {
			t.Errorf("%+v: attributes %x, latest %d", c, b.Attributes(), b.MaxTimestamp())
		}
		if same := c.want == c.attributes && c.set == c.latest; same != bytes.Equal(b, before) {
			t.Errorf("%+v: changed or not, it should be the other way", c)
		}
	}
}
