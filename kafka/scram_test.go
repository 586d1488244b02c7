package kafka

import (
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl"
	saslscram "github.com/twmb/franz-go/pkg/sasl/scram"
	"github.com/xdg-go/scram"

	"github.com/leveret-mq/leveret/auth"
	"github.com/leveret-mq/leveret/internal/audit"
	"github.com/leveret-mq/leveret/internal/logged"
)

// scramUsers have what SCRAM needs, but for "imported", of whom a hash of RabbitMQ's is known.
func scramUsers(t *testing.T) *auth.Users {
	t.Helper()
	u := auth.NewUsers()
	s, err := scramSecret()
	if err != nil {
		t.Fatal(err)
	}
	h, err := auth.ImportHash(auth.RabbitSHA256, "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR")
	if err != nil {
		t.Fatal(err)
	}
	if err := u.Put(auth.User{Name: "joe", Secret: s}, auth.User{Name: "far@away", Secret: s}, auth.User{Name: "imported", Secret: auth.Secret{Hash: h}}); err != nil {
		t.Fatal(err)
	}
	return u
}

var scramSecret = sync.OnceValues(func() (auth.Secret, error) { return auth.NewUsers().NewSecret("ann", []byte("secret")) })

func TestScramDecidesWhoMayCome(t *testing.T) {
	log := &logged.Lines{}
	for _, m := range []struct {
		name string
		make func(saslscram.Auth) sasl.Mechanism
	}{
		{"SCRAM-SHA-256", saslscram.Auth.AsSha256Mechanism}, {"SCRAM-SHA-512", saslscram.Auth.AsSha512Mechanism},
	} {
		for _, c := range []struct {
			user, password string
			in             bool
		}{
			{"joe", "secret", true}, {"joe@/", "secret", true}, {"far@away", "secret", true},
			{"joe", "wrong", false}, {"joe@nowhere", "secret", false}, {"nobody", "secret", false}, {"imported", "test12", false},
		} {
			r := newRig(t, func(o *Options) { // one each: who guesses again and again is answered later and later
				o.Users = scramUsers(t)
				o.Logger = slog.New(audit.NewHandler("text", slog.LevelError, log, nil))
			})
			err := r.client(kgo.RequestRetries(0), kgo.SASL(m.make(saslscram.Auth{User: c.user, Pass: c.password}))).Ping(testContext(t))
			if c.in && err != nil || !c.in && !errors.Is(err, kerr.SaslAuthenticationFailed) {
				t.Errorf("%s %s %s: %v", m.name, c.user, c.password, err)
			}
		}
	}
	if text := log.Take(); !strings.Contains(text, "act=login") || strings.Contains(text, "secret") || strings.Contains(text, "test12") {
		t.Errorf("the log says\n%s", text)
	}
}

func TestTheLogSaysWhatAnImportedUserLacksForScram(t *testing.T) {
	log := &logged.Lines{}
	r := newRig(t, func(o *Options) {
		o.Users = scramUsers(t)
		o.Logger = slog.New(audit.NewHandler("text", slog.LevelError, log, nil))
	})
	err := r.client(kgo.RequestRetries(0), kgo.SASL(saslscram.Auth{User: "imported", Pass: "test12"}.AsSha256Mechanism())).Ping(testContext(t))
	if !errors.Is(err, kerr.SaslAuthenticationFailed) || strings.Contains(err.Error(), "PLAIN") {
		t.Error(err)
	}
	if text := log.Take(); !strings.Contains(text, "imported") || !strings.Contains(text, "log in with PLAIN once") {
		t.Errorf("the log says\n%s", text)
	}
}

