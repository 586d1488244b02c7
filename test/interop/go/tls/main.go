// The tls program goes over TLS with amqp091-go and franz-go, with and without certificates of its own. The environment
// has AMQPS_ADDR, KAFKA_TLS_ADDR and TLS_DIR, as py/tls.py says.
package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/leveret-mq/leveret/test/interop/go/check"
)

const limit = 30 * time.Second

func main() {
	check.Add("amqp091-go: a password", limit, func(ctx context.Context) {
		amqpRoundTrip(ctx, amqp.Config{SASL: password(), TLSClientConfig: config("")})
	})
	check.Add("amqp091-go: over TLS 1.2", limit, func(ctx context.Context) {
		c := config("")
		c.MaxVersion = tls.VersionTLS12
		amqpRoundTrip(ctx, amqp.Config{SASL: password(), TLSClientConfig: c})
	})
	check.Add("amqp091-go: SASL EXTERNAL by a client certificate", limit, func(ctx context.Context) {
		amqpRoundTrip(ctx, amqp.Config{SASL: external(), TLSClientConfig: config("guest")})
	})
	check.Add("amqp091-go: a certificate that names nobody logs nobody in", limit, func(context.Context) {
		_, err := amqp.DialConfig(url(), amqp.Config{SASL: external(), TLSClientConfig: config("stranger")})
		check.Equal(errors.Is(err, amqp.ErrCredentials), true, fmt.Sprintf("refused as a login is: %v", err))
	})
	check.Add("amqp091-go: a broker that is not trusted is not spoken to", limit, func(context.Context) {
		_, err := amqp.DialConfig(url(), amqp.Config{SASL: password(), TLSClientConfig: &tls.Config{ServerName: "localhost"}})
		check.Equal(errors.As(err, new(*tls.CertificateVerificationError)), true, fmt.Sprintf("an error of TLS: %v", err))
	})
	check.Add("franz-go: TLS, without a login", limit, func(ctx context.Context) { check.OK(kafkaRoundTrip(ctx, ""), "round trip") })
	check.Add("franz-go: a client certificate is the login", limit, func(ctx context.Context) { check.OK(kafkaRoundTrip(ctx, "guest"), "round trip") })
	check.Add("franz-go: SASL over TLS", limit, func(ctx context.Context) {
		check.OK(kafkaRoundTrip(ctx, "", kgo.SASL(plain.Auth{User: "guest", Pass: "guest"}.AsMechanism())), "PLAIN")
		check.OK(kafkaRoundTrip(ctx, "stranger", kgo.SASL(scram.Auth{User: "guest", Pass: "guest"}.AsSha256Mechanism())), "SCRAM, with a stranger's certificate")
	})
	check.Add("franz-go: a certificate that names nobody lets nobody in", limit, func(ctx context.Context) {
		if kafkaRoundTrip(ctx, "stranger") == nil {
			check.Fail("it was let in")
		}
	})
	check.Main()
}

func dir(name string) string { return filepath.Join(os.Getenv("TLS_DIR"), name) }

func url() string { return "amqps://" + os.Getenv("AMQPS_ADDR") + "/" }

func password() []amqp.Authentication {
	return []amqp.Authentication{&amqp.PlainAuth{Username: "guest", Password: "guest"}}
}

func external() []amqp.Authentication { return []amqp.Authentication{&amqp.ExternalAuth{}} }

// config trusts the broker, and shows a certificate unless user is empty.
func config(user string) *tls.Config {
	roots := x509.NewCertPool()
	check.Equal(roots.AppendCertsFromPEM(check.Get(os.ReadFile(dir("ca.pem")))), true, "the authority is read")
	c := &tls.Config{RootCAs: roots, ServerName: "localhost"}
	if user != "" {
		c.Certificates = []tls.Certificate{check.Get(tls.LoadX509KeyPair(dir("client-"+user+".pem"), dir("client-"+user+"-key.pem")))}
	}
	return c
}

// body is a large message that is not compressed on its way.
func body() []byte {
	b := make([]byte, 900_000)
	_, _ = rand.Read(b)
	return b
}

func amqpRoundTrip(ctx context.Context, c amqp.Config) {
	conn, err := amqp.DialConfig(url(), c)
	check.OK(err, "dial")
	defer func() { _ = conn.Close() }()
	check.Equal(conn.ConnectionState().HandshakeComplete, true, "TLS is spoken")
	ch, err := conn.Channel()
	check.OK(err, "channel")
	check.OK(ch.Confirm(false), "confirm.select")
	q, err := ch.QueueDeclare(check.Name("queue"), true, false, false, false, nil)
	check.OK(err, "declare")
	sent := [][]byte{body(), []byte("small"), {}}
	for _, b := range sent {
		confirm, err := ch.PublishWithDeferredConfirmWithContext(ctx, "", q.Name, false, false, amqp.Publishing{DeliveryMode: amqp.Persistent, Body: b})
		check.OK(err, "publish")
		check.Equal(check.Get(confirm.WaitContext(ctx)), true, "confirmed")
	}
	messages, err := ch.Consume(q.Name, "", true, false, false, false, nil)
	check.OK(err, "consume")
	for _, want := range sent {
		check.Equal(bytes.Equal((<-messages).Body, want), true, "what came back is what was sent")
	}
	_, err = ch.QueueDelete(q.Name, false, false, false)
	check.OK(err, "delete")
	check.OK(conn.Close(), "close")
}

var topics int

func kafkaRoundTrip(ctx context.Context, user string, more ...kgo.Opt) error {
	topics++
	topic := check.Name(fmt.Sprint("topic", topics))
	cl, err := kgo.NewClient(append(more, kgo.SeedBrokers(os.Getenv("KAFKA_TLS_ADDR")), kgo.DialTLSConfig(config(user)), kgo.AllowAutoTopicCreation(),
		kgo.ConsumeTopics(topic), kgo.DefaultProduceTopic(topic), kgo.RequestRetries(1))...)
	check.OK(err, "client")
	defer cl.Close()
	if err := cl.Ping(ctx); err != nil { // producing tries again and again
		return err
	}
	want := body()
	check.OK(cl.ProduceSync(ctx, &kgo.Record{Value: want}, &kgo.Record{Value: []byte("small")}).FirstErr(), "produce")
	var got []*kgo.Record
	for len(got) == 0 || string(got[len(got)-1].Value) != "small" {
		fetches := cl.PollFetches(ctx)
		for _, e := range fetches.Errors() {
			if ctx.Err() != nil || !strings.Contains(e.Err.Error(), "UNKNOWN_TOPIC") {
				check.OK(e.Err, "fetch")
			}
		}
		got = append(got, fetches.Records()...)
	}
	check.Equal(bytes.Equal(got[len(got)-2].Value, want), true, "what came back is what was sent")
	return nil
}
