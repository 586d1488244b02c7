package server

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leveret-mq/leveret/admin"
	"github.com/leveret-mq/leveret/config"
	"github.com/leveret-mq/leveret/internal/logged"
)

func TestEachKafkaListenerTellsItsClientsItsOwnAddress(t *testing.T) {
	c := settings(t)
	c.KafkaAddr = "inside://127.0.0.1:0,outside://127.0.0.1:0,plain://127.0.0.1:0"
	c.KafkaAdvertised = "inside://inside.example:1,OUTSIDE://outside.example:2"
	s, err := start(t, c)
	if err != nil {
		t.Fatal(err)
	}
	if s.Addr("kafka") != s.Addr("kafka inside") || s.Addr("kafka inside") == s.Addr("kafka outside") {
		t.Errorf("%s %s %s", s.Addr("kafka"), s.Addr("kafka inside"), s.Addr("kafka outside"))
	}
	for name, want := range map[string]string{"kafka inside": "inside.example", "kafka outside": "outside.example", "kafka plain": "127.0.0.1"} {
		cl, err := kgo.NewClient(kgo.SeedBrokers(s.Addr(name)))
		if err != nil {
			t.Fatal(err)
		}
		defer cl.Close()
		ctx, cancel := context.WithTimeout(context.Background(), longEnough)
		defer cancel()
		seed := cl.SeedBrokers()[0]
		res, err := seed.Request(ctx, kmsg.NewPtrMetadataRequest())
		if err != nil {
			t.Fatal(err)
		}
		if got := res.(*kmsg.MetadataResponse).Brokers; len(got) != 1 || got[0].Host != want {
			t.Errorf("%s: %+v", name, got)
		}
		find := kmsg.NewPtrFindCoordinatorRequest()
		find.CoordinatorKey, find.CoordinatorKeys = "g", []string{"g"}
		if res, err = seed.Request(ctx, find); err != nil {
			t.Fatal(err)
		}
		if got := res.(*kmsg.FindCoordinatorResponse).Coordinators; len(got) != 1 || got[0].Host != want {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if banner := s.Banner(); !strings.Contains(banner, s.Addr("kafka outside")+", clients are told outside.example:2") {
		t.Error(banner)
	}
	answer, err := http.Get("http://" + s.Addr("metrics") + "/health")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	var health struct{ Listeners []admin.Listener }
	if err := json.NewDecoder(answer.Body).Decode(&health); err != nil {
		t.Fatal(err)
	}
	for _, l := range health.Listeners {
		if strings.HasPrefix(l.Name, "kafka ") && (l.Connections != 1 || !l.Up) {
			t.Errorf("%+v", l)
		}
	}
	if len(health.Listeners) != 9 {
		t.Errorf("%+v", health.Listeners)
	}
}

func TestTheDefaultVirtualHostIsMadeAndKafkasClientsAreInIt(t *testing.T) {
	log := &logged.Lines{}
	c := settings(t)
	c.DefaultVHost = "shop"
	s, err := Start(c, Options{Logger: log.Logger()})
	if err != nil {
		t.Fatal(err)
	}
	asked[*kmsg.MetadataResponse](t, s, named("t"))
	v, err := s.broker.VHost("shop")
	if err != nil || len(v.Queues()) != 1 {
		t.Errorf("%v: the topic is not in it", err)
	}
	if conn, err := amqp.Dial("amqp://guest:guest@" + s.Addr("amqp") + "/shop"); err != nil {
		t.Error(err)
	} else {
		_ = conn.Close()
	}
	if _, err := amqp.Dial("amqp://guest:guest@" + s.Addr("amqp") + "/%2f"); err == nil {
		t.Error("there is a virtual host / as well")
	}
	stop(t, s)
	c = changed(c, func(c *config.Config) { c.DefaultVHost = "another" })
	log.Take()
	if s, err = Start(c, Options{Logger: log.Logger()}); err != nil {
		t.Fatal(err)
	}
	defer stop(t, s)
	if got := log.Take(); !strings.Contains(got, "level=WARN") || !strings.Contains(got, "vhost=another") {
		t.Errorf("no warning of a virtual host that is left aside:\n%s", got)
	}
	if _, err := s.broker.VHost("another"); err == nil {
		t.Error("it was made although there is one")
	}
}
