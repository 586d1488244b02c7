package kafka

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/kafka/wire"
	"github.com/leveret-mq/leveret/message"
)

// keyed is the bytes of records with these keys, of which "-" is a null.
func keyed(value string, keys ...string) (raw []byte) {
	for i, key := range keys {
		body := binary.AppendVarint([]byte{0, 0}, int64(i))
		if key == "-" {
			body = append(body, 1)
		} else {
			body = append(binary.AppendVarint(body, int64(len(key))), key...)
		}
		body = append(binary.AppendVarint(body, int64(len(value))), value...)
		body = append(body, 0)
		raw = append(binary.AppendVarint(raw, int64(len(body))), body...)
	}
	return raw
}

// TestACompactedTopicTakesNoRecordWithoutAKey in any codec, in long records and in messages of old formats, and whether
// or not compressed batches are trusted.
func TestACompactedTopicTakesNoRecordWithoutAKey(t *testing.T) {
	long := strings.Repeat("v", 3*message.OrdinaryBytes)
	everyCodec(t, func(t *testing.T, codec int) {
		for name, c := range map[string]struct {
			value   string
			keys    []string
			compact bool
			want    wire.Code
		}{
			"all have one":     {"v", []string{"a", "b"}, true, wire.None},
			"the first":        {"v", []string{"-", "b"}, true, wire.InvalidRecord},
			"the last":         {"v", []string{"a", "b", "-"}, true, wire.InvalidRecord},
			"an empty one":     {"v", []string{""}, true, wire.None},
			"long, with":       {long, []string{"a"}, true, wire.None},
			"long, without":    {long, []string{"a", "-"}, true, wire.InvalidRecord},
			"is not compacted": {"v", []string{"-"}, false, wire.None},
		} {
			for _, trust := range []bool{false, true} {
				set := testSettings()
				set.Compact, set.MaxBatchBytes = c.compact, 16<<20
				a := anArrival()
				a.trust = trust
				b := sealed(codec, pack(codec, keyed(c.value, c.keys...)), len(c.keys), func(h *batch.Header) {
					h.BaseTimestamp, h.MaxTimestamp = testNow.UnixMilli(), testNow.UnixMilli()
				})
				_, code, why := a.check(b, set)
				if code != c.want || code != wire.None && !strings.Contains(why, "without a key") {
					t.Errorf("%s, trusted %v: %d %s", name, trust, code, why)
				}
			}
		}
	})
	r := newRig(t, nil)
	r.topic("c", 1, map[string]string{"cleanup.policy": "compact"})
	if got := r.raw().produceIn(2, "c", oldMessage(1, 0, 0, testNow.UnixMilli(), nil, []byte("v"))); wire.Code(got.ErrorCode) != wire.InvalidRecord {
		t.Errorf("a message of format 1: %d", got.ErrorCode)
	}
	if got := r.raw().produceIn(2, "c", oldMessage(1, 0, 0, testNow.UnixMilli(), []byte("k"), []byte("v"))); got.ErrorCode != 0 {
		t.Errorf("a message of format 1 with a key: %d", got.ErrorCode)
	}
}

func TestRecordsOfATopicThatIsOnlyCompactedCantBeDeleted(t *testing.T) {
	r := newRig(t, nil)
	for policy, want := range map[string]int16{"compact": int16(wire.PolicyViolation), "compact,delete": 0, "delete": 0} {
		name := strings.ReplaceAll(policy, ",", "-")
		r.topic(name, 1, map[string]string{"cleanup.policy": policy})
		if got := r.raw().produce(name, 1, sealed(0, keyed("v", "a", "b"), 2, nil)); got.ErrorCode != 0 {
			t.Fatal(got.ErrorCode)
		}
		var offsets kadm.Offsets
		offsets.Add(kadm.Offset{Topic: name, Partition: 0, At: 1})
		res, err := r.admin().DeleteRecords(testContext(t), offsets)
		if p, _ := res.Lookup(name, 0); err != nil || codeIn(p.Err) != want {
			t.Errorf("%s: %v %v", policy, p.Err, err)
		}
	}
}
