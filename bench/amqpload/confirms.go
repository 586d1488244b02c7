package amqpload

import "fmt"

// confirms follows which publishes were confirmed. A broker may confirm the messages of
// one queue before older ones of another, so single confirms above the oldest open one
// are kept in a ring of bits. It is owned by the goroutine that reads the confirms.
type confirms struct {
	low   uint64 // every tag up to here is confirmed
	early []uint64
	mask  uint64
	above int // bits set in early
}

// newConfirms holds up to window open publishes.
func newConfirms(window int) *confirms {
	bits := 64
	for bits < 2*window {
		bits *= 2
	}
	return &confirms{early: make([]uint64, bits/64), mask: uint64(bits - 1)}
}

func (c *confirms) bit(tag uint64) (word *uint64, bit uint64) {
	i := tag & c.mask
	return &c.early[i/64], 1 << (i % 64)
}

// ack takes one confirm and returns how many publishes it settled. A tag that was settled
// before, or that is further ahead than can be open, is an error.
func (c *confirms) ack(tag uint64, multiple bool) (settled int64, err error) {
	if tag == 0 && multiple {
		return 0, fmt.Errorf("confirm of everything (tag 0) is not expected of a broker")
	}
	if tag <= c.low || tag > c.low+c.mask {
		return 0, fmt.Errorf("confirm of tag %d while %d is the last settled", tag, c.low)
	}
	if multiple {
		for c.low < tag {
			settled += c.advance()
		}
	} else {
		w, b := c.bit(tag)
		if *w&b != 0 {
			return 0, fmt.Errorf("tag %d was confirmed twice", tag)
		}
		*w |= b
		c.above++
		settled = 1
	}
	for c.above > 0 {
		if w, b := c.bit(c.low + 1); *w&b == 0 {
			break
		}
		c.advance()
	}
	return settled, nil
}

// advance moves low by one; it returns 1 if that tag was not settled before.
func (c *confirms) advance() int64 {
	c.low++
	w, b := c.bit(c.low)
	if *w&b == 0 {
		return 1
	}
	*w &^= b
	c.above--
	return 0
}
