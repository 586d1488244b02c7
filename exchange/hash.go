package exchange

import (
	"encoding/binary"
	"math"
	"slices"
	"strconv"

	"github.com/cespare/xxhash/v2"

	"github.com/leveret-mq/leveret/internal/field"
)

// A hash exchange gives each value to one target: the one with the highest draw, where
// every target draws anew for each value, from the hash of its name and the value, and
// the better the more weight it has (weighted rendezvous hashing). So each gets what its
// weight says, and when one comes or goes only what it gets or had moves. The draws
// depend on names alone: after a restart each value goes where it went before.
//
// Measured on a 2-core machine (BenchmarkHash): 0.1 µs for 10 targets, 1 µs for 100.

// hashOn is what of a message is hashed: a header, a property, or else the routing key.
type hashOn struct {
	header   string
	property string
	isHeader bool // a header may have no name
}

// The arguments of a hash exchange.
const (
	argHashHeader   = "hash-header"
	argHashProperty = "hash-property"
)

func (on *hashOn) read(args []byte) error {
	header, isHeader := field.Find(args, argHashHeader)
	property, isProperty := field.Find(args, argHashProperty)
	for _, f := range []*field.Iterator{&header, &property} {
		if f.Tag() != field.TagString && (isHeader && f == &header || isProperty && f == &property) {
			return badArgs("invalid type '%s' for arg '%s'", field.TypeName(f.Tag()), f.Name())
		}
	}
	if isHeader && isProperty {
		return badArgs("hash-header and hash-property are mutually exclusive")
	}
	*on = hashOn{header: string(header.Text()), property: string(property.Text()), isHeader: isHeader}
	if isProperty && !slices.Contains([]string{"correlation_id", "message_id", "timestamp"}, on.property) {
		return badArgs("Unsupported property: %s", on.property)
	}
	return nil
}

// hash is of what is asked for; where that is missing, the same for all messages.
func (on *hashOn) hash(m Message) uint64 {
	switch {
	case on.isHeader:
		return headerHash(m.Headers, on.header)
	case on.property == "":
		return xxhash.Sum64(m.Key)
	}
	var p field.Properties
	if p.Parse(m.Properties) != nil {
		return 0
	}
	switch on.property {
	case "correlation_id":
		return xxhash.Sum64(p.CorrelationID)
	case "message_id":
		return xxhash.Sum64(p.MessageID)
	}
	return numberHash(p.Timestamp)
}

// headerHash is the same for numbers of any width that are the same.
func headerHash(headers []byte, name string) uint64 {
	v, ok := field.Find(headers, name)
	if !ok {
		return 0
	}
	if n, ok := v.Int(); ok {
		return numberHash(uint64(n))
	}
	if text := v.Text(); text != nil {
		return xxhash.Sum64(text)
	}
	return xxhash.Sum64(v.Raw())
}

func numberHash(n uint64) uint64 {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], n)
	return xxhash.Sum64(b[:])
}

// maxWeight is more than anybody needs, and few enough to be added up.
const maxWeight = 1_000_000_000

// weight reads the binding key of a hash exchange, in the words of RabbitMQ's plugin.
func weight(key string) (uint64, error) {
	n, err := strconv.ParseInt(key, 10, 64)
	switch {
	case err != nil && n == 0:
		return 0, badArgs("The binding key must be an integer: %s", field.ErlangBinary([]byte(key)))
	case n < 1:
		return 0, badArgs("The binding key must be greater than 0")
	case n > maxWeight:
		return 0, badArgs("The binding key must not be greater than %d", maxWeight)
	}
	return uint64(n), nil
}

// hashed is an immutable list of targets with their weights, which several bindings of
// one target add up to.
type hashed []hashedTarget

type hashedTarget struct {
	target Target
	weight uint64
	name   uint64 // the hash of its name
}

func (h hashed) find(t Target) int {
	return slices.IndexFunc(h, func(m hashedTarget) bool { return m.target == t })
}

func (h hashed) with(b Binding) (hashed, error) {
	w, err := weight(b.Key)
	if err != nil {
		return nil, err
	}
	next := append(make(hashed, 0, len(h)+1), h...)
	if i := h.find(b.Target); i >= 0 {
		next[i].weight += w
		return next, nil
	}
	return append(next, hashedTarget{b.Target, w, xxhash.Sum64String(b.Name)}), nil
}

func (h hashed) without(b Binding) (hashed, bool) {
	w, err := weight(b.Key)
	i := h.find(b.Target)
	if err != nil || i < 0 {
		return h, false
	}
	next := slices.Clone(h)
	if next[i].weight -= min(w, next[i].weight); next[i].weight == 0 {
		next = slices.Delete(next, i, i+1)
	}
	return next, true
}

func (h hashed) route(hash uint64, into []Target) []Target {
	switch len(h) {
	case 0:
		return into
	case 1:
		return append(into, h[0].target)
	}
	best, most := 0, h[0].draw(hash)
	for i := 1; i < len(h); i++ {
		u := h[i].draw(hash)
		more := u > most
		if w, v := h[i].weight, h[best].weight; w != v && more != (w > v) {
			more = math.Log(u)*float64(v) > math.Log(most)*float64(w)
		}
		if more {
			best, most = i, u
		}
	}
	return append(into, h[best].target)
}

// draw is in (0, 1). Of the draws u of several targets the highest u^(1/weight) is each
// one's with the probability of its share of all weights.
func (m *hashedTarget) draw(hash uint64) float64 {
	return (float64(mix(hash^m.name)>>11) + 0.5) / (1 << 53)
}

// mix spreads every bit of x over all (the last step of splitmix64).
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
