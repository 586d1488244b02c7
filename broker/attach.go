package broker

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/leveret-mq/leveret/store"
)

// Attachment is what a listener keeps of a queue or an exchange: a subscription, say, or what it calls the
// queue. It goes with what it is of, in the same write, by whichever protocol that is deleted. Of what is not
// durable it is kept in memory only. One of the virtual host itself, as a user's contacts, goes with that.
type Attachment struct {
	ToExchange bool
	ToVHost    bool            // it is of the virtual host
	Of         string          // the name of the queue or exchange; of the virtual host, whatever the listener wants
	Key        string          // no two of one queue or exchange have the same
	Value      json.RawMessage // nil: there is none any more
}

// attachmentDef is an attachment in the definitions.
type attachmentDef struct {
	VHost    string          `json:"vhost"`
	Exchange bool            `json:"exchange,omitempty"`
	Own      bool            `json:"own,omitempty"` // the virtual host's
	Of       string          `json:"of"`
	Key      string          `json:"key"`
	Value    json.RawMessage `json:"value"`
}

// attachedTo is what attachments are of: a queue or an exchange of a virtual host, or that itself.
type attachedTo struct {
	exchange, own bool
	name          string
}

// of is what an attachment is of.
func (a *Attachment) of() attachedTo { return attachedTo{a.ToExchange, a.ToVHost, a.Of} }

func (a attachedTo) claim() string {
	switch {
	case a.own:
		return "attached " + a.name
	case a.exchange:
		return exchangeClaim(a.name)
	}
	return queueClaim(a.name)
}

// key is that of an attachment's definition.
func (a attachedTo) key(vhost, key string) string {
	kind := "q"
	switch {
	case a.own:
		kind = "v"
	case a.exchange:
		kind = "x"
	}
	return store.Key(prefixAttachment, vhost, kind, a.name, key)
}

const (
	maxAttachmentKey   = 4 << 10
	maxAttachmentBytes = 64 << 10
)

// Attach keeps attachments of queues and exchanges, or ends them: all of them or none. NotFound says that
// one of these is not there. Whether a client may cause it is for the caller to ask.
func (v *VHost) Attach(list ...Attachment) error {
	for i := range list {
		if a := &list[i]; len(a.Key) > maxAttachmentKey || len(a.Value) > maxAttachmentBytes {
			return fail(TooLarge, "what is kept of '%s' is too large: a key of %d and a value of %d bytes", a.Of, len(a.Key), len(a.Value))
		}
	}
	return v.change(func(c *change) error {
		for i := range list {
			a := &list[i]
			to := a.of()
			if err := c.along(to.claim()); err != nil {
				return err
			}
			durable, err := v.hasFor(to)
			if err != nil {
				return err
			}
			switch key := to.key(v.Name, a.Key); {
			case !durable:
			case a.Value == nil:
				c.drop(key)
			default:
				if err := c.put(key, attachmentDef{v.Name, a.ToExchange, a.ToVHost, a.Of, a.Key, a.Value}); err != nil {
					return err
				}
			}
		}
		c.show = func() error {
			for i := range list {
				v.showAttachment(&list[i])
			}
			return nil
		}
		return nil
	})
}

// hasFor says whether there is what attachments are of, and whether it outlasts the process. VHost.mu is held.
func (v *VHost) hasFor(to attachedTo) (durable bool, err error) {
	if to.own {
		return true, nil
	}
	if to.exchange {
		x, err := v.Exchange(to.name)
		return err == nil && x.Durable, err
	}
	q, err := v.Queue(to.name)
	return err == nil && q.lives(), err
}

// showAttachment has an attachment be there, or be gone. VHost.mu is held.
func (v *VHost) showAttachment(a *Attachment) {
	to := a.of()
	of := v.attached[to]
	switch {
	case a.Value == nil:
		delete(of, a.Key)
		if len(of) == 0 {
			delete(v.attached, to)
		}
	case of != nil:
		of[a.Key] = a.Value
	default:
		if v.attached == nil {
			v.attached = map[attachedTo]map[string]json.RawMessage{}
		}
		v.attached[to] = map[string]json.RawMessage{a.Key: a.Value}
	}
}

// Attachments lists all that is attached in the virtual host, in the order of names and keys.
func (v *VHost) Attachments() []Attachment {
	v.mu.Lock()
	defer v.mu.Unlock()
	var out []Attachment
	for to, of := range v.attached {
		for key, value := range of {
			out = append(out, Attachment{to.exchange, to.own, to.name, key, value})
		}
	}
	slices.SortFunc(out, func(a, b Attachment) int {
		if a.ToVHost != b.ToVHost {
			if a.ToVHost {
				return 1
			}
			return -1
		}
		if a.ToExchange != b.ToExchange {
			if a.ToExchange {
				return 1
			}
			return -1
		}
		if a.Of != b.Of {
			return strings.Compare(a.Of, b.Of)
		}
		return strings.Compare(a.Key, b.Key)
	})
	return out
}

// Attached is what is attached to the virtual host itself under a name, by key. The map is the caller's, the values are not
// changed.
func (v *VHost) Attached(of string) map[string]json.RawMessage {
	v.mu.Lock()
	defer v.mu.Unlock()
	return maps.Clone(v.attached[attachedTo{own: true, name: of}])
}

// attachments has what is attached to something leave with it. VHost.mu is held.
func (l *leaving) attachments(to attachedTo) {
	for _, key := range slices.Sorted(maps.Keys(l.c.v.attached[to])) {
		l.c.drop(to.key(l.c.v.Name, key))
	}
}

// restoreAttachments is the last of what is restored; those that nothing is there for are dropped, or they would come
// back with the next queue of that name.
func (b *Broker) restoreAttachments(list []store.Entry) error {
	var loose []store.Entry
	for _, e := range list {
		ok, err := b.restoreAttachment(e)
		if err != nil {
			return err
		}
		if !ok {
			loose = append(loose, store.Entry{Key: e.Key})
		}
	}
	if len(loose) == 0 {
		return nil
	}
	return b.putDef(loose...)
}

// restoreAttachment takes an attachment up at the start; ok is false when there is nothing it could be of.
func (b *Broker) restoreAttachment(e store.Entry) (ok bool, err error) {
	var d attachmentDef
	if err := decodeDef(e, &d); err != nil {
		return false, err
	}
	v, err := b.home(d.VHost, nil, "an attachment of", d.Of)
	if v == nil {
		return err == nil, err // it goes with that
	}
	to := attachedTo{d.Exchange, d.Own, d.Of}
	if durable, err := v.hasFor(to); err != nil || !durable {
		return false, nil
	}
	v.showAttachment(&Attachment{d.Exchange, d.Own, d.Of, d.Key, d.Value})
	return true, nil
}

// takeAttachment takes over what another process has written; parts are those of its key.
func (v *VHost) takeAttachment(parts []string, e store.Entry) error {
	if len(parts) != 5 {
		return nil
	}
	a := Attachment{ToExchange: parts[2] == "x", ToVHost: parts[2] == "v", Of: parts[3], Key: parts[4]}
	if e.Value != nil {
		var d attachmentDef
		if err := decodeDef(e, &d); err != nil {
			return err
		}
		a.Value = d.Value
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.showAttachment(&a)
	return nil
}
