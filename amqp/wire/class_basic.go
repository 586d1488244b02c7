package wire

// The basic class: publishing, consuming, settling.

// BasicQos is basic.qos: limits what may be unacknowledged (client).
type BasicQos struct {
	PrefetchSize  uint32
	PrefetchCount uint16
	Global        bool
}

// ID implements Method.
func (*BasicQos) ID() MethodID { return IDBasicQos }

// AppendTo implements Method.
func (m *BasicQos) AppendTo(buf []byte) []byte {
	buf = appendU32(buf, m.PrefetchSize)
	buf = appendU16(buf, m.PrefetchCount)
	return append(buf, bits(m.Global))
}

func (m *BasicQos) decode(r *decoder) {
	m.PrefetchSize = r.u32()
	m.PrefetchCount = r.u16()
	m.Global = bit(r.u8(), 0)
}

// BasicQosOk is basic.qos-ok: confirms a qos (server).
type BasicQosOk struct{}

// ID implements Method.
func (*BasicQosOk) ID() MethodID { return IDBasicQosOk }

// AppendTo implements Method.
func (*BasicQosOk) AppendTo(buf []byte) []byte { return buf }

func (*BasicQosOk) decode(*decoder) {}

// BasicConsume is basic.consume: starts a consumer (client).
type BasicConsume struct {
	Queue, ConsumerTag                string
	NoLocal, NoAck, Exclusive, NoWait bool
	Arguments                         Table
}

// ID implements Method.
func (*BasicConsume) ID() MethodID { return IDBasicConsume }

// AppendTo implements Method.
func (m *BasicConsume) AppendTo(buf []byte) []byte {
	buf = appendU16(buf, 0)
	buf = appendShort(buf, m.Queue)
	buf = appendShort(buf, m.ConsumerTag)
	buf = append(buf, bits(m.NoLocal, m.NoAck, m.Exclusive, m.NoWait))
	return appendLong(buf, m.Arguments)
}

func (m *BasicConsume) decode(r *decoder) {
	r.u16()
	m.Queue = r.short()
	m.ConsumerTag = r.short()
	b := r.u8()
	m.NoLocal = bit(b, 0)
	m.NoAck = bit(b, 1)
	m.Exclusive = bit(b, 2)
	m.NoWait = bit(b, 3)
	m.Arguments = r.table()
}

// BasicConsumeOk is basic.consume-ok: confirms a consumer and names its tag (server).
type BasicConsumeOk struct {
	ConsumerTag string
}

// ID implements Method.
func (*BasicConsumeOk) ID() MethodID { return IDBasicConsumeOk }

// AppendTo implements Method.
func (m *BasicConsumeOk) AppendTo(buf []byte) []byte { return appendShort(buf, m.ConsumerTag) }

func (m *BasicConsumeOk) decode(r *decoder) { m.ConsumerTag = r.short() }

// BasicCancel is basic.cancel: ends a consumer (either side).
type BasicCancel struct {
	ConsumerTag string
	NoWait      bool
}

// ID implements Method.
func (*BasicCancel) ID() MethodID { return IDBasicCancel }

// AppendTo implements Method.
func (m *BasicCancel) AppendTo(buf []byte) []byte {
	buf = appendShort(buf, m.ConsumerTag)
	return append(buf, bits(m.NoWait))
}

func (m *BasicCancel) decode(r *decoder) {
	m.ConsumerTag = r.short()
	m.NoWait = bit(r.u8(), 0)
}

// BasicCancelOk is basic.cancel-ok: confirms a cancel.
type BasicCancelOk struct {
	ConsumerTag string
}

// ID implements Method.
func (*BasicCancelOk) ID() MethodID { return IDBasicCancelOk }

// AppendTo implements Method.
func (m *BasicCancelOk) AppendTo(buf []byte) []byte { return appendShort(buf, m.ConsumerTag) }

func (m *BasicCancelOk) decode(r *decoder) { m.ConsumerTag = r.short() }

