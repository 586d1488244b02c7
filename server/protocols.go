package server

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"path/filepath"

	"github.com/leveret-mq/leveret/amqp"
	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/config"
	"github.com/leveret-mq/leveret/internal/netx"
	"github.com/leveret-mq/leveret/kafka"
	"github.com/leveret-mq/leveret/kafka/acl"
	"github.com/leveret-mq/leveret/stomp"
	"github.com/leveret-mq/leveret/xmpp"
	"github.com/leveret-mq/leveret/xmpp/pubsub"
)

// protocols is the table of listeners, in the order in which they start. One more
// is a line here, with its address in config.
var protocols = []protocol{
	{name: "amqp", listeners: (*config.Config).AMQPListeners, open: openAMQP},
	{name: "kafka", listeners: (*config.Config).KafkaListeners, open: openKafka, wanted: hasTransactions},
	{name: "stomp", listeners: (*config.Config).STOMPListeners, open: openSTOMP},
	{name: "xmpp", listeners: (*config.Config).XMPPListeners, open: openXMPP},
}

// protocol is one line of the table.
type protocol struct {
	name      string
	listeners func(*config.Config) ([]config.Listener, error)
	open      func(*Server) (handler, error)
	// wanted says whether it has something to do without listeners; nil is never.
	wanted func(*Server) (bool, error)
}

// hasTransactions says whether there are transactions of Kafka clients that may be open: they have to end, or nobody reads what
// was written behind them.
func hasTransactions(s *Server) (has bool, err error) {
	err = s.broker.Transactions(func(*broker.VHost, string, []byte) error {
		has = true
		return nil
	})
	return has, err
}

// handler is what serves the connections of a protocol.
type handler struct {
	// of is what serves a connection of that listener until it ends.
	of func(config.Listener) (func(net.Conn), error)
	// tls is how its listeners with TLS speak it; nil is as all do.
	tls func() *tls.Config
	// adjust has settings take hold that can change while it runs; nil when there are none.
	adjust func(*config.Config)
	// finish tells all of them to end, and does not wait for that.
	finish func()
	// end is called when all of them have ended; nil when there is nothing to do.
	end func()
}

func openAMQP(s *Server) (handler, error) {
	offer := func(c *config.Config) amqp.Offer {
		o := amqp.Offer{FrameMaxBytes: int(c.AMQPFrameMax), ChannelMax: c.AMQPChannelMax, Heartbeat: c.AMQPHeartbeat}
		if o.Heartbeat == 0 {
			o.Heartbeat = -1 // none; zero would be the default there
		}
		return o
	}
	a := amqp.New(amqp.Options{Broker: s.broker, Users: s.users, CertifiedName: s.certifiedName(), Version: s.version, Logger: s.logger, Budget: s.budget})
	return handler{
		of:     func(config.Listener) (func(net.Conn), error) { return a.Handle, nil },
		adjust: func(c *config.Config) { a.Offer(offer(c)) },
		finish: func() { a.CloseAll("the broker is stopping") },
	}, nil
}

func openKafka(s *Server) (handler, error) {
	k, err := kafka.New(kafka.Options{
		Broker: s.broker, Home: s.access.Home, VHost: s.config.DefaultVHost, Users: s.users, CertifiedName: s.certifiedName(), Credentials: s.access, Quotas: s.access, ACLs: acl.New(s.access),
		MaxTransactionTimeout: s.config.KafkaTransactionTimeout, TransactionalIDExpiration: s.config.KafkaTransactionalIDExpiration,
		Logger: s.logger, Budget: s.budget, Disk: s.kafkaDisk,
	})
	if err != nil {
		return handler{}, err
	}
	s.kafka.Store(k)
	return handler{
		of: func(l config.Listener) (func(net.Conn), error) { return k.Listener(l.Advertised) },
		adjust: func(c *config.Config) {
			k.Adjust(kafka.Topics{NoAutoCreate: !c.KafkaAutoCreate, Partitions: c.KafkaPartitions, TrustCompressed: c.KafkaTrustCompressed})
		},
		finish: k.Close,
	}, nil
}

func openSTOMP(s *Server) (handler, error) {
	p := stomp.New(stomp.Options{Broker: s.broker, VHost: s.config.DefaultVHost, Users: s.users, CertifiedName: s.certifiedName(), Version: s.version, Logger: s.logger, Budget: s.budget})
	return handler{
		of: func(l config.Listener) (func(net.Conn), error) {
			if l.Kind == config.STOMPOverWebSocket || l.Kind == config.STOMPOverWebSocketTLS {
				return p.HandleWeb, nil
			}
			return p.Handle, nil
		},
		adjust: func(c *config.Config) {
			origins, _ := c.STOMPOrigins() // which were validated
			p.Origins(origins)
		},
		finish: func() { p.CloseAll("the broker is stopping") },
	}, nil
}

