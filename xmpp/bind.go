package xmpp

import (
	"strconv"
	"strings"
	"time"

	"github.com/leveret-mq/leveret/xmpp/stanza"
)

// bindResource offers what there is after the sign-in, and returns when a resource is bound or a stream is resumed.
// No stanza but those of binding is carried out before.
func (c *conn) bindResource() error {
	if err := c.write("<stream:features><bind xmlns='" + nsBind + "'><required/></bind><session xmlns='" + nsSess + "'><optional/></session><sm xmlns='" + nsSM + "'/>" +
		"<ver xmlns='urn:xmpp:features:rosterver'/><sub xmlns='urn:xmpp:features:pre-approval'/>" +
		c.domain.caps() + "</stream:features>"); err != nil {
		return err
	}
	for {
		e, err := c.reader.Next()
		if err != nil {
			return err
		}
		c.uncharge()
		switch {
		case e.Is(nsSM, "resume"):
			if done, err := c.resume(e); done || err != nil {
				return err
			}
		case e.Is(nsSM, "enable"):
			if err := c.write(smFailed("unexpected-request")); err != nil {
				return err
			}
		case e.Space == nsSM, e.Space == nsCSI:
		case e.Is(stanza.NSClient, "iq") && e.Attr("type") == "set" && e.Child(nsBind, "bind") != nil:
			bound, err := c.bind(e)
			if bound || err != nil {
				return err
			}
		case e.Space == stanza.NSClient:
			return &stanza.StreamError{Condition: "not-authorized", Text: "a resource has to be bound first"}
		default:
			return &stanza.StreamError{Condition: "unsupported-stanza-type", Text: "nothing of that name is known"}
		}
	}
}

// bind serves a request to bind. bound is false when it was refused and another one may come.
func (c *conn) bind(iq *stanza.Element) (bound bool, err error) {
	resource := iq.Child(nsBind, "bind").ChildText(nsBind, "resource")
	if resource == "" {
		resource = randomResource()
	}
	jid := stanza.JID{Local: stanza.Escape(c.user.Name), Domain: c.domain.name, Resource: resource}
	if back, err := stanza.ParseJID(jid.String()); err != nil || back.Resource != resource || iq.Attr("id") == "" {
		return false, c.writeElement(stanza.Refusal(iq, stanza.Fail("bad-request", "a resource has 1 to 1023 bytes, and the iq an id")))
	}
	k := c.s.registry.bind(c, jid)
	if k == nil {
		return false, errTold
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.gone {
		return false, &stanza.StreamError{Condition: "conflict", Text: textConflict}
	}
	c.become(k)
	k.put(stanza.Result(iq, stanza.New(nsBind, "bind").Add(stanza.New(nsBind, "jid").AddText(k.full))), entry{})
	return true, nil
}

func (c *conn) writeElement(e *stanza.Element) error {
	return c.write(string(e.AppendTo(nil, stanza.NSClient)))
}

// become has the connection be that of a client, which is not gone, from now on. Client.mu is held.
func (c *conn) become(k *Client) {
	k.session.Store(c.session)
	c.client.Store(k)
	_ = c.until(time.Time{}) // a closed socket says so at the next call
	c.running.Store(true)    // from here on who is sent away hears why
	k.conn = c
	k.live.Store(c)
	c.w.start()
}

// resume serves <resume/>. done is false when it was refused and the client may bind a resource.
func (c *conn) resume(e *stanza.Element) (done bool, _ error) {
	h, err := strconv.ParseUint(e.Attr("h"), 10, 32)
	if err != nil {
		return false, c.write(smFailed("bad-request"))
	}
	id := e.Attr("previd")
	k := c.s.registry.take(id, c)
	if k == nil {
		return false, c.write(smFailed("item-not-found"))
	}
	k.mu.Lock()
	if k.gone || k.leaving { // its address was bound anew, or the stream was ended meanwhile
		k.mu.Unlock()
		k.finish()
		return false, c.write(smFailed("item-not-found"))
	}
	_, ok := k.acknowledge(uint32(h))
	if !ok {
		sent := k.sm.acked + uint32(k.sm.len())
		k.mu.Unlock()
		k.finish()
		c.undefined = handledTooHigh(h, sent)
		return false, &stanza.StreamError{Condition: "undefined-condition", Text: "more was acknowledged than was sent"}
	}
	giveBuffer(k.out)
	k.out = takeBuffer()
	k.out = append(k.out, "<resumed xmlns='"+nsSM+"' previd='"+stanzaText(id)+"' h='"+strconv.FormatUint(uint64(k.sm.in), 10)+"'/>"...)
	k.out = append(k.out, k.sm.buf[k.sm.at:]...) // again, before what is new
	k.sm.asked = false
	c.become(k)
	c.s.registry.resumable(id, k) // before anybody can end it
	k.mu.Unlock()
	k.revive()
	c.signal()
	return true, nil
}

func handledTooHigh(h uint64, sent uint32) string {
	return "<handled-count-too-high xmlns='" + nsSM + "' h='" + strconv.FormatUint(h, 10) + "' send-count='" + strconv.FormatUint(uint64(sent), 10) + "'/>"
}

func stanzaText(text string) string {
	return string(stanza.AppendText(nil, strings.ToValidUTF8(text, "")))
}

// takenOver ends the stream of a client that another connection resumes, and waits until nothing is done here for it
// any more: what came before is served still, and counted. false is that it did not end in time. replaced is set.
func (c *conn) takenOver() bool {
	c.lastWord(appendStreamError(nil, &stanza.StreamError{Condition: "conflict", Text: "the stream was resumed by another connection"}, ""))
	_ = c.rb().Until(time.Now()) // the read loop looks up
	for range 2 {
		select {
		case <-c.over:
			return true
		case <-time.After(takeOverTime / 2):
			c.close() // its client does not read
		}
	}
	return false
}

// takeOverTime is how long the connection that a stream is taken from may take to end.
const takeOverTime = 10 * time.Second

const textConflict = "another client has bound the same resource"

// conflict tells a client, which is gone by now, that another one has its address.
func (k *Client) conflict() {
	if c := k.live.Load(); c != nil {
		c.cut(&stanza.StreamError{Condition: "conflict", Text: textConflict})
	}
}
