package server

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leveret-mq/leveret/config"
	"github.com/leveret-mq/leveret/internal/batch"
)

// changed is a copy of the settings with some changed.
func changed(c *config.Config, edit func(*config.Config)) *config.Config {
	next := *c
	edit(&next)
	return &next
}

func reload(t *testing.T, s *Server, edit func(*config.Config)) []config.Change {
	t.Helper()
	changes, err := s.Reload(changed(s.running, edit))
	if err != nil {
		t.Fatal(err)
	}
	return changes
}

// offered is what an AMQP connection is offered.
func offered(t *testing.T, s *Server) amqp.Config {
	t.Helper()
	conn, err := amqp.DialConfig("amqp://guest:guest@"+s.Addr("amqp")+"/", amqp.Config{Heartbeat: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	return conn.Config
}

// asked is an answer to a Kafka request.
func asked[R kmsg.Response](t *testing.T, s *Server, req kmsg.Request) R {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(s.Addr("kafka")))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(context.Background(), longEnough)
	defer cancel()
	res, err := cl.SeedBrokers()[0].Request(ctx, req)
	if err != nil {
		t.Fatal(err)
	}
	return res.(R)
}

// named asks for a topic and has it made.
func named(topic string) *kmsg.MetadataRequest {
	req := kmsg.NewPtrMetadataRequest()
	req.AllowAutoTopicCreation = true
	one := kmsg.NewMetadataRequestTopic()
	one.Topic = &topic
	req.Topics = append(req.Topics, one)
	return req
}

// produceBad produces a batch that says it is gzip and is not, and returns the code.
func produceBad(t *testing.T, s *Server) int16 {
	t.Helper()
	records := append(make([]byte, batch.HeaderBytes), "no gzip"...)
	now := time.Now().UnixMilli()
	batch.Batch(records).Seal(batch.Header{Attributes: 1, Count: 1, BaseTimestamp: now, MaxTimestamp: now, ProducerID: -1, ProducerEpoch: -1, BaseSequence: -1})
	p := kmsg.NewProduceRequestTopicPartition()
	p.Records = records
	topic := kmsg.NewProduceRequestTopic()
	topic.Topic = "t"
	topic.TopicID = asked[*kmsg.MetadataResponse](t, s, named("t")).Topics[0].TopicID // which names it today
	topic.Partitions = append(topic.Partitions, p)
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis = 1, 5000
	req.Topics = append(req.Topics, topic)
	return asked[*kmsg.ProduceResponse](t, s, req).Topics[0].Partitions[0].ErrorCode
}

// takesHold changes each setting that is live, and says whether the broker that runs obeys. The
// settings of the process itself are held by tests of cmd/leveret.
var takesHold = map[string]func(*testing.T, *Server) bool{
	"amqp-channel-max": func(t *testing.T, s *Server) bool {
		reload(t, s, func(c *config.Config) { c.AMQPChannelMax = 77 })
		return offered(t, s).ChannelMax == 77
	},
	"amqp-frame-max": func(t *testing.T, s *Server) bool {
		reload(t, s, func(c *config.Config) { c.AMQPFrameMax = 16 << 10 })
		return offered(t, s).FrameSize == 16<<10
	},
	"amqp-heartbeat": func(t *testing.T, s *Server) bool {
		reload(t, s, func(c *config.Config) { c.AMQPHeartbeat = 7 * time.Second })
		return offered(t, s).Heartbeat == 7*time.Second
	},
	"kafka-partitions": func(t *testing.T, s *Server) bool {
		reload(t, s, func(c *config.Config) { c.KafkaPartitions = 5 })
		asked[*kmsg.MetadataResponse](t, s, named("five"))
		return len(asked[*kmsg.MetadataResponse](t, s, named("five")).Topics[0].Partitions) == 5
	},
	"kafka-auto-create": func(t *testing.T, s *Server) bool {
		reload(t, s, func(c *config.Config) { c.KafkaAutoCreate = false })
		asked[*kmsg.MetadataResponse](t, s, named("none"))
		return asked[*kmsg.MetadataResponse](t, s, named("none")).Topics[0].ErrorCode == 3
	},
	"kafka-trust-compressed": func(t *testing.T, s *Server) bool { // stores what is no gzip
		asked[*kmsg.MetadataResponse](t, s, named("t"))
		if code := produceBad(t, s); code == 0 {
			t.Error("it is taken before")
		}
		reload(t, s, func(c *config.Config) { c.KafkaTrustCompressed = true })
		return produceBad(t, s) == 0
	},
	"max-message-bytes": func(t *testing.T, s *Server) bool { // on a connection that was open before
		conn, err := amqp.Dial("amqp://guest:guest@" + s.Addr("amqp") + "/")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		ch, err := conn.Channel()
		if err != nil {
			t.Fatal(err)
		}
		closed := ch.NotifyClose(make(chan *amqp.Error, 1))
		publish := func(bytes int) {
			if err := ch.Publish("", "q", false, false, amqp.Publishing{Body: make([]byte, bytes)}); err != nil {
				t.Fatal(err)
			}
		}
		publish(1025)
		if _, err := ch.QueueDeclare("q", false, false, false, false, nil); err != nil {
			t.Fatal(err) // what came before was refused
		}
		reload(t, s, func(c *config.Config) { c.MaxMessageBytes = 1024 })
		publish(1024)
		publish(1025)
		why := <-closed
		return why != nil && strings.Contains(why.Reason, "1024")
	},
	"max-connections": func(t *testing.T, s *Server) bool {
		reload(t, s, func(c *config.Config) { c.MaxConnections = 1 })
		first, err := amqp.Dial("amqp://guest:guest@" + s.Addr("amqp") + "/")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = first.Close() }()
		_, err = amqp.Dial("amqp://guest:guest@" + s.Addr("amqp") + "/")
		return err != nil
	},
	"definitions": func(t *testing.T, s *Server) bool {
		name := filepath.Join(t.TempDir(), "definitions.json")
		write := func(text string) {
			if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		write(`{"queues":[{"name":"one","vhost":"/"},{"name":"two","vhost":"nowhere"}]}`)
		next := *s.config
		next.Definitions = name
		if _, err := s.Reload(&next); err == nil || !strings.Contains(err.Error(), `queues[1].vhost: Please create virtual host "nowhere"`) {
			t.Errorf("a wrong file: %v", err)
		}
		v, err := s.broker.VHost("/")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := v.Queue("one"); err == nil {
			t.Error("something of a wrong file is applied")
		}
		write(`{"queues":[{"name":"one","vhost":"/"}],"policies":[{"name":"p","vhost":"/","pattern":"one","definition":{"max-length":5}}]}`)
		reload(t, s, func(c *config.Config) { c.Definitions = name })
		q, err := v.Queue("one")
		return err == nil && q.Settings().MaxLength == 5
	},
	"memory-high-watermark": func(t *testing.T, s *Server) bool {
		defer reload(t, s, func(c *config.Config) { c.MemoryHighWatermark = config.Watermark{} })
		reload(t, s, func(c *config.Config) { c.MemoryHighWatermark = config.Watermark{Bytes: 1} })
		for deadline := time.Now().Add(10 * time.Second); s.broker.Alarm() == ""; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				return false
			}
		}
		return true
	},
	"stomp-ws-origins": func(t *testing.T, s *Server) bool {
		status := func() int {
			req, err := http.NewRequest("GET", "http://"+s.Addr("stomp-ws")+"/ws", nil)
			if err != nil {
				t.Fatal(err)
			}
			for name, value := range map[string]string{"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
				"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Origin": "https://b.example"} {
				req.Header.Set(name, value)
			}
			res, err := http.DefaultTransport.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			_ = res.Body.Close()
			return res.StatusCode
		}
		before := status()
		reload(t, s, func(c *config.Config) { c.STOMPWSOrigins = "https://a.example" })
		return before == 101 && status() == 403
	},
	"tls-ca": func(t *testing.T, _ *Server) bool {
		return slices.Equal(withoutOwn(t, config.VerifyRequire), []bool{true, false})
	},
	"tls-verify": func(t *testing.T, _ *Server) bool {
		return slices.Equal(withoutOwn(t, config.VerifyRequire, config.VerifyRequest), []bool{true, false, true})
	},
}

