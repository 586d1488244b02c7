package broker

import "fmt"

// Verb is what a session wants to do to a Resource.
type Verb uint8

// The verbs. In brackets what they are called where permissions come from: RabbitMQ's
// configure, write and read, and the operations of Kafka's access lists.
const (
	Look       Verb = iota + 1 // see that it is there, with its settings and figures (passive declare; Describe)
	Create                     // declare or create (configure; Create)
	Delete                     // delete, and what was committed for it (configure; Delete)
	Alter                      // settings, number of partitions (configure; Alter and AlterConfigs)
	BindSource                 // bind and unbind, as where messages come from (read)
	BindDest                   // bind and unbind, as where they go (write)
	Publish                    // (write; Write)
	Consume                    // consume, get, fetch; of a group: join, commit (read; Read)
	Purge                      // drop what is ready (read)
	Truncate                   // move a topic's start (Delete)
	Enter                      // begin a session in a virtual host
)

// ResourceKind says what sort of thing a Resource is.
type ResourceKind uint8

// The kinds of things that a session may be refused.
const (
	OnExchange ResourceKind = iota + 1
	OnQueue                 // a topic too, which is a queue
	OnGroup                 // a Kafka consumer group
	OnCluster               // the broker as a whole; it has no name
	OnVHost                 // the virtual host of the session
)

var resourceNames = [...]string{OnExchange: "exchange", OnQueue: "queue", OnGroup: "group", OnCluster: "cluster", OnVHost: "vhost"}

// String is the kind's name in error texts.
func (k ResourceKind) String() string { return resourceNames[k] }

// Resource is what a verb acts on.
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

// Policy decides what sessions may do: nil is yes, an error says why not. An
// Error is passed on as it is, so that a quota or an alarm can answer in its own
// kind; anything else becomes a refusal. It may be called from any goroutine, under
// no lock of the broker, and must not call a session. Its answers are remembered
// until PolicyChanged.
type Policy func(Request) error

// maxPermits bounds the answers that a session remembers.
const maxPermits = 4096

// permits are the answers of the policy that a session remembers. Session.mu guards them.
type permits struct {
	generation uint64
	said       map[permit]error
}

type permit struct {
	verb Verb
	on   Resource
}

// PolicyChanged has every session and publisher ask the policy again.
func (b *Broker) PolicyChanged() {
	b.policyGeneration.Add(1)
	for _, v := range b.VHosts() {
		v.changed() // publishers ask when they find a route
	}
}

// Enter tells whether the session may be there at all. A listener asks once it has begun
// one, and when it has entered the session in its connection: who loses the right between
// the two is found by one of them.
func (s *Session) Enter() error {
	if s.vhost.Gone() { // perhaps too late to be told to go
		return fail(NotFound, "vhost %s not found", s.vhost.Name)
	}
	return s.May(Enter, OnVHost, s.vhost.Name)
}

// May is the one place where it is decided whether the session may do what it
// asks for. Every verb of the broker calls it, and so do listeners for what they
// keep themselves, as the membership of Kafka's groups. It costs a pointer's
// comparison while there is no policy; else ask once a request, not once a message.
func (s *Session) May(verb Verb, kind ResourceKind, name string) error {
	if s.vhost.b.opts.Policy == nil || s.inner {
		return nil
	}
	return s.ask(permit{verb, Resource{kind, name}})
}

// ask is May with a policy: what it said is remembered until it changes.
func (s *Session) ask(p permit) error {
	b := s.vhost.b
	generation := b.policyGeneration.Load()
	s.mu.Lock()
	if s.permits.generation != generation || len(s.permits.said) >= maxPermits {
		s.permits = permits{generation: generation}
	}
	err, known := s.permits.said[p]
	s.mu.Unlock()
	if known {
		return err
	}
	err = s.refusal(p, b.opts.Policy(Request{User: s.who.Name, VHost: s.vhost.Name, Verb: p.verb, On: p.on}))
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.permits.generation == generation {
		if s.permits.said == nil {
			s.permits.said = map[permit]error{}
		}
		s.permits.said[p] = err
	}
	return err
}

// refusal is what a client hears when the policy said no.
func (s *Session) refusal(p permit, why error) error {
	if why == nil {
		return nil
	}
	if KindOf(why) != Internal {
		return why
	}
	if p.on.Kind == OnVHost {
		return &Error{Kind: Refused, Text: fmt.Sprintf("access to vhost '%s' refused for user '%s'", s.vhost.Name, s.who.Name), On: OnVHost}
	}
	text := fmt.Sprintf("access to %s '%s' in vhost '%s' refused for user '%s'", p.on.Kind, p.on.Name, s.vhost.Name, s.who.Name)
	return &Error{Kind: Refused, Text: text, Err: why, On: p.on.Kind}
}