// BasicPublish is basic.publish: announces a message (client); content follows. ParsePublish is the fast path.
type BasicPublish struct {
	Exchange, RoutingKey string
	Mandatory, Immediate bool
}

// ID implements Method.
func (*BasicPublish) ID() MethodID { return IDBasicPublish }

// AppendTo implements Method.
func (m *BasicPublish) AppendTo(buf []byte) []byte {
	buf = appendU16(buf, 0)
	buf = appendShort(buf, m.Exchange)
	buf = appendShort(buf, m.RoutingKey)
	return append(buf, bits(m.Mandatory, m.Immediate))
}

func (m *BasicPublish) decode(r *decoder) {
	r.u16()
	m.Exchange = r.short()
	m.RoutingKey = r.short()
	b := r.u8()
	m.Mandatory = bit(b, 0)
	m.Immediate = bit(b, 1)
}

// BasicReturn is basic.return: hands back a message that could not be routed (server); content follows.
type BasicReturn struct {
	ReplyCode                       Code
	ReplyText, Exchange, RoutingKey string
}

// ID implements Method.
func (*BasicReturn) ID() MethodID { return IDBasicReturn }

// AppendTo implements Method.
func (m *BasicReturn) AppendTo(buf []byte) []byte {
	buf = appendU16(buf, uint16(m.ReplyCode))
	buf = appendShort(buf, m.ReplyText)
	buf = appendShort(buf, m.Exchange)
	return appendShort(buf, m.RoutingKey)
}

func (m *BasicReturn) decode(r *decoder) {
	m.ReplyCode = Code(r.u16())
	m.ReplyText = r.short()
	m.Exchange = r.short()
	m.RoutingKey = r.short()
}

// BasicDeliver is basic.deliver: hands a message to a consumer (server); content follows. DeliveryEncoder is the fast path.
type BasicDeliver struct {
	ConsumerTag          string
	DeliveryTag          uint64
	Redelivered          bool
	Exchange, RoutingKey string
}

// ID implements Method.
func (*BasicDeliver) ID() MethodID { return IDBasicDeliver }

// AppendTo implements Method.
func (m *BasicDeliver) AppendTo(buf []byte) []byte {
	buf = appendShort(buf, m.ConsumerTag)
	buf = appendU64(buf, m.DeliveryTag)
	buf = append(buf, bits(m.Redelivered))
	buf = appendShort(buf, m.Exchange)
	return appendShort(buf, m.RoutingKey)
}

func (m *BasicDeliver) decode(r *decoder) {
	m.ConsumerTag = r.short()
	m.DeliveryTag = r.u64()
	m.Redelivered = bit(r.u8(), 0)
	m.Exchange = r.short()
	m.RoutingKey = r.short()
}

// BasicGet is basic.get: asks for one message (client).
type BasicGet struct {
	Queue string
	NoAck bool
}

// ID implements Method.
func (*BasicGet) ID() MethodID { return IDBasicGet }

// AppendTo implements Method.
func (m *BasicGet) AppendTo(buf []byte) []byte {
	buf = appendU16(buf, 0)
	buf = appendShort(buf, m.Queue)
	return append(buf, bits(m.NoAck))
}

func (m *BasicGet) decode(r *decoder) {
	r.u16()
	m.Queue = r.short()
	m.NoAck = bit(r.u8(), 0)
}

// BasicGetOk is basic.get-ok: hands it over (server); content follows.
type BasicGetOk struct {
	DeliveryTag          uint64
	Redelivered          bool
	Exchange, RoutingKey string
	MessageCount         uint32
}

// ID implements Method.
func (*BasicGetOk) ID() MethodID { return IDBasicGetOk }

// AppendTo implements Method.
func (m *BasicGetOk) AppendTo(buf []byte) []byte {
	buf = appendU64(buf, m.DeliveryTag)
	buf = append(buf, bits(m.Redelivered))
	buf = appendShort(buf, m.Exchange)
	buf = appendShort(buf, m.RoutingKey)
	return appendU32(buf, m.MessageCount)
}

