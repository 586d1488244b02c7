package group

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/leveret-mq/leveret/kafka/wire"
)

// What is kept of a group that is assigned by the broker, in the same place as the state of a classic one.
//
//	0         1         2            10
//	+---------+---------+------------+------ ...
//	| version | type    | since      | epoch, epoch of the target: numbers; the target's assignor: a text
//	| 2, u8   | 1 or 2  | ms, int64  | topics: a number, and each a name, 16 bytes of id, its partitions, a number
//	+---------+---------+------------+ members, in order of joining: a number, and each
//
//	member     id, instance id, rack, client id, client's host, assignor: texts
//	           epoch, previous epoch: numbers, 2 more than they are; progress: a byte; time to give back: a number of ms
//	           names, the expression in one, what that stood for: a number and texts, a text, a number and texts
//	           assigned, to be given back, target: each a number of topics, with each the place in the list of topics and
//	           its partitions: a number, and as numbers the difference of each to the one before
//
// A number is an unsigned varint, a text its number of bytes and the bytes; the rest is big-endian. Topics that are gone, and are
// in what a member has still, stand in the list without a name. type 1 is a Consumer group, 2 a Share group, of which the topics that
// it has begun with follow: a number, and 16 bytes of each one's id. Older versions wrote none.
//
// Version 3 has, for each member behind the rest, how it speaks the classic protocol: a number of protocols, 0 if it does not; and if it does,
// each one's name and what it says, texts, the version of that, a number, and the session, a number of ms.
const (
	epochStateVersion = 2
	mixedStateVersion = 3
)

var epochKinds = []Type{1: Consumer, 2: Share}

func (g *group) appendEpochs(dst []byte) []byte {
	m := g.modern
	version := byte(epochStateVersion)
	if slices.ContainsFunc(m.order, func(x *epochMember) bool { return x.classic != nil }) {
		version = mixedStateVersion
	}
	dst = append(dst, version, byte(slices.Index(epochKinds, m.kind)))
	dst = binary.BigEndian.AppendUint64(dst, uint64(g.since.UnixMilli()))
	dst = binary.AppendUvarint(dst, uint64(m.epoch))
	dst = binary.AppendUvarint(dst, uint64(m.targetEpoch))
	dst = appendText(dst, m.assignor)
	at := map[TopicID]int{}
	names := slices.Sorted(maps.Keys(m.topics))
	var list []byte
	for _, name := range names {
		t := m.topics[name]
		at[t.ID] = len(at)
		list = appendText(list, name)
		list = append(list, t.ID[:]...)
		list = binary.AppendUvarint(list, uint64(t.Partitions))
	}
	for _, x := range m.order {
		for _, p := range [3]Partitions{x.assigned, x.revoked, x.target} {
			if p.among(at) {
				continue
			}
			for _, id := range p.Topics() {
				if _, there := at[id]; !there {
					at[id] = len(at)
					list = appendText(list, "")
					list = append(list, id[:]...)
					list = binary.AppendUvarint(list, 0)
				}
			}
		}
	}
	dst = append(binary.AppendUvarint(dst, uint64(len(at))), list...)
	dst = binary.AppendUvarint(dst, uint64(len(m.order)))
	for _, x := range m.order {
		for _, text := range [6]string{x.id, x.instance, x.rack, x.clientID, x.clientHost, x.assignor} {
			dst = appendText(dst, text)
		}
		dst = binary.AppendUvarint(dst, uint64(x.epoch+2))
		dst = binary.AppendUvarint(dst, uint64(x.previous+2))
		dst = append(dst, byte(x.progress))
		dst = binary.AppendUvarint(dst, uint64(x.rebalance.Milliseconds()))
		dst = appendTexts(dst, x.names)
		dst = appendText(dst, x.regex)
		dst = appendTexts(dst, x.match)
		for _, p := range [3]Partitions{x.assigned, x.revoked, x.target} {
			dst = binary.AppendUvarint(dst, uint64(len(p)))
			for _, id := range p.Topics() {
				dst = binary.AppendUvarint(dst, uint64(at[id]))
				dst = binary.AppendUvarint(dst, uint64(len(p[id])))
				last := int32(0)
				for _, n := range p[id] {
					dst = binary.AppendUvarint(dst, uint64(n-last))
					last = n
				}
			}
		}
	}
	if version == mixedStateVersion {
		for _, x := range m.order {
			dst = x.appendClassic(dst)
		}
	}
	if m.kind == Share {
		dst = binary.AppendUvarint(dst, uint64(len(m.begun)))
		for _, id := range m.beginnings() {
			dst = append(dst, id[:]...)
		}
	}
	return dst
}

// among says whether all topics have a place in a list.
func (p Partitions) among(at map[TopicID]int) bool {
	for id := range p {
		if _, there := at[id]; !there {
			return false
		}
	}
	return true
}

func (x *epochMember) appendClassic(dst []byte) []byte {
	if x.classic == nil {
		return append(dst, 0)
	}
	dst = binary.AppendUvarint(dst, uint64(len(x.classic.protocols)))
	for _, p := range x.classic.protocols {
		dst = appendText(appendText(dst, p.Name), p.Metadata)
	}
	dst = binary.AppendUvarint(dst, uint64(x.classic.version))
	return binary.AppendUvarint(dst, uint64(x.classic.session.Milliseconds()))
}

// classic reads what appendClassic writes.
func (r *stateDecoder) classic() *spoken {
	s := &spoken{}
	for n := r.count(2); n > 0 && !r.bad; n-- {
		s.protocols = append(s.protocols, Protocol{Name: r.text(), Metadata: []byte(r.text())})
	}
	if r.bad || s.protocols == nil {
		return nil
	}
	s.version, s.session = int16(r.small(1<<15-1)), r.millis()
	return s
}

