package wire

// The queue class.

// QueueDeclare is queue.declare: creates or verifies a queue (client).
type QueueDeclare struct {
	Queue                                           string
	Passive, Durable, Exclusive, AutoDelete, NoWait bool
	Arguments                                       Table
}

// ID implements Method.
func (*QueueDeclare) ID() MethodID { return IDQueueDeclare }

func (m *QueueDeclare) args(a *args) {
	a.reservedShort()
	a.shortstr(&m.Queue)
	a.bits(&m.Passive, &m.Durable, &m.Exclusive, &m.AutoDelete, &m.NoWait)
	a.table(&m.Arguments)
}

// QueueDeclareOk is queue.declare-ok: confirms a declare with counts of ready messages and consumers (server).
type QueueDeclareOk struct {
	Queue                       string
	MessageCount, ConsumerCount uint32
}

// ID implements Method.
func (*QueueDeclareOk) ID() MethodID { return IDQueueDeclareOk }

func (m *QueueDeclareOk) args(a *args) {
	a.shortstr(&m.Queue)
	a.long(&m.MessageCount)
	a.long(&m.ConsumerCount)
}

// QueueBind is queue.bind: binds a queue to an exchange (client).
type QueueBind struct {
	Queue, Exchange, RoutingKey string
	NoWait                      bool
	Arguments                   Table
}

// ID implements Method.
func (*QueueBind) ID() MethodID { return IDQueueBind }

func (m *QueueBind) args(a *args) {
	a.reservedShort()
	a.shortstr(&m.Queue)
	a.shortstr(&m.Exchange)
	a.shortstr(&m.RoutingKey)
	a.bits(&m.NoWait)
	a.table(&m.Arguments)
}

// QueueBindOk is queue.bind-ok: confirms a bind (server).
type QueueBindOk struct{ noArguments }

// ID implements Method.
func (*QueueBindOk) ID() MethodID { return IDQueueBindOk }

// QueuePurge is queue.purge: drops the ready messages (client).
type QueuePurge struct {
	Queue  string
	NoWait bool
}

// ID implements Method.
func (*QueuePurge) ID() MethodID { return IDQueuePurge }

func (m *QueuePurge) args(a *args) {
	a.reservedShort()
	a.shortstr(&m.Queue)
	a.bits(&m.NoWait)
}

// QueuePurgeOk is queue.purge-ok: tells how many went (server).
type QueuePurgeOk struct {
	MessageCount uint32
}

// ID implements Method.
func (*QueuePurgeOk) ID() MethodID { return IDQueuePurgeOk }

func (m *QueuePurgeOk) args(a *args) { a.long(&m.MessageCount) }

// QueueDelete is queue.delete: deletes a queue (client).
type QueueDelete struct {
	Queue                     string
	IfUnused, IfEmpty, NoWait bool
}

// ID implements Method.
func (*QueueDelete) ID() MethodID { return IDQueueDelete }

func (m *QueueDelete) args(a *args) {
	a.reservedShort()
	a.shortstr(&m.Queue)
	a.bits(&m.IfUnused, &m.IfEmpty, &m.NoWait)
}

// QueueDeleteOk is queue.delete-ok: tells how many messages went with it (server).
type QueueDeleteOk struct {
	MessageCount uint32
}

// ID implements Method.
func (*QueueDeleteOk) ID() MethodID { return IDQueueDeleteOk }

func (m *QueueDeleteOk) args(a *args) { a.long(&m.MessageCount) }

// QueueUnbind is queue.unbind: removes a binding (client).
type QueueUnbind struct {
	Queue, Exchange, RoutingKey string
	Arguments                   Table
}

// ID implements Method.
func (*QueueUnbind) ID() MethodID { return IDQueueUnbind }

func (m *QueueUnbind) args(a *args) {
	a.reservedShort()
	a.shortstr(&m.Queue)
	a.shortstr(&m.Exchange)
	a.shortstr(&m.RoutingKey)
	a.table(&m.Arguments)
}

// QueueUnbindOk is queue.unbind-ok: confirms an unbind (server).
type QueueUnbindOk struct{ noArguments }

// ID implements Method.
func (*QueueUnbindOk) ID() MethodID { return IDQueueUnbindOk }
