package broker

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// A client's partitioner is the independent one. It hashes as Java's.
func TestKeysAreHashedAsByKafkasProducers(t *testing.T) {
	const partitions = 1_000_003
	theirs := kgo.StickyKeyPartitioner(nil).ForTopic("t")
	key := make([]byte, 0, 300)
	for i := range cap(key) {
		key = append(key, byte(i*37))
		rec := &kgo.Record{Key: key}
		if got, want := int(keyHash(key)%partitions), theirs.Partition(rec, partitions); got != want {
			t.Fatalf("%d bytes: %d, want %d", len(key), got, want)
		}
	}
}
