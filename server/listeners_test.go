package server

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leveret-mq/leveret/admin"
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
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
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
	if len(health.Listeners) != 5 {
		t.Errorf("%+v", health.Listeners)
	}
}
