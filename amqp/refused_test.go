package amqp

import (
	"errors"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/leveret-mq/leveret/amqp/wire"
	"github.com/leveret-mq/leveret/auth"
	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/audit"
	"github.com/leveret-mq/leveret/internal/logged"
)

// refusedMethods is every method that has the broker do something, in each of its
// forms. One that is missing here and in harmlessMethods fails the test.
var refusedMethods = map[wire.MethodID][]wire.Method{
	wire.IDExchangeDeclare: {&wire.ExchangeDeclare{Exchange: "new", Type: "direct"}, &wire.ExchangeDeclare{Exchange: "x", Type: "fanout", Durable: true},
		&wire.ExchangeDeclare{Exchange: "x", Passive: true}, &wire.ExchangeDeclare{Exchange: "none", Passive: true}},
	wire.IDExchangeDelete: {&wire.ExchangeDelete{Exchange: "x"}, &wire.ExchangeDelete{Exchange: "none"}},
	wire.IDExchangeBind:   {&wire.ExchangeBind{Source: "x", Destination: "y", RoutingKey: "new"}},
	wire.IDExchangeUnbind: {&wire.ExchangeUnbind{Source: "x", Destination: "y"}},
	wire.IDQueueDeclare: {&wire.QueueDeclare{Queue: "new"}, &wire.QueueDeclare{}, &wire.QueueDeclare{Queue: "q", Durable: true},
		&wire.QueueDeclare{Queue: "q", Passive: true}, &wire.QueueDeclare{Queue: "none", Passive: true}},
	wire.IDQueueBind:    {&wire.QueueBind{Queue: "q", Exchange: "x", RoutingKey: "new"}},
	wire.IDQueueUnbind:  {&wire.QueueUnbind{Queue: "q", Exchange: "x"}},
	wire.IDQueuePurge:   {&wire.QueuePurge{Queue: "q"}},
	wire.IDQueueDelete:  {&wire.QueueDelete{Queue: "q"}, &wire.QueueDelete{Queue: "none"}},
	wire.IDBasicConsume: {&wire.BasicConsume{Queue: "q"}, &wire.BasicConsume{Queue: "none"}},
	wire.IDBasicGet:     {&wire.BasicGet{Queue: "q"}, &wire.BasicGet{Queue: "q", NoAck: true}},
	wire.IDBasicPublish: {&wire.BasicPublish{Exchange: "x"}, &wire.BasicPublish{RoutingKey: "q"}, &wire.BasicPublish{Exchange: "none"}},
}

// harmlessMethods end at the channel or the connection: they are the protocol's own
// business, or settle what was delivered, which takes a consumer.
var harmlessMethods = []wire.MethodID{
	wire.IDAccessRequest, wire.IDBasicQos, wire.IDBasicCancel, wire.IDBasicCancelOk, wire.IDBasicAck, wire.IDBasicNack,
	wire.IDBasicReject, wire.IDBasicRecover, wire.IDBasicRecoverAsync, wire.IDConfirmSelect, wire.IDTxSelect, wire.IDTxCommit, wire.IDTxRollback,
}

// methodsOfChannels is every method that is known and that a client may send on a channel.
func methodsOfChannels() []wire.MethodID {
	var out []wire.MethodID
	for class := wire.ClassChannel + 1; class < 128; class++ {
		for method := range 256 {
			payload := []byte{0, byte(class), 0, byte(method)}
			_, err := wire.Decode(payload)
			var unknown *wire.UnknownMethodError
			id := wire.PayloadID(payload)
			if errors.As(err, &unknown) || strings.HasSuffix(id.String(), "-ok") && id != wire.IDBasicCancelOk {
				continue
			}
			out = append(out, id)
		}
	}
	return slices.DeleteFunc(out, func(id wire.MethodID) bool { // the server's
		return id == wire.IDBasicReturn || id == wire.IDBasicDeliver || id == wire.IDBasicGetEmpty
	})
}

var refusedWords = regexp.MustCompile(`^ACCESS_REFUSED - ((configure|write|read) )?access to (queue|exchange) '.+' in vhost '/' refused for user 'guest': says the test$`)

