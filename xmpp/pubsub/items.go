package pubsub

import (
	"slices"
	"strconv"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/message"
	"github.com/leveret-mq/leveret/xmpp/stanza"
)

const (
	// maxItemsBytes is about how much of items one answer holds.
	maxItemsBytes = 1 << 20
	// maxAsked is how many ids a request may name.
	maxAsked = 256
	// maxWalk is how many messages are looked at for a request that wants the last ones.
	maxWalk = 10_000
	// maxWalkBytes is about how much of messages is.
	maxWalkBytes = 32 << 20
	// walkStep is how many messages are read at a time on the way back.
	walkStep = 64
)

// items reads a queue's messages, the oldest first, and takes none.
//
//	<item id=…/> …       those, each the newest of its id
//	max_items            the last ones
//	RSM (XEP-0059)       pages: max, after, before
func (r *request) items() (*stanza.Element, bool, error) {
	n, name, err := r.node(broker.Consume)
	if err != nil {
		return nil, false, err
	}
	if err := r.reads(n); err != nil {
		return nil, false, err
	}
	r.p.Flush()
	answer := stanza.New(nsPubsub, "items", "node", name)
	of := r.h.settingsOf(n)
	if n.place.exchange || of.Transient {
		return result(nsPubsub, answer), false, nil // an exchange keeps nothing
	}
	if asked := children(r.act, nsPubsub, "item"); len(asked) > 0 {
		list, err := r.byID(n, asked)
		if err != nil {
			return nil, false, err
		}
		return result(nsPubsub, added(answer, list)), false, nil
	}
	limit := maxItems
	if of.MaxItems > 0 {
		limit = min(limit, of.MaxItems)
	}
	if text, ok := r.act.Get("max_items"); ok {
		m, err := strconv.ParseUint(text, 10, 31)
		if err != nil || m == 0 {
			return nil, false, stanza.Fail("bad-request", "max_items is a number from 1")
		}
		limit = min(limit, int(m))
	}
	if set := r.pubsub.Child(nsRSM, "set"); set != nil {
		return r.page(n, set, answer, limit)
	}
	list, err := r.last(n, nil, limit)
	if err != nil {
		return nil, false, err
	}
	return result(nsPubsub, added(answer, list)), false, nil
}

func added(to *stanza.Element, list []*item) *stanza.Element {
	for _, it := range list {
		to.Add(it.element(nsPubsub))
	}
	return to
}

// byID finds items by their ids. One that is not there is left out.
func (r *request) byID(n *node, asked []*stanza.Element) (out []*item, err error) {
	if len(asked) > maxAsked {
		return nil, stanza.Fail("not-acceptable", "a request names at most 256 items")
	}
	size := 0
	for _, a := range asked {
		it, err := r.find(n, a.Attr("id"))
		if err != nil {
			return nil, err
		}
		if it == nil || slices.ContainsFunc(out, func(have *item) bool { return have.id == it.id }) {
			continue
		}
		if size += it.size; size > maxItemsBytes && len(out) > 0 {
			break
		}
		if err := r.charge(it.size); err != nil {
			return nil, err
		}
		out = append(out, it)
	}
	return out, nil
}

// at reads the message of an offset; nil if there is none, or it was settled.
func (r *request) at(n *node, partition int, offset message.Offset) (it *item, err error) {
	parts := n.queue.Partitions()
	if partition < 0 || partition >= len(parts) {
		return nil, nil
	}
	start, end, err := r.p.Session().Extent(parts[partition])
	if err != nil || offset < start || offset >= end {
		return nil, err
	}
	_, _, err = r.p.Session().Browse(parts[partition], offset, 1, func(d *broker.Delivery) bool {
		if d.Offset == offset {
			it = read(d, partition)
		}
		return false
	})
	return it, err
}

