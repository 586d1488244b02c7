package amqp

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/leveret-mq/leveret/amqp/wire"
	"github.com/leveret-mq/leveret/auth"
	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/field"
)

// rights are what the users of a test may do: "write exchange 'x'", or "write" of everything.
type rights struct {
	mu   sync.Mutex
	have []string
	keys map[string]string // which keys are allowed, by exchange: this one alone
}

func (r *rights) set(have ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.have, r.keys = slices.Clone(have), nil
}

// policy lets owner do everything.
func (r *rights) policy(q broker.Request) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	right := q.Verb.Right()
	switch {
	case q.User == "owner", q.Verb == broker.Enter && !slices.Contains(r.have, "no vhost"):
		return nil
	case right == broker.AnyRight:
		for _, have := range r.have {
			if _, of, named := strings.Cut(have, " "); !named || of == fmt.Sprintf("%s '%s'", q.On.Kind, q.On.Name) {
				return nil
			}
		}
	case slices.Contains(r.have, right.String()), slices.Contains(r.have, fmt.Sprintf("%s %s '%s'", right, q.On.Kind, q.On.Name)):
		return nil
	}
	return broker.ErrDenied
}

type onlyKey string

func (k onlyKey) MatchBytes(key []byte) bool { return string(key) == string(k) }

func (r *rights) keyPolicy(q broker.KeyRequest) broker.Keys {
	r.mu.Lock()
	defer r.mu.Unlock()
	if key, ok := r.keys[q.Exchange]; ok && q.User != "owner" {
		return onlyKey(key)
	}
	return nil
}

func newRightsRig(t *testing.T) (*rig, *rights, *broker.Session) {
	t.Helper()
	have := &rights{}
	r := newRig(t, rigOptions{broker: broker.Options{Policy: have.policy, KeyPolicy: have.keyPolicy}})
	v, _ := r.broker.VHost("/")
	return r, have, v.NewSession(auth.Identity{Name: "owner"})
}

func deadLetterTo(x string) wire.Table {
	return wire.Table(field.AppendString(field.AppendName(nil, "x-dead-letter-exchange"), []byte(x)))
}

func alternate(x string) wire.Table {
	return wire.Table(field.AppendString(field.AppendName(nil, "alternate-exchange"), []byte(x)))
}

// needed is what each method takes, in the order in which RabbitMQ 4.0 asks for it.
var needed = []struct {
	method wire.Method
	needs  []string
}{
	{&wire.QueueDeclare{Queue: "new"}, []string{"configure queue 'new'"}},
	{&wire.QueueDeclare{Queue: "q"}, []string{"configure queue 'q'"}},
	{&wire.QueueDeclare{Queue: "dl", Arguments: deadLetterTo("x")}, []string{"configure queue 'dl'", "read queue 'dl'", "write exchange 'x'"}},
	{&wire.QueueDeclare{Queue: "dl0", Arguments: deadLetterTo("")}, []string{"configure queue 'dl0'", "read queue 'dl0'", "write exchange 'amq.default'"}},
	{&wire.QueueDeclare{Queue: "q", Passive: true}, []string{"queue 'q'"}},
	{&wire.QueueDelete{Queue: "none"}, []string{"configure queue 'none'"}},
	{&wire.QueuePurge{Queue: "q"}, []string{"read queue 'q'"}},
	{&wire.QueueBind{Queue: "q", Exchange: "x"}, []string{"write queue 'q'", "read exchange 'x'"}},
	{&wire.QueueUnbind{Queue: "q", Exchange: "x"}, []string{"write queue 'q'", "read exchange 'x'"}},
	{&wire.ExchangeDeclare{Exchange: "newx", Type: "direct"}, []string{"configure exchange 'newx'"}},
	{&wire.ExchangeDeclare{Exchange: "ae", Type: "direct", Arguments: alternate("x")}, []string{"configure exchange 'ae'", "read exchange 'ae'", "write exchange 'x'"}},
	{&wire.ExchangeDeclare{Exchange: "x", Passive: true}, []string{"exchange 'x'"}},
	{&wire.ExchangeDelete{Exchange: "none"}, []string{"configure exchange 'none'"}},
	{&wire.ExchangeBind{Source: "x", Destination: "y"}, []string{"write exchange 'y'", "read exchange 'x'"}},
	{&wire.ExchangeUnbind{Source: "x", Destination: "y"}, []string{"write exchange 'y'", "read exchange 'x'"}},
	{&wire.BasicPublish{Exchange: "x"}, []string{"write exchange 'x'"}},
	{&wire.BasicPublish{RoutingKey: "q"}, []string{"write exchange 'amq.default'"}},
	{&wire.BasicGet{Queue: "q"}, []string{"read queue 'q'"}},
	{&wire.BasicConsume{Queue: "q"}, []string{"read queue 'q'"}},
}