func appendTexts(dst []byte, list []string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(list)))
	for _, text := range list {
		dst = appendText(dst, text)
	}
	return dst
}

func (r *stateDecoder) texts() (list []string) {
	for n := r.count(1); n > 0 && !r.bad; n-- {
		list = append(list, r.text())
	}
	return list
}

func (r *stateDecoder) byte() byte {
	if len(r.rest) == 0 {
		r.bad = true
		return 0
	}
	b := r.rest[0]
	r.rest = r.rest[1:]
	return b
}

// small reads a number that is no larger than most.
func (r *stateDecoder) small(most uint64) int32 {
	n := r.number()
	if n > most {
		r.bad, r.rest = true, nil
		return 0
	}
	return int32(n)
}

func (r *stateDecoder) partitions(topics []TopicID) Partitions {
	out := Partitions{}
	for n := r.count(3); n > 0 && !r.bad; n-- {
		at := r.number()
		var list []int32
		last := int64(0)
		for n := r.count(1); n > 0 && !r.bad; n-- {
			last += int64(r.small(1 << 30))
			if last > 1<<30 || len(list) > 0 && int32(last) == list[len(list)-1] {
				r.bad = true
				break
			}
			list = append(list, int32(last))
		}
		if r.bad || at >= uint64(len(topics)) || len(list) == 0 || out[topics[at]] != nil {
			r.bad = true
			break
		}
		out[topics[at]] = list
	}
	return out
}

// parseEpochs reads a state back; the members are on the lists of m, without timers.
func parseEpochs(b []byte) (m *modern, since time.Time, err error) {
	malformed := fmt.Errorf("%w: %d bytes", errStateRecord, len(b))
	if len(b) < 10 || b[0] != epochStateVersion && b[0] != mixedStateVersion || b[1] == 0 || int(b[1]) >= len(epochKinds) {
		return nil, since, malformed
	}
	m = &modern{kind: epochKinds[b[1]], members: map[string]*epochMember{}, static: map[string]*epochMember{},
		topics: map[string]TopicInfo{}, owners: map[owned]ownership{}}
	since = time.UnixMilli(int64(binary.BigEndian.Uint64(b[2:])))
	r := stateDecoder{rest: b[10:]}
	const most = 1<<31 - 1
	m.epoch, m.targetEpoch, m.assignor = r.small(most), r.small(most), r.text()
	var topics []TopicID
	for n := r.count(18); n > 0 && !r.bad; n-- {
		name := r.text()
		if len(r.rest) < 16 {
			r.bad = true
			break
		}
		t := TopicInfo{ID: TopicID(r.rest[:16])}
		r.rest = r.rest[16:]
		t.Partitions = int(r.small(1 << 30))
		topics = append(topics, t.ID)
		if name != "" {
			m.topics[name] = t
		}
	}
	for n := r.count(18); n > 0 && !r.bad; n-- {
		x := &epochMember{}
		for _, text := range [6]*string{&x.id, &x.instance, &x.rack, &x.clientID, &x.clientHost, &x.assignor} {
			*text = r.text()
		}
		x.epoch, x.previous = r.small(most)-2, r.small(most)-2
		x.progress = progress(r.byte())
		x.rebalance = r.millis()
		x.names, x.regex, x.match = r.texts(), r.text(), r.texts()
		assigned, revoked := r.partitions(topics), r.partitions(topics)
		x.target = r.partitions(topics)
		if r.bad || m.members[x.id] != nil || x.instance != "" && m.static[x.instance] != nil || x.progress > receiving {
			r.bad = true
			break
		}
		m.members[x.id] = x
		m.order = append(m.order, x)
		if x.instance != "" {
			m.static[x.instance] = x
		}
		m.own(x, assigned, revoked, x.epoch)
	}
	if b[0] == mixedStateVersion {
		for _, x := range m.order {
			if x.classic = r.classic(); x.classic != nil && m.kind == Share {
				r.bad = true
			}
		}
	}
	if m.kind == Share && len(r.rest) > 0 {
		m.begun = map[TopicID]bool{}
		for n := r.count(16); n > 0 && !r.bad; n-- {
			m.begun[TopicID(r.rest[:16])] = true
			r.rest = r.rest[16:]
		}
	}
	if r.bad || len(r.rest) > 0 {
		return nil, since, malformed
	}
	return m, since, nil
}

// restoreEpochs is RestoreGroup for a group that is assigned by the broker.
func (c *Coordinator) restoreEpochs(id string, state []byte) error {
	m, since, err := parseEpochs(bytes.Clone(state))
	if err != nil {
		return fmt.Errorf("group %q: %w", id, err)
	}
	g, code := c.lockKept(id)
	if code != wire.None {
		return fmt.Errorf("group %q: %w", id, code)
	}
	defer g.mu.Unlock()
	g.modern, g.stored, g.since = m, true, since
	for _, x := range m.order {
		x.bytes = x.size()
		if code := g.opts.take(x.bytes); code != wire.None {
			x.bytes = 0
		}
		if x.classic != nil {
			x.classic.session = min(max(x.classic.session, g.opts.MinSession), g.opts.MaxSession)
		}
		g.beat(x)
		if x.progress == revoking {
			g.giveBackIn(x)
		}
	}
	if len(m.order) > 0 {
		g.state = Stable
		g.settleKind() // none that was written is of classic members alone
	}
	// What is there of the topics is looked at when the first member is heard: m.version is none that there is.
	return nil
}