// last reads the last items before a place of each partition, nil being the end: at most limit, and of those with one id
// the newest.
func (r *request) last(n *node, before []message.Offset, limit int) (out []*item, err error) {
	for i, p := range n.queue.Partitions() {
		start, end, err := r.p.Session().Extent(p)
		if err != nil {
			return nil, err
		}
		if before != nil {
			end = min(end, before[i])
		}
		w := walk{r: r, p: p, partition: i, start: start, at: end, left: maxWalk, bytes: maxWalkBytes}
		list, err := r.lastOf(n, &w, before != nil, limit)
		if err != nil {
			return nil, err
		}
		if i == 0 {
			out = list
		} else {
			out = r.merge(out, list, limit)
		}
	}
	return out, nil
}

// lastOf is last for one partition. paged: there may be newer ones of an id behind where the walk begins.
func (r *request) lastOf(n *node, w *walk, paged bool, limit int) (out []*item, err error) {
	seen, size := map[string]bool{}, 0
	for len(out) < limit && size < maxItemsBytes {
		it, err := w.back()
		if err != nil {
			return nil, err
		}
		if it == nil {
			break
		}
		if seen[it.id] || paged && r.superseded(n, it) {
			continue
		}
		if size += it.size; size > maxItemsBytes && len(out) > 0 {
			break
		}
		if err := r.charge(it.size); err != nil {
			return nil, err
		}
		seen[it.id] = true
		out = append(out, it)
	}
	slices.Reverse(out)
	return out, nil
}

// merge makes one list of two, of which each has the oldest first, and gives back the memory of what has no place in it. What
// is of one partition stays in its order; of others the time decides.
func (r *request) merge(a, b []*item, limit int) (out []*item) {
	seen, size, given, full := map[string]bool{}, 0, 0, false
	for len(a)+len(b) > 0 {
		from := &a
		if len(a) == 0 || len(b) > 0 && b[len(b)-1].timestampMs >= a[len(a)-1].timestampMs {
			from = &b
		}
		it := (*from)[len(*from)-1]
		*from = (*from)[:len(*from)-1]
		full = full || len(out) == limit || len(out) > 0 && size+it.size > maxItemsBytes
		if full || seen[it.id] {
			given += it.size
			continue
		}
		seen[it.id] = true
		out, size = append(out, it), size+it.size
	}
	r.uncharge(given)
	slices.Reverse(out)
	return out
}

// walk goes through the messages of a partition backwards.
type walk struct {
	r         *request
	p         *broker.Partition
	partition int
	start     message.Offset
	at        message.Offset // nothing from here on is left
	left      int            // messages that may be looked at
	bytes     int
	got       []*item // read, the next one last
	held      int     // about what they take
}

// back is the message before the last one; nil when there is none, or enough was looked at.
func (w *walk) back() (*item, error) {
	for len(w.got) == 0 {
		if w.at <= w.start || w.left <= 0 || w.bytes <= 0 {
			return nil, nil
		}
		from := max(w.at-walkStep, w.start)
		first, err := w.fill(from, w.at)
		if err != nil {
			return nil, err
		}
		w.at = first
	}
	it := w.got[len(w.got)-1]
	w.got = w.got[:len(w.got)-1]
	w.held -= it.size
	return it, nil
}

// fill reads the messages of a stretch, and returns where it begins of which all is kept: what comes before would take too much memory
// at a time.
func (w *walk) fill(from, to message.Offset) (first message.Offset, err error) {
	first = from
	for at := from; at < to; {
		next, _, err := w.r.p.Session().Browse(w.p, at, maxItemsBytes, func(d *broker.Delivery) bool {
			if d.Offset >= to {
				return false
			}
			it := read(d, w.partition)
			w.got = append(w.got, it)
			w.left--
			w.bytes -= it.size
			for w.held += it.size; w.held > maxItemsBytes && len(w.got) > 1; {
				w.held -= w.got[0].size
				first = w.got[0].offset + 1
				w.got = w.got[1:]
			}
			return d.Offset+1 < to
		})
		if err != nil {
			return 0, err
		}
		if next <= at {
			break
		}
		at = next
	}
	return first, nil
}

