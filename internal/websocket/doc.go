// Package websocket is a server's side of WebSocket (RFC 6455) for protocols that are a stream of bytes: a message of
// WebSocket is to them a piece of the stream and nothing more.
//
//	request ─► Options.Accept ─► answer          once, before all else
//	socket  ─► Conn.Read ─► bytes of messages    unmasked and without their frames, in the buffer that was read into
//	                 └─ ping ─► OnPing; close ─► *Closed; what breaks the rules ─► *Violation
//	bytes   ─► Seal, AppendPong, AppendClose ─► socket
//
// Nothing is gathered: a frame may be as long as it likes, since it takes no memory of ours, and how much of the stream
// is kept is for its protocol to bound. A Conn at rest holds some hundred bytes and no buffer.
//
// Handshakes, headers of frames, masks and codes of closes are github.com/gobwas/ws; here is what makes a stream of it.
// The package starts no goroutine, and knows neither broker nor socket but for a net.Conn to read from. What it returns
// as errors is for the log and for a close; it writes nothing but the answer to a request.
package websocket
