package kafka

import (
	"fmt"
	"net"
	"strconv"

	"github.com/leveret-mq/leveret/internal/netx"
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
func (c *conn) address() (host string, port int32) {
	return c.told.seenFrom(c.nc.LocalAddr(), c.asked())
}

// asked is the name for which a client with TLS asked: by that it knows the certificate, in which it may not find
// the address.
func (c *conn) asked() string {
	state, _ := netx.TLSState(c.nc)
	return state.ServerName
}

func (e endpoint) seenFrom(local net.Addr, asked string) (host string, port int32) {
	if e.host != "" {
		return e.host, e.port
	}
	host, port = "localhost", 9092
	if tcp, ok := local.(*net.TCPAddr); ok {
		host, port = tcp.IP.String(), int32(tcp.Port)
	}
	if asked != "" {
		host = asked
	}
	return host, port
}
