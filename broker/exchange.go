package broker

import (
	"fmt"
	"strings"
	"sync/atomic"
	"unicode/utf8"

	"github.com/leveret-mq/leveret/exchange"
	"github.com/leveret-mq/leveret/internal/field"
	"github.com/leveret-mq/leveret/store"
)

// Exchange routes messages to what is bound to it.
type Exchange struct {
	Name       string
	Type       string
	Durable    bool
	AutoDelete bool // goes with the last binding from it
	Internal   bool // clients can't publish to it
	Args       []byte

	predeclared bool
	target      exchange.Target
	plain       bool                    // write readable copies of headers
	feedTopic   string                  // Kafka topic whose records it routes
	alternate   string                  // exchange that gets what is routed nowhere, if there is one of that name; see alternateName
	under       atomic.Pointer[matched] // the policies that apply to it; nil: none
	producers   feedProducers
	delays      *delays // nil: it delays nothing
	seen        *seen   // nil: it routes names more than once
	flow        *exchangeFlow
	table       atomic.Pointer[exchange.Table]
	bindings    map[string]*bound // by key; guarded by VHost.mu
	incoming    boundList         // bindings that lead here; guarded by VHost.mu
}

// ExchangeOptions are what a client declares.
type ExchangeOptions struct {
	Type       string
	Durable    bool
	AutoDelete bool
	Internal   bool
	Args       []byte // AMQP field table, without its length
}

// Arguments of an exchange.
const (
	argAlternate = "alternate-exchange"
	argFeed      = "x-kafka-topic"
)

func (v *VHost) addExchange(x *Exchange) {
	x.bindings, x.flow = map[string]*bound{}, new(exchangeFlow)
	x.target = v.addEnd(end{exchange: x})
	v.exchanges.Store(x.Name, x)
	if x.feedTopic != "" {
		v.feeds.Store(x.feedTopic, x)
	}
}

// configure reads the arguments of a declaration. Those that nobody knows are ignored, as
// RabbitMQ does; what it refuses is refused in its words.
func (x *Exchange) configure(v *VHost) error {
	kind, err := x.kind()
	if err != nil {
		return err
	}
	x.plain = true
	t := field.NewIterator(x.Args)
	for t.Next() {
		key := string(t.Name())
		switch {
		case key == argAlternate:
			if t.Tag() != field.TagString {
				return fail(Precondition, "invalid type '%s' for arg '%s' in exchange '%s' in vhost '%s'", field.TypeName(t.Tag()), key, x.Name, v.Name)
			}
			x.alternate = string(t.Text())
		case key == "x-kafka-headers":
			if string(t.Text()) != "raw" {
				return fail(Precondition, "invalid arg 'x-kafka-headers' for exchange '%s': only 'raw' is known", x.Name)
			}
			x.plain = false
		case key == argFeed:
			x.feedTopic = string(t.Text())
			if !LegalTopicName(x.feedTopic) {
				return fail(Precondition, "invalid arg '%s' for exchange '%s': '%s' is not a legal topic name", argFeed, x.Name, x.feedTopic)
			}
		}
	}
	if t.Err() != nil {
		return fail(Precondition, "malformed arguments for exchange '%s'", x.Name)
	}
	table, err := exchange.New(kind, x.Args)
	if err != nil {
		return fail(Precondition, "%v", err)
	}
	if x.Type == typeDistinct {
		if x.seen, err = newSeen(x, v.b); err != nil {
			return err
		}
	}
	x.table.Store(table)
	return nil
}

// kind is the type that the exchange routes as.
func (x *Exchange) kind() (exchange.Kind, error) {
	switch x.Type {
	case typeDelayed:
		return delayedKind(x.Args)
	case typeDistinct:
		return exchange.Fanout, nil
	}
	return exchangeKind(x.Type)
}

// exchangeKind finds a type of exchange by its name.
func exchangeKind(name string) (exchange.Kind, error) {
	kind, ok := exchange.ParseKind(name)
	switch {
	case name == "":
		return 0, fail(UnknownType, "invalid exchange type ''")
	case !ok:
		return 0, fail(UnknownType, "unknown exchange type '%s'", name)
	}
	return kind, nil
}

