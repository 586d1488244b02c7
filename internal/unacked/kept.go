package unacked

import (
	"cmp"

	"github.com/leveret-mq/leveret/message"
)

// Kept is what was settled, by lease, for who answers a client that it was. Make one with make or a literal.
type Kept map[Lease]kept

type kept struct {
	upTo message.Offset
	came bool
}

// Note adds what was settled up to an offset; came says that some of it came back.
func (k Kept) Note(l Lease, upTo message.Offset, came bool) {
	if was, ok := k[l]; ok {
		upTo, came = max(upTo, was.upTo), came || was.came
	}
	k[l] = kept{upTo, came}
}

// Keep returns when all of it stays settled after the process is killed. An error is one of a lease that can't say so.
func (k Kept) Keep() (err error) {
	for l, one := range k {
		err = cmp.Or(l.Keep(one.upTo, one.came), err)
	}
	return err
}

// KeepBy has await wait for what Keep says, for as long as it likes. Where nothing was settled there is nothing to wait for.
func (k Kept) KeepBy(await func(<-chan error) error) error {
	if len(k) == 0 {
		return nil
	}
	done := make(chan error, 1)
	go func() { done <- k.Keep() }()
	return await(done)
}
