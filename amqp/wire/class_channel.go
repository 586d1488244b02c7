package wire

// The channel class, and the access class of old clients.

// ChannelOpen is channel.open: opens the channel that its frame names (client).
type ChannelOpen struct{}

// ID implements Method.
func (*ChannelOpen) ID() MethodID { return IDChannelOpen }

// AppendTo implements Method.
func (*ChannelOpen) AppendTo(buf []byte) []byte { return append(buf, 0) }

func (*ChannelOpen) decode(r *decoder) { r.shortBytes() }

// ChannelOpenOk is channel.open-ok: confirms the opening (server).
type ChannelOpenOk struct{}

// ID implements Method.
func (*ChannelOpenOk) ID() MethodID { return IDChannelOpenOk }

// AppendTo implements Method.
func (*ChannelOpenOk) AppendTo(buf []byte) []byte { return appendU32(buf, 0) }

func (*ChannelOpenOk) decode(r *decoder) { r.long() }

// ChannelFlow is channel.flow: stops or restarts deliveries.
type ChannelFlow struct {
	Active bool
}

// ID implements Method.
func (*ChannelFlow) ID() MethodID { return IDChannelFlow }

// AppendTo implements Method.
func (m *ChannelFlow) AppendTo(buf []byte) []byte { return append(buf, bits(m.Active)) }

func (m *ChannelFlow) decode(r *decoder) { m.Active = bit(r.u8(), 0) }

// ChannelFlowOk is channel.flow-ok: confirms a flow.
type ChannelFlowOk struct {
	Active bool
}

// ID implements Method.
func (*ChannelFlowOk) ID() MethodID { return IDChannelFlowOk }

// AppendTo implements Method.
func (m *ChannelFlowOk) AppendTo(buf []byte) []byte { return append(buf, bits(m.Active)) }

func (m *ChannelFlowOk) decode(r *decoder) { m.Active = bit(r.u8(), 0) }

// ChannelClose is channel.close: ends the channel; class and method name the culprit.
type ChannelClose struct {
	ReplyCode         Code
	ReplyText         string
	ClassID, MethodID uint16
}

// ID implements Method.
func (*ChannelClose) ID() MethodID { return IDChannelClose }

// AppendTo implements Method.
func (m *ChannelClose) AppendTo(buf []byte) []byte {
	buf = appendU16(buf, uint16(m.ReplyCode))
	buf = appendShort(buf, m.ReplyText)
	buf = appendU16(buf, m.ClassID)
	return appendU16(buf, m.MethodID)
}

func (m *ChannelClose) decode(r *decoder) {
	m.ReplyCode = Code(r.u16())
	m.ReplyText = r.short()
	m.ClassID = r.u16()
	m.MethodID = r.u16()
}

// ChannelCloseOk is channel.close-ok: confirms the end.
type ChannelCloseOk struct{}

// ID implements Method.
func (*ChannelCloseOk) ID() MethodID { return IDChannelCloseOk }

// AppendTo implements Method.
func (*ChannelCloseOk) AppendTo(buf []byte) []byte { return buf }

func (*ChannelCloseOk) decode(*decoder) {}

// AccessRequest is access.request: asks for a ticket as 0-8 did (client).
type AccessRequest struct {
	Realm                                   string
	Exclusive, Passive, Active, Write, Read bool
}

// ID implements Method.
func (*AccessRequest) ID() MethodID { return IDAccessRequest }

// AppendTo implements Method.
func (m *AccessRequest) AppendTo(buf []byte) []byte {
	buf = appendShort(buf, m.Realm)
	return append(buf, bits(m.Exclusive, m.Passive, m.Active, m.Write, m.Read))
}

func (m *AccessRequest) decode(r *decoder) {
	m.Realm = r.short()
	b := r.u8()
	m.Exclusive = bit(b, 0)
	m.Passive = bit(b, 1)
	m.Active = bit(b, 2)
	m.Write = bit(b, 3)
	m.Read = bit(b, 4)
}

// AccessRequestOk is access.request-ok: gives a ticket that means nothing (server).
type AccessRequestOk struct {
	Ticket uint16
}

// ID implements Method.
func (*AccessRequestOk) ID() MethodID { return IDAccessRequestOk }

// AppendTo implements Method.
func (m *AccessRequestOk) AppendTo(buf []byte) []byte { return appendU16(buf, m.Ticket) }

func (m *AccessRequestOk) decode(r *decoder) { m.Ticket = r.u16() }