// DeclareExchange makes an exchange, or checks that the one of that name is the same.
func (s *Session) DeclareExchange(name string, o ExchangeOptions) (*Exchange, error) {
	if _, err := exchangeKind(o.Type); err != nil && o.Type != typeDelayed && o.Type != typeDistinct {
		return nil, err
	}
	if name == "" {
		return nil, onDefault()
	}
	if err := s.May(Create, OnExchange, name); err != nil {
		return nil, err
	}
	v := s.vhost
	var x *Exchange
	err := v.change(func(c *change) error {
		if err := c.alone(exchangeClaim(name)); err != nil {
			return err
		}
		if x, _ = v.Exchange(name); x != nil {
			return x.same(v, o)
		}
		var err error
		if x, err = v.newExchange(name, o); err != nil {
			return err
		}
		if err := s.mayAlternate(x); err != nil {
			return err
		}
		if x.feedTopic != "" { // which is a topic that it makes
			if err := s.May(Create, OnQueue, x.feedTopic); err != nil {
				return err
			}
			if err := c.alone(queueClaim(x.feedTopic)); err != nil {
				return err
			}
			if v.FeedExchange(x.feedTopic) != nil || v.queueBytes([]byte(x.feedTopic)) != nil {
				return fail(Precondition, "invalid arg '%s' for exchange '%s': topic '%s' exists", argFeed, name, x.feedTopic)
			}
		}
		c.makeExchange(x)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return x, nil
}

// makeExchange has a new exchange made, with the logs that it needs, and shown.
func (c *change) makeExchange(x *Exchange) {
	var under *policySet
	c.prepare = func() error {
		under = c.v.policies.Load()
		x.put(under.exchange(x.Name))
		if x.Type == typeDelayed {
			if err := c.v.makeDelays(x); err != nil {
				return err
			}
		}
		if x.seen != nil {
			if err := x.seen.make(c.v); err != nil {
				return err
			}
		}
		if !x.Durable {
			return nil
		}
		return c.put(store.Key(prefixEx, c.v.Name, x.Name), x.definition(c.v))
	}
	c.show = func() error {
		if now := c.v.policies.Load(); now != under {
			x.put(now.exchange(x.Name))
		}
		c.v.addExchange(x)
		if x.delays != nil {
			x.delays.start()
		}
		return nil
	}
	c.undo = func() { c.v.b.removals.add(x.lanesOf(), false) }
}

// mayAlternate asks for an alternate exchange, which is read from and written to.
func (s *Session) mayAlternate(x *Exchange) error {
	if x.alternate == "" {
		return nil
	}
	if err := s.May(BindSource, OnExchange, x.Name); err != nil {
		return err
	}
	return s.May(Publish, OnExchange, x.alternate)
}

// maxNameBytes is the longest name of a queue or an exchange, and the longest routing key: AMQP 0-9-1 has one byte for their length, and what is longer
// could be delivered to none of its clients.
const maxNameBytes = 255

func tooLong(what, name string) error {
	return fail(Precondition, "%s has %d bytes, and may have %d: it begins with '%.40s'", what, len(name), maxNameBytes, name)
}

// newExchange makes an exchange of a name that is free.
func (v *VHost) newExchange(name string, o ExchangeOptions) (*Exchange, error) {
	if !utf8.ValidString(name) {
		return nil, fail(Precondition, "exchange name %q is not valid UTF-8", name)
	}
	if len(name) > maxNameBytes {
		return nil, tooLong("exchange name", name)
	}
	if name == "" || strings.HasPrefix(name, "amq.") {
		return nil, fail(Refused, "exchange name '%s' contains reserved prefix 'amq.*'", name)
	}
	x := &Exchange{Name: name, Type: o.Type, Durable: o.Durable, AutoDelete: o.AutoDelete, Internal: o.Internal, Args: append([]byte(nil), o.Args...)}
	return x, x.configure(v)
}

func (v *VHost) restoreExchange(d exchangeDef) error {
	x := &Exchange{Name: d.Name, Type: d.Type, Durable: true, AutoDelete: d.AutoDelete, Internal: d.Internal, Args: d.Args}
	if err := x.configure(v); err != nil {
		return fmt.Errorf("exchange '%s': %w", d.Name, err)
	}
	if x.Type == typeDelayed {
		if err := v.restoreDelays(x, d.Lanes); err != nil {
			return err
		}
	}
	if x.seen != nil {
		if err := x.seen.open(v, d.Lanes); err != nil {
			return err
		}
	}
	x.put(v.policies.Load().exchange(x.Name))
	v.addExchange(x)
	return nil
}

// same is RabbitMQ's check of a second declaration: type and flags, and of the
// arguments only those that change what the exchange does.
func (x *Exchange) same(v *VHost, o ExchangeOptions) error {
	inequivalent := func(what, got, have string) error {
		return fail(Precondition, "inequivalent arg '%s' for exchange '%s' in vhost '%s': received %s but current is %s", what, x.Name, v.Name, got, have)
	}
	switch {
	case x.Type != o.Type:
		return inequivalent("type", "'"+field.ErlangAtom(o.Type)+"'", "'"+field.ErlangAtom(x.Type)+"'")
	case x.Durable != o.Durable:
		return inequivalent("durable", quoted(o.Durable), quoted(x.Durable))
	case x.AutoDelete != o.AutoDelete:
		return inequivalent("auto_delete", quoted(o.AutoDelete), quoted(x.AutoDelete))
	case x.Internal != o.Internal:
		return inequivalent("internal", quoted(o.Internal), quoted(x.Internal))
	}
	for _, arg := range []string{argAlternate, argFeed} {
		if got, have := argTexts(o.Args, x.Args, arg); got != have {
			return inequivalent(arg, got, have)
		}
	}
	return nil
}

// Exchange finds an exchange for a verb that is to come, as Queue finds a queue.
func (s *Session) Exchange(verb Verb, name string) (*Exchange, error) {
	if err := s.May(verb, OnExchange, name); err != nil {
		return nil, err
	}
	return s.vhost.Exchange(name)
}

// DeleteExchange removes an exchange and its bindings; one that is not there is no error.
func (s *Session) DeleteExchange(name string, ifUnused bool) error {
	v := s.vhost
	switch {
	case name == "":
		return onDefault()
	case strings.HasPrefix(name, "amq."):
		return fail(Refused, "deletion of system exchange '%s' in vhost '%s' not allowed", name, v.Name)
	}
	if err := s.May(Delete, OnExchange, name); err != nil {
		return err
	}
	return v.change(func(c *change) error {
		if err := c.alone(exchangeClaim(name)); err != nil {
			return err
		}
		x, _ := v.Exchange(name)
		if x == nil {
			return nil
		}
		if ifUnused && len(x.bindings) > 0 {
			return fail(Precondition, "exchange '%s' in vhost '%s' in use", name, v.Name)
		}
		return c.leaving().exchange(x)
	})
}
