package broker

import (
	"strings"
	"sync/atomic"
	"unicode/utf8"

	"github.com/leveret-mq/leveret/exchange"
	"github.com/leveret-mq/leveret/internal/field"
)

// Exchange routes messages to what is bound to it.
type Exchange struct {
	Name       string
	Type       string
	Durable    bool
	AutoDelete bool // goes with the last binding from it
	Internal   bool // clients can't publish to it
	Args       []byte

	kind        exchange.Kind
	predeclared bool
	target      exchange.Target
	plain       bool   // write readable copies of headers
	feedTopic   string // Kafka topic whose records it routes
	producers   feedProducers
	table       atomic.Pointer[exchange.Table]
	bindings    map[string]bindingDef // by key; guarded by VHost.mu
	incoming    map[string]bindingDef // bindings that lead here; guarded by VHost.mu
}

// ExchangeOptions are what a client declares.
type ExchangeOptions struct {
	Type       string
	Durable    bool
	AutoDelete bool
	Internal   bool
	Args       []byte // AMQP field table, without its length
}

// laterExchangeArgs come with a later release; they are refused, not ignored.
var laterExchangeArgs = map[string]bool{"alternate-exchange": true, "x-delayed-type": true}

func (v *VHost) addExchange(x *Exchange) {
	x.table.Store(exchange.New(x.kind))
	x.bindings, x.incoming = map[string]bindingDef{}, map[string]bindingDef{}
	x.target = v.addEnd(end{exchange: x})
	v.exchanges.Store(x.Name, x)
	if x.feedTopic != "" {
		v.feeds.Store(x.feedTopic, x)
	}
}

// exchangeArgs reads the arguments of a declaration.
func exchangeArgs(name string, raw []byte) (plain bool, feedTopic string, err error) {
	plain = true
	t := field.NewIterator(raw)
	for t.Next() {
		key := string(t.Name())
		switch {
		case laterExchangeArgs[key]:
			return false, "", fail(Precondition, "argument '%s' of exchange '%s' is not supported yet", key, name)
		case key == "x-kafka-headers":
			if string(t.Text()) != "raw" {
				return false, "", fail(Precondition, "invalid arg 'x-kafka-headers' for exchange '%s': only 'raw' is known", name)
			}
			plain = false
		case key == "x-kafka-topic":
			feedTopic = string(t.Text())
			if !LegalTopicName(feedTopic) {
				return false, "", fail(Precondition, "invalid arg 'x-kafka-topic' for exchange '%s': '%s' is not a legal topic name", name, feedTopic)
			}
		}
	}
	if t.Err() != nil {
		return false, "", fail(Precondition, "malformed arguments for exchange '%s'", name)
	}
	return plain, feedTopic, nil
}

// DeclareExchange makes an exchange, or checks that the one of that name is the same.
func (s *Session) DeclareExchange(name string, o ExchangeOptions) (*Exchange, error) {
	if err := s.May(Create, OnExchange, name); err != nil {
		return nil, err
	}
	v := s.vhost
	kind, ok := exchange.ParseKind(o.Type)
	if !ok {
		return nil, fail(UnknownType, "unknown exchange type '%s'", o.Type)
	}
	var x *Exchange
	err := v.change(func(c *change) error {
		if err := c.alone(exchangeClaim(name)); err != nil {
			return err
		}
		if x, _ = v.Exchange(name); x != nil {
			return x.same(v, o)
		}
		var err error
		if x, err = v.newExchange(name, kind, o); err != nil {
			return err
		}
		if x.feedTopic != "" {
			if err := c.alone(queueClaim(x.feedTopic)); err != nil {
				return err
			}
			if v.FeedExchange(x.feedTopic) != nil || v.queueBytes([]byte(x.feedTopic)) != nil {
				return fail(Precondition, "invalid arg 'x-kafka-topic' for exchange '%s': topic '%s' exists", name, x.feedTopic)
			}
		}
		c.show = func() error {
			v.addExchange(x)
			return nil
		}
		if o.Durable {
			return c.put(defKey(prefixEx, v.Name, name), exchangeDef{v.Name, name, o.Type, o.AutoDelete, o.Internal, x.Args})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return x, nil
}

// newExchange makes an exchange of a name that is free.
func (v *VHost) newExchange(name string, kind exchange.Kind, o ExchangeOptions) (*Exchange, error) {
	if !utf8.ValidString(name) {
		return nil, fail(Precondition, "exchange name %q is not valid UTF-8", name)
	}
	if name == "" || strings.HasPrefix(name, "amq.") {
		return nil, fail(Refused, "exchange name '%s' contains reserved prefix 'amq.*'", name)
	}
	plain, feedTopic, err := exchangeArgs(name, o.Args)
	if err != nil {
		return nil, err
	}
	return &Exchange{Name: name, Type: o.Type, Durable: o.Durable, AutoDelete: o.AutoDelete, Internal: o.Internal,
		Args: append([]byte(nil), o.Args...), kind: kind, plain: plain, feedTopic: feedTopic}, nil
}

func (v *VHost) restoreExchange(d exchangeDef) error {
	kind, ok := exchange.ParseKind(d.Type)
	if !ok {
		return fail(UnknownType, "exchange '%s' has unknown type '%s'", d.Name, d.Type)
	}
	plain, feedTopic, err := exchangeArgs(d.Name, d.Args)
	if err != nil {
		return err
	}
	v.addExchange(&Exchange{Name: d.Name, Type: d.Type, Durable: true, AutoDelete: d.AutoDelete, Internal: d.Internal,
		Args: d.Args, kind: kind, plain: plain, feedTopic: feedTopic})
	return nil
}

// same is RabbitMQ's check of a second declaration: type and flags, and of the
// arguments only those that change what the exchange does.
func (x *Exchange) same(v *VHost, o ExchangeOptions) error {
	inequivalent := func(what string, got, have any) error {
		return fail(Precondition, "inequivalent arg '%s' for exchange '%s' in vhost '%s': received '%v' but current is '%v'", what, x.Name, v.Name, got, have)
	}
	switch {
	case x.Name == "":
		return fail(Refused, "operation not permitted on the default exchange")
	case x.Type != o.Type:
		return inequivalent("type", o.Type, x.Type)
	case x.Durable != o.Durable:
		return inequivalent("durable", o.Durable, x.Durable)
	case x.AutoDelete != o.AutoDelete:
		return inequivalent("auto_delete", o.AutoDelete, x.AutoDelete)
	case x.Internal != o.Internal:
		return inequivalent("internal", o.Internal, x.Internal)
	}
	_, feedTopic, err := exchangeArgs(x.Name, o.Args)
	if err != nil {
		return err
	}
	if feedTopic != x.feedTopic {
		return inequivalent("x-kafka-topic", feedTopic, x.feedTopic)
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
	if err := s.May(Delete, OnExchange, name); err != nil {
		return err
	}
	v := s.vhost
	return v.change(func(c *change) error {
		if err := c.alone(exchangeClaim(name)); err != nil {
			return err
		}
		x, _ := v.Exchange(name)
		if x == nil {
			return nil
		}
		if x.predeclared {
			if name == "" {
				return fail(Refused, "operation not permitted on the default exchange")
			}
			return fail(Refused, "exchange name '%s' contains reserved prefix 'amq.*'", name)
		}
		if ifUnused && len(x.bindings) > 0 {
			return fail(Precondition, "exchange '%s' in vhost '%s' in use", name, v.Name)
		}
		return c.leaving().exchange(x)
	})
}
