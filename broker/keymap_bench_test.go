package broker

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/leveret-mq/leveret/message"
)

// BenchmarkAKeyThatIsNotInAFullMap is what most records of a log cost in a pass of several.
func BenchmarkAKeyThatIsNotInAFullMap(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 2))
	digest := func() (d message.KeyDigest) {
		binary.LittleEndian.PutUint64(d[:], rng.Uint64())
		binary.LittleEndian.PutUint64(d[8:], rng.Uint64())
		return d
	}
	m := newKeyMap(0, make([]byte, 64<<20))
	for i := 0; m.keys < m.most; i++ {
		d := digest()
		m.put(&d, message.Offset(i))
	}
	list := make([]message.KeyDigest, 1<<16)
	for i := range list {
		list[i] = digest()
	}
	behind := 0
	for i := 0; b.Loop(); i++ {
		if m.behind(&list[i%len(list)], 0) {
			behind++
		}
	}
	if behind > 0 {
		b.Error("a key is there that was never put")
	}
}
