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

func (m *BasicQos) args(a *args) {
	a.long(&m.PrefetchSize)
	a.short(&m.PrefetchCount)
	a.bits(&m.Global)
}

// BasicQosOk is basic.qos-ok: confirms a qos (server).
type BasicQosOk struct{ noArguments }

// ID implements Method.
func (*BasicQosOk) ID() MethodID { return IDBasicQosOk }

// BasicConsume is basic.consume: starts a consumer (client).
type BasicConsume struct {
	Queue, ConsumerTag                string
	NoLocal, NoAck, Exclusive, NoWait bool
	Arguments                         Table
}

// ID implements Method.
func (*BasicConsume) ID() MethodID { return IDBasicConsume }

func (m *BasicConsume) args(a *args) {
	a.reservedShort()
	a.shortstr(&m.Queue)
	a.shortstr(&m.ConsumerTag)
	a.bits(&m.NoLocal, &m.NoAck, &m.Exclusive, &m.NoWait)
	a.table(&m.Arguments)
}

// BasicConsumeOk is basic.consume-ok: confirms a consumer and names its tag (server).
type BasicConsumeOk struct {
	ConsumerTag string
}

// ID implements Method.
func (*BasicConsumeOk) ID() MethodID { return IDBasicConsumeOk }

func (m *BasicConsumeOk) args(a *args) { a.shortstr(&m.ConsumerTag) }

// BasicCancel is basic.cancel: ends a consumer (either side).
type BasicCancel struct {
	ConsumerTag string
	NoWait      bool
}

// ID implements Method.
func (*BasicCancel) ID() MethodID { return IDBasicCancel }

func (m *BasicCancel) args(a *args) {
	a.shortstr(&m.ConsumerTag)
	a.bits(&m.NoWait)
}

// BasicCancelOk is basic.cancel-ok: confirms a cancel.
type BasicCancelOk struct {
	ConsumerTag string
}

// ID implements Method.
func (*BasicCancelOk) ID() MethodID { return IDBasicCancelOk }

func (m *BasicCancelOk) args(a *args) { a.shortstr(&m.ConsumerTag) }

// BasicPublish is basic.publish: announces a message (client); content follows. parsePublish is the fast path.
type BasicPublish struct {
	Exchange, RoutingKey string
	Mandatory, Immediate bool
}

// ID implements Method.
func (*BasicPublish) ID() MethodID { return IDBasicPublish }

func (m *BasicPublish) args(a *args) {
	a.reservedShort()
	a.shortstr(&m.Exchange)
	a.shortstr(&m.RoutingKey)
	a.bits(&m.Mandatory, &m.Immediate)
}

// BasicReturn is basic.return: hands back a message that could not be routed (server); content follows.
type BasicReturn struct {
	ReplyCode                       Code
	ReplyText, Exchange, RoutingKey string
}

// ID implements Method.
func (*BasicReturn) ID() MethodID { return IDBasicReturn }

func (m *BasicReturn) args(a *args) {
	a.code(&m.ReplyCode)
	a.shortstr(&m.ReplyText)
	a.shortstr(&m.Exchange)
	a.shortstr(&m.RoutingKey)
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

func (m *BasicDeliver) args(a *args) {
	a.shortstr(&m.ConsumerTag)
	a.longlong(&m.DeliveryTag)
	a.bits(&m.Redelivered)
	a.shortstr(&m.Exchange)
	a.shortstr(&m.RoutingKey)
}

// BasicGet is basic.get: asks for one message (client).
type BasicGet struct {
	Queue string
	NoAck bool
}

// ID implements Method.
func (*BasicGet) ID() MethodID { return IDBasicGet }

func (m *BasicGet) args(a *args) {
	a.reservedShort()
	a.shortstr(&m.Queue)
	a.bits(&m.NoAck)
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

func (m *BasicGetOk) args(a *args) {
	a.longlong(&m.DeliveryTag)
	a.bits(&m.Redelivered)
	a.shortstr(&m.Exchange)
	a.shortstr(&m.RoutingKey)
	a.long(&m.MessageCount)
}

// BasicGetEmpty is basic.get-empty: says that there is none (server).
type BasicGetEmpty struct{}

// ID implements Method.
func (*BasicGetEmpty) ID() MethodID { return IDBasicGetEmpty }

func (*BasicGetEmpty) args(a *args) { a.reservedShortstr() }

// BasicAck is basic.ack: settles messages (client), or confirms publishes (server).
type BasicAck struct {
	DeliveryTag uint64
	Multiple    bool
}

// ID implements Method.
func (*BasicAck) ID() MethodID { return IDBasicAck }

func (m *BasicAck) args(a *args) {
	a.longlong(&m.DeliveryTag)
	a.bits(&m.Multiple)
}

// BasicReject is basic.reject: refuses one message (client).
type BasicReject struct {
	DeliveryTag uint64
	Requeue     bool
}

// ID implements Method.
func (*BasicReject) ID() MethodID { return IDBasicReject }

func (m *BasicReject) args(a *args) {
	a.longlong(&m.DeliveryTag)
	a.bits(&m.Requeue)
}

// BasicRecoverAsync is basic.recover-async: returns all unacknowledged messages without an answer (client).
type BasicRecoverAsync struct {
	Requeue bool
}

// ID implements Method.
func (*BasicRecoverAsync) ID() MethodID { return IDBasicRecoverAsync }

func (m *BasicRecoverAsync) args(a *args) { a.bits(&m.Requeue) }

// BasicRecover is basic.recover: returns all unacknowledged messages (client).
type BasicRecover struct {
	Requeue bool
}

// ID implements Method.
func (*BasicRecover) ID() MethodID { return IDBasicRecover }

func (m *BasicRecover) args(a *args) { a.bits(&m.Requeue) }

// BasicRecoverOk is basic.recover-ok: confirms a recover (server).
type BasicRecoverOk struct{ noArguments }

// ID implements Method.
func (*BasicRecoverOk) ID() MethodID { return IDBasicRecoverOk }

// BasicNack is basic.nack: refuses messages (client; extension), or publishes (server).
type BasicNack struct {
	DeliveryTag       uint64
	Multiple, Requeue bool
}

// ID implements Method.
func (*BasicNack) ID() MethodID { return IDBasicNack }

func (m *BasicNack) args(a *args) {
	a.longlong(&m.DeliveryTag)
	a.bits(&m.Multiple, &m.Requeue)
}
