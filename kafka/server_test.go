package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leveret-mq/leveret/auth"
	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/fakeclock"
	"github.com/leveret-mq/leveret/internal/field"
	"github.com/leveret-mq/leveret/internal/fs"
	"github.com/leveret-mq/leveret/internal/netx"
	"github.com/leveret-mq/leveret/store"
	"github.com/leveret-mq/leveret/store/local"
)

// rig is a server over a store in memory, on a port of this machine.
type rig struct {
	t        testing.TB
	mem      fs.FS
	dir      string // in mem; default data
	store    *local.Store
	broker   *broker.Broker
	server   *Server
	listener *netx.Listener
	addr     string
	edit     func(*Options)
	under    func(*broker.Options)
	mode     store.Mode
	policy   broker.Policy
	memory   func() error                  // that there is enough; nil: always
	wrap     func(store.Store) store.Store // for the broker; nil: as it is
	producer *raw                          // of appendTo
	raws     []*raw
	pipes    chan net.Conn // through which clients come that have no sockets; nil: through a port
}

// patience is for what is to come, which a busy machine may take long for.
const patience = time.Minute

// forEver is how many milliseconds a request waits that is to be answered before: longer than anybody has patience for.
const forEver = 600_000

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

func newRig(t *testing.T, edit func(*Options)) *rig { return newRigMode(t, store.ModeGroup, edit) }

func newRigMode(t testing.TB, mode store.Mode, edit func(*Options)) *rig {
	t.Helper()
	return newRigWith(t, mode, func(r *rig) { r.edit = edit })
}

func newRigWith(t testing.TB, mode store.Mode, with func(*rig)) *rig {
	t.Helper()
	r := &rig{t: t, mem: fs.NewMem(1), mode: mode}
	with(r)
	r.start()
	t.Cleanup(r.stop)
	return r
}

func (r *rig) start() {
	r.t.Helper()
	var err error
	if r.store, err = local.Open(local.Options{Dir: cmp.Or(r.dir, "data"), FS: r.mem, Mode: r.mode, SegmentBytes: 1 << 20, Logger: quiet()}); err != nil {
		r.t.Fatal(err)
	}
	st := store.Store(r.store)
	if r.wrap != nil {
		st = r.wrap(st)
	}
	under := broker.Options{Log: quiet(), Policy: r.policy, Memory: r.memory, SaveEvery: r.saveEvery()}
	if r.under != nil {
		r.under(&under)
	}
	if r.broker, err = broker.Open(st, under); err != nil {
		r.t.Fatal(err)
	}
	o := Options{Broker: r.broker, Logger: quiet()}
	if r.edit != nil {
		r.edit(&o)
	}
	if r.server, err = New(o); err != nil {
		r.t.Fatal(err)
	}
	var inner net.Listener = piped{r.pipes, make(chan struct{})}
	if r.pipes == nil {
		if inner, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			r.t.Fatal(err)
		}
	}
	r.listener, r.addr = netx.Wrap(inner, netx.Options{Name: "kafka", Logger: quiet()}), inner.Addr().String()
	go r.listener.Serve(r.server.Handle)
}

// onAFakeClock runs a test with a rig to which clients come through pipes: what waits for a socket would stop the clock.
func onAFakeClock(t *testing.T, with func(*rig), test func(t *testing.T, r *rig)) {
	fakeclock.Test(t, func(t *testing.T) {
		test(t, newRigWith(t, store.ModeGroup, func(r *rig) {
			r.pipes = make(chan net.Conn)
			with(r)
		}))
	})
}

// piped listens at a rig's pipes.
type piped struct {
	conns  chan net.Conn
	closed chan struct{}
}

// Accept implements net.Listener.
func (p piped) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (p piped) Close() error {
	close(p.closed)
	return nil
}

// Addr implements net.Listener.
func (piped) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

// pipeEnd is that of the server. Unlike a socket, a pipe does not take even nothing before its reader comes.
type pipeEnd struct{ net.Conn }

// Write implements io.Writer.
func (e pipeEnd) Write(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	return e.Conn.Write(b)
}

// saveEvery is how often the broker looks at its memory.
func (r *rig) saveEvery() time.Duration {
	if r.memory == nil {
		return 0
	}
	return 5 * time.Millisecond
}

