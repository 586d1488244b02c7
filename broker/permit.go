package broker

import (
	"errors"
	"maps"
)

// Verb is what a session wants to do to a Resource.
type Verb uint8

// The verbs. In brackets the Right that each takes, and what they are called where
// Kafka's permissions come from, its access lists.
const (
	Look       Verb = iota + 1 // see that it is there, with its settings and figures (any; passive declare, Describe)
	Create                     // declare or create (configure; Create)
	Delete                     // delete, and what was committed for it (configure; Delete)
	Alter                      // settings, number of partitions (configure; Alter and AlterConfigs)
	BindSource                 // bind and unbind, as where messages come from (read)
	BindDest                   // bind and unbind, as where they go (write)
	Publish                    // (write; Write)
	Consume                    // consume, get, fetch; of a group: join, commit (read; Read)
	Purge                      // drop what is ready (read)
	Truncate                   // move a topic's start (configure; Delete)
	Enter                      // begin a session in a virtual host (any permission there)
)

// Right is one of the three that permissions are made of, or any of them.
type Right uint8

// The rights.
const (
	AnyRight Right = iota
	RightConfigure
	RightWrite
	RightRead
)

var rightNames = [...]string{"", "configure", "write", "read"}

// String is what RabbitMQ calls the right; of AnyRight nothing.
func (r Right) String() string { return rightNames[r] }

var rightOf = [...]Right{Look: AnyRight, Create: RightConfigure, Delete: RightConfigure, Alter: RightConfigure, BindSource: RightRead,
	BindDest: RightWrite, Publish: RightWrite, Consume: RightRead, Purge: RightRead, Truncate: RightConfigure, Enter: AnyRight}

// Right is what the verb takes, of the name that it is about.
func (v Verb) Right() Right { return rightOf[v] }

// ResourceKind says what sort of thing a Resource is.
type ResourceKind uint8

// The kinds of things that a session may be refused.
const (
	OnExchange    ResourceKind = iota + 1
	OnQueue                    // a topic too, which is a queue
	OnGroup                    // a Kafka consumer group
	OnCluster                  // the broker as a whole; it has no name
	OnVHost                    // the session's virtual host
	OnKey                      // a routing key of a topic exchange
	OnTransaction              // a transactional id of Kafka's producers
)

var resourceNames = [...]string{OnExchange: "exchange", OnQueue: "queue", OnGroup: "group", OnCluster: "cluster", OnVHost: "vhost", OnKey: "topic", OnTransaction: "transactional-id"}

// String is the kind's name in error texts.
func (k ResourceKind) String() string { return resourceNames[k] }

// DefaultExchange is what patterns and refusals call the exchange without a name.
const DefaultExchange = "amq.default"

// Resource is what a verb acts on. The exchange without a name is DefaultExchange.
type Resource struct {
	Kind ResourceKind
	Name string
}

// Request is one question to a Policy.
type Request struct {
	User  string
	VHost string
	Verb  Verb
	On    Resource
}

// ErrDenied is how a policy says no when there is nothing more to say.
var ErrDenied = errors.New("not permitted")

// Policy decides what sessions may do: nil is yes, ErrDenied is no, and another error
// says why not. An Error is passed on as it is, so that a quota or an alarm can answer
// in its own kind; anything else becomes a refusal. It may be called from any goroutine, at
// times under a lock of the broker's, and must not wait nor call the broker. Its answers are remembered
// until PolicyChanged.
type Policy func(Request) error

// maxPermits bounds the answers that a session remembers, and maxPermitName the names that they are
// about: what has a longer one is made up, or is not AMQP's.
const (
	maxPermits    = 1024
	maxPermitName = 255
)

// permits are answers of the policy that a session remembers. Once they can be seen
// they are not changed: others take their place.
type permits struct {
	generation uint64
	said       map[permit]error
}

type permit struct {
	verb Verb
	on   Resource
}

// freshPermits are answers that came since, and how often they were asked for; guarded
// by Session.mu.
type freshPermits struct {
	permits
	asked int
}

