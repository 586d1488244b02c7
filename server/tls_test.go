package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leveret-mq/leveret/admin"
	"github.com/leveret-mq/leveret/config"
	"github.com/leveret-mq/leveret/internal/devcert"
	"github.com/leveret-mq/leveret/internal/logged"
)

// certified are settings with a certificate, and who signed it.
func certified(t *testing.T) (*config.Config, *devcert.Authority) {
	t.Helper()
	a, _, err := devcert.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	pair, err := a.Server("server", []string{"localhost", "127.0.0.1"}, devcert.DefaultTime, false)
	if err != nil {
		t.Fatal(err)
	}
	c := settings(t)
	c.TLSCert, c.TLSKey = pair.Cert, pair.Key
	c.AMQPSAddr, c.KafkaTLSAddr, c.STOMPTLSAddr, c.STOMPWSSAddr, c.HTTPTLSAddr, c.MetricsTLSAddr = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	return c, a
}

// trusting is a client that trusts the authority, and is user when that is not empty.
func trusting(t *testing.T, a *devcert.Authority, user string) *tls.Config {
	t.Helper()
	raw, err := os.ReadFile(a.CA())
	roots := x509.NewCertPool()
	if err != nil || !roots.AppendCertsFromPEM(raw) {
		t.Fatal(err)
	}
	c := &tls.Config{RootCAs: roots, ServerName: "localhost"}
	if user != "" {
		p, err := a.Client(user, devcert.DefaultTime, true)
		if err != nil {
			t.Fatal(err)
		}
		pair, err := tls.LoadX509KeyPair(p.Cert, p.Key)
		if err != nil {
			t.Fatal(err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c
}

// amqpRoundTrip publishes and gets a message.
func amqpRoundTrip(t *testing.T, url string, o amqp.Config) error {
	t.Helper()
	conn, err := amqp.DialConfig(url, o)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	if _, err := ch.QueueDeclare("secret", true, false, false, false, nil); err != nil {
		return err
	}
	body := strings.Repeat("a large message ", 20_000)
	if err := ch.PublishWithContext(t.Context(), "", "secret", false, false, amqp.Publishing{Body: []byte(body)}); err != nil {
		return err
	}
	got, ok, err := ch.Get("secret", true)
	if err == nil && (!ok || string(got.Body) != body) {
		err = errors.New("another message came back")
	}
	return err
}

// kafkaRoundTrip produces and fetches a record.
func kafkaRoundTrip(t *testing.T, address string, o ...kgo.Opt) error {
	t.Helper()
	cl, err := kgo.NewClient(append(o, kgo.SeedBrokers(address), kgo.AllowAutoTopicCreation(), kgo.ConsumeTopics("secret-topic"), kgo.RequestRetries(1))...)
	if err != nil {
		return err
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if err := cl.Ping(ctx); err != nil { // producing tries again and again
		return err
	}
	body := strings.Repeat("a large record ", 20_000)
	if err := cl.ProduceSync(ctx, &kgo.Record{Topic: "secret-topic", Value: []byte(body)}).FirstErr(); err != nil {
		return err
	}
	fetches := cl.PollFetches(ctx)
	if err := fetches.Err(); err != nil {
		return err
	}
	if records := fetches.Records(); len(records) == 0 || string(records[len(records)-1].Value) != body {
		return errors.New("another record came back")
	}
	return nil
}

func TestEveryListenerSpeaksTLSBesideItsPlainOne(t *testing.T) {
	c, a := certified(t)
	s, err := start(t, c)
	if err != nil {
		t.Fatal(err)
	}
	for _, scheme := range []struct{ url, addr string }{{"amqp://", s.Addr("amqp")}, {"amqps://", s.Addr("amqps")}} {
		if err := amqpRoundTrip(t, scheme.url+"guest:guest@"+scheme.addr+"/", amqp.Config{TLSClientConfig: trusting(t, a, "")}); err != nil {
			t.Errorf("%s: %v", scheme.url, err)
		}
	}
	if err := kafkaRoundTrip(t, s.Addr("kafka")); err != nil {
		t.Errorf("Kafka: %v", err)
	}
	if err := kafkaRoundTrip(t, s.Addr("kafka-tls"), kgo.DialTLSConfig(trusting(t, a, ""))); err != nil {
		t.Errorf("Kafka with TLS: %v", err)
	}
	for name, dialer := range map[string]ws.Dialer{"ws://" + s.Addr("stomp-ws"): {}, "wss://" + s.Addr("stomp-wss"): {TLSConfig: trusting(t, a, "")}} {
		if err := webRoundTrip(name+"/ws", dialer); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	web := http.Client{Transport: &http.Transport{TLSClientConfig: trusting(t, a, "")}}
	t.Cleanup(web.CloseIdleConnections)
	for _, url := range []string{"http://" + s.Addr("metrics"), "https://" + s.Addr("metrics-tls")} {
		answer, err := web.Get(url + "/health")
		if err != nil {
			t.Errorf("%s: %v", url, err)
			continue
		}
		var h admin.Health
		err = json.NewDecoder(answer.Body).Decode(&h)
		_ = answer.Body.Close()
		if err != nil || len(h.Listeners) != 13 {
			t.Errorf("%s: %+v %v", url, h, err)
		}
		for _, l := range h.Listeners {
			if secure := l.Name == "amqps" || l.Name == "https" || l.Name == "stomp-wss" || strings.HasSuffix(l.Name, "-tls"); l.TLS != secure || !l.Up {
				t.Errorf("%+v", l)
			}
		}
		page, err := web.Get(url + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(page.Body)
		_ = page.Body.Close()
		for _, want := range []string{`leveret_tls_handshakes_total{listener="amqps",outcome="done"} 1`, "leveret_tls_certificate_not_after_seconds ", `leveret_listener_connections{listener="kafka-tls"}`} {
			if !strings.Contains(string(text), want) {
				t.Errorf("%s lacks %s", url, want)
			}
		}
	}
	banner := s.Banner()
	for _, name := range []string{"amqps", "kafka-tls", "stomp-tls", "stomp-wss", "https", "metrics-tls"} {
		if !strings.Contains(banner, s.Addr(name)) {
			t.Errorf("the banner lacks %s:\n%s", name, banner)
		}
	}
}

// webRoundTrip signs in over WebSocket.
func webRoundTrip(url string, dialer ws.Dialer) error {
	ctx, cancel := context.WithTimeout(context.Background(), longEnough)
	defer cancel()
	nc, _, _, err := dialer.Dial(ctx, url)
	if err != nil {
		return err
	}
	defer func() { _ = nc.Close() }()
	if err := ws.WriteFrame(nc, ws.MaskFrame(ws.NewTextFrame([]byte("CONNECT\naccept-version:1.2\nlogin:guest\npasscode:guest\n\n\x00")))); err != nil {
		return err
	}
	h, err := ws.ReadHeader(nc)
	if err != nil {
		return err
	}
	text := make([]byte, h.Length)
	if _, err := io.ReadFull(nc, text); err != nil || h.OpCode != ws.OpText || !strings.HasPrefix(string(text), "CONNECTED\nversion:1.2\n") {
		return fmt.Errorf("%v %q %w", h, text, err)
	}
	return nil
}

func TestWithoutACertificateThereIsNoTLS(t *testing.T) {
	s, err := start(t, settings(t))
	if err != nil {
		t.Fatal(err)
	}
	if s.Addr("amqps")+s.Addr("kafka-tls")+s.Addr("https")+s.Addr("metrics-tls") != "" {
		t.Error("a listener for TLS is on")
	}
}

func TestListenersMayBeForTLSAlone(t *testing.T) {
	c, a := certified(t)
	c.AMQPAddr, c.KafkaAddr, c.HTTPAddr, c.MetricsAddr = config.Off, config.Off, config.Off, config.Off
	s, err := start(t, c)
	if err != nil {
		t.Fatal(err)
	}
	if s.Addr("amqp")+s.Addr("kafka")+s.Addr("metrics") != "" {
		t.Error("a plain listener is on")
	}
	if err := amqpRoundTrip(t, "amqps://guest:guest@"+s.Addr("amqps")+"/", amqp.Config{TLSClientConfig: trusting(t, a, "")}); err != nil {
		t.Error(err)
	}
}

func TestACertificateThatCanNotBeReadKeepsTheBrokerFromStarting(t *testing.T) {
	c, _ := certified(t)
	if err := os.WriteFile(c.TLSKey, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := start(t, c); err == nil || !strings.Contains(err.Error(), "--tls-key") || !strings.Contains(err.Error(), c.TLSKey) {
		t.Error(err)
	}
}

// Connections that are open go on; those that come get the new one.
func TestANewCertificateIsUsedWithoutARestart(t *testing.T) {
	c, a := certified(t)
	s, err := start(t, c)
	if err != nil {
		t.Fatal(err)
	}
	serial := func() string {
		conn, err := tls.Dial("tcp", s.Addr("amqps"), trusting(t, a, ""))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		return conn.ConnectionState().PeerCertificates[0].SerialNumber.String()
	}
	open, err := amqp.DialConfig("amqps://guest:guest@"+s.Addr("amqps")+"/", amqp.Config{TLSClientConfig: trusting(t, a, "")})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = open.Close() }()
	old := serial()
	if _, err := a.Server("server", []string{"localhost"}, devcert.DefaultTime, true); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Reload(c); err != nil {
		t.Fatal(err)
	}
	if serial() == old {
		t.Error("the old certificate is still shown")
	}
	if _, err := open.Channel(); err != nil {
		t.Error("a connection that was open:", err)
	}
	if err := os.WriteFile(c.TLSKey, []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	good := serial()
	if _, err := s.Reload(c); err == nil || !strings.Contains(err.Error(), "--tls-key") || serial() != good {
		t.Errorf("a broken key: %v", err)
	}
}

func TestAClientIsTheUserOfItsCertificate(t *testing.T) {
	c, a := certified(t)
	c.TLSCA, c.DefaultUser, c.DefaultPassword = a.CA(), "alice", "s3cret"
	log := new(logged.Lines)
	s, err := Start(c, Options{Version: "v-test", Logger: log.Logger()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, s) })
	url, external := "amqps://"+s.Addr("amqps")+"/", []amqp.Authentication{&amqp.ExternalAuth{}}
	for _, c := range []struct {
		name, user string
		sasl       []amqp.Authentication
		ok         bool
	}{
		{"alice by her certificate", "alice", external, true},
		{"bob, who is nobody here", "bob", external, false},
		{"no certificate", "", external, false},
		{"a password, with a certificate of somebody else", "bob", []amqp.Authentication{&amqp.PlainAuth{Username: "alice", Password: "s3cret"}}, true},
		{"a password, without", "", []amqp.Authentication{&amqp.PlainAuth{Username: "alice", Password: "s3cret"}}, true},
		{"a wrong password, with her certificate", "alice", []amqp.Authentication{&amqp.PlainAuth{Username: "alice", Password: "x"}}, false},
	} {
		if err := amqpRoundTrip(t, url, amqp.Config{TLSClientConfig: trusting(t, a, c.user), SASL: c.sasl}); (err == nil) != c.ok {
			t.Errorf("AMQP: %s: %v", c.name, err)
		}
	}
	for _, c := range []struct {
		user string
		ok   bool
	}{{"alice", true}, {"bob", false}, {"", false}, {"alice@/", false}} { // the name is taken whole
		if err := kafkaRoundTrip(t, s.Addr("kafka-tls"), kgo.DialTLSConfig(trusting(t, a, c.user))); (err == nil) != c.ok {
			t.Errorf("Kafka: %q: %v", c.user, err)
		}
	}
	for _, listener := range []string{"amqp", "kafka"} {
		if !lineWith(log.String(), "act=login by=bob", "protocol="+listener+" outcome=refused reason=\"no such user, as the client's certificate has it") {
			t.Errorf("no line of audit says that bob was refused over %s:\n%s", listener, log)
		}
	}
	conn, err := amqp.DialConfig(url, amqp.Config{TLSClientConfig: trusting(t, a, "alice"), SASL: external})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	list := s.broker.Connections()
	if i := list[len(list)-1]; i.User != "alice" || i.TLS == nil || i.TLS.Version != "TLS 1.3" || i.TLS.Cipher == "" || i.TLS.Peer == nil ||
		i.TLS.Peer.Subject != "CN=alice" || !strings.HasPrefix(i.TLS.Peer.Issuer, "CN=Leveret") || !i.TLS.Peer.Verified {
		t.Errorf("%+v %+v", i, i.TLS)
	}
}

func TestLoginByCertificateCanBeOff(t *testing.T) {
	c, a := certified(t)
	c.TLSCA, c.DefaultUser, c.DefaultPassword, c.TLSLoginFrom = a.CA(), "alice", "s3cret", config.Off
	s, err := start(t, c)
	if err != nil {
		t.Fatal(err)
	}
	if err := amqpRoundTrip(t, "amqps://"+s.Addr("amqps")+"/", amqp.Config{TLSClientConfig: trusting(t, a, "alice"), SASL: []amqp.Authentication{&amqp.ExternalAuth{}}}); err == nil {
		t.Error("AMQP let it in")
	}
	if err := kafkaRoundTrip(t, s.Addr("kafka-tls"), kgo.DialTLSConfig(trusting(t, a, "alice"))); err == nil {
		t.Error("Kafka let it in")
	}
}

// A client of one kind at the port of the other is told in the log, and closed.
func TestTheWrongPortIsAClearLine(t *testing.T) {
	c, a := certified(t)
	log := new(logged.Lines)
	s, err := Start(c, Options{Version: "v-test", Logger: log.Logger()})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"amqp", "kafka", "metrics"} {
		if conn, err := tls.DialWithDialer(&net.Dialer{Timeout: longEnough}, "tcp", s.Addr(name), trusting(t, a, "")); err == nil {
			_ = conn.Close()
			t.Errorf("%s speaks TLS", name)
		}
	}
	for name, first := range map[string]string{"amqps": "AMQP\x00\x00\x09\x01", "kafka-tls": "\x00\x00\x00\x10\x00\x12\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00", "metrics-tls": "GET / HTTP/1.1\r\n\r\n"} {
		conn, err := net.Dial("tcp", s.Addr(name))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(conn, first)
		_, _ = io.ReadAll(conn)
		_ = conn.Close()
	}
	stop(t, s)
	text := log.String()
	for _, want := range []string{
		"listener=amqp what=connection error=\"the client speaks TLS", "listener=kafka what=connection error=\"the client speaks TLS", "listener=metrics what=connection error=\"the client speaks TLS",
		"listener=amqps what=\"TLS handshake\" error=\"the client speaks AMQP without TLS", "listener=kafka-tls what=\"TLS handshake\" error=\"the client speaks Kafka's protocol without TLS",
		"listener=metrics-tls what=\"TLS handshake\" error=\"the client speaks HTTP without TLS",
	} {
		if parts := strings.SplitN(want, " ", 2); !lineWith(text, parts[0], parts[1]) {
			t.Errorf("no line with %s in:\n%s", want, text)
		}
	}
}

// lineWith tells whether a line has both.
func lineWith(text, a, b string) bool {
	for line := range strings.Lines(text) {
		if strings.Contains(line, a+" ") && strings.Contains(line, b) {
			return true
		}
	}
	return false
}
