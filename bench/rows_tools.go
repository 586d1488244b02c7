package bench

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"time"

	"github.com/leveret-mq/leveret/bench/amqpload"
	"github.com/leveret-mq/leveret/bench/kafkaload"
)

// toolRows put load on a broker with the programs that its peers' makers measure with, so
// that nobody has to trust ours. Every broker gets the same number of messages: what about
// toolTime takes at the rates, messages a second, that stand here, which are low ones of the
// peers themselves. The tools check nothing but counts.
func toolRows() []row {
	producer := func(name, about string, bodyBytes int, rate float64, properties ...string) row {
		return row{name: "kafka-perf-" + name, workload: "client-produce", tool: kafkaTools, protocol: kafka, short: true, about: "Kafka's producer tool, " + about,
			run: func(ctx context.Context, x *running) error {
				return toolProduce(ctx, x, bodyBytes, x.toolMessages(rate), properties)
			}}
	}
	tuned := []string{"batch.size=524288", "linger.ms=5", "buffer.memory=134217728"}
	perf := func(name, workload, about string, bodyBytes int, rate float64, args ...string) row {
		return row{name: "perftest-" + name, workload: workload, tool: perfTest, protocol: amqp, short: true, about: "RabbitMQ's PerfTest, " + about,
			run: func(ctx context.Context, x *running) error {
				return toolPerfTest(ctx, x, bodyBytes, x.toolMessages(rate), args)
			}}
	}
	return []row{
		producer("produce-100b", "batches of 512 KiB, linger 5 ms", 100, 400e3, tuned...),
		producer("produce-1k", "batches of 512 KiB, linger 5 ms", 1024, 100e3, tuned...),
		producer("produce-1k-default", "its defaults: batches of 16 KiB, idempotent", 1024, 40e3),
		{name: "kafka-perf-consume-1k", workload: "client-consume", tool: kafkaTools, protocol: kafka, short: true, about: "Kafka's consumer tool, reading a topic from its start",
			run: func(ctx context.Context, x *running) error { return toolConsume(ctx, x, 1024, x.toolMessages(200e3)) }},
		perf("12b", "auto-ack", "automatic acks", 12, 30e3, "--autoack"),
		perf("1k", "auto-ack", "automatic acks", 1024, 15e3, "--autoack"),
		perf("1k-confirm", "confirm", "confirms (window 1,000), prefetch 1,000, acks of 100", 1024, 10e3,
			"--confirm", "1000", "--qos", "1000", "--multi-ack-every", "100"),
		perf("e2e-5k", "paced", "5,000 messages a second, confirms, an ack a message", 1024, pacedRate,
			"--confirm", "1000", "--qos", "1000", "--rate", strconv.Itoa(pacedRate)),
	}
}

// toolTime is how long a tool should run: its start and compiling as it goes take a second
// or two, which ours do not have.
func (x *running) toolTime() time.Duration { return 4 * x.options.time }

func (x *running) toolMessages(perSecond float64) int64 {
	return int64(perSecond * x.toolTime().Seconds())
}

// elapsed is what a rate of the tool's own comes to.
func (f toolFigures) elapsed(messages int64) time.Duration {
	if f.rate <= 0 {
		return 0
	}
	return time.Duration(float64(messages) / f.rate * float64(time.Second))
}

// acksName is what clients call it.
func acksName(acks int16) string {
	if acks == -1 {
		return "all"
	}
	return strconv.Itoa(int(acks))
}

func toolProduce(ctx context.Context, x *running, bodyBytes int, messages int64, properties []string) error {
	payload, err := writePayload(x.options.tempDir, bodyBytes)
	if err != nil {
		return err
	}
	defer os.Remove(payload)
	args := []string{"--bootstrap-server", x.kafka, "--topic", x.name, "--num-records", strconv.FormatInt(messages, 10), "--throughput", "-1", "--payload-file", payload}
	if len(properties) > 0 {
		args = append(append(args, "--command-property", "acks="+acksName(x.options.acks(x.mode))), properties...)
	}
	return x.withTopic(ctx, 1, nil, func(a *kafkaload.Admin) error {
		var f toolFigures
		err := x.measured(ctx, func() (work, error) {
			out, err := x.options.found.run(ctx, kafkaTools, "org.apache.kafka.tools.ProducerPerformance", args...)
			if err != nil {
				return work{}, err
			}
			f, err = parseProducerPerformance(out)
			return work{messages: f.messages, bodyBytes: bodyBytes, elapsed: f.elapsed(f.messages)}, err
		})
		if err != nil {
			return err
		}
		x.result.setTool(f, "produce to acknowledgement")
		return checkEnds(ctx, a, x.name, []int64{messages})
	})
}

func toolConsume(ctx context.Context, x *running, bodyBytes int, messages int64) error {
	l := x.kafkaLoad(1, bodyBytes)
	l.Records, l.For = messages, x.options.rowLimit
	return x.withTopic(ctx, 1, nil, func(*kafkaload.Admin) error {
		p, err := produceAll(ctx, l)
		if err != nil {
			return fmt.Errorf("fill the topic: %w", err)
		}
		return x.measured(ctx, func() (work, error) {
			out, err := x.options.found.run(ctx, kafkaTools, "org.apache.kafka.tools.ConsumerPerformance", "--bootstrap-server", x.kafka, "--topic", x.name,
				"--num-records", strconv.FormatInt(p.Records, 10), "--timeout", strconv.FormatInt(x.options.rowLimit.Milliseconds()/2, 10))
			if err != nil {
				return work{}, err
			}
			f, err := parseConsumerPerformance(out)
			if err == nil && f.messages != p.Records {
				err = fmt.Errorf("%d records were consumed, %d were produced", f.messages, p.Records)
			}
			return work{messages: f.messages, bodyBytes: bodyBytes, elapsed: f.elapsed(f.messages)}, err
		})
	})
}

// toolPerfTest has PerfTest use a queue that we declared, through the default exchange, and
// makes sure that the queue is empty in the end.
func toolPerfTest(ctx context.Context, x *running, bodyBytes int, messages int64, args []string) error {
	l := amqpload.Load{Address: x.amqp, Name: x.name, BodyBytes: bodyBytes}
	run, err := l.Open(ctx)
	if err != nil {
		return err
	}
	defer run.Close()
	uri := url.URL{Scheme: "amqp", User: url.UserPassword(x.amqp.User, x.amqp.Password), Host: x.amqp.HostPort, Path: "/" + x.amqp.VHost, RawPath: "/" + url.PathEscape(x.amqp.VHost)}
	n := strconv.FormatInt(messages, 10)
	args = append([]string{"--uri", uri.String(), "--predeclared", "--exchange", "", "--routing-key", x.name, "--queue", x.name,
		"--size", strconv.Itoa(bodyBytes), "--flag", "persistent", "--pmessages", n, "--cmessages", n, "--interval", "1"}, args...)
	var f toolFigures
	err = x.measured(ctx, func() (work, error) {
		out, err := x.options.found.run(ctx, perfTest, "com.rabbitmq.perf.PerfTest", args...)
		if err != nil {
			return work{}, err
		}
		f, err = parsePerfTest(out)
		return work{messages: messages, bodyBytes: bodyBytes, elapsed: f.elapsed(messages)}, err
	})
	if err != nil {
		return err
	}
	x.result.setTool(f, "publish to delivery")
	return run.CheckHolds(0)
}
