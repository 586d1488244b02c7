package management

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/field"
)

// queueRows are about queues, streams and topics.
var queueRows = []row{
	{path: "queues", method: get, who: management, paged: true, do: (*call).allQueues, about: "All queues of the virtual hosts that the user may enter"},
	{path: "queues/detailed", method: get, who: management, paged: true, do: (*call).allQueues, about: "The same"},
	{path: "queues/{vhost}", method: get, who: management, paged: true, do: (*call).queuesOf, about: "The queues of one virtual host"},
	{path: "queues/{vhost}/{name}", method: get, who: management, do: (*call).oneQueue, about: "One queue, with its consumers"},
	{path: "queues/{vhost}/{name}", method: put, who: management, do: (*call).putQueue, body: queueBody{}, about: "Declares a queue"},
	{path: "queues/{vhost}/{name}", method: del, who: management, do: (*call).deleteQueue, about: "Deletes a queue; with if-empty=true or if-unused=true only one that is"},
	{path: "queues/{vhost}/{name}/contents", method: del, who: management, do: (*call).purgeQueue, about: "Drops the messages of a queue that are ready"},
}

// queueBody is what a queue is declared with.
type queueBody struct {
	Durable    bool            `json:"durable"`
	AutoDelete bool            `json:"auto_delete"`
	Exclusive  bool            `json:"exclusive"`
	Arguments  json.RawMessage `json:"arguments"`
	Type       string          `json:"type"`
}

// queueList is a listing of queues.
type queueList struct {
	c      *call
	queues []*broker.Queue
	fields []queueField // of its objects, once one was made
}

// queueFigures is how much a queue takes while a list is made, in bytes.
const queueFigures = 64

func (c *call) allQueues() error { return c.listQueues(c.vhosts(false)) }
func (c *call) queuesOf() error  { return c.listQueues([]*broker.VHost{c.vhost}) }

func (c *call) listQueues(vhosts []*broker.VHost) error {
	l := &queueList{c: c}
	for _, v := range vhosts {
		list := c.s.inOrder.queues(v)
		if err := c.take(int64(len(list)) * queueFigures); err != nil {
			return err
		}
		l.queues = append(l.queues, list...)
	}
	return c.listOf(l)
}

func (l *queueList) length() int       { return len(l.queues) }
func (l *queueList) name(i int) string { return l.queues[i].Name }

func (l *queueList) value(i int, path []string) any {
	v := l.view(i)
	for _, f := range queueFields {
		if f.name == path[0] {
			return lookup(f.of(v), path[1:])
		}
	}
	return nil
}

func (l *queueList) view(i int) *queueView { return &queueView{c: l.c, q: l.queues[i]} }

func (l *queueList) object(i int, w *wanted) object {
	if l.fields == nil {
		l.fields = fieldsOf(w, l.c.flag("disable_stats"))
	}
	return l.view(i).object(l.fields)
}

// queueView is a queue as somebody looks at it; what is asked for several times is read once.
type queueView struct {
	c     *call
	q     *broker.Queue
	read  bool
	stats broker.QueueStats
	alone bool   // it is looked at by itself
	sized *sizes // when they are known
	first *broker.Stamp
}

func (v *queueView) figures() *broker.QueueStats {
	if !v.read {
		v.stats, v.read = v.q.Stats(), true
	}
	return &v.stats
}

// fieldsOf are those that are wanted.
func fieldsOf(w *wanted, baseOnly bool) []queueField {
	list := make([]queueField, 0, len(queueFields))
	for _, f := range queueFields {
		if w.asks(f.name) && (f.base || !baseOnly) {
			list = append(list, f)
		}
	}
	return list
}

// object is what is wanted of a queue.
func (v *queueView) object(fields []queueField) object {
	o := make(object, len(fields))
	for i, f := range fields {
		o[i] = pair{f.name, f.of(v)}
	}
	return o
}

// queueField is one field of a queue in lists; base says that it is there without statistics.
type queueField struct {
	name string
	base bool
	of   func(*queueView) any
}

