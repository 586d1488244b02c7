package server

import (
	"context"
	"errors"
	"net"

	"github.com/leveret-mq/leveret/amqp"
	"github.com/leveret-mq/leveret/config"
	"github.com/leveret-mq/leveret/internal/netx"
	"github.com/leveret-mq/leveret/kafka"
)

// openAMQP serves AMQP 0-9-1 clients.
func (s *Server) openAMQP() error {
	if s.config.AMQPAddr == config.Off {
		return nil
	}
	heartbeat := s.config.AMQPHeartbeat
	if heartbeat == 0 {
		heartbeat = -1 // none; zero would be the default there
	}
	a := amqp.New(amqp.Options{
		Broker: s.broker, Users: s.users, FrameMaxBytes: int(s.config.AMQPFrameMax), ChannelMax: s.config.AMQPChannelMax,
		Heartbeat: heartbeat, Version: s.version, Logger: s.logger, Budget: s.budget,
	})
	finish := func() { a.CloseAll("the broker is stopping") }
	return s.serveProtocol("amqp", "amqp-addr", s.config.AMQPAddr, a.Handle, finish)
}

// openKafka serves Kafka clients.
func (s *Server) openKafka() error {
	if s.config.KafkaAddr == config.Off {
		return nil
	}
	k, err := kafka.New(kafka.Options{
		Broker: s.broker, Users: s.users, Advertised: s.config.KafkaAdvertised,
		NoAutoCreate: !s.config.KafkaAutoCreate, Partitions: s.config.KafkaPartitions, Logger: s.logger,
		Budget: s.budget,
	})
	if err != nil {
		return err
	}
	return s.serveProtocol("kafka", "kafka-addr", s.config.KafkaAddr, k.Handle, k.Close)
}

// serveProtocol binds an address and runs handle for each connection. finish
// tells the handlers to end; it does not wait for them.
func (s *Server) serveProtocol(name, flag, address string, handle func(net.Conn), finish func()) error {
	inner, l, err := s.listen(name, flag, address)
	if err != nil {
		finish()
		return err
	}
	accept := netx.Wrap(inner, netx.Options{Name: name, MaxConns: s.config.MaxConnections, Logger: s.logger})
	ended := s.run(l, func() error { return accept.Serve(handle) })
	s.push(name+" listener", func(ctx context.Context) error {
		err := accept.Close()
		finish()
		err = errors.Join(err, accept.Shutdown(ctx))
		<-ended
		return err
	})
	return nil
}
