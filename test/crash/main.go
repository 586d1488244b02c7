package main

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

func main() {
	var o options
	flag.StringVar(&o.broker, "broker", "bin/leveret", "the binary to kill")
	flag.IntVar(&o.rounds, "rounds", 200, "how often to kill it")
	flag.Uint64Var(&o.seed, "seed", 0, "seed of every random choice; 0 draws one")
	flag.StringVar(&o.dir, "dir", "", "data directory; empty makes one and removes it after success")
	flag.Parse()
	if o.seed == 0 {
		o.seed = rand.Uint64()
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o, os.Stdout); err != nil {
		fmt.Fprintf(os.Stderr, "crash: %v\ncrash: repeat with: make crash ROUNDS=%d SEED=%d\n", err, o.rounds, o.seed)
		os.Exit(1)
	}
}

// options are one run's settings.
type options struct {
	broker string
	rounds int
	seed   uint64
	dir    string
}

// drainEvery is how often every queue is read empty, in rounds.
const drainEvery = 10

func run(ctx context.Context, o options, out *os.File) error {
	rng := rand.New(rand.NewPCG(o.seed, 0))
	dir := o.dir
	if dir == "" {
		made, err := os.MkdirTemp("", "leveret-crash-")
		if err != nil {
			return err
		}
		dir = made
	}
	fmt.Fprintf(out, "crash: seed %d, %d rounds, data in %s\n", o.seed, o.rounds, dir)
	b, err := newBroker(o.broker, dir, rng)
	if err != nil {
		return err
	}
	defer b.Kill()
	h := &harness{broker: b, rng: rng, model: newModel(), flows: newFlowModels(), stream: &streamModel{}, xmpp: &xmppModel{}, admin: newAdminModel(), kafka: newKafkaModel(), txns: newTxnModel(), compact: newCompactModel(), parts: newParts(), out: out}
	if err := h.rounds(ctx, o.rounds); err != nil {
		return fmt.Errorf("%w\ncrash: the data directory is kept in %s, the broker's last words are in %s", err, dir, b.LogFile)
	}
	fmt.Fprintf(out, "crash: %d rounds held: %s\n", o.rounds, h.summary())
	if o.dir == "" {
		b.Kill() // or it would write what is being removed
		return os.RemoveAll(dir)
	}
	return nil
}

// harness joins the broker, the load and what must hold.
type harness struct {
	broker  *broker
	rng     *rand.Rand
	model   *model
	flows   []*flowModel
	stream  *streamModel
	xmpp    *xmppModel
	admin   *adminModel
	kafka   *kafkaModel
	txns    *txnModel
	compact *compactModel
	parts   []part
	out     *os.File

	txnsBefore int // transactions that were answered before this life

	started  time.Time
	slowest  time.Duration // start until connections are taken
	killedIn int           // kills during start-up
}

func (h *harness) rounds(ctx context.Context, n int) error {
	h.started = time.Now()
	for round := 1; round <= n; round++ {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("interrupted in round %d: %w", round, err)
		}
		if err := h.round(ctx, round, round%drainEvery == 0); err != nil {
			return fmt.Errorf("round %d: %w", round, err)
		}
		if round%drainEvery == 0 {
			fmt.Fprintf(h.out, "crash: round %d of %d, %.1f s: %s\n", round, n, time.Since(h.started).Seconds(), h.summary())
		}
	}
	// The last start: everything must be there.
	if err := h.start(); err != nil {
		return err
	}
	if err := h.verify(ctx, n+1); err != nil {
		return fmt.Errorf("after the last round: %w", err)
	}
	if err := h.drain(ctx, n+1); err != nil {
		return fmt.Errorf("after the last round: %w", err)
	}
	if err := h.each(func(p part, a *asker) error { return p.finish(a) }); err != nil {
		return fmt.Errorf("after the last round: %w", err)
	}
	return h.kafka.finish(ctx, h.broker.Kafka)
}

// round is one life of the broker.
func (h *harness) round(ctx context.Context, round int, drain bool) error {
	if h.rng.IntN(10) == 0 {
		// A life that ends before anybody connects: recovery itself is interrupted.
		if err := h.broker.Begin(h.broker.flags(h.rng)...); err != nil {
			return err
		}
		time.Sleep(time.Duration(h.rng.IntN(30)) * time.Millisecond)
		h.broker.Kill()
		h.killedIn++
		for _, m := range h.flows {
			m.killed()
		}
	}
	if err := h.start(); err != nil {
		return err
	}
	if err := h.verify(ctx, round); err != nil {
		return err
	}
	if drain {
		if err := h.drain(ctx, round); err != nil {
			return err
		}
	}
	h.txnsBefore = h.txns.answers()
	life, cancel := context.WithCancel(ctx)
	defer cancel()
	load, err := startLoad(life, h, round)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	time.Sleep(time.Duration(100+h.rng.IntN(300)) * time.Millisecond)
	h.heardAll()
	died := h.broker.Died()
	for _, m := range h.flows {
		m.dying()
	}
	h.broker.Kill()
	cancel()
	load.wait()
	if died {
		return fmt.Errorf("the broker ended by itself: %s", h.broker.LastWords())
	}
	for _, m := range h.flows {
		m.killed()
		if err := m.violation(); err != nil {
			return err
		}
	}
	if err := h.stream.violation(); err != nil {
		return err
	}
	if err := h.xmpp.violation(); err != nil {
		return err
	}
	if err := h.admin.violation(); err != nil {
		return err
	}
	for _, p := range h.parts {
		if err := p.state().violation(); err != nil {
			return err
		}
	}
	return h.model.violation()
}

func (h *harness) start() error {
	from := time.Now()
	if err := h.broker.Start(h.broker.flags(h.rng)...); err != nil {
		return err
	}
	h.slowest = max(h.slowest, time.Since(from))
	return nil
}

// verify checks what can be checked before the load begins.
func (h *harness) verify(ctx context.Context, round int) error {
	if err := h.admin.verify(ctx, h.broker.HTTP, h.broker.AMQP); err != nil {
		return err
	}
	if round == 1 {
		if err := h.declare(ctx); err != nil {
			return err
		}
		if err := h.each(func(p part, a *asker) error { return p.declare(a) }); err != nil {
			return err
		}
		return h.declareXMPP()
	}
	if err := h.each(func(p part, a *asker) error { return p.verify(a) }); err != nil {
		return err
	}
	if err := h.txns.verify(ctx, h.kafka, h.broker.Kafka); err != nil {
		return err
	}
	if err := h.compact.verify(ctx, h.kafka, h.broker.Kafka); err != nil {
		return err
	}
	return h.kafka.verify(ctx, h.broker.Kafka)
}

func (h *harness) summary() string {
	var parts strings.Builder
	for _, p := range h.parts {
		parts.WriteString(p.summary() + "; ")
	}
	return fmt.Sprintf("%s; %s; %s; %s; %s; %s; %s; %s; %sslowest start %d ms, %d kills during start-up",
		h.model.summary(), flowSummary(h.flows), h.stream.summary(), h.xmpp.summary(), h.admin.summary(), h.kafka.summary(), h.txns.summary(), h.compact.summary(), parts.String(), h.slowest.Milliseconds(), h.killedIn)
}