func (r *rig) stop() {
	if r.server == nil {
		return
	}
	r.listener.Close()
	r.server.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := r.listener.Shutdown(ctx); err != nil {
		r.t.Error(err)
	}
	if ctx.Err() != nil {
		r.t.Error("the stop waited for clients")
	}
	r.server = nil
	if err := r.broker.Close(); err != nil {
		r.t.Error(err)
	}
	if err := r.store.Close(); err != nil {
		r.t.Error(err)
	}
}

func (r *rig) restart() {
	r.listener.Close()
	r.server.Close()
	for _, c := range r.raws { // for whose last bytes a stop would wait
		c.nc.Close()
	}
	r.raws = nil
	r.stop()
	r.start()
}

func (r *rig) client(opts ...kgo.Opt) *kgo.Client {
	r.t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(r.addr), kgo.AllowAutoTopicCreation(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(100 * time.Millisecond)}, opts...)...)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(cl.Close)
	return cl
}

func (r *rig) admin() *kadm.Client { return kadm.NewClient(r.client()) }

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// produce sends n records to a topic, values "from", "from+1" and so on.
func produce(t *testing.T, cl *kgo.Client, topic string, from, n int) {
	t.Helper()
	var records []*kgo.Record
	for i := from; i < from+n; i++ {
		records = append(records, &kgo.Record{Topic: topic, Key: []byte("key"), Value: []byte(fmt.Sprint(i)),
			Headers: []kgo.RecordHeader{{Key: "h", Value: []byte("v")}}})
	}
	if err := cl.ProduceSync(testContext(t), records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

// consume polls until it has n records.
func consume(t *testing.T, cl *kgo.Client, n int) []*kgo.Record {
	t.Helper()
	ctx := testContext(t)
	var out []*kgo.Record
	for len(out) < n {
		f := cl.PollFetches(ctx)
		if err := f.Err(); err != nil {
			t.Fatalf("after %d of %d records: %v", len(out), n, err)
		}
		out = append(out, f.Records()...)
	}
	return out
}

func inOrder(t *testing.T, records []*kgo.Record, from int) {
	t.Helper()
	for i, r := range records {
		if string(r.Value) != fmt.Sprint(from+i) {
			t.Fatalf("record %d is %q", i, r.Value)
		}
	}
}

func TestRecordsComeBackInEveryCodec(t *testing.T) {
	r := newRig(t, nil)
	for name, codec := range map[string]kgo.CompressionCodec{"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression()} {
		for _, acks := range []kgo.Acks{kgo.NoAck(), kgo.LeaderAck(), kgo.AllISRAcks()} {
			t.Run(fmt.Sprintf("%s acks %v", name, acks), func(t *testing.T) {
				topic := fmt.Sprintf("codec-%s-%v", name, time.Now().UnixNano())
				opts := []kgo.Opt{kgo.ProducerBatchCompression(codec), kgo.RequiredAcks(acks), kgo.DefaultProduceTopic(topic)}
				if acks != kgo.AllISRAcks() {
					opts = append(opts, kgo.DisableIdempotentWrite())
				}
				produce(t, r.client(opts...), topic, 0, 500)
				got := consume(t, r.client(kgo.ConsumeTopics(topic)), 500)
				inOrder(t, got, 0)
				if g := got[499]; string(g.Key) != "key" || len(g.Headers) != 1 || string(g.Headers[0].Value) != "v" {
					t.Errorf("%+v", g)
				}
			})
		}
	}
}

func TestGroupSharesPartitionsAndResumesAfterARestart(t *testing.T) {
	r := newRig(t, nil)
	ctx := testContext(t)
	if _, err := r.admin().CreateTopic(ctx, 4, 1, nil, "shared"); err != nil {
		t.Fatal(err)
	}
	producer := r.client(kgo.RecordPartitioner(kgo.RoundRobinPartitioner()))
	produce(t, producer, "shared", 0, 400)
	group := func() *kgo.Client {
		return r.client(kgo.ConsumerGroup("g"), kgo.ConsumeTopics("shared"), kgo.DisableAutoCommit(), kgo.HeartbeatInterval(50*time.Millisecond))
	}
	a := group()
	if n := len(consume(t, a, 400)); n != 400 {
		t.Fatalf("%d records", n)
	}
	if err := a.CommitUncommittedOffsets(ctx); err != nil {
		t.Fatal(err)
	}
	positions := func() []broker.GroupPosition { return r.server.GroupStats()[0].Positions }
	for i, p := range positions() {
		if int(p.Partition) != i || p.Lag != 0 || p.Age.Known {
			t.Errorf("behind all: %+v", p)
		}
	}
	b := group()
	for {
		polled, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
		a.PollFetches(polled)
		b.PollFetches(polled)
		cancel()
		d, err := r.admin().DescribeGroups(ctx, "g")
		if err != nil {
			t.Fatal(err)
		}
		if evenly(d["g"], 2) { // it takes two generations: cooperative members give up first
			break
		}
	}
	a.Close()
	b.Close()
	produce(t, producer, "shared", 400, 40)
	producer.Close()
	lag := int64(0)
	for _, p := range positions() {
		if lag += p.Lag; (p.Lag > 0) != p.Age.Known || p.Age.Ms > time.Minute.Milliseconds() {
			t.Errorf("before 40: %+v", p)
		}
	}
	if lag != 40 {
		t.Errorf("the group lags by %d", lag)
	}
	r.restart()
	got := consume(t, group(), 40)
	if len(got) != 40 {
		t.Errorf("%d records after the restart", len(got))
	}
	for _, rec := range got {
		if rec.Offset < 100 {
			t.Errorf("offset %d came again", rec.Offset)
		}
	}
}

// evenly reports whether a stable group has two members with n partitions each.
func evenly(g kadm.DescribedGroup, n int) bool {
	for _, m := range g.Members {
		as, _ := m.Assigned.AsConsumer()
		if as == nil || len(as.Topics) != 1 || len(as.Topics[0].Partitions) != n {
			return false
		}
	}
	return g.State == "Stable" && len(g.Members) == 2
}

func TestLongPollEndsWithTheFirstAppend(t *testing.T) {
	r := newRig(t, nil)
	producer := r.client()
	produce(t, producer, "poll", 0, 1)
	consumer := r.client(kgo.ConsumeTopics("poll"), kgo.FetchMaxWait(time.Hour))
	consume(t, consumer, 1)
	done := make(chan kgo.Fetches, 1)
	go func() { done <- consumer.PollFetches(testContext(t)) }()
	time.Sleep(150 * time.Millisecond) // let the fetch park, most of the time
	produce(t, producer, "poll", 1, 1)
	if f := <-done; f.Err() != nil || f.NumRecords() != 1 {
		t.Errorf("the parked fetch ended with %d records: %v", f.NumRecords(), f.Err())
	}
}

func TestListOffsetsFindsTheRecordOfATime(t *testing.T) {
	r := newRig(t, nil)
	cl := r.client(kgo.ProducerBatchCompression(kgo.GzipCompression()), kgo.ProducerLinger(100*time.Millisecond))
	base := time.Now().Add(-time.Hour).Truncate(time.Second)
	var records []*kgo.Record
	for i := range 100 {
		records = append(records, &kgo.Record{Topic: "times", Value: []byte("x"), Timestamp: base.Add(time.Duration(i) * time.Second)})
	}
	ctx := testContext(t)
	if err := cl.ProduceSync(ctx, records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	adm := kadm.NewClient(cl)
	for _, tc := range []struct {
		at   time.Time
		want int64
	}{{base, 0}, {base.Add(41500 * time.Millisecond), 42}, {base.Add(-time.Hour), 0}, {base.Add(99 * time.Second), 99}} {
		l, err := adm.ListOffsetsAfterMilli(ctx, tc.at.UnixMilli(), "times")
		if err != nil {
			t.Fatal(err)
		}
		if o, _ := l.Lookup("times", 0); o.Offset != tc.want || o.Err != nil {
			t.Errorf("%v: %+v, want %d", tc.at.Sub(base), o, tc.want)
		}
	}
	end, err := adm.ListEndOffsets(ctx, "times")
	if o, _ := end.Lookup("times", 0); err != nil || o.Offset != 100 {
		t.Errorf("end: %+v %v", o, err)
	}
	latest, err := adm.ListMaxTimestampOffsets(ctx, "times")
	if o, _ := latest.Lookup("times", 0); err != nil || o.Offset != 99 || o.Timestamp != base.Add(99*time.Second).UnixMilli() {
		t.Errorf("largest timestamp: %+v %v", o, err)
	}
	start, err := adm.ListStartOffsets(ctx, "times", "unknown")
	if o, _ := start.Lookup("times", 0); err != nil || o.Offset != 0 {
		t.Errorf("start: %+v %v", o, err)
	}
}

func TestTopicAdministration(t *testing.T) {
	r := newRig(t, nil)
	adm, ctx := r.admin(), testContext(t)
	value := func(s string) *string { return &s }
	created, err := adm.CreateTopic(ctx, 2, -1, map[string]*string{"retention.ms": value("60000")}, "t")
	if err != nil || created.NumPartitions != 2 || created.ReplicationFactor != 1 || *created.Configs["retention.ms"].Value != "60000" {
		t.Fatalf("%+v %v", created, err)
	}
	if _, err := adm.CreateTopic(ctx, 1, -1, nil, "t.1"); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name       string
		topic      string
		partitions int32
		factor     int16
		config     map[string]*string
		want       int16
	}{
		{"exists", "t", 1, 1, nil, 36},
		{"illegal name", "a b", 1, 1, nil, 17},
		{"too much like another", "t_1", 1, 1, nil, 17},
		{"no partitions", "n", 0, 1, nil, 37},
		{"replicas", "n", 1, 3, nil, 38},
		{"unknown setting", "n", 1, 1, map[string]*string{"no.such": value("1")}, 40},
		{"bad value", "n", 1, 1, map[string]*string{"retention.ms": value("soon")}, 40},
		{"unknown policy", "n", 1, 1, map[string]*string{"cleanup.policy": value("delete,burn")}, 40},
		{"second replica", "n", 1, 1, map[string]*string{"min.insync.replicas": value("2")}, 40},
	} {
		res, err := adm.CreateTopics(ctx, tc.partitions, tc.factor, tc.config, tc.topic)
		if err != nil {
			t.Fatalf("%s: %v", tc.name, err)
		}
		if got := res[tc.topic].Err; got == nil || codeIn(got) != tc.want {
			t.Errorf("%s: %v, want %d", tc.name, got, tc.want)
		}
	}
	if res, err := adm.UpdatePartitions(ctx, 3, "t"); err != nil || res["t"].Err != nil {
		t.Fatalf("%v %v", res, err)
	}
	if res, _ := adm.UpdatePartitions(ctx, 2, "t"); codeIn(res["t"].Err) != 37 {
		t.Errorf("fewer partitions: %v", res["t"].Err)
	}
	alter := func(name, v string) error {
		res, err := adm.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Op: kadm.SetConfig, Name: name, Value: &v}}, "t")
		if err != nil {
			return err
		}
		return res[0].Err
	}
	if err := alter("max.message.bytes", "5000"); err != nil {
		t.Error(err)
	}
	if err := alter("max.message.bytes", "many"); codeIn(err) != 40 {
		t.Error(err)
	}
	configs, err := adm.DescribeTopicConfigs(ctx, "t")
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, c := range configs[0].Configs {
		got[c.Key] = *c.Value
	}
	if got["max.message.bytes"] != "5000" || got["retention.ms"] != "60000" || got["cleanup.policy"] != "delete" {
		t.Errorf("%v", got)
	}
	for _, step := range []struct {
		op   kadm.IncrementalOp
		v    string
		want string
	}{{kadm.AppendConfig, "compact", "delete,compact"}, {kadm.SubtractConfig, "delete,compact", ""}, {kadm.AppendConfig, "delete", "delete"}} {
		res, err := adm.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Op: step.op, Name: "cleanup.policy", Value: &step.v}}, "t")
		if err != nil || res[0].Err != nil {
			t.Fatalf("%+v %v", res, err)
		}
		d, err := adm.DescribeTopicConfigs(ctx, "t")
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range d[0].Configs {
			if c.Key == "cleanup.policy" && *c.Value != step.want {
				t.Errorf("cleanup.policy is %q, want %q", *c.Value, step.want)
			}
		}
	}
	replace := []kadm.AlterConfig{{Name: "retention.bytes", Value: value("1000000")}}
	if res, err := adm.AlterTopicConfigsState(ctx, replace, "t"); err != nil || res[0].Err != nil {
		t.Errorf("%+v %v", res, err)
	}
	configs, err = adm.DescribeTopicConfigs(ctx, "t")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range configs[0].Configs {
		got[c.Key] = *c.Value
	}
	if got["max.message.bytes"] != "1048588" || got["retention.bytes"] != "1000000" {
		t.Errorf("after replacing all: %v", got)
	}
	r.restart()
	adm = r.admin()
	topics, err := adm.ListTopics(ctx)
	if err != nil || len(topics["t"].Partitions) != 3 || topics["t"].ID != created.ID {
		t.Errorf("after a restart: %+v %v", topics["t"], err)
	}
	if res, err := adm.DeleteTopics(ctx, "t", "none"); err != nil || res["t"].Err != nil || codeIn(res["none"].Err) != 3 {
		t.Errorf("%+v %v", res, err)
	}
	brokers, err := adm.DescribeBrokerConfigs(ctx, NodeID)
	if err != nil || brokers[0].Err != nil || len(brokers[0].Configs) == 0 {
		t.Errorf("%+v %v", brokers, err)
	}
	meta, err := adm.BrokerMetadata(ctx)
	if err != nil || meta.Cluster != r.broker.ClusterID() || meta.Controller != NodeID || len(meta.Brokers) != 1 {
		t.Errorf("%+v %v", meta, err)
	}
}

