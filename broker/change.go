package broker

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/leveret-mq/leveret/store"
)

// change is one change of a virtual host's topology. VHost.mu is never held over
// anything that may wait for a disk or another machine:
//
//	plan      under VHost.mu     claims the names that it is about, and checks them
//	prepare   without            what may wait: new logs, a count
//	gather    without            definitions that follow from what is claimed, where there may be very many
//	write     without            the definitions, in one write that shares its flush
//	show      under VHost.mu     from now on everybody sees it
//	finish    without            what follows from it and may wait; then the claims end
//
// Who needs a name that another change has claimed waits for its outcome and plans
// anew. A plan that finds a name taken waits with none of its own claims held, so
// changes can't wait for each other in a circle. What fails before show is undone,
// and nobody saw it.
type change struct {
	v       *VHost
	claims  map[string]claimKind
	busy    *claim        // of another change, met by the plan
	entries []store.Entry // to be written

	prepare func() error
	gather  func() error
	show    func() error
	undo    func()
	finish  func()
}

// claim is what changes under way hold of one name: one alone, or several along.
type claim struct {
	along  int           // holders that need it to stay as it is; 0: one holds it alone
	wanted bool          // by one that wants it alone: nobody else joins
	free   chan struct{} // closed when the last holder lets go; nil: nobody waits
}

type claimKind uint8

const (
	along claimKind = iota + 1
	alone
)

// errBusy is how a plan ends that met a name of another change.
var errBusy = errors.New("another change has the name")

// Names of claims. Queues, topics and the topics of exchanges share one space.
func queueClaim(name string) string    { return "q/" + name }
func exchangeClaim(name string) string { return "x/" + name }
func bindingClaim(key string) string   { return "b/" + key }

// change runs one. plan is called with mu held, again whenever it had to wait.
func (v *VHost) change(plan func(c *change) error) error {
	if !v.open.enter() {
		return v.goneErr()
	}
	defer v.open.leave()
	for tries := 0; ; {
		c := &change{v: v, claims: map[string]claimKind{}}
		v.mu.Lock()
		err := plan(c)
		if err != nil || c.idle() {
			wait := c.busyChan(err)
			c.letGo()
			v.mu.Unlock()
			if wait == nil {
				return err
			}
			<-wait
			continue
		}
		v.mu.Unlock()
		if err = c.carryOut(); !overtaken(err) || tries == overtakenTries {
			return err
		}
		tries++ // once what another process has written is here, there is another plan
		time.Sleep(overtakenPause)
	}
}

// idle reports whether the plan found nothing to do.
func (c *change) idle() bool { return c.show == nil }

// busyChan is what to wait for when a plan met another's claim.
func (c *change) busyChan(err error) chan struct{} {
	if !errors.Is(err, errBusy) {
		return nil
	}
	if c.busy.free == nil {
		c.busy.free = make(chan struct{})
	}
	return c.busy.free
}

// carryOut does what was planned.
func (c *change) carryOut() error {
	err := c.write()
	c.v.mu.Lock()
	if err == nil {
		err = c.show()
	}
	c.v.mu.Unlock()
	switch {
	case err != nil && c.undo != nil:
		c.undo()
	case err == nil && c.finish != nil:
		c.finish()
	}
	c.v.mu.Lock()
	c.letGo()
	c.v.mu.Unlock()
	return err
}

func (c *change) write() error {
	if c.prepare != nil {
		if err := c.prepare(); err != nil {
			return err
		}
	}
	if c.gather != nil {
		if err := c.gather(); err != nil {
			return err
		}
	}
	if len(c.entries) == 0 {
		return nil
	}
	return c.v.b.define(c.entries...)
}

// put adds a definition to what is written.
func (c *change) put(key string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode definition %s: %w", key, err)
	}
	c.entries = append(c.entries, store.Entry{Key: key, Value: data})
	return nil
}

// drop adds the end of a definition to what is written.
func (c *change) drop(key string) { c.entries = append(c.entries, store.Entry{Key: key}) }

// alone claims a name that the change makes, alters or removes.
func (c *change) alone(name string) error {
	have := c.claims[name]
	if have == alone {
		return nil
	}
	cl := c.v.claims[name]
	switch {
	case cl == nil:
		c.v.claims[name] = &claim{}
	case have == along && cl.along == 1:
		cl.along = 0
	default:
		cl.wanted = true
		c.busy = cl
		return errBusy
	}
	c.claims[name] = alone
	return nil
}

// along claims a name that has to stay as it is during the change.
func (c *change) along(name string) error {
	if c.claims[name] != 0 {
		return nil
	}
	cl := c.v.claims[name]
	switch {
	case cl == nil:
		cl = &claim{}
		c.v.claims[name] = cl
	case cl.along == 0 || cl.wanted:
		c.busy = cl
		return errBusy
	}
	cl.along++
	c.claims[name] = along
	return nil
}

// letGo ends the change's claims. VHost.mu is held.
func (c *change) letGo() {
	for name := range c.claims {
		cl := c.v.claims[name]
		if cl.along > 1 {
			cl.along--
			continue
		}
		delete(c.v.claims, name)
		if cl.free != nil {
			close(cl.free)
		}
	}
}
