package kafka

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/kafka/wire"
	"github.com/leveret-mq/leveret/message"
)

// benchRecords is about size bytes of records, each of so many bytes of JSON or the like:
// half of it is the same in all of them.
func benchRecords(size, each int) (raw []byte, count int) {
	const common = `{"type":"reading","unit":"celsius","sensor":"basement/`
	rng := rand.New(rand.NewPCG(1, 2))
	for len(raw) < size {
		value := append([]byte(nil), common[:min(len(common), each/2)]...)
		for len(value) < each {
			value = fmt.Append(value, rng.IntN(1000), ",")
		}
		body := binary.AppendVarint([]byte{0}, int64(count/50)) // 50 a millisecond
		body = binary.AppendVarint(body, int64(count))
		body = append(body, 1)
		body = binary.AppendVarint(body, int64(each))
		body = append(append(body, value[:each]...), 0)
		raw = append(binary.AppendVarint(raw, int64(len(body))), body...)
		count++
	}
	return raw, count
}

// What the check of a batch costs before it is stored, by codec and by whether
// producers are trusted. Records are not compressed so well that it does not matter.
func BenchmarkCheckBatch(b *testing.B) {
	codecs := []string{"plain", "gzip", "snappy", "lz4", "zstd"}
	for _, shape := range []struct {
		name       string
		size, each int
	}{{"1MiB-of-12B", 1<<20 - 100, 12}, {"1MiB-of-100B", 1<<20 - 200, 100}, {"1MiB-of-1KiB", 1<<20 - 2000, 1024}, {"16KiB-of-100B", 16 << 10, 100}} {
		raw, n := benchRecords(shape.size, shape.each)
		for codec, name := range codecs {
			for _, trust := range []bool{false, true} {
				if trust {
					if codec == message.CodecNone {
						continue
					}
					name += ",trusted"
				}
				b.Run(name+"/"+shape.name, func(b *testing.B) {
					now := time.Now()
					set, a := testSettings(), &arrival{now: now, version: 9, memory: anArrival().memory}
					a.trust, set.MaxBatchBytes = trust, 2<<20
					all := sealed(codec, pack(codec, raw), n, func(h *batch.Header) { h.MaxTimestamp = h.BaseTimestamp + int64(n-1)/50 })
					b.SetBytes(int64(len(raw)))
					b.ReportAllocs()
					for b.Loop() {
						if _, code, why := a.check(all, set); code != wire.None {
							b.Fatal(why)
						}
					}
					b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/record")
					b.ReportMetric(float64(len(raw))/float64(len(all)), "ratio")
				})
			}
		}
	}
}
