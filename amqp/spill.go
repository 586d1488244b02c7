package amqp

import (
	"slices"

	"github.com/leveret-mq/leveret/broker"
)

// spill is a file with the unfinished bodies of a connection for which memory has no room. There is one while it
// holds anything. It belongs to the read loop.
//
//	used   [ body of channel 3 ][ body of channel 1 ]      [ body of channel 7 ]
//	                                                 a gap is used again
type spill struct {
	file broker.Scratch
	used []extent // by their place
}

// extent is the place of one body, as long as its header announced. The file is sparse: what has not come takes no space.
type extent struct{ at, size int64 }

// take finds a place for a body.
func (s *spill) take(b *broker.Broker, size int64) (extent, error) {
	if s.file == nil {
		file, err := b.Scratch()
		if err != nil {
			return extent{}, err
		}
		s.file = file
	}
	place := extent{size: size}
	i := 0
	for ; i < len(s.used) && s.used[i].at-place.at < size; i++ {
		place.at = s.used[i].at + s.used[i].size
	}
	s.used = slices.Insert(s.used, i, place)
	return place, nil
}

// give frees a place, and the file with the last one.
func (s *spill) give(place extent) {
	if i := slices.Index(s.used, place); i >= 0 {
		s.used = slices.Delete(s.used, i, i+1)
	}
	if len(s.used) == 0 && s.file != nil {
		_ = s.file.Close() // nothing in it is wanted
		s.file = nil
	}
}
