package netx

import (
	"crypto/tls"
	"net"
	"time"
)

// StartTLS makes the TLS handshake of an accepted connection that spoke without so far; read is what came of the
// handshake already. Its listener's Handshakes bound it, count it and say in the log why one failed, as they do for
// a listener with TLS of its own. After an error the connection is of no more use. Who may be asked to end meanwhile
// closes conn.
func StartTLS(conn net.Conn, read []byte, config *tls.Config) (net.Conn, error) {
	l := strangers
	if a, ok := conn.(interface{ listener() *Listener }); ok {
		l = a.listener()
	}
	g := l.greets.begin(conn)
	defer g.end()
	secured, err := greetWith(conn, g, config, read)
	if err != nil {
		l.greetsFailed.Add(1)
		l.refuse(conn, err)
		return nil, err
	}
	l.greetsDone.Add(1)
	return secured, conn.SetDeadline(time.Time{})
}

// strangers stands for the listener of connections that were not accepted by one.
var strangers = &Listener{greets: NewHandshakes(), log: NewLog("connection", nil)}

// greetWith makes the handshake, of which some bytes may have been read.
func greetWith(conn net.Conn, g *greeting, config *tls.Config, read []byte) (*secure, error) {
	recs := &records{inner: conn, greet: g, first: make([]byte, 0, firstBytes)}
	if len(read) > 0 {
		recs.begin(read)
	}
	c := &secure{inner: conn, recs: recs}
	c.tls = tls.Server(recs, config)
	_ = conn.SetDeadline(time.Now().Add(handshakeTime)) // a closed socket says so at the next call
	err := c.tls.Handshake()
	evicted := g.end()
	switch {
	case err == nil:
		recs.greeted()
		return c, nil
	case evicted:
		return nil, errMadeRoom
	}
	return nil, notGreeted(err, recs.first)
}

// begin has some bytes, of at most fewRecordsBytes, be the first that are read.
func (r *records) begin(read []byte) {
	r.lent = recordPools[0].Get().(*[]byte)
	r.end = copy(*r.lent, read)
	r.first = append(r.first, read[:min(len(read), firstBytes)]...)
}
