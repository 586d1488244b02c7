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

func (m *ExchangeDeclare) args(a *args) {
	a.reservedShort()
	a.shortstr(&m.Exchange)
	a.shortstr(&m.Type)
	a.bits(&m.Passive, &m.Durable, &m.AutoDelete, &m.Internal, &m.NoWait)
	a.table(&m.Arguments)
}

// ExchangeDeclareOk is exchange.declare-ok: confirms a declare (server).
type ExchangeDeclareOk struct{ noArguments }

// ID implements Method.
func (*ExchangeDeclareOk) ID() MethodID { return IDExchangeDeclareOk }

// ExchangeDelete is exchange.delete: deletes an exchange (client).
type ExchangeDelete struct {
	Exchange         string
	IfUnused, NoWait bool
}

// ID implements Method.
func (*ExchangeDelete) ID() MethodID { return IDExchangeDelete }

func (m *ExchangeDelete) args(a *args) {
	a.reservedShort()
	a.shortstr(&m.Exchange)
	a.bits(&m.IfUnused, &m.NoWait)
}

// ExchangeDeleteOk is exchange.delete-ok: confirms a delete (server).
type ExchangeDeleteOk struct{ noArguments }

// ID implements Method.
func (*ExchangeDeleteOk) ID() MethodID { return IDExchangeDeleteOk }

// ExchangeBind is exchange.bind: binds an exchange to another (client; extension).
type ExchangeBind struct {
	Destination, Source, RoutingKey string
	NoWait                          bool
	Arguments                       Table
}

// ID implements Method.
func (*ExchangeBind) ID() MethodID { return IDExchangeBind }

func (m *ExchangeBind) args(a *args) {
	a.reservedShort()
	a.shortstr(&m.Destination)
	a.shortstr(&m.Source)
	a.shortstr(&m.RoutingKey)
	a.bits(&m.NoWait)
	a.table(&m.Arguments)
}

// ExchangeBindOk is exchange.bind-ok: confirms a bind (server; extension).
type ExchangeBindOk struct{ noArguments }

// ID implements Method.
func (*ExchangeBindOk) ID() MethodID { return IDExchangeBindOk }

// ExchangeUnbind is exchange.unbind: removes such a binding (client; extension).
type ExchangeUnbind struct {
	Destination, Source, RoutingKey string
	NoWait                          bool
	Arguments                       Table
}

// ID implements Method.
func (*ExchangeUnbind) ID() MethodID { return IDExchangeUnbind }

func (m *ExchangeUnbind) args(a *args) {
	a.reservedShort()
	a.shortstr(&m.Destination)
	a.shortstr(&m.Source)
	a.shortstr(&m.RoutingKey)
	a.bits(&m.NoWait)
	a.table(&m.Arguments)
}

// ExchangeUnbindOk is exchange.unbind-ok: confirms an unbind (server; extension).
type ExchangeUnbindOk struct{ noArguments }

// ID implements Method.
func (*ExchangeUnbindOk) ID() MethodID { return IDExchangeUnbindOk }
