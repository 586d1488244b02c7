//go:build !linux

package netx

import "net"

// hangups can't watch connections on this system.
type hangups struct{}

func (*hangups) watch(*net.TCPConn) (uint64, chan struct{}) { return 0, nil }
func (*hangups) end(uint64)                                 {}
func (*hangups) close()                                     {}
