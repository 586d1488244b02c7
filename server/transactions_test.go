package server

import (
	"context"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leveret-mq/leveret/config"
)

func TestTransactionsEndWithoutAListenerOfKafka(t *testing.T) {
	c := settings(t)
	s, err := start(t, c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	cl, err := kgo.NewClient(kgo.SeedBrokers(s.Addr("kafka")), kgo.TransactionalID("open"), kgo.TransactionTimeout(500*time.Millisecond), kgo.DefaultProduceTopic("t"), kgo.AllowAutoTopicCreation())
	if err != nil {
		t.Fatal(err)
	}
	if err := cl.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	if err := cl.ProduceSync(ctx, kgo.StringRecord("never committed")).FirstErr(); err != nil {
		t.Fatal(err)
	}
	stop(t, s)
	cl.Close()
	c.KafkaAddr = config.Off
	if s, err = start(t, c); err != nil {
		t.Fatal(err)
	}
	v, err := s.broker.VHost("/")
	if err != nil {
		t.Fatal(err)
	}
	for open := -1; open != 0; time.Sleep(10 * time.Millisecond) {
		list, err := v.OpenTransactions()
		if err != nil {
			t.Fatal(err)
		}
		if open = len(list); ctx.Err() != nil {
			t.Fatalf("%d transactions are open still", open)
		}
	}
}
