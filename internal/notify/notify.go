package notify

import (
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// Notifier sends to one socket. A nil one sends nothing. Its methods may be called from
// any goroutine.
type Notifier struct {
	conn *net.UnixConn
	// Watchdog is how often Alive must be called at least; 0 is never.
	Watchdog time.Duration
}

// FromEnv makes the one that the environment asks for, or nil.
func FromEnv(lookup func(string) string) (*Notifier, error) {
	name := lookup("NOTIFY_SOCKET")
	if name == "" {
		return nil, nil
	}
	// A name that begins with @ is an abstract one, for systemd and package net alike.
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		return nil, err
	}
	n := &Notifier{conn: conn}
	micros, err := strconv.ParseInt(lookup("WATCHDOG_USEC"), 10, 64)
	if pid := lookup("WATCHDOG_PID"); err == nil && micros > 0 && (pid == "" || pid == strconv.Itoa(os.Getpid())) {
		n.Watchdog = time.Duration(micros) * time.Microsecond
	}
	return n, nil
}

// Ready says that the process serves, at first or again after Reloading.
func (n *Notifier) Ready(status string) { n.send("READY=1", status) }

// Reloading says that the process reads its settings anew, until it is Ready.
func (n *Notifier) Reloading() {
	n.send("RELOADING=1\nMONOTONIC_USEC="+strconv.FormatInt(monotonicMicros(), 10), "Reading the settings anew")
}

// Stopping says that the process is about to end.
func (n *Notifier) Stopping(status string) { n.send("STOPPING=1", status) }

// Alive answers the watchdog.
func (n *Notifier) Alive() { n.send("WATCHDOG=1", "") }

// Trouble says why Alive is not called.
func (n *Notifier) Trouble(status string) { n.send("", status) }

// send drops what can't be sent: the process has more important things to do.
func (n *Notifier) send(state, status string) {
	if n == nil {
		return
	}
	if status != "" {
		if state != "" {
			state += "\n"
		}
		state += "STATUS=" + strings.ReplaceAll(status, "\n", "; ")
	}
	_ = n.conn.SetWriteDeadline(time.Now().Add(time.Second))
	_, _ = n.conn.Write([]byte(state))
}

// Close ends it.
func (n *Notifier) Close() {
	if n != nil {
		_ = n.conn.Close()
	}
}
