package broker

import (
	"encoding/hex"
	"errors"
	"testing"
	"time"
)

func TestCommittedOffsetRecordIsAsDrawn(t *testing.T) {
	o := GroupOffset{Group: "a/b c", Topic: "t.1", TopicID: [16]byte{0xaa, 15: 0xbb}, Partition: 7,
		Offset: 0x0102030405060708, LeaderEpoch: -1, Committed: time.UnixMilli(0x1122334455), Metadata: "note"}
	key, value := o.key("/"), o.append(nil)
	if want := "o/%2F/a%2Fb%20c/t.1/7"; key != want {
		t.Errorf("key %q, want %q", key, want)
	}
	if got, want := hex.EncodeToString(value), "02"+"0102030405060708"+"ffffffff"+"0000001122334455"+"aa0000000000000000000000000000bb"+"6e6f7465"; got != want {
		t.Errorf("value %s, want %s", got, want)
	}
	vhost, back, err := parseOffset(key, value)
	if err != nil || vhost != "/" || !back.Committed.Equal(o.Committed) {
		t.Fatalf("%q %+v %v", vhost, back, err)
	}
	back.Committed = o.Committed
	if back != o {
		t.Errorf("%+v, want %+v", back, o)
	}
	first, _ := hex.DecodeString("01" + "0102030405060708" + "ffffffff" + "0000001122334455" + "6e6f7465")
	if _, back, err = parseOffset(key, first); err != nil || back.TopicID != ([16]byte{}) || back.Metadata != "note" || back.Offset != o.Offset {
		t.Errorf("version 1: %+v %v", back, err)
	}
}

func TestDamagedCommittedOffsetsAreRefused(t *testing.T) {
	good := (&GroupOffset{Offset: 1}).append(nil)
	for _, tc := range []struct {
		name, key string
		value     []byte
		malformed bool
	}{
		{"too few names", "o/a/b/1", good, true},
		{"too many names", "o/a/b/c/d/1", good, true},
		{"partition is no number", "o/v/g/t/x", good, true},
		{"bad escape", "o/%zz/g/t/1", good, true},
		{"short value", "o/v/g/t/1", good[:36], true},
		{"short value of version 1", "o/v/g/t/1", append([]byte{1}, good[1:20]...), true},
		{"version 0", "o/v/g/t/1", append([]byte{0}, good[1:]...), false},
		{"empty value", "o/v/g/t/1", nil, true},
		{"newer version", "o/v/g/t/1", append([]byte{3}, good[1:]...), false},
	} {
		if _, _, err := parseOffset(tc.key, tc.value); err == nil || errors.Is(err, errOffsetRecord) != tc.malformed {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
}

func FuzzCommittedOffset(f *testing.F) {
	f.Add("o/v/g/t/1", (&GroupOffset{Offset: 1, Metadata: "m"}).append(nil))
	f.Add("o/%2F/g%20/t/0", []byte{1})
	f.Fuzz(func(t *testing.T, key string, value []byte) {
		vhost, o, err := parseOffset(key, value)
		if err != nil {
			return
		}
		again, back, err := parseOffset(o.key(vhost), o.append(nil))
		if err != nil || again != vhost || back.Group != o.Group || back.Offset != o.Offset {
			t.Fatalf("%q %x became %q %+v: %v", key, value, again, back, err)
		}
	})
}