func openXMPP(s *Server) (handler, error) {
	list, err := s.config.XMPPDomainList()
	if err != nil {
		return handler{}, err
	}
	var domains []xmpp.Domain
	for _, d := range list {
		domains = append(domains, xmpp.Domain{Name: d.Name, VHost: d.VHost})
	}
	speak, err := s.domainTLS(list)
	if err != nil {
		return handler{}, err
	}
	nodes := pubsub.New(pubsub.Options{Broker: s.broker, Logger: s.logger, Budget: s.budget})
	x, err := xmpp.New(xmpp.Options{
		Broker: s.broker, Users: s.users, CertifiedName: s.certifiedName(), TLS: speak, Domains: domains, VHost: s.config.DefaultVHost,
		Services: []xmpp.Service{nodes}, MaxStanzaBytes: int(s.config.XMPPMaxStanzaBytes), StanzaRate: s.config.XMPPStanzaRate, Version: s.version, Logger: s.logger, Budget: s.budget,
	})
	if err != nil {
		nodes.Close()
		return handler{}, err
	}
	return handler{
		of:     func(config.Listener) (func(net.Conn), error) { return x.Handle, nil },
		tls:    speak,
		finish: func() { x.CloseAll("the broker is stopping") },
		end: func() {
			x.Wait()
			nodes.Close()
		},
	}, nil
}

// kafkaDisk is what Kafka's tools are told of the disk.
func (s *Server) kafkaDisk() (kafka.Disk, error) {
	dir, err := filepath.Abs(s.config.DataDir)
	if err != nil {
		return kafka.Disk{Dir: s.config.DataDir}, err
	}
	free, total, err := s.disk()
	return kafka.Disk{Dir: dir, Free: free, Total: total}, err
}

// openProtocols starts every listener of the table that is not off.
func (s *Server) openProtocols() error {
	for _, p := range protocols {
		list, err := p.listeners(s.config)
		if err != nil {
			return err
		}
		if len(list) == 0 {
			wanted := false
			if p.wanted != nil {
				wanted, err = p.wanted(s)
			}
			if err != nil {
				return err
			}
			if !wanted {
				continue
			}
		}
		h, err := p.open(s)
		if err != nil {
			return err
		}
		if h.adjust != nil {
			s.adjustBy(h.adjust)
		}
		if err := s.serveProtocol(p, list, h); err != nil {
			return err
		}
	}
	return nil
}

// serveProtocol binds the addresses of a protocol and serves their connections. They
// are one part: all stop accepting before clients are told to end.
func (s *Server) serveProtocol(p protocol, list []config.Listener, h handler) error {
	var open []accepting
	s.push(p.name+" listener", func(ctx context.Context) error {
		var errs []error
		for _, a := range open {
			errs = append(errs, a.Close())
		}
		h.finish()
		for _, a := range open {
			errs = append(errs, a.Shutdown(ctx))
			<-a.ended
		}
		if h.end != nil {
			h.end()
		}
		return errors.Join(errs...)
	})
	for _, l := range list {
		a, err := s.accept(l, h)
		if err != nil {
			return err // what is open already is stopped with the rest
		}
		open = append(open, a)
	}
	return nil
}

// accepting is a listener that runs.
type accepting struct {
	*netx.Listener
	ended <-chan struct{}
}

// accept binds one address and serves its connections.
func (s *Server) accept(at config.Listener, h handler) (accepting, error) {
	handle, err := h.of(at)
	if err != nil {
		return accepting{}, err
	}
	name := at.Kind
	if at.Name != "" {
		name += " " + at.Name
	}
	inner, l, err := s.listen(name, at.Flag, at.Addr)
	if err != nil {
		return accepting{}, err
	}
	o := netx.Options{Name: name, Slots: s.slots, Logger: s.logger}
	switch {
	case h.tls != nil:
		o.Handshakes = s.handshakes // for who begins without TLS as well
		if at.TLS {
			o.TLS = h.tls
		}
	case at.TLS:
		o.TLS, o.Handshakes = s.tls.Config, s.handshakes
	}
	limited := netx.Wrap(inner, o)
	s.adjustBy(func(c *config.Config) { limited.Bound(c.MaxConnections) })
	l.tls, l.told = at.TLS, at.Advertised
	s.listens(l, limited)
	return accepting{limited, s.run(l, func() error { return limited.Serve(handle) })}, nil
}
