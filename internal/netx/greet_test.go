package netx

import (
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/internal/fakeclock"
	"github.com/leveret-mq/leveret/internal/logged"
)

// greeter is a listener with TLS whose log is kept.
func greeter(t *testing.T, config *tls.Config) (*Listener, *logged.Lines) {
	t.Helper()
	log := new(logged.Lines)
	l := quiet(t, Options{Name: "test", TLS: func() *tls.Config { return config }, Logger: log.Logger()})
	go func() { _ = l.Serve(echo) }()
	return l, log
}

func TestWhoSpeaksNoTLSIsNamedAndClosed(t *testing.T) {
	for _, c := range []struct{ name, sends, said string }{
		{"AMQP", "AMQP\x00\x00\x09\x01", "speaks AMQP without TLS"},
		{"Kafka", "\x00\x00\x00\x24\x00\x12\x00\x03\x00\x00\x00\x00\x00\x07console", "speaks Kafka's protocol without TLS"},
		{"HTTP", "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n", "speaks HTTP without TLS"},
		{"XMPP", "<?xml version='1.0'?><stream:stream>", "speaks XMPP without TLS"},
		{"STOMP", "CONNECT\naccept-version:1.2\n\n\x00", "speaks STOMP without TLS"},
		{"something else", "\x01\x02\x03\x04\x05\x06", `speaks something else (\"\\x01\\x02\\x03\\x04\\x05\\x06\") without TLS`},
		{"too little", "AM", "speaks something else"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, log := greeter(t, serverTLS())
			client := dial(t, l)
			if _, err := io.WriteString(client, c.sends); err != nil {
				t.Fatal(err)
			}
			_ = client.(*net.TCPConn).CloseWrite()
			if got, err := io.ReadAll(client); len(got) > 0 && err == nil {
				t.Errorf("it was told %q", got)
			}
			shut(t, l)
			if text := log.String(); !strings.Contains(text, c.said) || !strings.Contains(text, "do=\"have the client use TLS") {
				t.Errorf("want %q in %s", c.said, text)
			}
			if done, failed := l.Handshakes(); done != 0 || failed != 1 {
				t.Errorf("%d and %d handshakes are counted", done, failed)
			}
		})
	}
}

func TestAHandshakeThatFailsIsExplained(t *testing.T) {
	verifying := serverTLS()
	verifying.ClientAuth = tls.RequireAndVerifyClientCert
	stranger := trusting(tls.VersionTLS13)
	stranger.Certificates = []tls.Certificate{ownCertificate()}
	old := trusting(tls.VersionTLS12)
	old.MinVersion, old.MaxVersion = tls.VersionTLS11, tls.VersionTLS11
	for _, c := range []struct {
		name           string
		server, client *tls.Config
		want           []string
	}{
		{"the client does not trust us", serverTLS(), &tls.Config{ServerName: "localhost"}, []string{"remote error", "--tls-cert"}},
		{"the client has no certificate", verifying, trusting(tls.VersionTLS13), []string{"didn't provide a certificate", "--tls-verify"}},
		{"nobody signed the client's certificate", verifying, stranger, []string{"unknown authority", "--tls-ca"}},
		{"the client is old", serverTLS(), old, []string{"unsupported versions", "update the client"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, log := greeter(t, c.server)
			client := tls.Client(dial(t, l), c.client)
			if err := client.Handshake(); err == nil {
				_, _ = client.Read(make([]byte, 1)) // with TLS 1.3 a client is told behind its handshake
			}
			_ = client.NetConn().Close()
			for failed := uint64(0); failed == 0; _, failed = l.Handshakes() { // a stop would end it
				time.Sleep(time.Millisecond)
			}
			shut(t, l)
			for _, want := range c.want {
				if text := log.String(); !strings.Contains(text, want) || strings.Count(text, "\n") != 1 {
					t.Errorf("want one line with %q: %s", want, text)
				}
			}
		})
	}
}

func TestAProbeThatSaysNothingIsNoLineOfTheLog(t *testing.T) {
	l, log := greeter(t, serverTLS())
	_ = dial(t, l).Close()
	shut(t, l)
	if text := log.String(); text != "" {
		t.Error(text)
	}
}

func TestAHandshakeIsOverInTime(t *testing.T) {
	for _, c := range []struct{ name, sends, said string }{
		{"silent", "", "the client had said nothing"},
		{"half", "\x16\x03\x01\x02\x00\x01", "it was not over after 10s"},
	} {
		t.Run(c.name, func(t *testing.T) {
			fakeclock.Test(t, func(t *testing.T) {
				here, there := pipe(t)
				go func() {
					_, _ = io.WriteString(there, c.sends)
					_, _ = io.Copy(io.Discard, there)
				}()
				l, h, began := &Listener{tls: serverTLS, conns: map[net.Conn]bool{}}, NewHandshakes(), time.Now()
				_, err := l.greet(here, h.begin(here))
				if err == nil || !strings.Contains(err.Error(), c.said) || time.Since(began) != handshakeTime {
					t.Errorf("%v after %v", err, time.Since(began))
				}
				if h.open != 0 || h.idle.Len() != 0 || len(h.computing) != 0 {
					t.Errorf("%d are open, %d wait, %d compute", h.open, h.idle.Len(), len(h.computing))
				}
			})
		})
	}
}

func TestAPanicInAHandshakeCostsOneConnection(t *testing.T) {
	config := serverTLS()
	config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { panic("ours") }
	l, log := greeter(t, config)
	if err := tls.Client(dial(t, l), trusting(tls.VersionTLS13)).Handshake(); err == nil {
		t.Error("the handshake was made")
	}
	shut(t, l)
	if h := l.greets; h.open != 0 || len(h.computing) != 0 || !strings.Contains(log.String(), "panicked") {
		t.Errorf("%d are open, %d compute: %s", h.open, len(h.computing), log)
	}
}

func TestAStopWaitsForNoHandshake(t *testing.T) {
	l, _ := greeter(t, serverTLS())
	client := dial(t, l)
	for l.Open() == 0 {
		time.Sleep(time.Millisecond)
	}
	began := time.Now()
	shut(t, l)
	if _, err := client.Read(make([]byte, 1)); err == nil || time.Since(began) > handshakeTime/2 {
		t.Errorf("%v after %v", err, time.Since(began))
	}
}

func TestTLSIsKnownByItsFirstBytes(t *testing.T) {
	for text, want := range map[string]bool{
		"\x16\x03\x01": true, "\x16\x03\x03\x01\x00": true, "\x16\x03": false, "\x16\x03\x09": false, "\x16\x05\x01": false, "AMQP": false, "": false, "\x00\x00\x00\x16\x03\x01": false,
	} {
		if got := SpeaksTLS([]byte(text)); got != want {
			t.Errorf("%q: %t", text, got)
		}
	}
}

// shut ends a listener and all of its handlers.
func shut(t *testing.T, l *Listener) {
	t.Helper()
	if err := l.Shutdown(within(t, 20*time.Second)); err != nil {
		t.Error(err)
	}
}