func (m *BasicGetOk) decode(r *decoder) {
	m.DeliveryTag = r.u64()
	m.Redelivered = bit(r.u8(), 0)
	m.Exchange = r.short()
	m.RoutingKey = r.short()
	m.MessageCount = r.u32()
}

// BasicGetEmpty is basic.get-empty: says that there is none (server).
type BasicGetEmpty struct{}

// ID implements Method.
func (*BasicGetEmpty) ID() MethodID { return IDBasicGetEmpty }

// AppendTo implements Method.
func (*BasicGetEmpty) AppendTo(buf []byte) []byte { return append(buf, 0) }

func (*BasicGetEmpty) decode(r *decoder) { r.shortBytes() }

// BasicAck is basic.ack: settles messages (client), or confirms publishes (server).
type BasicAck struct {
	DeliveryTag uint64
	Multiple    bool
}

// ID implements Method.
func (*BasicAck) ID() MethodID { return IDBasicAck }

// AppendTo implements Method.
func (m *BasicAck) AppendTo(buf []byte) []byte {
	buf = appendU64(buf, m.DeliveryTag)
	return append(buf, bits(m.Multiple))
}

func (m *BasicAck) decode(r *decoder) {
	m.DeliveryTag = r.u64()
	m.Multiple = bit(r.u8(), 0)
}

// BasicReject is basic.reject: refuses one message (client).
type BasicReject struct {
	DeliveryTag uint64
	Requeue     bool
}

// ID implements Method.
func (*BasicReject) ID() MethodID { return IDBasicReject }

// AppendTo implements Method.
func (m *BasicReject) AppendTo(buf []byte) []byte {
	buf = appendU64(buf, m.DeliveryTag)
	return append(buf, bits(m.Requeue))
}

func (m *BasicReject) decode(r *decoder) {
	m.DeliveryTag = r.u64()
	m.Requeue = bit(r.u8(), 0)
}

// BasicRecoverAsync is basic.recover-async: returns all unacknowledged messages without an answer (client).
type BasicRecoverAsync struct {
	Requeue bool
}

// ID implements Method.
func (*BasicRecoverAsync) ID() MethodID { return IDBasicRecoverAsync }

// AppendTo implements Method.
func (m *BasicRecoverAsync) AppendTo(buf []byte) []byte { return append(buf, bits(m.Requeue)) }

func (m *BasicRecoverAsync) decode(r *decoder) { m.Requeue = bit(r.u8(), 0) }

// BasicRecover is basic.recover: returns all unacknowledged messages (client).
type BasicRecover struct {
	Requeue bool
}

// ID implements Method.
func (*BasicRecover) ID() MethodID { return IDBasicRecover }

// AppendTo implements Method.
func (m *BasicRecover) AppendTo(buf []byte) []byte { return append(buf, bits(m.Requeue)) }

func (m *BasicRecover) decode(r *decoder) { m.Requeue = bit(r.u8(), 0) }

// BasicRecoverOk is basic.recover-ok: confirms a recover (server).
type BasicRecoverOk struct{}

// ID implements Method.
func (*BasicRecoverOk) ID() MethodID { return IDBasicRecoverOk }

// AppendTo implements Method.
func (*BasicRecoverOk) AppendTo(buf []byte) []byte { return buf }

func (*BasicRecoverOk) decode(*decoder) {}

// BasicNack is basic.nack: refuses messages (client; extension), or publishes (server).
type BasicNack struct {
	DeliveryTag       uint64
	Multiple, Requeue bool
}

// ID implements Method.
func (*BasicNack) ID() MethodID { return IDBasicNack }

// AppendTo implements Method.
func (m *BasicNack) AppendTo(buf []byte) []byte {
	buf = appendU64(buf, m.DeliveryTag)
	return append(buf, bits(m.Multiple, m.Requeue))
}

func (m *BasicNack) decode(r *decoder) {
	m.DeliveryTag = r.u64()
	b := r.u8()
	m.Multiple = bit(b, 0)
	m.Requeue = bit(b, 1)
}
