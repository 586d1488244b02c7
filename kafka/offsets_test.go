package kafka

import (
	"encoding/hex"
	"errors"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/kafka/group"
)

func TestCommittedOffsetRecordIsAsDrawn(t *testing.T) {
	ch := group.Change{Group: "a/b c", Topic: "t.1", Partition: 7, Offset: group.Offset{
		Offset: 0x0102030405060708, LeaderEpoch: -1, Committed: time.UnixMilli(0x1122334455), Metadata: "note"}}
	key, value := offsetKey("/", &ch), appendOffset(nil, ch.Offset)
	if want := "o/%2F/a%2Fb%20c/t.1/7"; key != want {
		t.Errorf("key %q, want %q", key, want)
	}
	if got, want := hex.EncodeToString(value), "01"+"0102030405060708"+"ffffffff"+"0000001122334455"+"6e6f7465"; got != want {
		t.Errorf("value %s, want %s", got, want)
	}
	vhost, back, err := parseOffset(key, value)
	if err != nil || vhost != "/" || !back.Offset.Committed.Equal(ch.Offset.Committed) {
		t.Fatalf("%q %+v %v", vhost, back, err)
	}
	back.Offset.Committed = ch.Offset.Committed
	if back != ch {
		t.Errorf("%+v, want %+v", back, ch)
	}
}

func TestDamagedCommittedOffsetsAreRefused(t *testing.T) {
	good := appendOffset(nil, group.Offset{Offset: 1})
	for _, tc := range []struct {
		name, key string
		value     []byte
		malformed bool
	}{
		{"too few names", "o/a/b/1", good, true},
		{"too many names", "o/a/b/c/d/1", good, true},
		{"partition is no number", "o/v/g/t/x", good, true},
		{"bad escape", "o/%zz/g/t/1", good, true},
		{"short value", "o/v/g/t/1", good[:20], true},
		{"empty value", "o/v/g/t/1", nil, true},
		{"newer version", "o/v/g/t/1", append([]byte{2}, good[1:]...), false},
	} {
		if _, _, err := parseOffset(tc.key, tc.value); err == nil || errors.Is(err, errOffsetRecord) != tc.malformed {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
}

func FuzzCommittedOffset(f *testing.F) {
	f.Add("o/v/g/t/1", appendOffset(nil, group.Offset{Offset: 1, Metadata: "m"}))
	f.Add("o/%2F/g%20/t/0", []byte{1})
	f.Fuzz(func(t *testing.T, key string, value []byte) {
		vhost, ch, err := parseOffset(key, value)
		if err != nil {
			return
		}
		again, back, err := parseOffset(offsetKey(vhost, &ch), appendOffset(nil, ch.Offset))
		if err != nil || again != vhost || back.Group != ch.Group || back.Offset.Offset != ch.Offset.Offset {
			t.Fatalf("%q %x became %q %+v: %v", key, value, again, back, err)
		}
	})
}

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
