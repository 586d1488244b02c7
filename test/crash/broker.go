package main

import (
	"math/rand/v2"

	"github.com/leveret-mq/leveret/test/process"
)

// broker is the process that is killed.
type broker struct {
	*process.Broker
	segmentBytes string
}

func newBroker(binary, dir string, rng *rand.Rand) (*broker, error) {
	b, err := process.New(binary, dir)
	if err != nil {
		return nil, err
	}
	b.WithHTTP()
	b.WithXMPP()
	// Small segments, so that a short run rolls and recycles many.
	return &broker{b, []string{"64KiB", "256KiB", "1MiB"}[rng.IntN(3)]}, nil
}

// flags of one life. The mode is drawn anew for each: a kill must not cost a confirm in
// any of them.
func (b *broker) flags(rng *rand.Rand) []string {
	mode := []string{"group", "group", "group", "os", "always"}[rng.IntN(5)]
	return []string{"--sync", mode, "--segment-bytes", b.segmentBytes, "--compaction-interval", "50ms"}
}
