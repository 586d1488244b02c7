package broker

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"slices"
	"strings"
	"sync"
)

// ReplyQueue is the name by which a client consumes replies: there is no such queue. Names that begin with
// it belong to direct reply-to, and a dot and a token behind it make the address of one who waits for replies.
const ReplyQueue = "amq.rabbitmq.reply-to"

const replyPrefix = ReplyQueue + "."

// replyTokenBytes is how much of an address can't be guessed.
const replyTokenBytes = 16

// replies are who waits for replies in a virtual host, by address. A reply goes from the publisher's
// goroutine to the requester's listener: it is in no queue, in no log and in nobody's cache of routes.
type replies struct {
	mu   sync.RWMutex
	open map[string]*ReplyAddress
}

// ReplyAddress is where a requester gets its replies: a key of the default exchange for as long as it is open.
type ReplyAddress struct {
	// Name is what the requester gives out, and knows besides it only who it was given to.
	Name    string
	v       *VHost
	deliver func(*Inbound) bool
}

// AwaitReplies opens an address. deliver is called for each reply, by the goroutine that publishes it; what it
// is given is borrowed for the call. It must not block, and says whether it has taken the reply: what it has not
// is lost, and counted. It may still be called while Close returns, and not much later.
//
// As on RabbitMQ no policy is asked: who answers needs to be allowed to publish, and who asked gets nothing
// but what is sent to an address that nobody else knows.
func (s *Session) AwaitReplies(deliver func(*Inbound) bool) *ReplyAddress {
	var token [replyTokenBytes]byte
	rand.Read(token[:]) // never fails (crypto/rand)
	a := &ReplyAddress{Name: replyPrefix + base64.RawURLEncoding.EncodeToString(token[:]), v: s.vhost, deliver: deliver}
	r := &s.vhost.replies
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.open == nil {
		r.open = map[string]*ReplyAddress{}
	}
	r.open[a.Name] = a
	return a
}

// Close ends the address for ever. Replies to it are unroutable from now on.
func (a *ReplyAddress) Close() {
	r := &a.v.replies
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.open, a.Name)
}

// LookAtReplies is LookAt for the names of direct reply-to, for which OfReplies holds: the name to consume
// by is always there, an address while its requester is.
func (s *Session) LookAtReplies(name string) error {
	if name == ReplyQueue || s.vhost.replies.find([]byte(name)) != nil {
		return nil
	}
	return fail(NotFound, "no queue '%s' in vhost '%s'", name, s.vhost.Name)
}

// OfReplies says whether a queue's name is one of direct reply-to.
func OfReplies(name string) bool { return strings.HasPrefix(name, ReplyQueue) }

func isReplyAddress(key []byte) bool { return bytes.HasPrefix(key, []byte(replyPrefix)) }

func (r *replies) find(address []byte) *ReplyAddress {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.open[string(address)]
}

// addReply notes that a message under way is a reply, each address once.
func (p *Publisher) addReply(address []byte) {
	if a := p.v.replies.find(address); a != nil && !slices.Contains(p.replies, a) {
		p.replies = append(p.replies, a)
	}
}

// reply hands a message to the requesters that wait for it, a transaction's when it is stored.
func (p *Publisher) reply(m *Inbound) {
	if p.whole {
		p.holdReplies(m)
		p.replies = p.replies[:0]
		return
	}
	p.deliver(m)
}

func (p *Publisher) deliver(m *Inbound) {
	c := &p.v.b.counters
	for _, a := range p.replies {
		if a.deliver(m) {
			c.Replies.Add(1)
		} else {
			c.RepliesDropped.Add(1)
		}
	}
	clear(p.replies)
	p.replies = p.replies[:0]
}
