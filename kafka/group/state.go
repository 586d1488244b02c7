package group

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// What is kept of a group beside its offsets, so that its members go on after a
// restart where they were: the last generation that stood.
//
//	0         1            5            13
//	+---------+------------+------------+------ ...
//	| version | generation | since      | protocol type, protocol, leader's id: texts
//	| 1, u8   | int32      | ms, int64  | members: a number, and each
//	+---------+------------+------------+------ ...
//
//	member     id, instance id, client id, client's host: texts
//	           session and rebalance timeout: numbers of ms
//	           protocols: a number, and each a name and what the member says, texts
//	           assignment: a text
//
// A number is an unsigned varint, a text its number of bytes and the bytes; the
// rest is big-endian. since is when the group lost its last member.
const (
	stateVersion  = 1
	stateMinBytes = 1 + 4 + 8 + 4
	// maxStateBytes bounds what is kept: the members of a larger group join anew
	// after a restart.
	maxStateBytes = 4 << 20
)

var (
	errStateRecord  = errors.New("malformed state of a group")
	errStateVersion = errors.New("the state of a group has a version that is not known; was it written by a newer version?")
)

// appendState encodes a group. mu is held.
func (g *group) appendState(dst []byte) []byte {
	if g.modern != nil {
		return g.appendEpochs(dst)
	}
	dst = append(dst, stateVersion)
	dst = binary.BigEndian.AppendUint32(dst, uint32(g.generation))
	dst = binary.BigEndian.AppendUint64(dst, uint64(g.since.UnixMilli()))
	dst = appendText(dst, g.protocolType)
	dst = appendText(dst, g.protocol)
	dst = appendText(dst, g.leader)
	members := g.members
	if g.protocol == "" {
		members = nil // of a group whose first generation does not stand yet there is nothing to go on with
	}
	dst = binary.AppendUvarint(dst, uint64(len(members)))
	for _, m := range members {
		dst = appendText(dst, m.id)
		dst = appendText(dst, m.instance)
		dst = appendText(dst, m.clientID)
		dst = appendText(dst, m.clientHost)
		dst = binary.AppendUvarint(dst, uint64(m.session.Milliseconds()))
		dst = binary.AppendUvarint(dst, uint64(m.rebalance.Milliseconds()))
		dst = binary.AppendUvarint(dst, uint64(len(m.protocols)))
		for _, p := range m.protocols {
			dst = appendText(dst, p.Name)
			dst = appendText(dst, p.Metadata)
		}
		dst = appendText(dst, m.assignment)
	}
	return dst
}

func appendText[T string | []byte](dst []byte, text T) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(text))), text...)
}

// kept is a group's state as it was read back.
type kept struct {
	generation                     int32
	since                          time.Time
	protocolType, protocol, leader string
	members                        []keptMember
}

// keptMember is a member of it, in the form of the join that would make it.
type keptMember struct {
	JoinRequest
	assignment []byte
}

// parseState reads a state back.
func parseState(b []byte) (*kept, error) {
	if len(b) > 0 && b[0] != stateVersion {
		return nil, fmt.Errorf("%w (version %d)", errStateVersion, b[0])
	}
	if len(b) < stateMinBytes {
		return nil, fmt.Errorf("%w: %d bytes", errStateRecord, len(b))
	}
	k := &kept{
		generation: int32(binary.BigEndian.Uint32(b[1:])),
		since:      time.UnixMilli(int64(binary.BigEndian.Uint64(b[5:]))),
	}
	r := stateDecoder{rest: b[13:]}
	k.protocolType, k.protocol, k.leader = r.text(), r.text(), r.text()
	const leastMember, leastProtocol = 8, 2
	for n := r.count(leastMember); n > 0 && !r.bad; n-- {
		m := keptMember{JoinRequest: JoinRequest{ProtocolType: k.protocolType}}
		m.MemberID, m.InstanceID, m.ClientID, m.ClientHost = r.text(), r.text(), r.text(), r.text()
		m.SessionTimeout, m.RebalanceTimeout = r.millis(), r.millis()
		for n := r.count(leastProtocol); n > 0 && !r.bad; n-- {
			m.Protocols = append(m.Protocols, Protocol{Name: r.text(), Metadata: []byte(r.text())})
		}
		m.assignment = []byte(r.text())
		k.members = append(k.members, m)
	}
	if r.bad || len(r.rest) > 0 {
		return nil, fmt.Errorf("%w: %d bytes", errStateRecord, len(b))
	}
	return k, nil
}

// stateDecoder takes values off the front; the first that does not fit sets bad.
type stateDecoder struct {
	rest []byte
	bad  bool
}

func (r *stateDecoder) number() uint64 {
	v, n := binary.Uvarint(r.rest)
	if n <= 0 {
		r.bad, r.rest = true, nil
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

// count reads how many elements follow, each of at least so many bytes.
func (r *stateDecoder) count(least int) int {
	n := r.number()
	if n > uint64(len(r.rest)/least) {
		r.bad, r.rest = true, nil
		return 0
	}
	return int(n)
}

func (r *stateDecoder) text() string {
	n := r.number()
	if n > uint64(len(r.rest)) {
		r.bad, r.rest = true, nil
		return ""
	}
	text := string(r.rest[:n])
	r.rest = r.rest[n:]
	return text
}

// millis reads a timeout.
func (r *stateDecoder) millis() time.Duration {
	const most = uint64(1<<31 - 1)
	return time.Duration(min(r.number(), most)) * time.Millisecond
}
