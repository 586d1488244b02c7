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

// AppendTo implements Method.
func (m *QueueDeclare) AppendTo(buf []byte) []byte {
	buf = appendU16(buf, 0)
	buf = appendShort(buf, m.Queue)
	buf = append(buf, bits(m.Passive, m.Durable, m.Exclusive, m.AutoDelete, m.NoWait))
	return appendLong(buf, m.Arguments)
}

func (m *QueueDeclare) decode(r *decoder) {
	r.u16()
	m.Queue = r.short()
	b := r.u8()
	m.Passive = bit(b, 0)
	m.Durable = bit(b, 1)
	m.Exclusive = bit(b, 2)
	m.AutoDelete = bit(b, 3)
	m.NoWait = bit(b, 4)
	m.Arguments = r.table()
}

// QueueDeclareOk is queue.declare-ok: confirms a declare with counts of ready messages and consumers (server).
type QueueDeclareOk struct {
	Queue                       string
	MessageCount, ConsumerCount uint32
}

// ID implements Method.
func (*QueueDeclareOk) ID() MethodID { return IDQueueDeclareOk }

// AppendTo implements Method.
func (m *QueueDeclareOk) AppendTo(buf []byte) []byte {
	buf = appendShort(buf, m.Queue)
	buf = appendU32(buf, m.MessageCount)
	return appendU32(buf, m.ConsumerCount)
}

func (m *QueueDeclareOk) decode(r *decoder) {
	m.Queue = r.short()
	m.MessageCount = r.u32()
	m.ConsumerCount = r.u32()
}

// QueueBind is queue.bind: binds a queue to an exchange (client).
type QueueBind struct {
	Queue, Exchange, RoutingKey string
	NoWait                      bool
	Arguments                   Table
}

// ID implements Method.
func (*QueueBind) ID() MethodID { return IDQueueBind }

// AppendTo implements Method.
func (m *QueueBind) AppendTo(buf []byte) []byte {
	buf = appendU16(buf, 0)
	buf = appendShort(buf, m.Queue)
	buf = appendShort(buf, m.Exchange)
	buf = appendShort(buf, m.RoutingKey)
	buf = append(buf, bits(m.NoWait))
	return appendLong(buf, m.Arguments)
}

func (m *QueueBind) decode(r *decoder) {
	r.u16()
	m.Queue = r.short()
	m.Exchange = r.short()
	m.RoutingKey = r.short()
	m.NoWait = bit(r.u8(), 0)
	m.Arguments = r.table()
}

// QueueBindOk is queue.bind-ok: confirms a bind (server).
type QueueBindOk struct{}

// ID implements Method.
func (*QueueBindOk) ID() MethodID { return IDQueueBindOk }

// AppendTo implements Method.
func (*QueueBindOk) AppendTo(buf []byte) []byte { return buf }

func (*QueueBindOk) decode(*decoder) {}

// QueuePurge is queue.purge: drops the ready messages (client).
type QueuePurge struct {
	Queue  string
	NoWait bool
}

// ID implements Method.
func (*QueuePurge) ID() MethodID { return IDQueuePurge }

// AppendTo implements Method.
func (m *QueuePurge) AppendTo(buf []byte) []byte {
	buf = appendU16(buf, 0)
	buf = appendShort(buf, m.Queue)
	return append(buf, bits(m.NoWait))
}

func (m *QueuePurge) decode(r *decoder) {
	r.u16()
	m.Queue = r.short()
	m.NoWait = bit(r.u8(), 0)
}

// QueuePurgeOk is queue.purge-ok: tells how many went (server).
type QueuePurgeOk struct {
	MessageCount uint32
}

// ID implements Method.
func (*QueuePurgeOk) ID() MethodID { return IDQueuePurgeOk }

// AppendTo implements Method.
func (m *QueuePurgeOk) AppendTo(buf []byte) []byte { return appendU32(buf, m.MessageCount) }

func (m *QueuePurgeOk) decode(r *decoder) { m.MessageCount = r.u32() }

// QueueDelete is queue.delete: deletes a queue (client).
type QueueDelete struct {
	Queue                     string
	IfUnused, IfEmpty, NoWait bool
}

// ID implements Method.
func (*QueueDelete) ID() MethodID { return IDQueueDelete }

// AppendTo implements Method.
func (m *QueueDelete) AppendTo(buf []byte) []byte {
	buf = appendU16(buf, 0)
	buf = appendShort(buf, m.Queue)
	return append(buf, bits(m.IfUnused, m.IfEmpty, m.NoWait))
}

func (m *QueueDelete) decode(r *decoder) {
	r.u16()
	m.Queue = r.short()
	b := r.u8()
	m.IfUnused = bit(b, 0)
	m.IfEmpty = bit(b, 1)
	m.NoWait = bit(b, 2)
}

// QueueDeleteOk is queue.delete-ok: tells how many messages went with it (server).
type QueueDeleteOk struct {
	MessageCount uint32
}

// ID implements Method.
func (*QueueDeleteOk) ID() MethodID { return IDQueueDeleteOk }

// AppendTo implements Method.
func (m *QueueDeleteOk) AppendTo(buf []byte) []byte { return appendU32(buf, m.MessageCount) }

func (m *QueueDeleteOk) decode(r *decoder) { m.MessageCount = r.u32() }

// QueueUnbind is queue.unbind: removes a binding (client).
type QueueUnbind struct {
	Queue, Exchange, RoutingKey string
	Arguments                   Table
}

// ID implements Method.
func (*QueueUnbind) ID() MethodID { return IDQueueUnbind }

// AppendTo implements Method.
func (m *QueueUnbind) AppendTo(buf []byte) []byte {
	buf = appendU16(buf, 0)
	buf = appendShort(buf, m.Queue)
	buf = appendShort(buf, m.Exchange)
	buf = appendShort(buf, m.RoutingKey)
	return appendLong(buf, m.Arguments)
}

func (m *QueueUnbind) decode(r *decoder) {
	r.u16()
	m.Queue = r.short()
	m.Exchange = r.short()
	m.RoutingKey = r.short()
	m.Arguments = r.table()
}

// QueueUnbindOk is queue.unbind-ok: confirms an unbind (server).
type QueueUnbindOk struct{}

// ID implements Method.
func (*QueueUnbindOk) ID() MethodID { return IDQueueUnbindOk }

// AppendTo implements Method.
func (*QueueUnbindOk) AppendTo(buf []byte) []byte { return buf }

func (*QueueUnbindOk) decode(*decoder) {}
