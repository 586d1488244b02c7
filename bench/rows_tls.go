package bench

import (
	"context"

	"github.com/leveret-mq/leveret/bench/amqpload"
	"github.com/leveret-mq/leveret/bench/kafkaload"
	"github.com/leveret-mq/leveret/internal/devcert"
)

// tlsRows are loads that are rows without TLS, too: amqps-1k is amqp-1k, kafka-tls-ingest-1k-p1 is kafka-ingest-1k-p1.
func tlsRows() []row {
	confirmed := amqpload.Load{BodyBytes: 1024, Window: confirmWindow, Prefetch: ackPrefetch, AckEvery: ackBatch}
	load := func(l amqpload.Load) func(context.Context, *running) error {
		return func(ctx context.Context, x *running) error { return publishAndConsume(ctx, x, l) }
	}
	return []row{
		{name: "amqps-ingest-1k", protocol: amqpTLS, workload: "ingest", about: "with TLS: publish with confirms (window 5,000), no consumer",
			run: func(ctx context.Context, x *running) error { return publishOnly(ctx, x, 1024, wideWindow) }},
		{name: "amqps-1k", protocol: amqpTLS, workload: "auto-ack", about: "with TLS: publish and consume, automatic acks", run: load(amqpload.Load{BodyBytes: 1024, AutoAck: true})},
		{name: "amqps-16k", protocol: amqpTLS, workload: "auto-ack", about: "with TLS: publish and consume, automatic acks", run: load(amqpload.Load{BodyBytes: 16 << 10, AutoAck: true})},
		{name: "amqps-1k-confirm", protocol: amqpTLS, workload: "confirm", about: "with TLS: confirms (window 1,000), prefetch 1,000, acks of 100", run: load(confirmed)},
		{name: "kafka-tls-ingest-1k-p1", protocol: kafkaTLS, workload: "ingest", about: "with TLS: raw Produce requests to one partition",
			run: func(ctx context.Context, x *running) error { return ingest(ctx, x, x.kafkaLoad(1, 1024), nil) }},
		{name: "kafka-tls-fetch-1k-p1", protocol: kafkaTLS, workload: "catch-up", about: "with TLS: raw Fetch requests, reading a topic from its start",
			run: func(ctx context.Context, x *running) error { return fetch(ctx, x, x.kafkaLoad(1, 1024)) }},
		{name: "kafka-tls-tail-1k", protocol: kafkaTLS, workload: "tail", about: "with TLS: raw Produce requests, batches of 64 KiB, a raw reader at the tail",
			run: func(ctx context.Context, x *running) error { return followTail(ctx, x, x.batched(1024, smallBatch), 1) }},
	}
}

// secureLogin is login with TLS.
func (o *options) secureLogin(hostPort string) amqpload.Address {
	a := o.login(hostPort)
	a.TLS = true
	return a
}

// secureKafka is the address of a broker that is spoken to with TLS; "" stays so.
func secureKafka(hostPort string) string {
	if hostPort == "" {
		return ""
	}
	return kafkaload.TLSPrefix + hostPort
}

// secureArgs are the arguments of a broker that is started at these addresses with TLS, if there are rows for it. Its
// certificate is made beside the data directory, and goes with it.
func (o *options) secureArgs(dir, amqps, kafkaTLS string) ([]string, error) {
	if !o.secure {
		return nil, nil
	}
	a, _, err := devcert.Open(secureDir(dir))
	if err != nil {
		return nil, err
	}
	pair, err := a.Server("server", []string{"127.0.0.1"}, devcert.DefaultTime, true)
	return []string{"--tls-cert", pair.Cert, "--tls-key", pair.Key, "--amqps-addr", amqps, "--kafka-tls-addr", kafkaTLS, "--stomp-tls-addr", "off", "--http-tls-addr", "off", "--metrics-tls-addr", "off"}, err
}

func secureDir(dataDir string) string { return dataDir + "-tls" }
