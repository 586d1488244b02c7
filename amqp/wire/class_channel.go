package wire

// The channel class, and the access class of old clients.

// ChannelOpen is channel.open: opens the channel that its frame names (client).
type ChannelOpen struct{}

// ID implements Method.
func (*ChannelOpen) ID() MethodID { return IDChannelOpen }

func (*ChannelOpen) args(a *args) { a.reservedShortstr() }

// ChannelOpenOk is channel.open-ok: confirms the opening (server).
type ChannelOpenOk struct{}

// ID implements Method.
func (*ChannelOpenOk) ID() MethodID { return IDChannelOpenOk }

func (*ChannelOpenOk) args(a *args) { a.reservedLongstr() }

// ChannelFlow is channel.flow: stops or restarts deliveries.
type ChannelFlow struct {
	Active bool
}

// ID implements Method.
func (*ChannelFlow) ID() MethodID { return IDChannelFlow }

func (m *ChannelFlow) args(a *args) { a.bits(&m.Active) }

// ChannelFlowOk is channel.flow-ok: confirms a flow.
type ChannelFlowOk struct {
	Active bool
}

// ID implements Method.
func (*ChannelFlowOk) ID() MethodID { return IDChannelFlowOk }

func (m *ChannelFlowOk) args(a *args) { a.bits(&m.Active) }

// ChannelClose is channel.close: ends the channel; class and method name the culprit.
type ChannelClose struct {
	ReplyCode         Code
	ReplyText         string
	ClassID, MethodID uint16
}

// ID implements Method.
func (*ChannelClose) ID() MethodID { return IDChannelClose }

func (m *ChannelClose) args(a *args) {
	a.code(&m.ReplyCode)
	a.shortstr(&m.ReplyText)
	a.short(&m.ClassID)
	a.short(&m.MethodID)
}

// ChannelCloseOk is channel.close-ok: confirms the end.
type ChannelCloseOk struct{ noArguments }

// ID implements Method.
func (*ChannelCloseOk) ID() MethodID { return IDChannelCloseOk }

// AccessRequest is access.request: asks for a ticket as 0-8 did (client).
type AccessRequest struct {
	Realm                                   string
	Exclusive, Passive, Active, Write, Read bool
}

// ID implements Method.
func (*AccessRequest) ID() MethodID { return IDAccessRequest }

func (m *AccessRequest) args(a *args) {
	a.shortstr(&m.Realm)
	a.bits(&m.Exclusive, &m.Passive, &m.Active, &m.Write, &m.Read)
}

// AccessRequestOk is access.request-ok: gives a ticket that means nothing (server).
type AccessRequestOk struct {
	Ticket uint16
}

// ID implements Method.
func (*AccessRequestOk) ID() MethodID { return IDAccessRequestOk }

func (m *AccessRequestOk) args(a *args) { a.short(&m.Ticket) }