// Older clients send bare tokens after a handshake of version 0.
func TestScramWithRawTokens(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Users = scramUsers(t) })
	for password, ok := range map[string]bool{"secret": true, "wrong": false} {
		c := r.raw()
		h := kmsg.NewPtrSASLHandshakeRequest()
		h.Mechanism = "SCRAM-SHA-512"
		c.send(h, 0)
		var res kmsg.SASLHandshakeResponse
		if c.receive(&res, 0); res.ErrorCode != 0 || !slices.Equal(res.SupportedMechanisms, []string{"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"}) {
			t.Fatalf("%+v", res)
		}
		client, _ := scram.SHA512.NewClientUnprepped("joe", password, "")
		talk := client.NewConversation()
		said, _ := talk.Step("")
		for !talk.Done() {
			c.write(append(binary.BigEndian.AppendUint32(nil, uint32(len(said))), said...))
			var size [4]byte
			if _, err := io.ReadFull(c.nc, size[:]); err != nil {
				if ok {
					t.Fatal(err)
				}
				break
			}
			answer := make([]byte, binary.BigEndian.Uint32(size[:]))
			_, err := io.ReadFull(c.nc, answer)
			if err == nil {
				said, err = talk.Step(string(answer))
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if talk.Valid() != ok {
			t.Fatalf("%s: in is %v", password, talk.Valid())
		}
		if ok {
			c.send(kmsg.NewPtrMetadataRequest(), 4)
			var md kmsg.MetadataResponse
			if c.receive(&md, 4); len(md.Brokers) != 1 {
				t.Errorf("%+v", md)
			}
		}
	}
}

func TestARefusalByScramIsLateAndLast(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Users = scramUsers(t) })
	for _, user := range []string{"joe", "nobody"} {
		c := r.raw()
		h := kmsg.NewPtrSASLHandshakeRequest()
		h.Mechanism = "SCRAM-SHA-256"
		c.send(h, 1)
		c.receive(&kmsg.SASLHandshakeResponse{}, 1)
		client, _ := scram.SHA256.NewClientUnprepped(user, "wrong", "")
		talk := client.NewConversation()
		said, _ := talk.Step("")
		a := kmsg.NewPtrSASLAuthenticateRequest()
		a.SASLAuthBytes = []byte(said)
		c.send(a, 1)
		var res kmsg.SASLAuthenticateResponse
		if c.receive(&res, 1); res.ErrorCode != 0 {
			t.Fatalf("%+v", res)
		}
		if _, err := talk.Step(string(res.SASLAuthBytes)); err != nil {
			t.Fatal(err)
		}
		c.send(kmsg.NewPtrMetadataRequest(), 4) // in the middle
		c.closed("a request in the middle of a login")

		c = r.raw()
		c.send(h, 1)
		c.receive(&kmsg.SASLHandshakeResponse{}, 1)
		talk = client.NewConversation()
		said, _ = talk.Step("")
		a.SASLAuthBytes = []byte(said)
		c.send(a, 1)
		c.receive(&res, 1)
		said, _ = talk.Step(string(res.SASLAuthBytes))
		a.SASLAuthBytes = []byte(said)
		begun := time.Now()
		c.send(a, 1)
		c.send(a, 1)
		if c.receive(&res, 1); res.ErrorCode != 58 || res.ErrorMessage == nil || len(res.SASLAuthBytes) != 0 || time.Since(begun) < 100*time.Millisecond {
			t.Errorf("%s: %+v after %v", user, res, time.Since(begun))
		}
		if _, err := c.nc.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("then %v, want the end of the stream", err)
		}
	}
}

func TestALoginBeginsAnewWithAHandshake(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Users = scramUsers(t) })
	c := r.raw()
	h := kmsg.NewPtrSASLHandshakeRequest()
	h.Mechanism = "SCRAM-SHA-256"
	c.send(h, 1)
	c.receive(&kmsg.SASLHandshakeResponse{}, 1)
	a := kmsg.NewPtrSASLAuthenticateRequest()
	a.SASLAuthBytes = []byte("n,,n=joe,r=x")
	c.send(a, 1)
	var res kmsg.SASLAuthenticateResponse
	c.receive(&res, 1)
	h.Mechanism = "PLAIN"
	c.send(h, 1)
	c.receive(&kmsg.SASLHandshakeResponse{}, 1)
	a.SASLAuthBytes = []byte("\x00joe\x00secret")
	c.send(a, 1)
	if c.receive(&res, 1); res.ErrorCode != 0 {
		t.Fatalf("%+v", res)
	}
	c.send(a, 1) // there is no third step
	if c.receive(&res, 1); res.ErrorCode != 34 {
		t.Errorf("%+v", res)
	}
	for _, m := range []string{"PLAIN", "GSSAPI"} { // the second is refused, and the first is over
		h.Mechanism = m
		c.send(h, 1)
		c.receive(&kmsg.SASLHandshakeResponse{}, 1)
	}
	c.send(a, 1)
	if c.receive(&res, 1); res.ErrorCode != 34 {
		t.Errorf("%+v", res)
	}
}
