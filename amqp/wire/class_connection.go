package wire

// The connection class: how a connection begins, is tuned and ends.

// ConnectionStart is connection.start: opens the negotiation (server).
type ConnectionStart struct {
	VersionMajor, VersionMinor uint8
	ServerProperties           Table
	Mechanisms, Locales        []byte
}

// ID implements Method.
func (*ConnectionStart) ID() MethodID { return IDConnectionStart }

// AppendTo implements Method.
func (m *ConnectionStart) AppendTo(buf []byte) []byte {
	buf = append(buf, m.VersionMajor)
	buf = append(buf, m.VersionMinor)
	buf = appendLong(buf, m.ServerProperties)
	buf = appendLong(buf, m.Mechanisms)
	return appendLong(buf, m.Locales)
}

func (m *ConnectionStart) decode(r *decoder) {
	m.VersionMajor = r.u8()
	m.VersionMinor = r.u8()
	m.ServerProperties = r.table()
	m.Mechanisms = r.long()
	m.Locales = r.long()
}

// ConnectionStartOk is connection.start-ok: picks a mechanism and answers it (client).
type ConnectionStartOk struct {
	ClientProperties Table
	Mechanism        string
	Response         []byte
	Locale           string
}

// ID implements Method.
func (*ConnectionStartOk) ID() MethodID { return IDConnectionStartOk }

// AppendTo implements Method.
func (m *ConnectionStartOk) AppendTo(buf []byte) []byte {
	buf = appendLong(buf, m.ClientProperties)
	buf = appendShort(buf, m.Mechanism)
	buf = appendLong(buf, m.Response)
	return appendShort(buf, m.Locale)
}

func (m *ConnectionStartOk) decode(r *decoder) {
	m.ClientProperties = r.table()
	m.Mechanism = r.short()
	m.Response = r.long()
	m.Locale = r.short()
}

// ConnectionSecure is connection.secure: carries a further challenge (server).
type ConnectionSecure struct {
	Challenge []byte
}

// ID implements Method.
func (*ConnectionSecure) ID() MethodID { return IDConnectionSecure }

// AppendTo implements Method.
func (m *ConnectionSecure) AppendTo(buf []byte) []byte { return appendLong(buf, m.Challenge) }

func (m *ConnectionSecure) decode(r *decoder) { m.Challenge = r.long() }

// ConnectionSecureOk is connection.secure-ok: answers a challenge (client).
type ConnectionSecureOk struct {
	Response []byte
}

// ID implements Method.
func (*ConnectionSecureOk) ID() MethodID { return IDConnectionSecureOk }

// AppendTo implements Method.
func (m *ConnectionSecureOk) AppendTo(buf []byte) []byte { return appendLong(buf, m.Response) }

func (m *ConnectionSecureOk) decode(r *decoder) { m.Response = r.long() }

// ConnectionTune is connection.tune: proposes limits (server); heartbeat in seconds.
type ConnectionTune struct {
	ChannelMax uint16
	FrameMax   uint32
	Heartbeat  uint16
}

// ID implements Method.
func (*ConnectionTune) ID() MethodID { return IDConnectionTune }

// AppendTo implements Method.
func (m *ConnectionTune) AppendTo(buf []byte) []byte {
	buf = appendU16(buf, m.ChannelMax)
	buf = appendU32(buf, m.FrameMax)
	return appendU16(buf, m.Heartbeat)
}

func (m *ConnectionTune) decode(r *decoder) {
	m.ChannelMax = r.u16()
	m.FrameMax = r.u32()
	m.Heartbeat = r.u16()
}

// ConnectionTuneOk is connection.tune-ok: agrees on the limits (client).
type ConnectionTuneOk struct {
	ChannelMax uint16
	FrameMax   uint32
	Heartbeat  uint16
}

// ID implements Method.
func (*ConnectionTuneOk) ID() MethodID { return IDConnectionTuneOk }

// AppendTo implements Method.
func (m *ConnectionTuneOk) AppendTo(buf []byte) []byte {
	buf = appendU16(buf, m.ChannelMax)
	buf = appendU32(buf, m.FrameMax)
	return appendU16(buf, m.Heartbeat)
}

func (m *ConnectionTuneOk) decode(r *decoder) {
	m.ChannelMax = r.u16()
	m.FrameMax = r.u32()
	m.Heartbeat = r.u16()
}

