package kafka

import (
	"math"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/kafka/wire"
	"github.com/leveret-mq/leveret/message"
)

func TestABatchCantPromiseMoreRecordsThanItCanHold(t *testing.T) {
	b := batch.Batch(make([]byte, batch.HeaderBytes+10))
	b.Seal(batch.Header{Attributes: message.CodecSnappy, LastOffsetDelta: math.MaxInt32 - 1, ProducerID: -1, ProducerEpoch: -1, BaseSequence: -1, Count: math.MaxInt32})
	if _, code, why := checkBatch(b, 1<<20, time.Unix(1, 0)); code != wire.InvalidRecord {
		t.Errorf("got %d %s", code, why)
	}
}
