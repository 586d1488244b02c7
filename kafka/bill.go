package kafka

import (
	"errors"

	"github.com/leveret-mq/leveret/internal/budget"
	"github.com/leveret-mq/leveret/kafka/wire"
)

// bill is what the request that is worked on has taken of its connection's memory:
// what it decoded to, and its answer. It is given back when the answer was written,
// which a client that does not read delays.
type bill struct {
	taken int64
	full  bool // it waited in vain: what else it wants is there at once or not at all
}

// charge takes n bytes of memory for what is about to be built. Where it fails the
// part of the answer is an error; codeOf says which. The first time that others hold
// the memory it waits for them, unless the server stops.
func (c *conn) charge(n int) error {
	var err error
	if c.bill.full {
		err = c.memory.Try(int64(n))
	} else {
		err = c.memory.Take(int64(n), c.patient())
	}
	if err != nil {
		c.bill.full = c.bill.full || !errors.Is(err, budget.ErrShare)
		return err
	}
	c.bill.taken += int64(n)
	return nil
}

// patient ends the waiting for memory: with the client, or at once when the server
// stops.
func (c *conn) patient() <-chan struct{} {
	if c.s.closed.Load() {
		return c.s.stop
	}
	return c.frames.gone()
}

// releaseBill gives everything back.
func (c *conn) releaseBill() {
	c.memory.Give(c.bill.taken)
	c.bill = bill{}
}

// budgetCode is what a client hears when its answer does not fit: that it asks for
// too much, or that it may ask again.
func budgetCode(err error) (wire.Code, bool) {
	switch {
	case errors.Is(err, budget.ErrShare):
		return wire.InvalidRequest, true
	case errors.Is(err, budget.ErrFull), errors.Is(err, budget.ErrGone):
		return wire.RequestTimedOut, true
	}
	return wire.None, false
}

// groupCode is codeOf for what is asked of a coordinator, where clients know
// another word for "ask again".
func groupCode(err error) wire.Code {
	if code := codeOf(err); code != wire.RequestTimedOut {
		return code
	}
	return wire.CoordinatorLoadInProgress
}

// onlyOnce leaves out what was named before.
func onlyOnce[T any, K comparable](list []T, name func(*T) K) []T {
	if len(list) < 2 {
		return list
	}
	seen := make(map[K]struct{}, len(list))
	kept := list[:0]
	for i := range list {
		k := name(&list[i])
		if _, named := seen[k]; !named {
			seen[k] = struct{}{}
			kept = append(kept, list[i])
		}
	}
	return kept
}

// timesNamed says how often each is named.
func timesNamed[T any, K comparable](list []T, name func(*T) K) map[K]int {
	named := make(map[K]int, len(list))
	for i := range list {
		named[name(&list[i])]++
	}
	return named
}

func itself(s *string) string { return *s }

// About what parts of answers take: the generated structure, its encoding, and some
// room for how slices grow.
const (
	partitionBytes = 250 // of Metadata
	topicBytes     = 400
	producedBytes  = 250 // of Produce, with what was parsed
	fetchedBytes   = 300 // of Fetch, the same
	groupBytes     = 400 // of ListGroups
	producerBytes  = 200 // of DescribeProducers
	memberBytes    = 500 // of DescribeGroups, beside what the member said
	offsetBytes    = 250 // of OffsetFetch, beside the text
	sizeBytes      = 100 // of DescribeLogDirs
	idBytes        = 100 // of a look-up by topic id, for each topic there is
	aclBytes       = 300 // of DescribeAcls and DeleteAcls, beside names
	configBytes    = 700 // of DescribeConfigs, synonyms included
)
