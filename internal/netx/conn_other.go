//go:build !linux

package netx

import "net"

// ready makes the connection the one to use in place of an accepted one: itself.
func ready(c net.Conn) net.Conn { return c }