var queueFields = []queueField{
	{"name", true, func(v *queueView) any { return v.q.Name }},
	{"vhost", true, func(v *queueView) any { return v.q.VHost().Name }},
	{"type", true, func(v *queueView) any { return v.q.Type() }},
	{"durable", true, func(v *queueView) any { return v.q.Durable }},
	{"auto_delete", true, func(v *queueView) any { return v.q.AutoDelete }},
	{"exclusive", true, func(v *queueView) any { return v.q.Exclusive }},
	{"arguments", true, func(v *queueView) any { return v.arguments() }},
	{"node", true, func(v *queueView) any { return v.c.s.opts.Node }},
	{"state", true, func(*queueView) any { return "running" }},
	{"messages", true, func(v *queueView) any { return v.messages() }},
	{"messages_details", false, func(v *queueView) any { return v.rate("messages", v.messages()) }},
	{"messages_ready", true, func(v *queueView) any { return v.figures().Ready }},
	{"messages_ready_details", false, func(v *queueView) any { return v.rate("messages_ready", v.figures().Ready) }},
	{"messages_unacknowledged", true, func(v *queueView) any { return v.figures().Unacked }},
	{"messages_unacknowledged_details", false, func(v *queueView) any { return v.rate("messages_unacknowledged", v.figures().Unacked) }},
	{"messages_persistent", false, func(v *queueView) any { return v.sizes().persistent }},
	{"messages_ram", false, func(*queueView) any { return 0 }},
	{"messages_paged_out", false, func(v *queueView) any { return v.messages() }},
	{"message_bytes", false, func(v *queueView) any { return v.sizes().ready + v.sizes().unacked }},
	{"message_bytes_ready", false, func(v *queueView) any { return v.sizes().ready }},
	{"message_bytes_unacknowledged", false, func(v *queueView) any { return v.sizes().unacked }},
	{"message_bytes_persistent", false, func(v *queueView) any { return v.sizes().persistentBytes }},
	{"message_bytes_ram", false, func(*queueView) any { return 0 }},
	{"message_bytes_paged_out", false, func(v *queueView) any { return v.sizes().ready + v.sizes().unacked }},
	{"disk_bytes", false, func(v *queueView) any { return v.figures().Bytes }},
	{"consumers", false, func(v *queueView) any { return v.figures().Consumers }},
	{"consumer_capacity", false, func(v *queueView) any { return v.capacity() }},
	{"consumer_utilisation", false, func(v *queueView) any { return v.capacity() }},
	{"memory", false, func(*queueView) any { return queueMemory }},
	{"reductions", false, func(*queueView) any { return 0 }},
	{"storage_version", false, func(*queueView) any { return 2 }},
	{"head_message_timestamp", false, func(v *queueView) any { return orNone(v.oldest().Property) }},
	{"oldest_message_at", false, func(v *queueView) any { return orNone(v.oldest().StoredMs) }},
	{"exclusive_consumer_tag", false, func(v *queueView) any { tag, _ := v.q.ActiveConsumer(); return orNull(tag) }},
	{"single_active_consumer_tag", false, func(v *queueView) any { _, tag := v.q.ActiveConsumer(); return orNull(tag) }},
	{"message_stats", false, func(v *queueView) any { return v.c.messageStats(v.key(), v.q.Flow()) }},
	{"policy", false, func(v *queueView) any { return orNull(v.q.Policies().Policy) }},
	{"operator_policy", false, func(v *queueView) any { return orNull(v.q.Policies().OperatorPolicy) }},
	{"effective_policy_definition", false, func(v *queueView) any { return policyDefinition(v.q.Policies()) }},
}

// queueMemory is about what a queue takes that is not used, in bytes; what is in it lies on disk.
const queueMemory = 1 << 10

func (v *queueView) messages() int64 {
	return v.figures().Ready + v.figures().Unacked + v.figures().Retrying
}

func (v *queueView) key() rateKey { return rateKey{vhost: v.q.VHost().Name, queue: v.q.Name} }

func (v *queueView) rate(what string, n int64) object {
	key := v.key()
	key.what = what
	return v.c.rate(key, uint64(max(0, n)))
}

// capacity is how much of the time consumers could take more, as far as this moment tells.
func (v *queueView) capacity() float64 {
	if s := v.figures(); s.Consumers > 0 && s.Ready == 0 {
		return 1
	}
	return 0
}

// sizes are those of the messages in a queue, in bytes of bodies.
type sizes struct {
	ready, unacked, persistentBytes int64
	persistent                      int64
}

// exactBytes is how much a queue may take on disk and be read for the sizes of its messages by who looks at it alone. For all others
// they are worked out from what is on disk.
const exactBytes = 1 << 20

func (v *queueView) sizes() sizes {
	if v.sized != nil {
		return *v.sized
	}
	v.sized = &sizes{}
	s := v.figures()
	n := v.messages()
	if n == 0 {
		return *v.sized
	}
	if v.alone && s.Bytes <= exactBytes && v.q.Flow().Published <= exactBytes && v.readAll(n) {
		return *v.sized
	}
	per := float64(s.Bytes) / float64(n)
	*v.sized = sizes{ready: int64(per * float64(s.Ready+s.Retrying)), unacked: int64(per * float64(s.Unacked))}
	if v.q.Durable {
		v.sized.persistent, v.sized.persistentBytes = n, v.sized.ready+v.sized.unacked
	}
	return *v.sized
}