// withoutOwn tells whether a client may come without a certificate of its own, before --tls-ca is set and with each of
// these for --tls-verify.
func withoutOwn(t *testing.T, verify ...string) (may []bool) {
	t.Helper()
	c, a := certified(t)
	s, err := start(t, c)
	if err != nil {
		t.Fatal(err)
	}
	come := func() bool {
		conn, err := tls.Dial("tcp", s.Addr("amqps"), trusting(t, a, ""))
		if err != nil {
			return false
		}
		defer func() { _ = conn.Close() }()
		_, err = io.WriteString(conn, "no AMQP\n")
		if err == nil {
			_, err = conn.Read(make([]byte, 1)) // with TLS 1.3 a client hears behind its handshake that it is refused
		}
		return err == nil
	}
	may = append(may, come())
	for _, v := range verify {
		reload(t, s, func(c *config.Config) { c.TLSCA, c.TLSVerify = a.CA(), v })
		may = append(may, come())
	}
	return may
}

// ofTheProcess are live, and none of the server's business.
var ofTheProcess = []string{"log-level", "audit-log", "shutdown-grace"}

func TestEverySettingThatIsLiveTakesHold(t *testing.T) {
	live := config.Live()
	for _, flag := range live {
		test := takesHold[flag]
		if test == nil {
			if !slices.Contains(ofTheProcess, flag) {
				t.Errorf("%s is said to be live, and no test holds that", flag)
			}
			continue
		}
		t.Run(flag, func(t *testing.T) {
			s, err := start(t, settings(t))
			if err != nil {
				t.Fatal(err)
			}
			if !test(t, s) {
				t.Error("it did not take hold")
			}
		})
	}
	for flag := range takesHold {
		if !slices.Contains(live, flag) {
			t.Errorf("%s is not said to be live", flag)
		}
	}
}

