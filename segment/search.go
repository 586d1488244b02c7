package segment

import (
	"bytes"
	"slices"

	"github.com/leveret-mq/leveret/internal/batch"
)

// What is a torn tail, and what is damage? Behind a batch that is not good, the scan
// looks for good ones that follow each other, a chain:
//
//	good, good │ damaged │ good, good, good │ damaged │ good │ zeros, or a former life's bytes
//	           └── lost ─┘└──── chain ─────┘└─ lost ──┘└chain┘
//	           at      expected offset n: a chain begins above it
//
// A torn tail is what no chain follows. The rest of a former life's batches in a
// recycled file make none, because their offsets lie below the segment's base (see
// the package comment), and no offset is numbered twice.
//
// The length of the damaged batch mostly leads right to the chain. When that is what is
// damaged, every byte is tried, and then a message's body that holds record batches of
// its own could be taken for a chain. Its offsets are anything, while those of the
// true one go on close above n. So there must be room for the records between in the
// bytes between, and where later bytes have lower offsets than earlier ones, the lower
// offsets are believed.
const (
	// searchBytes bounds how much is checked for being a good batch in one search.
	searchBytes = 256 << 20
	// quietBytes is how far a search goes in a last segment when nothing says that
	// there was more: behind the end of each one that was not closed stands nothing, and to read
	// through all of that would cost every start after a kill a second or more. It is
	// more than twice the largest batch that producers send unless told otherwise.
	quietBytes = 2 << 20
	// maxDensity is how many records there can be in a byte, well compressed.
	maxDensity = 256
)

// chain is a run of good batches without a gap.
type chain struct{ from, to place }

// head is what the header of each batch of ours has behind its length: epoch and magic.
var head = []byte{0, 0, 0, 0, batch.Magic}

const headAt = 12

// behind returns where good batches go on behind the bad one at c.at, whose length is
// in bad if it can be trusted so far.
func (c *scan) behind(bad batch.Batch) (place, bool) {
	if bad != nil {
		if to, ok := c.lands(c.at + int64(len(bad))); ok {
			return to, true
		}
	}
	for len(c.ahead) > 0 && c.ahead[0].from.position <= c.at {
		c.ahead = c.ahead[1:] // its own length led there
	}
	if len(c.ahead) == 0 {
		c.search()
	}
	if len(c.ahead) == 0 {
		return place{}, false
	}
	to := c.ahead[0].from
	c.ahead = c.ahead[1:]
	return to, true
}

// search fills c.ahead with the chains behind c.at.
func (c *scan) search() {
	budget := int64(searchBytes)
	end := c.searchEnd()
	for at := c.at + 1; budget > 0; {
		var ok bool
		if at, ok = c.candidate(at, end); !ok {
			return
		}
		found, ok := c.chainAt(at, &budget)
		if !ok {
			at++
			continue
		}
		c.ahead = append(c.withoutContradiction(found.from.offset), found)
		at, end = found.to.position, c.limit
	}
}

// withoutContradiction is c.ahead without the chains that reach an offset.
func (c *scan) withoutContradiction(offset int64) []chain {
	i := slices.IndexFunc(c.ahead, func(x chain) bool { return x.to.offset > offset })
	if i < 0 {
		return c.ahead
	}
	return c.ahead[:i]
}

// searchEnd is how far to look for batches behind c.at: to the end of the file in a
// segment that was full, if batches are known to be missing, and if what stands at c.at
// was one.
func (c *scan) searchEnd() int64 {
	quiet := min(c.at+quietBytes, c.limit)
	if c.bound >= 0 || c.t.next < c.s.o.Flushed {
		return c.limit
	}
	b, err := c.bytes(c.at, batch.HeaderBytes)
	if err != nil {
		return quiet
	}
	if h := batch.Batch(b); h.Magic() == batch.Magic && (h.BaseOffset() == c.t.next || h.Epoch() == 0 && h.BaseOffset() > c.t.next) {
		return c.limit
	}
	return quiet
}

// candidate returns the next position before end at which bytes may be a header.
func (c *scan) candidate(at, end int64) (int64, bool) {
	for at < end && at+batch.HeaderBytes <= c.limit {
		n := min(scanBytes, c.limit-at)
		b, err := c.bytes(at, n)
		if err != nil {
			return 0, false
		}
		for i := headAt; ; i++ {
			step := bytes.Index(b[i:], head)
			if step < 0 || at+int64(i+step-headAt) >= end {
				break
			}
			i += step
			if h := b[i-headAt:]; len(h) >= batch.HeaderBytes && c.plausible(h, at+int64(i-headAt)) {
				return at + int64(i-headAt), true
			}
		}
		if at+n >= c.limit {
			break
		}
		at += n - batch.HeaderBytes + 1 // a header may stand across the end
	}
	return 0, false
}

// plausible is a cheap test of bytes that may be the header of a batch behind c.at.
func (c *scan) plausible(header batch.Batch, at int64) bool {
	size := int64(header.SizeBytes())
	return size >= batch.HeaderBytes && size <= min(c.limit, searchBytes) && c.follows(header) &&
		(c.bound >= 0 || header.BaseOffset()-c.t.next <= maxDensity*(at-c.at))
}

// follows says whether a batch may stand behind the loss of the one that was to come.
func (c *scan) follows(b batch.Batch) bool {
	base := b.BaseOffset()
	return base > c.t.next && base-c.s.base < 1<<32 && (c.bound < 0 || b.LastOffset() < c.bound)
}

// lands returns a position as the place of a good batch, if one stands there that may
// follow the loss of the one that was to come.
func (c *scan) lands(at int64) (place, bool) {
	b, err := c.peek(at)
	if err != nil || !c.follows(b) {
		return place{}, false
	}
	return place{at, b.BaseOffset()}, true
}

// chainAt walks good batches from a position on.
func (c *scan) chainAt(at int64, budget *int64) (found chain, ok bool) {
	for {
		b, err := c.peek(at)
		*budget -= int64(len(b))
		good := err == nil && (c.bound < 0 || b.LastOffset() < c.bound)
		switch {
		case !good, ok && b.BaseOffset() != found.to.offset, *budget < 0:
			return found, ok
		case !ok:
			found.from, ok = place{at, b.BaseOffset()}, true
		}
		at += int64(len(b))
		found.to = place{at, b.LastOffset() + 1}
	}
}