// Every method does what it does with exactly the rights that RabbitMQ has it ask for,
// and says in RabbitMQ's words which is missing.
func TestAMethodTakesTheRightsThatItTakesOnRabbitMQ(t *testing.T) {
	r, have, owner := newRightsRig(t)
	v, _ := r.broker.VHost("/")
	var seen []wire.MethodID
	for _, c := range needed {
		seen = append(seen, c.method.ID())
		try := func(given ...string) *wire.ChannelClose {
			t.Helper()
			for _, name := range []string{"x", "y"} {
				if _, err := owner.DeclareExchange(name, broker.ExchangeOptions{Type: "fanout"}); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := owner.DeclareQueue("q", broker.QueueOptions{}); err != nil {
				t.Fatal(err)
			}
			for i, right := range given {
				if strings.HasPrefix(right, "queue") || strings.HasPrefix(right, "exchange") {
					given[i] = "read " + right // any will do
				}
			}
			have.set(given...)
			r.broker.PolicyChanged()
			p := r.connect()
			defer func() { // whose connection ends before what it made is deleted
				p.send(0, &wire.ConnectionClose{})
				p.expect(0, wire.IDConnectionCloseOk)
				for _, q := range v.Queues() {
					owner.DeleteQueue(q.Name, false, false)
				}
				for _, x := range []string{"newx", "ae"} {
					owner.DeleteExchange(x, false)
				}
			}()
			p.send(1, c.method)
			if c.method.ID() == wire.IDBasicPublish {
				p.raw(wire.AppendContent(nil, 1, c.method, nil, []byte("m"), p.max)[len(wire.AppendMethod(nil, 1, c.method)):])
			}
			p.send(1, &wire.BasicQos{}) // behind which the first has had its answer
			for {
				_, got, err := p.next()
				if err != nil {
					t.Fatal(err)
				}
				switch m := got.method.(type) {
				case *wire.ChannelClose:
					return m
				case *wire.BasicQosOk:
					return nil
				}
			}
		}
		name := fmt.Sprintf("%s %+v", c.method.ID(), c.method)
		if got := try(slices.Clone(c.needs)...); got != nil {
			t.Errorf("%s with all that it needs: %+v", name, got)
		}
		for i, need := range c.needs {
			given := slices.Delete(slices.Clone(c.needs), i, i+1)
			got := try(append(given, "configure queue 'other'")...)
			right, of, _ := strings.Cut(need, " ")
			want := fmt.Sprintf("ACCESS_REFUSED - %s access to %s in vhost '/' refused for user 'guest'", right, of)
			if right != "configure" && right != "write" && right != "read" {
				want = fmt.Sprintf("ACCESS_REFUSED - access to %s in vhost '/' refused for user 'guest'", need)
			}
			if got == nil || got.ReplyCode != wire.AccessRefused || got.ReplyText != want {
				t.Errorf("%s without %q: %+v", name, need, got)
			}
		}
		for n := range 8 { // every permission on everything, or not
			var given []string
			for bit, right := range []string{"configure", "write", "read"} {
				if n>>bit&1 == 1 {
					given = append(given, right)
				}
			}
			covered := !slices.ContainsFunc(c.needs, func(need string) bool {
				right, _, _ := strings.Cut(need, " ")
				if right == "queue" || right == "exchange" {
					return len(given) == 0
				}
				return !slices.Contains(given, right)
			})
			if got := try(given...); (got == nil) != covered {
				t.Errorf("%s with %v: %+v", name, given, got)
			}
		}
	}
	for id := range refusedMethods {
		if !slices.Contains(seen, id) {
			t.Errorf("%s is not in the table of what methods need", id)
		}
	}
}

// The keys of a topic exchange are asked for behind the exchange itself, those of CC and BCC too, and where
// a binding's key is no less than a pattern it is taken as it stands.
func TestTopicPermissionsBoundKeys(t *testing.T) {
	r, have, owner := newRightsRig(t)
	for _, x := range []string{"topic", "fanout"} {
		if _, err := owner.DeclareExchange(x, broker.ExchangeOptions{Type: x}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := owner.DeclareExchange("delayed", broker.ExchangeOptions{Type: "x-delayed-message",
		Args: field.AppendString(field.AppendName(nil, "x-delayed-type"), []byte("topic"))}); err != nil {
		t.Fatal(err)
	}
	if _, err := owner.DeclareQueue("q", broker.QueueOptions{}); err != nil {
		t.Fatal(err)
	}
	have.set("write", "read")
	have.keys = map[string]string{"topic": "a.b", "fanout": "a.b", "delayed": "a.b"}
	r.broker.PolicyChanged()
	cc := func(name, key string) []byte {
		return field.AppendWithHeader(nil, field.NoProperties, name, field.AppendArray(nil, field.AppendString(nil, []byte(key))))
	}
	publish := func(x, key string, props []byte) wire.Publish {
		return wire.Publish{Exchange: []byte(x), Key: []byte(key), Properties: props, Body: []byte("m")}
	}
	for _, c := range []struct {
		name string
		do   func(*peer)
		want string // refused, for that key
	}{
		{"publish", func(p *peer) { p.publish(1, publish("topic", "a.b", nil)) }, ""},
		{"publish twice, then with another key", func(p *peer) {
			for range 2 {
				p.publish(1, publish("topic", "a.b", nil))
			}
			p.publish(1, publish("topic", "a.c", nil))
		}, "write access to topic 'a.c' in exchange 'topic'"},
		{"publish with CC", func(p *peer) { p.publish(1, publish("topic", "a.b", cc("CC", "a.d"))) }, "write access to topic 'a.d' in exchange 'topic'"},
		{"publish with BCC", func(p *peer) { p.publish(1, publish("topic", "a.b", cc("BCC", "a.d"))) }, "write access to topic 'a.d' in exchange 'topic'"},
		{"publish to what is no topic exchange", func(p *peer) { p.publish(1, publish("fanout", "a.c", nil)) }, ""},
		{"publish to one that delays", func(p *peer) { p.publish(1, publish("delayed", "a.c", nil)) }, "write access to topic 'a.c' in exchange 'delayed'"},
		{"bind", func(p *peer) { p.send(1, &wire.QueueBind{Queue: "q", Exchange: "topic", RoutingKey: "a.b"}) }, ""},
		{"bind with a pattern", func(p *peer) { p.send(1, &wire.QueueBind{Queue: "q", Exchange: "topic", RoutingKey: "#"}) }, "read access to topic '#' in exchange 'topic'"},
		{"unbind", func(p *peer) { p.send(1, &wire.QueueUnbind{Queue: "q", Exchange: "topic", RoutingKey: "b"}) }, "read access to topic 'b' in exchange 'topic'"},
		{"bind an exchange", func(p *peer) { p.send(1, &wire.ExchangeBind{Destination: "fanout", Source: "topic", RoutingKey: "b"}) }, "read access to topic 'b' in exchange 'topic'"},
		{"bind to what is no topic exchange", func(p *peer) { p.send(1, &wire.QueueBind{Queue: "q", Exchange: "fanout", RoutingKey: "b"}) }, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := r.connect()
			c.do(p)
			p.send(1, &wire.BasicQos{})
			for {
				_, got, err := p.next()
				if err != nil {
					t.Fatal(err)
				}
				switch m := got.method.(type) {
				case *wire.BasicQosOk:
					if c.want != "" {
						t.Error("it was let through")
					}
					return
				case *wire.ChannelClose:
					if m.ReplyCode != wire.AccessRefused || c.want == "" || m.ReplyText != "ACCESS_REFUSED - "+c.want+" in vhost '/' refused for user 'guest'" {
						t.Errorf("%+v", m)
					}
					return
				}
			}
		})
	}
}

// Who loses the right to a queue gets no more of it, and the queue is its others' again.
func TestAConsumerThatLosesItsQueueIsCancelled(t *testing.T) {
	r, have, owner := newRightsRig(t)
	v, _ := r.broker.VHost("/")
	have.set("configure", "write", "read")
	p := r.connect()
	p.call(1, &wire.QueueDeclare{Queue: "q"}, wire.IDQueueDeclareOk)
	p.call(1, &wire.QueueDeclare{Queue: "other", AutoDelete: true}, wire.IDQueueDeclareOk)
	p.call(1, &wire.QueueDeclare{Queue: "kept"}, wire.IDQueueDeclareOk)
	p.call(1, &wire.BasicConsume{Queue: "q", ConsumerTag: "c"}, wire.IDBasicConsumeOk)
	p.call(1, &wire.BasicConsume{Queue: "kept", ConsumerTag: "k"}, wire.IDBasicConsumeOk)
	p.publish(1, wire.Publish{Key: []byte("q"), Body: []byte("1")})
	tag := p.expect(1, wire.IDBasicDeliver).method.(*wire.BasicDeliver).DeliveryTag

	have.set("configure", "write", "read queue 'kept'")
	r.broker.PolicyChanged()
	if got := p.expect(1, wire.IDBasicCancel).method.(*wire.BasicCancel); got.ConsumerTag != "c" {
		t.Errorf("%+v", got)
	}
	pub := owner.NewPublisher()
	for _, key := range []string{"q", "kept"} {
		if _, err := pub.Publish(&broker.Inbound{Key: []byte(key), Body: []byte("2")}); err != nil {
			t.Fatal(err)
		}
	}
	pub.Store()
	if got := p.expect(1, wire.IDBasicDeliver).method.(*wire.BasicDeliver); got.ConsumerTag != "k" {
		t.Errorf("%+v", got)
	}
	q, _ := v.Queue("q")
	if q.Consumers() != 0 || q.Ready() != 1 || q.Unacked() != 1 {
		t.Errorf("%d consumers, %d ready, %d unacked", q.Consumers(), q.Ready(), q.Unacked())
	}
	p.send(1, &wire.BasicAck{DeliveryTag: tag}) // what it has it may settle
	p.call(1, &wire.BasicQos{}, wire.IDBasicQosOk)
	if q.Unacked() != 0 {
		t.Error("an ack of what came before was not taken")
	}
	p.send(1, &wire.BasicConsume{Queue: "q"})
	if m := p.expect(1, wire.IDChannelClose).method.(*wire.ChannelClose); m.ReplyCode != wire.AccessRefused {
		t.Errorf("%+v", m)
	}
}

// An auto-delete queue goes with the last consumer, however that came to leave.
func TestAQueueOfConsumersThatLostItGoesWithTheLast(t *testing.T) {
	r, have, _ := newRightsRig(t)
	have.set("configure", "write", "read")
	p := r.connect()
	p.call(1, &wire.QueueDeclare{Queue: "q", AutoDelete: true}, wire.IDQueueDeclareOk)
	p.call(1, &wire.BasicConsume{Queue: "q"}, wire.IDBasicConsumeOk)
	v, _ := r.broker.VHost("/")
	gone := make(chan struct{})
	defer r.broker.OnDeleted(func(*broker.Queue) { close(gone) })()
	have.set("configure")
	r.broker.PolicyChanged()
	p.expect(1, wire.IDBasicCancel)
	<-gone
	if n := len(v.Queues()); n != 0 {
		t.Errorf("%d queues", n)
	}
}

// A commit stores all of a transaction or nothing, also when the right to a part of it was lost before.
func TestATransactionThatLosesARightStoresNothing(t *testing.T) {
	for _, c := range []struct {
		name string
		then func(*rights)
		want string
	}{
		{"nothing changes for it", func(have *rights) { have.set("configure", "write", "read queue 'a'") }, ""},
		{"an exchange", func(have *rights) { have.set("configure", "write exchange 'topic'") }, "write access to exchange 'amq.default'"},
		{"a key", func(have *rights) {
			have.set("configure", "write")
			have.keys = map[string]string{"topic": "k1"}
		}, "write access to topic 'k2' in exchange 'topic'"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, have, owner := newRightsRig(t)
			v, _ := r.broker.VHost("/")
			if _, err := owner.DeclareExchange("topic", broker.ExchangeOptions{Type: "topic"}); err != nil {
				t.Fatal(err)
			}
			if _, err := owner.DeclareQueue("a", broker.QueueOptions{}); err != nil {
				t.Fatal(err)
			}
			if err := owner.Bind(broker.Binding{Source: "topic", Dest: "a", Key: "#"}); err != nil {
				t.Fatal(err)
			}
			have.set("configure", "write", "read")
			p := r.connect()
			p.call(1, &wire.TxSelect{}, wire.IDTxSelectOk)
			for _, key := range []string{"k1", "k2", "k1"} {
				p.publish(1, wire.Publish{Exchange: []byte("topic"), Key: []byte(key), Body: []byte("m")})
			}
			p.publish(1, wire.Publish{Key: []byte("a"), Body: []byte("m")})
			p.call(1, &wire.BasicQos{}, wire.IDBasicQosOk)
			c.then(have)
			r.broker.PolicyChanged()
			p.send(1, &wire.TxCommit{})
			q, _ := v.Queue("a")
			if c.want == "" {
				p.expect(1, wire.IDTxCommitOk)
				if q.Ready() != 4 {
					t.Errorf("%d of 4 messages", q.Ready())
				}
				p.publish(1, wire.Publish{Key: []byte("a"), Body: []byte("m")})
				p.call(1, &wire.BasicQos{}, wire.IDBasicQosOk)
				have.set("write exchange 'amq.default'") // what is committed is of no more concern
				r.broker.PolicyChanged()
				p.call(1, &wire.TxCommit{}, wire.IDTxCommitOk)
				if q.Ready() != 5 {
					t.Errorf("%d of 5 messages", q.Ready())
				}
				return
			}
			m := p.expect(1, wire.IDChannelClose).method.(*wire.ChannelClose)
			if m.ReplyCode != wire.AccessRefused || m.ReplyText != "ACCESS_REFUSED - "+c.want+" in vhost '/' refused for user 'guest'" || m.ClassID != wire.IDTxCommit.Class() {
				t.Errorf("%+v", m)
			}
			if q.Ready() != 0 {
				t.Errorf("%d messages were stored", q.Ready())
			}
		})
	}
}

// Who may not be in a virtual host is not let in, and sent away who may not be there any more.
func TestAUserWithoutTheVirtualHostIsNotInIt(t *testing.T) {
	r, have, _ := newRightsRig(t)
	have.set("read")
	p := r.connect()
	have.set("no vhost")
	r.broker.PolicyChanged()
	m := p.expect(0, wire.IDConnectionClose).method.(*wire.ConnectionClose)
	if m.ReplyCode != wire.ConnectionForced || !strings.Contains(m.ReplyText, "access to vhost '/' refused for user 'guest'") {
		t.Errorf("%+v", m)
	}
	p = r.peer(r.dial())
	p.login()
	p.expect(0, wire.IDConnectionTune)
	p.send(0, &wire.ConnectionTuneOk{ChannelMax: 2047, FrameMax: 131072})
	p.send(0, &wire.ConnectionOpen{VirtualHost: "/"})
	m = p.expect(0, wire.IDConnectionClose).method.(*wire.ConnectionClose)
	if m.ReplyCode != wire.NotAllowed || m.ReplyText != "NOT_ALLOWED - access to vhost '/' refused for user 'guest'" || m.MethodID != wire.IDConnectionOpen.Number() {
		t.Errorf("%+v", m)
	}
}
