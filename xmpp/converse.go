package xmpp

import (
	"errors"
	"sync"
	"time"

	"github.com/leveret-mq/leveret/internal/netx"
	"github.com/leveret-mq/leveret/xmpp/stanza"
)

const nsCSI = "urn:xmpp:csi:0"

var errGone = stanza.Fail("recipient-unavailable", "the client is gone")

// converse serves a client until its stream ends, and decides what becomes of the client.
func (c *conn) converse() error {
	k := c.client.Load()
	err := c.read(k)
	c.feed.store()
	var e *stanza.StreamError
	ended := errors.Is(err, stanza.ErrEnd)
	errors.As(err, &e)
	broken := !ended && (e == nil || e.Condition == "connection-timeout") && !c.forced.Load() && k.isResumable()
	if !broken {
		k.leave(c)
	}
	switch {
	case ended:
		c.lastWord([]byte("</stream:stream>"))
	case e != nil:
		c.lastWord(appendStreamError(nil, e, c.undefined))
	case errors.Is(err, errTold):
		c.lastWord(nil)
	default:
		c.close()
		c.lastWord(nil)
	}
	c.w.finishing.Store(true)
	_ = c.link.Load().out.Until(time.Now().Add(lastWordTime))
	<-c.writerDone
	if !broken {
		c.feed.due() // nobody hears of what comes later
	} else if !c.feed.settle(min(storeTime, c.s.opts.ResumeTime)) { // what is resumed counts as handled
		broken = false
		k.leave(c)
	}
	c.detach(k, broken)
	close(c.over)
	c.feed.abandon()
	c.session.Close()
	return err
}

// read takes stanzas until the stream ends.
func (c *conn) read(k *Client) error {
	for {
		e, err := c.reader.Next()
		if err != nil {
			return err
		}
		err = c.take(k, e)
		c.uncharge()
		if err != nil {
			return err
		}
		c.waitOut(k)
		if wait := c.rate.came(c.s.opts.StanzaRate, c.rb().Now()); wait > 0 {
			c.feed.store()
			netx.Hold(c.nc(), c.writerDone, wait, func() bool { return !c.isSentAway() })
		}
	}
}

// take serves what came.
func (c *conn) take(k *Client, e *stanza.Element) error {
	switch {
	case e.Space == stanza.NSClient && (e.Local == "iq" || e.Local == "message" || e.Local == "presence"):
		c.stanzas.Add(1)
		c.stanza(k, e)
		k.mu.Lock()
		if k.sm != nil && k.conn == c {
			k.sm.in++
		}
		k.mu.Unlock()
		return nil
	case e.Space == nsSM:
		return c.smElement(e)
	case e.Space == nsCSI:
		return nil
	}
	return &stanza.StreamError{Condition: "unsupported-stanza-type", Text: "nothing of that name is known"}
}

// beforeWait ends what came with one read.
func (c *conn) beforeWait() error {
	if c.isSentAway() {
		return errTold
	}
	if c.session == nil {
		return nil
	}
	c.feed.store()
	return nil
}

// leave has nothing more come to a client whose stream ends but the answers to what it asked: what others send is
// kept or refused, and not lost behind the last word.
func (k *Client) leave(c *conn) {
	k.mu.Lock()
	mine := k.conn == c
	k.leaving = k.leaving || mine
	k.mu.Unlock()
	if mine { // before the client can know of the end: its stream is not resumed any more
		k.s.registry.forgetStream(k)
	}
}

// detach is the end of a connection for its client, which lives on if the stream broke and can be resumed, or is being
// resumed by another connection.
func (c *conn) detach(k *Client, broken bool) {
	k.mu.Lock()
	keep := broken && k.conn == c && !k.gone && k.sm != nil && k.sm.id != ""
	if !keep {
		k.disconnect(c)
	}
	unwritten := k.unwritten
	k.unwritten = nil
	k.mu.Unlock()
	settleAll(unwritten, false)
	if !keep {
		k.finish()
		return
	}
	// All before anybody can think that nobody has the client: it would be resumed, and ended with what is over here.
	k.suspend()
	if !c.s.registry.hold(k, k.sm.max) {
		k.finish()
	}
	k.mu.Lock()
	k.disconnect(c)
	k.mu.Unlock()
}

// disconnect takes a connection from its client. mu is held.
func (k *Client) disconnect(c *conn) {
	if k.conn != c {
		return
	}
	k.conn = nil
	k.live.Store(nil)
	giveBuffer(k.out)
	k.out, k.alone = nil, 0
}

// isResumable tells whether a stream that breaks is kept for a while. Where it is not, nobody waits for its end.
func (k *Client) isResumable() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.sm != nil && k.sm.id != ""
}

func (k *Client) isGone() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.gone
}

// expire ends a client whose stream was not resumed in time.
func (k *Client) expire() {
	r := &k.s.registry
	r.mu.Lock()
	if r.waiting[k] == nil {
		r.mu.Unlock()
		return // it was resumed
	}
	delete(r.waiting, k)
	delete(r.streams, k.smID)
	r.mu.Unlock()
	k.finish()
}

// finish ends a client for good: what it held goes back to the queues, messages that it has not acknowledged to the
// account's offline messages, and its services hear of it.
func (k *Client) finish() {
	k.mu.Lock()
	if k.gone {
		k.mu.Unlock()
		return
	}
	k.gone = true
	was := k.present
	k.present, k.seen = false, nil
	var lost []*stanza.Element
	unsettled := k.unwritten
	k.unwritten = nil
	if k.sm != nil {
		if k.sm.timer != nil {
			k.sm.timer.Stop()
		}
		for k.sm.len() > 0 {
			e, b := k.sm.pop()
			if e.settled != nil {
				unsettled = append(unsettled, e.settled)
			}
			if e.kept {
				if m, err := stanza.Parse(withNamespace(b)); err == nil {
					lost = append(lost, m)
				}
			}
		}
	}
	left := k.drop()
	k.memory.Give(k.charged)
	k.charged = 0
	k.mu.Unlock()
	k.s.registry.leave(k)
	settleAll(unsettled, false)
	var all sync.WaitGroup
	for _, sub := range left { // who waits for the disk waits once
		all.Go(sub.DeleteUnused)
	}
	all.Wait()
	for _, m := range lost {
		k.s.again(k, m)
	}
	if was {
		k.tellServices(false)
	}
	k.fade(nil, was)
	k.tellGone()
	k.memory.Close()
}
