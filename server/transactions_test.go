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
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	begin := func(timeout time.Duration) error {
		cl, err := kgo.NewClient(kgo.SeedBrokers(s.Addr("kafka")), kgo.TransactionalID("open"), kgo.TransactionTimeout(timeout), kgo.DefaultProduceTopic("t"), kgo.AllowAutoTopicCreation())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(cl.Close)
		if err := cl.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		return cl.ProduceSync(ctx, kgo.StringRecord("never committed")).FirstErr()
	}
	timeout := 500 * time.Millisecond
	for err := begin(timeout); err != nil; err = begin(timeout) { // it was over before it was there, on a slow machine
		if timeout *= 2; timeout > longEnough {
			t.Fatal(err)
		}
	}
	stop(t, s)
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