func TestDeletingRecordsMovesTheStart(t *testing.T) {
	r := newRig(t, nil)
	cl, ctx := r.client(), testContext(t)
	for i := range 10 {
		produce(t, cl, "cut", i, 1)
	}
	adm := kadm.NewClient(cl)
	var offsets kadm.Offsets
	offsets.Add(kadm.Offset{Topic: "cut", Partition: 0, At: 4})
	res, err := adm.DeleteRecords(ctx, offsets)
	if p, _ := res.Lookup("cut", 0); err != nil || p.Err != nil || p.LowWatermark != 4 {
		t.Fatalf("%+v %v", p, err)
	}
	inOrder(t, consume(t, r.client(kgo.ConsumeTopics("cut")), 6), 4)
	offsets.Add(kadm.Offset{Topic: "cut", Partition: 0, At: 11})
	res, _ = adm.DeleteRecords(ctx, offsets)
	if p, _ := res.Lookup("cut", 0); codeIn(p.Err) != 1 {
		t.Errorf("beyond the end: %+v", p)
	}
}

func TestGroupAdministration(t *testing.T) {
	r := newRig(t, func(o *Options) { o.NoAutoCreate = true })
	r.topic("t", 1, nil)
	cl, ctx := r.client(), testContext(t)
	produce(t, cl, "t", 0, 10)
	adm := kadm.NewClient(cl)
	var offsets kadm.Offsets
	offsets.AddOffset("t", 0, 5, -1)
	offsets.AddOffset("unknown", 0, 5, -1)
	committed, err := adm.CommitOffsets(ctx, "g", offsets)
	if p, _ := committed.Lookup("t", 0); err != nil || p.Err != nil {
		t.Fatalf("%+v %v", p, err)
	}
	if p, _ := committed.Lookup("unknown", 0); codeIn(p.Err) != 3 {
		t.Errorf("%+v", p)
	}
	fetched, err := adm.FetchOffsets(ctx, "g")
	if o, _ := fetched.Lookup("t", 0); err != nil || o.At != 5 || len(fetched) != 1 {
		t.Errorf("%+v %v", fetched, err)
	}
	list, err := adm.ListGroups(ctx)
	if err != nil || list["g"].State != "Empty" {
		t.Errorf("%+v %v", list, err)
	}
	if d, _ := adm.DescribeGroups(ctx, "none"); d["none"].State != "Dead" {
		t.Errorf("%+v", d)
	}
	var set kadm.TopicsSet
	set.Add("t", 0)
	if res, err := adm.DeleteOffsets(ctx, "g", set); err != nil || res["t"][0] != nil {
		t.Errorf("%+v %v", res, err)
	}
	if fetched, _ := adm.FetchOffsets(ctx, "g"); len(fetched) != 0 {
		t.Errorf("%+v", fetched)
	}
	res, err := adm.DeleteGroups(ctx, "g", "none")
	if err != nil || res["g"].Err != nil || codeIn(res["none"].Err) != 69 {
		t.Errorf("%+v %v", res, err)
	}
}

