package server_test

import (
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/leveret-mq/leveret/config"
	"github.com/leveret-mq/leveret/server"
)

func TestLoginsAreCountedByProtocol(t *testing.T) {
	c := config.Default()
	c.DataDir = t.TempDir()
	c.AMQPAddr, c.KafkaAddr, c.MetricsAddr = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	c.STOMPAddr, c.STOMPWSAddr, c.XMPPAddr, c.HTTPAddr = config.Off, config.Off, config.Off, config.Off
	s, err := server.Start(c, server.Options{Version: "test", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Stop(t.Context())
	dial(t, s)
	if conn, err := amqp.Dial("amqp://guest:wrong@" + s.Addr("amqp") + "/"); err == nil {
		conn.Close()
		t.Fatal("in with a wrong password")
	}
	answer, err := http.Get("http://" + s.Addr("metrics") + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	page, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`rabbitmq_auth_attempts_total{protocol="amqp091"} 2`,
		`rabbitmq_auth_attempts_succeeded_total{protocol="amqp091"} 1`,
		`rabbitmq_auth_attempts_failed_total{protocol="amqp091"} 1`,
		`rabbitmq_auth_attempts_total{protocol="kafka"} 0`,
	} {
		if !strings.Contains(string(page), want) {
			t.Errorf("the page lacks %s", want)
		}
	}
}
