package pubsub

import (
	"cmp"
	"log/slog"
	"sync"
	"time"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/budget"
	"github.com/leveret-mq/leveret/xmpp/stanza"
)

// Limits of what is kept here.
const (
	// maxSubscriptions is how many an account may have in a virtual host.
	maxSubscriptions = 1000
	// maxKeys is how many keys a subscription to an exchange may have.
	maxKeys = 64
	// maxPosts is how many items one request may publish.
	maxPosts = 64
)

// Peer is the stream of a client, as the service sees it. It is one value for as long as the client has its address. Its
// methods but Event and Send belong to who handles a stanza of the client's.
type Peer interface {
	JID() stanza.JID // full
	User() string
	Session() *broker.Session
	// Send sends an answer, and does not wait.
	Send(e *stanza.Element) bool
	// Publish is broker.Publisher.Publish, with then called when that is durable; not at all when it returns an error.
	Publish(in *broker.Inbound, then func(error)) (routed bool, err error)
	// Flush has what was published be in its queues.
	Flush()
	// Now is when the stanza came, in ms.
	Now() int64
	// Event sends what the client did not ask for. settled is called once, by any goroutine and perhaps before
	// Event returns: with true when the client has it, as far as the stream can tell, and with false when
	// the stream has ended before. It must not block.
	Event(e *stanza.Element, settled func(ok bool))
}

// Options are a service's settings. Broker is required.
type Options struct {
	Broker *broker.Broker
	// Budget bounds the memory of items on their way; default one of the service's own.
	Budget *budget.Budget
	// Logger takes what an operator should read; default slog.Default().
	Logger *slog.Logger
}

// Service answers for pubsub.DOMAIN. All methods may be called from any goroutine.
type Service struct {
	b      *broker.Broker
	log    *slog.Logger
	budget *budget.Budget
	stop   chan struct{}
	done   sync.WaitGroup
	ends   []func() // of what the broker tells

	mu    sync.Mutex // guards the rest
	hosts map[*broker.VHost]*host
	ended bool
}

// New makes a service, which reads what was kept of its nodes. Close it before the broker, and after the streams.
func New(o Options) *Service {
	s := &Service{b: o.Broker, log: cmp.Or(o.Logger, slog.Default()), budget: o.Budget, stop: make(chan struct{}), hosts: map[*broker.VHost]*host{}}
	if s.budget == nil {
		s.budget = budget.New(budget.Options{})
	}
	s.ends = []func(){
		s.b.OnDeleted(func(q *broker.Queue) { s.deleted(q.VHost(), place{false, q.Name}, q) }),
		s.b.OnExchangeDeleted(func(v *broker.VHost, x *broker.Exchange) { s.deleted(v, place{true, x.Name}, x) }),
		s.b.OnPurged(s.purged),
		s.b.OnVHostDeleted(func(name string) error {
			s.forget(name)
			return nil
		}),
	}
	for _, v := range s.b.VHosts() {
		s.host(v)
	}
	s.done.Go(s.keepSaving)
	return s
}

// Close ends the agents, and writes how far the subscribers have come.
func (s *Service) Close() {
	for _, end := range s.ends {
		end()
	}
	s.mu.Lock()
	if s.ended {
		s.mu.Unlock()
		return
	}
	s.ended = true
	var agents []*agent
	for _, h := range s.hosts {
		agents = append(agents, h.allAgents()...)
	}
	s.mu.Unlock()
	for _, a := range agents {
		a.end()
	}
	close(s.stop)
	s.done.Wait()
	s.save()
}

// keepSaving writes positions now and then.
func (s *Service) keepSaving() {
	tick := time.NewTicker(positionsEvery)
	defer tick.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-tick.C:
			s.save()
		}
	}
}

func (s *Service) save() {
	for _, h := range s.allHosts() {
		h.save()
	}
}

func (s *Service) allHosts() (out []*host) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range s.hosts {
		out = append(out, h)
	}
	return out
}

// host is what is kept of a virtual host.
func (s *Service) host(v *broker.VHost) *host {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.hosts[v]
	if h == nil {
		h = newHost(s, v)
		s.hosts[v] = h
	}
	return h
}

// forget drops what is known of a virtual host that is gone.
func (s *Service) forget(name string) {
	s.mu.Lock()
	var agents []*agent
	for v, h := range s.hosts {
		if v.Name == name {
			agents = append(agents, h.allAgents()...)
			delete(s.hosts, v)
		}
	}
	s.mu.Unlock()
	for _, a := range agents {
		a.end()
	}
}

// purged tells the subscribers to a queue that was purged, by whichever protocol.
func (s *Service) purged(q *broker.Queue) {
	s.mu.Lock()
	h := s.hosts[q.VHost()]
	s.mu.Unlock()
	if h == nil || h.told(q) {
		return
	}
	h.mu.Lock()
	n := h.nodes[place{false, q.Name}]
	h.mu.Unlock()
	if n != nil && n.queue == q {
		h.purged(n)
	}
}

// deleted has a node be gone whose queue or exchange is, and tells its subscribers.
func (s *Service) deleted(v *broker.VHost, p place, behind any) {
	s.mu.Lock()
	h := s.hosts[v]
	s.mu.Unlock()
	if h == nil {
		return // a virtual host that nobody has used here
	}
	n, subs := h.gone(p, behind)
	if n == nil {
		return
	}
	for _, sub := range subs {
		if !n.settings.NoDelete {
			h.tell(sub, func(node string) *stanza.Element { return stanza.New(nsEvent, "delete", "node", node) })
		}
		if sub.Queue != "" {
			h.dropQueue(sub.Queue)
		}
		h.lookFor(sub)
	}
}

// Answer serves an iq of type get or set that is for the service. The answer comes by p.Send, now or later, unless an error is returned.
func (s *Service) Answer(p Peer, iq *stanza.Element) error {
	r := &request{s: s, h: s.host(p.Session().VHost()), p: p, iq: iq}
	defer r.release()
	err := r.serve()
	if broker.KindOf(err) == broker.TooLarge {
		return asError(err)
	}
	return err
}

// Receipt takes a message that a client has sent to the service: XEP-0184's receipt for an event, or nothing that matters.
func (s *Service) Receipt(p Peer, message *stanza.Element) {
	if r := message.Child(nsReceipts, "received"); r != nil {
		h := s.host(p.Session().VHost())
		h.mu.Lock()
		a := h.agents[p.JID().Bare().String()]
		h.mu.Unlock()
		if a != nil {
			a.received(p, r.Attr("id"))
		}
	}
}

// nsReceipts is XEP-0184's.
const nsReceipts = "urn:xmpp:receipts"