// ConnectionOpen is connection.open: names the virtual host (client).
type ConnectionOpen struct {
	VirtualHost string
	Insist      bool
}

// ID implements Method.
func (*ConnectionOpen) ID() MethodID { return IDConnectionOpen }

// AppendTo implements Method.
func (m *ConnectionOpen) AppendTo(buf []byte) []byte {
	buf = appendShort(buf, m.VirtualHost)
	buf = append(buf, 0)
	return append(buf, bits(m.Insist))
}

func (m *ConnectionOpen) decode(r *decoder) {
	m.VirtualHost = r.short()
	r.shortBytes()
	m.Insist = bit(r.u8(), 0)
}

// ConnectionOpenOk is connection.open-ok: accepts the virtual host (server).
type ConnectionOpenOk struct{}

// ID implements Method.
func (*ConnectionOpenOk) ID() MethodID { return IDConnectionOpenOk }

// AppendTo implements Method.
func (*ConnectionOpenOk) AppendTo(buf []byte) []byte { return append(buf, 0) }

func (*ConnectionOpenOk) decode(r *decoder) { r.shortBytes() }

// ConnectionClose is connection.close: ends the connection; class and method name the culprit.
type ConnectionClose struct {
	ReplyCode         Code
	ReplyText         string
	ClassID, MethodID uint16
}

// ID implements Method.
func (*ConnectionClose) ID() MethodID { return IDConnectionClose }

// AppendTo implements Method.
func (m *ConnectionClose) AppendTo(buf []byte) []byte {
	buf = appendU16(buf, uint16(m.ReplyCode))
	buf = appendShort(buf, m.ReplyText)
	buf = appendU16(buf, m.ClassID)
	return appendU16(buf, m.MethodID)
}

func (m *ConnectionClose) decode(r *decoder) {
	m.ReplyCode = Code(r.u16())
	m.ReplyText = r.short()
	m.ClassID = r.u16()
	m.MethodID = r.u16()
}

// ConnectionCloseOk is connection.close-ok: confirms the end.
type ConnectionCloseOk struct{}

// ID implements Method.
func (*ConnectionCloseOk) ID() MethodID { return IDConnectionCloseOk }

// AppendTo implements Method.
func (*ConnectionCloseOk) AppendTo(buf []byte) []byte { return buf }

func (*ConnectionCloseOk) decode(*decoder) {}

// ConnectionBlocked is connection.blocked: says that publishing is stopped for now (server; extension).
type ConnectionBlocked struct {
	Reason string
}

// ID implements Method.
func (*ConnectionBlocked) ID() MethodID { return IDConnectionBlocked }

// AppendTo implements Method.
func (m *ConnectionBlocked) AppendTo(buf []byte) []byte { return appendShort(buf, m.Reason) }

func (m *ConnectionBlocked) decode(r *decoder) { m.Reason = r.short() }

// ConnectionUnblocked is connection.unblocked: says that publishing goes on (server; extension).
type ConnectionUnblocked struct{}

// ID implements Method.
func (*ConnectionUnblocked) ID() MethodID { return IDConnectionUnblocked }

// AppendTo implements Method.
func (*ConnectionUnblocked) AppendTo(buf []byte) []byte { return buf }

func (*ConnectionUnblocked) decode(*decoder) {}

// ConnectionUpdateSecret is connection.update-secret: replaces the credentials (client; extension).
type ConnectionUpdateSecret struct {
	NewSecret []byte
	Reason    string
}

// ID implements Method.
func (*ConnectionUpdateSecret) ID() MethodID { return IDConnectionUpdateSecret }

// AppendTo implements Method.
func (m *ConnectionUpdateSecret) AppendTo(buf []byte) []byte {
	buf = appendLong(buf, m.NewSecret)
	return appendShort(buf, m.Reason)
}

func (m *ConnectionUpdateSecret) decode(r *decoder) {
	m.NewSecret = r.long()
	m.Reason = r.short()
}

// ConnectionUpdateSecretOk is connection.update-secret-ok: confirms the new credentials (server; extension).
type ConnectionUpdateSecretOk struct{}

// ID implements Method.
func (*ConnectionUpdateSecretOk) ID() MethodID { return IDConnectionUpdateSecretOk }

// AppendTo implements Method.
func (*ConnectionUpdateSecretOk) AppendTo(buf []byte) []byte { return buf }

func (*ConnectionUpdateSecretOk) decode(*decoder) {}