func TestLoginDecidesWhoMayCome(t *testing.T) {
	users := auth.NewUsers()
	if err := users.PutPassword(auth.User{Name: "joe"}, "secret"); err != nil {
		t.Fatal(err)
	}
	r := newRig(t, func(o *Options) { o.Users = users })
	try := func(opts ...kgo.Opt) error {
		return r.client(append(opts, kgo.RequestRetries(0))...).Ping(testContext(t))
	}
	if err := try(kgo.SASL(plainAuth("joe", "secret"))); err != nil {
		t.Errorf("right password: %v", err)
	}
	if err := try(kgo.SASL(plainAuth("joe@/", "secret"))); err != nil {
		t.Errorf("with the virtual host: %v", err)
	}
	if err := try(kgo.SASL(plainAuth("joe", "wrong"))); !errors.Is(err, kerr.SaslAuthenticationFailed) {
		t.Errorf("wrong password: %v", err)
	}
	if err := try(kgo.SASL(plainAuth("joe@nowhere", "secret"))); !errors.Is(err, kerr.SaslAuthenticationFailed) {
		t.Errorf("unknown virtual host: %v", err)
	}
	if err := try(); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a stranger: %v", err)
	}
}

func TestStrangersMayBeLetIn(t *testing.T) {
	users := auth.NewUsers()
	if err := users.PutPassword(auth.User{Name: "guest", LoopbackOnly: true}, "guest"); err != nil {
		t.Fatal(err)
	}
	users.SetAnonymous("guest")
	r := newRig(t, func(o *Options) { o.Users = users })
	if err := r.client().Ping(testContext(t)); err != nil {
		t.Error(err)
	}
	if err := r.client(kgo.SASL(plainAuth("guest", "guest"))).Ping(testContext(t)); err != nil {
		t.Error(err)
	}
}