func TestAReloadSaysWhatNeedsARestart(t *testing.T) {
	s, err := start(t, settings(t))
	if err != nil {
		t.Fatal(err)
	}
	edit := func(c *config.Config) {
		c.DataDir, c.DefaultPassword, c.KafkaPartitions = "elsewhere", "hunter2", 4
	}
	changes := reload(t, s, edit)
	want := map[string]bool{"data-dir": false, "default-password": false, "kafka-partitions": true}
	for _, c := range changes {
		live, known := want[c.Setting]
		if !known || live != c.Live || strings.Contains(c.Old+c.New, "hunter2") || strings.Contains(c.Old, "guest") {
			t.Errorf("%+v", c)
		}
		delete(want, c.Setting)
	}
	if len(want) != 0 || s.running.DataDir == "elsewhere" || s.running.KafkaPartitions != 4 {
		t.Errorf("%v is not told; %+v", want, s.running)
	}
	if s.config.KafkaPartitions != 1 {
		t.Error("the settings of the start were changed")
	}
}

func TestAReloadThatIsWrongChangesNothing(t *testing.T) {
	s, err := start(t, settings(t))
	if err != nil {
		t.Fatal(err)
	}
	var applied []string
	broken := errors.New("line 7: no such thing")
	s.rereadBy("first", func(*config.Config) (func(), error) { return func() { applied = append(applied, "first") }, nil })
	s.rereadBy("second", func(*config.Config) (func(), error) { return func() { applied = append(applied, "second") }, broken })
	for name, edit := range map[string]func(*config.Config){
		"a file that can't be read anew": func(c *config.Config) { c.KafkaPartitions = 9 },
		"a setting that makes no sense":  func(c *config.Config) { c.KafkaPartitions, c.AMQPChannelMax = 9, 0 },
	} {
		if changes, err := s.Reload(changed(s.running, edit)); err == nil || changes != nil {
			t.Errorf("%s: %v", name, changes)
		}
		if s.running.KafkaPartitions != 1 || len(applied) != 0 {
			t.Errorf("%s: changed %v, %d partitions", name, applied, s.running.KafkaPartitions)
		}
	}
	broken = nil
	reload(t, s, func(*config.Config) {})
	if !slices.Equal(applied, []string{"first", "second"}) {
		t.Error(applied)
	}
}

func TestReloadsWhileClientsAreServed(t *testing.T) {
	s, err := start(t, settings(t))
	if err != nil {
		t.Fatal(err)
	}
	var clients sync.WaitGroup
	stopped := make(chan struct{})
	for range 2 {
		clients.Go(func() {
			for {
				select {
				case <-stopped:
					return
				default:
				}
				conn, err := amqp.Dial("amqp://guest:guest@" + s.Addr("amqp") + "/")
				if err != nil {
					t.Error(err)
					return
				}
				ch, err := conn.Channel()
				if err == nil {
					_, err = ch.QueueDeclare("", false, true, true, false, nil)
				}
				if err != nil {
					t.Error(err)
				}
				_ = conn.Close()
			}
		})
	}
	for n := range 50 {
		reload(t, s, func(c *config.Config) {
			c.AMQPChannelMax, c.KafkaPartitions, c.MaxConnections = 10+n, 1+n, 1000+n
			c.MemoryHighWatermark = config.Watermark{Bytes: config.Size(1+n) << 30}
		})
		if err := s.Pulse(t.Context()); err != nil {
			t.Error(err)
		}
	}
	close(stopped)
	clients.Wait()
}

func TestABrokerWhoseLockIsHeldForGoodHasNoPulse(t *testing.T) {
	s, err := start(t, settings(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Pulse(t.Context()); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	s.mu.Lock()
	err = s.Pulse(ctx)
	s.mu.Unlock()
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	s.mu.Lock()
	s.listeners[0].up = false
	s.mu.Unlock()
	if err := s.Pulse(t.Context()); err == nil || !strings.Contains(err.Error(), "metrics listener") {
		t.Error(err)
	}
}
