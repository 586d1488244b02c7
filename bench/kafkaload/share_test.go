package kafkaload

import (
	"reflect"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// shareAnswer is an answer without its length: two partitions, of which the first has records.
func shareAnswer(code, partCode int16) []byte {
	res := kmsg.NewPtrShareFetchResponse()
	res.SetVersion(versionShareFetch)
	res.ErrorCode, res.ErrorMessage = code, kmsg.StringPtr("why")
	t := kmsg.NewShareFetchResponseTopic()
	t.TopicID[3] = 7
	for n, runs := range [][][2]int64{{{5, 9}, {11, 11}}, nil} {
		p := kmsg.NewShareFetchResponseTopicPartition()
		p.Partition, p.ErrorCode, p.Records = int32(n), partCode, make([]byte, 300)
		for _, r := range runs {
			one := kmsg.NewShareFetchResponseTopicPartitionAcquiredRecord()
			one.FirstOffset, one.LastOffset, one.DeliveryCount = r[0], r[1], 1
			p.AcquiredRecords = append(p.AcquiredRecords, one)
		}
		t.Partitions = append(t.Partitions, p)
	}
	res.Topics = append(res.Topics, t)
	return res.AppendTo(make([]byte, 5)) // correlation id, no tagged fields
}

func TestARawShareMemberSeesWhatItAcquired(t *testing.T) {
	x := &sharer{s: &sharing{}}
	x.s.left.Store(6)
	if err := x.acquired(shareAnswer(0, 0)); err != nil {
		t.Fatal(err)
	}
	want := []acquiredRun{{0, 5, 9}, {0, 11, 11}}
	if !reflect.DeepEqual(x.runs, want) || !reflect.DeepEqual(x.all, want) || x.bytes != 600 || x.s.left.Load() != 0 {
		t.Errorf("%v, %v, %d bytes, %d left", x.runs, x.all, x.bytes, x.s.left.Load())
	}
	for _, codes := range [][2]int16{{123, 0}, {0, 42}} {
		if err := x.acquired(shareAnswer(codes[0], codes[1])); err == nil {
			t.Errorf("codes %v are no error", codes)
		}
	}
	whole := shareAnswer(0, 0)
	for n := range whole[2:] { // but for the nodes and tags at its end, which it does not read
		if err := (&sharer{s: &sharing{}}).acquired(whole[:n]); err == nil {
			t.Fatalf("%d of %d bytes are an answer", n, len(whole))
		}
	}
}

func TestRecordsAreCountedOnceAndAgain(t *testing.T) {
	records, again := count([]acquiredRun{{1, 0, 4}, {0, 10, 19}, {0, 15, 24}, {0, 0, 4}, {0, 16, 17}})
	if records != 25 || again != 7 {
		t.Errorf("%d records, %d again", records, again)
	}
}