func TestQueuesAreTopicsAndExclusiveOnesAreNot(t *testing.T) {
	r := newRig(t, nil)
	v, err := r.broker.VHost(broker.DefaultVHost)
	if err != nil {
		t.Fatal(err)
	}
	s := v.NewSession(auth.Identity{Name: "amqp"})
	for name, exclusive := range map[string]bool{"orders": false, "private": true, "not legal": false} {
		if _, err := s.DeclareQueue(name, broker.QueueOptions{Durable: true, Exclusive: exclusive}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.DeclareQueue("urgent", broker.QueueOptions{Durable: true, Args: field.AppendInt(field.AppendName(nil, "x-max-priority"), 9)}); err != nil {
		t.Fatal(err)
	}
	p := s.NewPublisher()
	for i := range 3 {
		if ok, err := p.Publish(&broker.Inbound{Key: []byte("orders"), Body: []byte(fmt.Sprint(i)), TimestampMs: 1}); !ok || err != nil {
			t.Fatal(ok, err)
		}
	}
	p.Store()
	p.Commit(nil)
	topics, err := r.admin().ListTopics(testContext(t))
	if err != nil || len(topics) != 1 || !topics.Has("orders") {
		t.Fatalf("%v %v", topics.Names(), err)
	}
	if _, err := r.admin().CreateTopic(testContext(t), 1, 1, nil, "urgent"); codeIn(err) != 36 {
		t.Errorf("a topic of the name of a queue with priorities: %v", err)
	}
	if _, err := r.admin().DeleteTopic(testContext(t), "urgent"); codeIn(err) != 3 {
		t.Errorf("deleting a queue with priorities: %v", err)
	}
	inOrder(t, consume(t, r.client(kgo.ConsumeTopics("orders")), 3), 0)
	var offsets kadm.Offsets
	offsets.Add(kadm.Offset{Topic: "orders", At: 1})
	res, _ := r.admin().DeleteRecords(testContext(t), offsets)
	if d, _ := res.Lookup("orders", 0); codeIn(d.Err) != 44 {
		t.Errorf("deleting a work queue's records: %+v", d)
	}
}

func TestStoppingEndsParkedRequests(t *testing.T) {
	r := newRig(t, nil)
	cl := r.client(kgo.ConsumeTopics("t"), kgo.FetchMaxWait(time.Hour))
	produce(t, cl, "t", 0, 1)
	consume(t, cl, 1)
	r.stop() // fails the test when a request is still there after a while
}

func TestAdvertisedAddress(t *testing.T) {
	for in, ok := range map[string]bool{"": true, "kafka.example:9092": true, "kafka.example": false, ":9092": false, "h:0": false, "h:99999": false} {
		if _, err := parseEndpoint(in); (err == nil) != ok {
			t.Errorf("%q: %v", in, err)
		}
	}
	for _, c := range []struct {
		in, asked string
		want      endpoint
	}{
		{"kafka.example:9099", "", endpoint{"kafka.example", 9099}}, {"", "", endpoint{"10.0.0.1", 1}},
		{"kafka.example:9099", "by.name", endpoint{"kafka.example", 9099}}, {"", "by.name", endpoint{"by.name", 1}},
	} {
		told, _ := parseEndpoint(c.in)
		if host, port := told.seenFrom(&net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 1}, c.asked); host != c.want.host || port != c.want.port {
			t.Errorf("%q, asked for %q: %s %d", c.in, c.asked, host, port)
		}
	}
}