// readAll reads what is in the queue. Which of it consumers hold is not told by the log; they mostly hold what came first.
func (v *queueView) readAll(n int64) (exact bool) {
	s := v.q.VHost().NewInnerSession()
	defer s.Close()
	defer context.AfterFunc(v.c.r.Context(), s.GiveUp)()
	var z sizes
	seen, held := int64(0), v.figures().Unacked
	for _, p := range v.q.Partitions() {
		from, end, err := s.Extent(p)
		for err == nil && from < end {
			from, end, err = s.Browse(p, from, exactBytes, func(d *broker.Delivery) bool {
				size := int64(len(d.Body))
				if seen++; seen <= held {
					z.unacked += size
				} else {
					z.ready += size
				}
				if persistent(d.Properties) {
					z.persistent++
					z.persistentBytes += size
				}
				return true
			})
		}
		if err != nil {
			return false
		}
	}
	if seen != n { // some were acked out of order
		return false
	}
	*v.sized = z
	return true
}

// persistent says whether the properties of a message ask for it to be kept.
func persistent(properties []byte) bool {
	var p field.Properties
	return p.Parse(properties) == nil && p.DeliveryMode == 2
}

// oldest is what the first message that is not settled says of times. Who looks at one queue gets it from the disk, who looks at
// many the next time, or not while nobody uses the queue.
func (v *queueView) oldest() broker.Stamp {
	if v.first != nil {
		return *v.first
	}
	v.first = &broker.Stamp{}
	if v.messages() == 0 && v.q.Type() != "stream" {
		return *v.first
	}
	s, ok := v.q.Oldest(v.alone)
	for end := time.Now().Add(oldestPatience); !ok && v.alone && v.messages() > 0 && time.Now().Before(end); s, ok = v.q.Oldest(v.alone) {
		select {
		case <-v.c.r.Context().Done():
			return *v.first
		case <-time.After(time.Millisecond):
		}
	}
	if ok {
		*v.first = s
	}
	return *v.first
}

// oldestPatience is how long one who looks at a queue waits for its first message to be read.
const oldestPatience = 200 * time.Millisecond

// orNone is a time, or null for none.
func orNone(n int64) any {
	if n <= 0 {
		return nil
	}
	return n
}

// orNull is a name, or null for none.
func orNull(name string) any {
	if name == "" {
		return nil
	}
	return name
}

// policyDefinition is what policies say together, never null.
func policyDefinition(p broker.AppliedPolicies) map[string]any {
	if p.Definition == nil {
		return map[string]any{}
	}
	return p.Definition
}

func (v *queueView) arguments() object {
	o := tableObject(v.q.Args)
	if _, said := o.get("x-queue-type"); !said {
		o = append(o, pair{"x-queue-type", v.q.Type()})
	}
	return o
}

// queue finds the queue of the path.
func (c *call) queue() (*broker.Queue, error) {
	q, err := c.vhost.Queue(c.arg("name"))
	if err != nil {
		return nil, c.parentMissing("queue_not_found")
	}
	return q, nil
}

func (c *call) oneQueue() error {
	q, err := c.queue()
	if err != nil {
		return err
	}
	v := &queueView{c: c, q: q, alone: true}
	o := v.object(fieldsOf(nil, c.flag("disable_stats")))
	consumers := []object{}
	for _, k := range q.ConsumerInfos() {
		consumers = append(consumers, c.consumerObject(&k))
	}
	o = append(o, pair{"consumer_details", consumers}, pair{"deliveries", []any{}}, pair{"incoming", []any{}})
	if i := q.Owner(); i != nil {
		host, port := hostPort(i.Peer)
		o = append(o, pair{"owner_pid_details", object{{"name", i.Label()}, {"peer_host", host}, {"peer_port", port}}})
	}
	return c.one(o)
}

func (c *call) putQueue() error {
	var b queueBody
	if err := c.body(&b); err != nil {
		return err
	}
	args, err := arguments(b.Arguments)
	if err != nil {
		return err
	}
	if b.Type != "" && !strings.Contains(string(args), "x-queue-type") {
		args = appendTextArg(args, "x-queue-type", b.Type)
	}
	s, err := c.session()
	if err != nil {
		return err
	}
	name := c.arg("name")
	_, before := c.vhost.Queue(name)
	if _, err := s.DeclareQueue(name, broker.QueueOptions{Durable: b.Durable, AutoDelete: b.AutoDelete, Exclusive: b.Exclusive, Args: args}); err != nil {
		return err
	}
	return c.put(before != nil)
}

func (c *call) deleteQueue() error {
	s, err := c.session()
	if err != nil {
		return err
	}
	if _, err := c.queue(); err != nil {
		return err
	}
	if _, err := s.DeleteQueue(c.arg("name"), c.flag("if-unused"), c.flag("if-empty")); err != nil {
		return err
	}
	return c.none()
}

func (c *call) purgeQueue() error {
	s, err := c.session()
	if err != nil {
		return err
	}
	if _, err := c.queue(); err != nil {
		return err
	}
	if _, err := s.Purge(c.arg("name")); err != nil {
		return err
	}
	return c.empty(http.StatusNoContent)
}
