// Package notify tells systemd how the process is: that it is ready, reads its settings
// anew or stops, a line for people, and that it is alive when a watchdog asks for it. The
// protocol is a datagram of NAME=value lines to the socket in NOTIFY_SOCKET; where
// there is none, as outside of systemd, everything here does nothing.
//
// It owns that socket, imports nothing of this module and knows nothing of brokers.
package notify
