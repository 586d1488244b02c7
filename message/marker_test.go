package message

import (
	"bytes"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leveret-mq/leveret/internal/batch"
)

func TestMarkersAreKafkas(t *testing.T) {
	for _, commit := range []bool{true, false} {
		b := Marker(7, 3, commit, 1000)
		if err := b.Check(); err != nil || !b.IsControl() || !b.IsTransactional() || b.ProducerID() != 7 || b.ProducerEpoch() != 3 || b.BaseSequence() != -1 || b.Messages() != 0 || b.Count() != 1 {
			t.Errorf("%v: %v", b, err)
		}
		if got, err := ParseMarker(b); err != nil || got != commit {
			t.Errorf("commit %v comes back as %v, %v", commit, got, err)
		}
		records := NewRecords(b.Records())
		var rec Record
		if more, err := records.Next(&rec); !more || err != nil {
			t.Fatal(err)
		}
		want := kmsg.ControlRecordKey{Type: kmsg.ControlRecordKeyTypeAbort}
		if commit {
			want.Type = kmsg.ControlRecordKeyTypeCommit
		}
		if !bytes.Equal(rec.Key, want.AppendTo(nil)) || !bytes.Equal(rec.Value, (&kmsg.EndTxnMarker{}).AppendTo(nil)) {
			t.Errorf("key %x value %x", rec.Key, rec.Value)
		}
	}
	if _, err := ParseMarker(batch.Batch(new(Builder).sealedFor(t))); err == nil {
		t.Error("a batch of messages is taken for a marker")
	}
}

func (b *Builder) sealedFor(t *testing.T) []byte {
	t.Helper()
	b.AddRecord(&Record{Key: []byte{0, 0, 0, 1}}, 1)
	return b.Seal()
}

// FuzzMarker has any records stand in a control batch.
func FuzzMarker(f *testing.F) {
	f.Add(int16(0x30), []byte(Marker(1, 2, true, 3).Records()))
	f.Add(int16(0x30), []byte(Marker(1, 2, false, 3).Records()))
	f.Fuzz(func(t *testing.T, attributes int16, records []byte) {
		b := batch.Batch(append(make([]byte, batch.HeaderBytes), records...))
		b.Seal(batch.Header{Attributes: attributes, Count: 1, ProducerID: 1})
		if _, err := ParseMarker(b); err == nil && !b.IsControl() {
			t.Error("a batch that is none is taken for a marker")
		}
	})
}
