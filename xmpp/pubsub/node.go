package pubsub

import (
	"crypto/sha256"
	"encoding/base32"
	"strings"
	"time"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/message"
)

// Prefixes of nodes that say what they are.
const (
	queuePrefix    = "q/"
	exchangePrefix = "x/"
)

const (
	maxNodeName    = 255 // bytes of the name of a queue or exchange, as AMQP's
	maxTitle       = 1 << 10
	maxDescription = 4 << 10
)

// place says which queue or exchange a node is.
type place struct {
	exchange bool
	name     string
}

// nodeName is what the place is called where nobody said how.
func (p place) nodeName() string {
	switch {
	case p.exchange:
		return exchangePrefix + p.name
	case strings.HasPrefix(p.name, queuePrefix) || strings.HasPrefix(p.name, exchangePrefix):
		return queuePrefix + p.name
	}
	return p.name
}

// settings are what a node's owner says of it.
type settings struct {
	Owner       string    `json:"owner,omitempty"` // bare address of who created it here; "" is nobody
	Name        string    `json:"name,omitempty"`  // what it was called then
	Created     time.Time `json:"created,omitzero"`
	Title       string    `json:"title,omitempty"`
	Description string    `json:"description,omitempty"`
	Type        string    `json:"type,omitempty"`         // namespace of the payloads
	MaxItems    int       `json:"max_items,omitempty"`    // that a request gets at most; 0 is "max"
	Transient   bool      `json:"transient,omitempty"`    // what is published here need not survive
	Whitelist   bool      `json:"whitelist,omitempty"`    // only the owner, and those who may configure it, read here
	Anybody     bool      `json:"open_publish,omitempty"` // who publishes is said to be open; the permissions of users decide
	Normal      bool      `json:"normal,omitempty"`       // events are of type normal, not headline
	NoPayloads  bool      `json:"no_payloads,omitempty"`
	NoEvents    bool      `json:"no_events,omitempty"`
	NoDelete    bool      `json:"no_delete_event,omitempty"`
	LastOnSub   bool      `json:"last_on_sub,omitempty"` // who subscribes gets the last item
}

// node is a queue or exchange of which something is kept. It is guarded by host.mu; what hangs on it is replaced and not
// changed, but for the positions of subscriptions.
type node struct {
	place
	queue    *broker.Queue    // one of the two
	exchange *broker.Exchange // is set
	settings settings
	subs     map[string]*subscription // by address
	ids      *index                   // nil: not made
}

// mode says who gets an item.
type mode string

const (
	modeAll mode = "all" // each subscriber
	modeOne mode = "one" // one of those who subscribed so, or who consume by another protocol
)

// subscription is one address's. What is stored of it is not changed once it is there; another takes its place.
type subscription struct {
	JID      string   `json:"jid"` // bare, or full
	Node     string   `json:"node"`
	Mode     mode     `json:"mode,omitempty"`
	Keys     []string `json:"keys,omitempty"`  // of the bindings, for an exchange
	Queue    string   `json:"queue,omitempty"` // of its own, for an exchange
	Receipts bool     `json:"receipts,omitempty"`

	node *node
	// positions are the offsets, by partition, before which everything was acknowledged; guarded by host.mu.
	positions []message.Offset
	written   []message.Offset // as they are stored
	sent      []message.Offset // before which everything was sent once, as far as this process knows; guarded by host.mu
}

// queueOf is the name of the queue that a subscriber to an exchange has.
func queueOf(exchange, jid string) string {
	sum := sha256.Sum256([]byte(exchange + "\x00" + jid))
	return subscriberQueue + strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:15]))
}

// subscriberQueue is what the names of these queues begin with.
const subscriberQueue = "xmpp.subscription."
