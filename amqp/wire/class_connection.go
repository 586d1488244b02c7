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

func (m *ConnectionStart) args(a *args) {
	a.octet(&m.VersionMajor)
	a.octet(&m.VersionMinor)
	a.table(&m.ServerProperties)
	a.longstr(&m.Mechanisms)
	a.longstr(&m.Locales)
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

func (m *ConnectionStartOk) args(a *args) {
	a.table(&m.ClientProperties)
	a.shortstr(&m.Mechanism)
	a.longstr(&m.Response)
	a.shortstr(&m.Locale)
}

// ConnectionSecure is connection.secure: carries a further challenge (server).
type ConnectionSecure struct {
	Challenge []byte
}

// ID implements Method.
func (*ConnectionSecure) ID() MethodID { return IDConnectionSecure }

func (m *ConnectionSecure) args(a *args) { a.longstr(&m.Challenge) }

// ConnectionSecureOk is connection.secure-ok: answers a challenge (client).
type ConnectionSecureOk struct {
	Response []byte
}

// ID implements Method.
func (*ConnectionSecureOk) ID() MethodID { return IDConnectionSecureOk }

func (m *ConnectionSecureOk) args(a *args) { a.longstr(&m.Response) }

// ConnectionTune is connection.tune: proposes limits (server); heartbeat in seconds.
type ConnectionTune struct {
	ChannelMax uint16
	FrameMax   uint32
	Heartbeat  uint16
}

// ID implements Method.
func (*ConnectionTune) ID() MethodID { return IDConnectionTune }

func (m *ConnectionTune) args(a *args) {
	a.short(&m.ChannelMax)
	a.long(&m.FrameMax)
	a.short(&m.Heartbeat)
}

// ConnectionTuneOk is connection.tune-ok: agrees on the limits (client).
type ConnectionTuneOk struct {
	ChannelMax uint16
	FrameMax   uint32
	Heartbeat  uint16
}

// ID implements Method.
func (*ConnectionTuneOk) ID() MethodID { return IDConnectionTuneOk }

func (m *ConnectionTuneOk) args(a *args) {
	a.short(&m.ChannelMax)
	a.long(&m.FrameMax)
	a.short(&m.Heartbeat)
}

// ConnectionOpen is connection.open: names the virtual host (client).
type ConnectionOpen struct {
	VirtualHost string
	Insist      bool
}

// ID implements Method.
func (*ConnectionOpen) ID() MethodID { return IDConnectionOpen }

func (m *ConnectionOpen) args(a *args) {
	a.shortstr(&m.VirtualHost)
	a.reservedShortstr()
	a.bits(&m.Insist)
}

// ConnectionOpenOk is connection.open-ok: accepts the virtual host (server).
type ConnectionOpenOk struct{}

// ID implements Method.
func (*ConnectionOpenOk) ID() MethodID { return IDConnectionOpenOk }

func (*ConnectionOpenOk) args(a *args) { a.reservedShortstr() }

// ConnectionClose is connection.close: ends the connection; class and method name the culprit.
type ConnectionClose struct {
	ReplyCode         Code
	ReplyText         string
	ClassID, MethodID uint16
}

// ID implements Method.
func (*ConnectionClose) ID() MethodID { return IDConnectionClose }

func (m *ConnectionClose) args(a *args) {
	a.code(&m.ReplyCode)
	a.shortstr(&m.ReplyText)
	a.short(&m.ClassID)
	a.short(&m.MethodID)
}

// ConnectionCloseOk is connection.close-ok: confirms the end.
type ConnectionCloseOk struct{ noArguments }

// ID implements Method.
func (*ConnectionCloseOk) ID() MethodID { return IDConnectionCloseOk }

// ConnectionBlocked is connection.blocked: says that publishing is stopped for now (server; extension).
type ConnectionBlocked struct {
	Reason string
}

// ID implements Method.
func (*ConnectionBlocked) ID() MethodID { return IDConnectionBlocked }

func (m *ConnectionBlocked) args(a *args) { a.shortstr(&m.Reason) }

// ConnectionUnblocked is connection.unblocked: says that publishing goes on (server; extension).
type ConnectionUnblocked struct{ noArguments }

// ID implements Method.
func (*ConnectionUnblocked) ID() MethodID { return IDConnectionUnblocked }

// ConnectionUpdateSecret is connection.update-secret: replaces the credentials (client; extension).
type ConnectionUpdateSecret struct {
	NewSecret []byte
	Reason    string
}

// ID implements Method.
func (*ConnectionUpdateSecret) ID() MethodID { return IDConnectionUpdateSecret }

func (m *ConnectionUpdateSecret) args(a *args) {
	a.longstr(&m.NewSecret)
	a.shortstr(&m.Reason)
}

// ConnectionUpdateSecretOk is connection.update-secret-ok: confirms the new credentials (server; extension).
type ConnectionUpdateSecretOk struct{ noArguments }

// ID implements Method.
func (*ConnectionUpdateSecretOk) ID() MethodID { return IDConnectionUpdateSecretOk }
