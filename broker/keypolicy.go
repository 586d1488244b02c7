package broker

import "github.com/leveret-mq/leveret/exchange"

// KeyRequest is the question which routing keys a session may use with a topic exchange: to
// publish (Publish), or to bind with (BindSource).
type KeyRequest struct {
	User, VHost, Exchange string
	ClientID              string // as the client calls itself; "" if its protocol has no such thing
	Verb                  Verb
}

// Keys says whether a routing key is among those that a session may use.
type Keys interface{ MatchBytes(key []byte) bool }

// KeyPolicy answers a KeyRequest; nil is that all keys will do. What holds for a Policy
// holds for it: the answer is remembered until PolicyChanged.
type KeyPolicy func(KeyRequest) Keys

// keysOf asks which keys the session may use with an exchange that is to be published to
// or bound from.
func (s *Session) keysOf(verb Verb, x *Exchange) Keys {
	policy := s.vhost.b.opts.KeyPolicy
	if policy == nil || s.inner || !x.byTopic() {
		return nil
	}
	return policy(KeyRequest{User: s.who.Name, VHost: s.vhost.Name, Exchange: x.Name, ClientID: s.ClientID(), Verb: verb})
}

// byTopic says whether the exchange looks at keys as at topics, with what stands around it
// left aside: one that delays messages first does too.
func (x *Exchange) byTopic() bool {
	return x.table.Load().Kind() == exchange.Topic
}

// mayKey refuses a key that is not among those that may be used.
func (s *Session) mayKey(keys Keys, verb Verb, x *Exchange, key []byte) error {
	if keys == nil || keys.MatchBytes(key) {
		return nil
	}
	return &Error{Kind: Refused, On: OnKey, Text: s.refused(verb.Right(), "topic '"+string(key)+"' in "+Resource{OnExchange, x.Name}.String(s.vhost.Name))}
}

// mayBindKey asks for the key of a binding from an exchange that the session may read.
func (s *Session) mayBindKey(source, key string) error {
	x, err := s.vhost.Exchange(source)
	if err != nil {
		return nil // whoever binds hears of it
	}
	return s.mayKey(s.keysOf(BindSource, x), BindSource, x, []byte(key))
}

// mayKeys asks for all keys of a message that is published to the exchange that was looked up last.
func (p *Publisher) mayKeys(m *Inbound) error {
	src := &p.source
	if err := p.s.mayKey(src.keys, Publish, src.exchange, m.Key); err != nil {
		return err
	}
	for _, key := range m.MoreKeys {
		if err := p.s.mayKey(src.keys, Publish, src.exchange, key); err != nil {
			return err
		}
	}
	return nil
}

// SetClientID says what the client calls itself, in protocols where it does. It belongs to the
// goroutine that publishes.
func (s *Session) SetClientID(id string) { s.clientID.Store(&id) }

// ClientID is what SetClientID was told.
func (s *Session) ClientID() string {
	if id := s.clientID.Load(); id != nil {
		return *id
	}
	return ""
}