// Enter counts the session as a connection of its user and its virtual host, and tells
// whether it may be there at all. A listener asks once it has begun one, and when it has entered the session in its connection: who loses the right between
// the two is found by one of them.
func (s *Session) Enter() error {
	return s.enter(false)
}

// Visit is Enter for one request of somebody who has no connection in the broker's sense, such as an administrator's over
// HTTP: it counts as none, and gets in where there are as many as there may be. All other limits hold.
func (s *Session) Visit() error { return s.enter(true) }

func (s *Session) enter(visits bool) error {
	if s.vhost.Gone() { // perhaps too late to be told to go
		return fail(NotFound, "vhost %s not found", s.vhost.Name)
	}
	if err := s.May(Enter, OnVHost, s.vhost.Name); err != nil {
		return err
	}
	return s.admit(visits)
}

// May is the one place where it is decided whether the session may do what it
// asks for. Every verb of the broker calls it, and so do listeners for what they
// keep themselves, as the membership of Kafka's groups. It costs a pointer's
// comparison while there is no policy; else ask once a request, not once a message.
func (s *Session) May(verb Verb, kind ResourceKind, name string) error {
	if s.vhost.b.opts.Policy == nil || s.inner {
		return nil
	}
	if kind == OnExchange && name == "" {
		name = DefaultExchange
	}
	return s.ask(permit{verb, Resource{kind, name}})
}

// ask is May with a policy: what it said is remembered until it changes.
func (s *Session) ask(p permit) error {
	generation := s.vhost.b.policyGeneration.Load()
	if known := s.permits.Load(); known != nil && known.generation == generation {
		if err, ok := known.said[p]; ok {
			return err
		}
	}
	return s.askPolicy(p, generation)
}

// askPolicy finds an answer that is not among those that can be read without a lock.
func (s *Session) askPolicy(p permit, generation uint64) error {
	s.mu.Lock()
	if s.fresh.generation == generation {
		if err, ok := s.fresh.said[p]; ok {
			s.showPermits()
			s.mu.Unlock()
			return err
		}
	}
	s.mu.Unlock()
	b := s.vhost.b
	err := s.refusal(p, b.opts.Policy(Request{User: s.who.Name, VHost: s.vhost.Name, Verb: p.verb, On: p.on}))
	if len(p.on.Name) > maxPermitName {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fresh.generation != generation || s.fresh.said == nil || len(s.fresh.said) >= maxPermits {
		s.fresh = freshPermits{permits: permits{generation, map[permit]error{}}}
	}
	s.fresh.said[p] = err
	s.showPermits()
	return err
}

// showPermits has all answers read without a lock as soon as copying them is no more than
// what asking for them with one was. Session.mu is held.
func (s *Session) showPermits() {
	f := &s.fresh
	if f.asked++; f.asked <= len(f.said) {
		return
	}
	f.asked = 0
	s.permits.Store(&permits{f.generation, maps.Clone(f.said)})
}

// refusal is what a client hears when the policy said no, in RabbitMQ's words.
func (s *Session) refusal(p permit, why error) error {
	if why == nil {
		return nil
	}
	if KindOf(why) != Internal {
		return why
	}
	if errors.Is(why, ErrDenied) {
		why = nil
	}
	return &Error{Kind: Refused, Text: s.refused(p.verb.Right(), p.on.String(s.vhost.Name)), Err: why, On: p.on.Kind}
}

// refused says what is refused of what.
func (s *Session) refused(right Right, of string) string {
	text := "access to " + of + " refused for user '" + s.who.Name + "'"
	if right != AnyRight {
		text = right.String() + " " + text
	}
	return text
}

// String names the resource of a virtual host as error texts do.
func (r Resource) String(vhost string) string {
	switch r.Kind {
	case OnVHost:
		return "vhost '" + vhost + "'"
	case OnCluster:
		return "the cluster"
	}
	return r.Kind.String() + " '" + r.Name + "' in vhost '" + vhost + "'"
}
