package server

import (
	"context"
	"errors"
	"net"
	"path/filepath"

	"github.com/leveret-mq/leveret/amqp"
	"github.com/leveret-mq/leveret/config"
	"github.com/leveret-mq/leveret/internal/netx"
	"github.com/leveret-mq/leveret/kafka"
)

// protocols is the table of listeners, in the order in which they start. One more
// is a line here, with its address in config.
var protocols = []protocol{
	{"amqp", "amqp-addr", func(c *config.Config) string { return c.AMQPAddr }, openAMQP},
	{"kafka", "kafka-addr", func(c *config.Config) string { return c.KafkaAddr }, openKafka},
}

// protocol is one line of the table.
type protocol struct {
	name, flag string
	addr       func(*config.Config) string
	open       func(*Server) (handler, error)
}

// handler is what serves the connections of a protocol.
type handler struct {
	// handle serves one connection until it ends.
	handle func(net.Conn)
	// finish tells all of them to end, and does not wait for that.
	finish func()
}

func openAMQP(s *Server) (handler, error) {
	heartbeat := s.config.AMQPHeartbeat
	if heartbeat == 0 {
		heartbeat = -1 // none; zero would be the default there
	}
	a := amqp.New(amqp.Options{
		Broker: s.broker, Users: s.users, FrameMaxBytes: int(s.config.AMQPFrameMax), ChannelMax: s.config.AMQPChannelMax,
		Heartbeat: heartbeat, Version: s.version, Logger: s.logger, Budget: s.budget,
	})
	return handler{a.Handle, func() { a.CloseAll("the broker is stopping") }}, nil
}

func openKafka(s *Server) (handler, error) {
	k, err := kafka.New(kafka.Options{
		Broker: s.broker, Users: s.users, Advertised: s.config.KafkaAdvertised,
		NoAutoCreate: !s.config.KafkaAutoCreate, Partitions: s.config.KafkaPartitions, Logger: s.logger,
		Budget: s.budget, TrustCompressed: s.config.KafkaTrustCompressed, Disk: s.kafkaDisk,
	})
	if err != nil {
		return handler{}, err
	}
	return handler{k.Handle, k.Close}, nil
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
		address := p.addr(s.config)
		if address == config.Off {
			continue
		}
		h, err := p.open(s)
		if err != nil {
			return err
		}
		if err := s.serveProtocol(p, address, h); err != nil {
			return err
		}
	}
	return nil
}

// serveProtocol binds an address and serves its connections.
func (s *Server) serveProtocol(p protocol, address string, h handler) error {
	inner, l, err := s.listen(p.name, p.flag, address)
	if err != nil {
		h.finish()
		return err
	}
	accept := netx.Wrap(inner, netx.Options{Name: p.name, MaxConns: s.config.MaxConnections, Slots: s.slots, Logger: s.logger})
	ended := s.run(l, func() error { return accept.Serve(h.handle) })
	s.push(p.name+" listener", func(ctx context.Context) error {
		err := accept.Close()
		h.finish()
		err = errors.Join(err, accept.Shutdown(ctx))
		<-ended
		return err
	})
	return nil
}