// page is one of a result set.
func (r *request) page(n *node, set, answer *stanza.Element, limit int) (*stanza.Element, bool, error) {
	if len(n.queue.Partitions()) > 1 {
		return nil, false, stanza.Fail("feature-not-implemented", "a topic with several partitions has no one order to page by; ask for max_items")
	}
	asked, e := readSet(set)
	if e != nil {
		return nil, false, e
	}
	if asked.max >= 0 {
		limit = min(limit, asked.max)
	}
	var list []*item
	var err error
	switch {
	case limit == 0: // how many are there?
	case asked.before != nil && *asked.before == "":
		list, err = r.last(n, nil, limit)
	case asked.before != nil:
		var it *item
		if it, err = r.anchor(n, *asked.before); err == nil {
			list, err = r.last(n, []message.Offset{it.offset}, limit)
		}
	case asked.after != nil:
		var it *item
		if it, err = r.anchor(n, *asked.after); err == nil {
			list, err = r.forward(n, it.offset+1, limit)
		}
	default:
		list, err = r.forward(n, 0, limit)
	}
	if err != nil {
		return nil, false, err
	}
	out := stanza.New(nsRSM, "set")
	if len(list) > 0 {
		out.Add(stanza.New(nsRSM, "first").AddText(list[0].id), stanza.New(nsRSM, "last").AddText(list[len(list)-1].id))
	}
	st := n.queue.Stats()
	out.Add(stanza.New(nsRSM, "count").AddText(strconv.FormatInt(st.Ready+st.Unacked, 10)))
	return result(nsPubsub, added(answer, list), out), false, nil
}

// set is what is asked of a result set (XEP-0059).
type rsmSet struct {
	max           int // -1: as many as there may be
	before, after *string
}

func readSet(set *stanza.Element) (out rsmSet, _ *stanza.Error) {
	out.max = -1
	if m := set.Child(nsRSM, "max"); m != nil {
		n, err := strconv.ParseUint(m.Text(), 10, 31)
		if err != nil {
			return out, stanza.Fail("bad-request", "max is a number")
		}
		out.max = int(n)
	}
	for _, c := range [...]struct {
		name string
		into **string
	}{{"before", &out.before}, {"after", &out.after}} {
		if e := set.Child(nsRSM, c.name); e != nil {
			text := e.Text()
			*c.into = &text
		}
	}
	if set.Child(nsRSM, "index") != nil {
		return out, stanza.Fail("feature-not-implemented", "pages are found by before and after, not by index")
	}
	return out, nil
}

// anchor finds the item that a page is beside.
func (r *request) anchor(n *node, id string) (*item, error) {
	it, err := r.find(n, id)
	if err == nil && it == nil {
		err = stanza.Fail("item-not-found", "there is no item '"+clip(id)+"'")
	}
	return it, err
}

// forward reads items from an offset on.
func (r *request) forward(n *node, from message.Offset, limit int) (out []*item, err error) {
	p := n.queue.Partitions()[0]
	start, end, err := r.p.Session().Extent(p)
	if err != nil {
		return nil, err
	}
	left, size := maxWalk, 0
	for from = max(from, start); from < end && len(out) < limit && left > 0 && size < maxItemsBytes; {
		var got []*item
		held := 0
		next, _, err := r.p.Session().Browse(p, from, maxItemsBytes, func(d *broker.Delivery) bool {
			it := read(d, 0)
			got, held = append(got, it), held+it.size
			return len(got) < min(limit, walkStep) && held < maxItemsBytes
		})
		if err != nil {
			return nil, err
		}
		left -= len(got)
		for _, it := range got {
			if len(out) == limit || r.superseded(n, it) {
				continue
			}
			if size += it.size; size > maxItemsBytes && len(out) > 0 {
				return out, nil
			}
			if err := r.charge(it.size); err != nil {
				return nil, err
			}
			out = append(out, it)
		}
		if next <= from {
			break
		}
		from = next
	}
	return out, nil
}
