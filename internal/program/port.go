package program

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

// The ports that FreeAddresses chooses from lie below those that systems hand out by
// themselves (from 32768 on Linux): between the answer and the listener's start, or between
// two lives of a listener, no connection that somebody opens can come to sit on one.
const (
	firstPort = 16000
	lastPort  = 23999
)

// FreeAddresses are n different addresses of the loopback interface on which nothing
// listens now. They begin at a random place, so that programs that ask at the same time
// hardly ever get the same ones.
func FreeAddresses(n int) ([]string, error) {
	const count = lastPort - firstPort + 1
	from := rand.IntN(count)
	addrs := make([]string, 0, n)
	for i := 0; i < count && len(addrs) < n; i++ {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(firstPort+(from+i)%count))
		l, err := net.Listen("tcp", addr)
		if err != nil {
			continue
		}
		_ = l.Close()
		addrs = append(addrs, addr)
	}
	if len(addrs) < n {
		return nil, fmt.Errorf("fewer than %d free ports between %d and %d", n, firstPort, lastPort)
	}
	return addrs, nil
}
