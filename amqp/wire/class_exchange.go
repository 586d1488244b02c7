package wire

// The exchange class, with RabbitMQ's exchange-to-exchange bindings.

// ExchangeDeclare is exchange.declare: creates or verifies an exchange (client).
type ExchangeDeclare struct {
	Exchange, Type                                 string
	Passive, Durable, AutoDelete, Internal, NoWait bool
	Arguments                                      Table
}

// ID implements Method.
func (*ExchangeDeclare) ID() MethodID { return IDExchangeDeclare }

// AppendTo implements Method.
func (m *ExchangeDeclare) AppendTo(buf []byte) []byte {
	buf = appendU16(buf, 0)
	buf = appendShort(buf, m.Exchange)
	buf = appendShort(buf, m.Type)
	buf = append(buf, bits(m.Passive, m.Durable, m.AutoDelete, m.Internal, m.NoWait))
	return appendLong(buf, m.Arguments)
}

func (m *ExchangeDeclare) decode(r *decoder) {
	r.u16()
	m.Exchange = r.short()
	m.Type = r.short()
	b := r.u8()
	m.Passive = bit(b, 0)
	m.Durable = bit(b, 1)
	m.AutoDelete = bit(b, 2)
	m.Internal = bit(b, 3)
	m.NoWait = bit(b, 4)
	m.Arguments = r.table()
}

// ExchangeDeclareOk is exchange.declare-ok: confirms a declare (server).
type ExchangeDeclareOk struct{}

// ID implements Method.
func (*ExchangeDeclareOk) ID() MethodID { return IDExchangeDeclareOk }

// AppendTo implements Method.
func (*ExchangeDeclareOk) AppendTo(buf []byte) []byte { return buf }

func (*ExchangeDeclareOk) decode(*decoder) {}

// ExchangeDelete is exchange.delete: deletes an exchange (client).
type ExchangeDelete struct {
	Exchange         string
	IfUnused, NoWait bool
}

// ID implements Method.
func (*ExchangeDelete) ID() MethodID { return IDExchangeDelete }

// AppendTo implements Method.
func (m *ExchangeDelete) AppendTo(buf []byte) []byte {
	buf = appendU16(buf, 0)
	buf = appendShort(buf, m.Exchange)
	return append(buf, bits(m.IfUnused, m.NoWait))
}

func (m *ExchangeDelete) decode(r *decoder) {
	r.u16()
	m.Exchange = r.short()
	b := r.u8()
	m.IfUnused = bit(b, 0)
	m.NoWait = bit(b, 1)
}

// ExchangeDeleteOk is exchange.delete-ok: confirms a delete (server).
type ExchangeDeleteOk struct{}

// ID implements Method.
func (*ExchangeDeleteOk) ID() MethodID { return IDExchangeDeleteOk }

// AppendTo implements Method.
func (*ExchangeDeleteOk) AppendTo(buf []byte) []byte { return buf }

func (*ExchangeDeleteOk) decode(*decoder) {}

// ExchangeBind is exchange.bind: binds an exchange to another (client; extension).
type ExchangeBind struct {
	Destination, Source, RoutingKey string
	NoWait                          bool
	Arguments                       Table
}

// ID implements Method.
func (*ExchangeBind) ID() MethodID { return IDExchangeBind }

// AppendTo implements Method.
func (m *ExchangeBind) AppendTo(buf []byte) []byte {
	buf = appendU16(buf, 0)
	buf = appendShort(buf, m.Destination)
	buf = appendShort(buf, m.Source)
	buf = appendShort(buf, m.RoutingKey)
	buf = append(buf, bits(m.NoWait))
	return appendLong(buf, m.Arguments)
}

func (m *ExchangeBind) decode(r *decoder) {
	r.u16()
	m.Destination = r.short()
	m.Source = r.short()
	m.RoutingKey = r.short()
	m.NoWait = bit(r.u8(), 0)
	m.Arguments = r.table()
}

// ExchangeBindOk is exchange.bind-ok: confirms a bind (server; extension).
type ExchangeBindOk struct{}

// ID implements Method.
func (*ExchangeBindOk) ID() MethodID { return IDExchangeBindOk }

// AppendTo implements Method.
func (*ExchangeBindOk) AppendTo(buf []byte) []byte { return buf }

func (*ExchangeBindOk) decode(*decoder) {}

// ExchangeUnbind is exchange.unbind: removes such a binding (client; extension).
type ExchangeUnbind struct {
	Destination, Source, RoutingKey string
	NoWait                          bool
	Arguments                       Table
}

// ID implements Method.
func (*ExchangeUnbind) ID() MethodID { return IDExchangeUnbind }

// AppendTo implements Method.
func (m *ExchangeUnbind) AppendTo(buf []byte) []byte {
	buf = appendU16(buf, 0)
	buf = appendShort(buf, m.Destination)
	buf = appendShort(buf, m.Source)
	buf = appendShort(buf, m.RoutingKey)
	buf = append(buf, bits(m.NoWait))
	return appendLong(buf, m.Arguments)
}

func (m *ExchangeUnbind) decode(r *decoder) {
	r.u16()
	m.Destination = r.short()
	m.Source = r.short()
	m.RoutingKey = r.short()
	m.NoWait = bit(r.u8(), 0)
	m.Arguments = r.table()
}

// ExchangeUnbindOk is exchange.unbind-ok: confirms an unbind (server; extension).
type ExchangeUnbindOk struct{}

// ID implements Method.
func (*ExchangeUnbindOk) ID() MethodID { return IDExchangeUnbindOk }

// AppendTo implements Method.
func (*ExchangeUnbindOk) AppendTo(buf []byte) []byte { return buf }

func (*ExchangeUnbindOk) decode(*decoder) {}
