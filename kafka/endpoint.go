package kafka

import (
	"fmt"
	"net"
	"strconv"
)

// endpoint is what the clients of a listener are told to connect to; the zero value
// is the address at which each reached us.
type endpoint struct {
	host string
	port int32
}

// parseEndpoint reads host:port, or nothing.
func parseEndpoint(advertised string) (endpoint, error) {
	if advertised == "" {
		return endpoint{}, nil
	}
	host, port, err := net.SplitHostPort(advertised)
	if err != nil {
		return endpoint{}, fmt.Errorf("kafka: advertised address %q: %w", advertised, err)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 || host == "" {
		return endpoint{}, fmt.Errorf("kafka: advertised address %q is not host:port", advertised)
	}
	return endpoint{host, int32(n)}, nil
}

// Listener returns what serves the connections of a listener whose clients are told to
// connect to that host:port; empty is the address at which each reached us.
func (s *Server) Listener(advertised string) (handle func(net.Conn), err error) {
	at, err := parseEndpoint(advertised)
	if err != nil {
		return nil, err
	}
	return func(nc net.Conn) {
		c := s.newConn(nc)
		c.told = at
		c.live()
	}, nil
}

// address is what the client is told to connect to.
func (c *conn) address() (host string, port int32) { return c.told.seenFrom(c.nc.LocalAddr()) }

func (e endpoint) seenFrom(local net.Addr) (host string, port int32) {
	if e.host != "" {
		return e.host, e.port
	}
	if tcp, ok := local.(*net.TCPAddr); ok {
		return tcp.IP.String(), int32(tcp.Port)
	}
	return "localhost", 9092
}