func TestASessionThatMayNothingDoesNothing(t *testing.T) {
	log := &logged.Lines{}
	r := newRig(t, rigOptions{broker: broker.Options{Policy: func(q broker.Request) error {
		if q.User == "owner" || q.Verb == broker.Enter {
			return nil
		}
		return errors.New("says the test")
	}}, server: func(o *Options) { o.Logger = slog.New(audit.NewHandler("text", slog.LevelError, log, nil)) }})
	v, _ := r.broker.VHost("/")
	owner := v.NewSession(auth.Identity{Name: "owner"})
	for _, name := range []string{"x", "y"} {
		if _, err := owner.DeclareExchange(name, broker.ExchangeOptions{Type: "fanout", Durable: true}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := owner.DeclareQueue("q", broker.QueueOptions{Durable: true}); err != nil {
		t.Fatal(err)
	}
	for _, b := range []broker.Binding{{Source: "x", Dest: "q"}, {Source: "x", Dest: "y", ToExchange: true}} {
		if err := owner.Bind(b); err != nil {
			t.Fatal(err)
		}
	}
	pub := owner.NewPublisher()
	if _, err := pub.Publish(&broker.Inbound{Key: []byte("q"), Body: []byte("kept")}); err != nil {
		t.Fatal(err)
	}
	pub.Store()
	pub.Commit(nil)

	p := r.connect()
	all := methodsOfChannels()
	if len(all) < len(refusedMethods) {
		t.Fatalf("found only %d methods", len(all))
	}
	for _, id := range all {
		forms := refusedMethods[id]
		if len(forms) == 0 && !slices.Contains(harmlessMethods, id) {
			t.Errorf("%s stands in no list of this test: what does it do for one who may nothing?", id)
		}
		for _, m := range forms {
			p.send(1, m)
			if id == wire.IDBasicPublish {
				p.raw(wire.AppendContent(nil, 1, m, nil, []byte("lost"), p.max)[len(wire.AppendMethod(nil, 1, m)):])
			}
			got := p.expect(1, wire.IDChannelClose).method.(*wire.ChannelClose)
			if got.ReplyCode != wire.AccessRefused || !refusedWords.MatchString(got.ReplyText) || got.ClassID != id.Class() || got.MethodID != id.Number() {
				t.Errorf("%s %+v: %+v", id, m, got)
			}
			p.send(1, &wire.ChannelCloseOk{})
			p.call(1, &wire.ChannelOpen{}, wire.IDChannelOpenOk)
		}
		want := "level=AUDIT msg=audit act=" + id.String() + " vhost=/ by=guest from="
		if got := log.Take(); len(forms) > 0 && !strings.Contains(got, want) {
			t.Errorf("no line of audit begins %s:\n%s", want, got)
		}
	}
	q, err := v.Queue("q")
	if err != nil || q.Ready() != 1 || q.Unacked() != 0 || q.Consumers() != 0 {
		t.Errorf("the queue was changed: %v, %d ready, %d unacked, %d consumers", err, q.Ready(), q.Unacked(), q.Consumers())
	}
	x, err := v.Exchange("x")
	if err != nil || len(v.Bindings(x)) != 2 {
		t.Errorf("the exchange was changed: %v", err)
	}
	if queues, exchanges := len(v.Queues()), len(v.Exchanges()); queues != 1 || exchanges != 6+2 {
		t.Errorf("%d queues and %d exchanges", queues, exchanges)
	}
}

// A policy that changes takes away what a publisher's routes had allowed.
func TestAPolicyThatChangesReachesAPublisherThatRuns(t *testing.T) {
	var no error
	asked := 0
	r := newRig(t, rigOptions{broker: broker.Options{Policy: func(q broker.Request) error {
		if q.Verb == broker.Publish {
			asked++
			return no
		}
		return nil
	}}})
	v, _ := r.broker.VHost("/")
	s := v.NewSession(auth.Identity{Name: "guest"})
	pub := s.NewPublisher()
	in := &broker.Inbound{Exchange: []byte("amq.fanout"), Body: []byte("m")}
	for range 100 {
		if _, err := pub.Publish(in); err != nil {
			t.Fatal(err)
		}
	}
	if asked != 1 {
		t.Errorf("asked %d times for 100 messages", asked)
	}
	no = errors.New("not any more")
	r.broker.PolicyChanged()
	if _, err := pub.Publish(in); broker.KindOf(err) != broker.Refused {
		t.Errorf("published: %v", err)
	}
}

func TestAVirtualHostThatIsRefusedIsALineOfAudit(t *testing.T) {
	log := &logged.Lines{}
	r := newRig(t, rigOptions{broker: broker.Options{Policy: func(broker.Request) error { return errors.New("says the test") }},
		server: func(o *Options) { o.Logger = slog.New(audit.NewHandler("text", slog.LevelError, log, nil)) }})
	p := r.peer(r.pipe())
	p.raw([]byte(wire.ProtocolHeader))
	p.expect(0, wire.IDConnectionStart)
	p.send(0, &wire.ConnectionStartOk{ClientProperties: capabilities(), Mechanism: "PLAIN", Response: []byte("\x00guest\x00guest")})
	tune := p.expect(0, wire.IDConnectionTune).method.(*wire.ConnectionTune)
	p.send(0, &wire.ConnectionTuneOk{ChannelMax: tune.ChannelMax, FrameMax: tune.FrameMax})
	p.send(0, &wire.ConnectionOpen{VirtualHost: "/"})
	p.refused(wire.NotAllowed)
	if got := log.Take(); !strings.Contains(got, `level=AUDIT msg=audit act=connection.open vhost=/ by=guest from=pipe protocol=amqp outcome=refused reason="NOT_ALLOWED - `) {
		t.Errorf("the log reads\n%s", got)
	}
}
