// Command torture hurts the real broker and looks whether it keeps its word. Each
// campaign draws its faults from a seed, which is printed, and can be run alone:
//
//	damage   bytes, pages and files of the data directory are spoilt between two lives
//	full     the disk fills up, with kills while it is full
//	state    the disk is full, and Kafka's clients ask for what is to be kept
//	device   a block device ends while it is read and written (a loop device that is cut)
//	hostile  clients that send rubbish, too much, or nothing, and never read
//
// The kill -9 loop is test/crash. Beside hostile clients one well-behaved client of each
// protocol, the witness, must always get through.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/leveret-mq/leveret/test/process"
)

func main() {
	var o options
	flag.StringVar(&o.broker, "broker", "bin/leveret", "the binary to hurt")
	flag.Uint64Var(&o.seed, "seed", 0, "seed of every random choice; 0 draws one")
	flag.IntVar(&o.rounds, "rounds", 20, "rounds of each campaign")
	flag.StringVar(&o.only, "only", "", "campaigns, with commas between; empty is all of them")
	flag.StringVar(&o.dir, "dir", "", "directory for data; empty makes one and removes it after success")
	flag.Parse()
	if o.seed == 0 {
		o.seed = rand.Uint64()
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, &o, os.Stdout); err != nil {
		fmt.Fprintf(os.Stderr, "torture: %v\n", err)
		os.Exit(1)
	}
}

type options struct {
	broker string
	seed   uint64
	rounds int
	only   string
	dir    string
}

// campaign is one kind of fault. Its function runs one round in a directory of its own
// and says in a few words what it did.
type campaign struct {
	name  string
	round func(*trial) (string, error)
}

func campaigns() []campaign {
	return []campaign{{"damage", damage}, {"full", full}, {"state", state}, {"device", device}, {"hostile", hostile}}
}

// trial is one round: a broker, not started yet, and the choices.
type trial struct {
	ctx    context.Context
	rng    *rand.Rand
	dir    string
	broker *process.Broker
}

func run(ctx context.Context, o *options, out io.Writer) error {
	dir := o.dir
	if dir == "" {
		made, err := os.MkdirTemp("", "leveret-torture-")
		if err != nil {
			return err
		}
		dir = made
	}
	fmt.Fprintf(out, "torture: seed %d, %d rounds of each campaign, data in %s\n", o.seed, o.rounds, dir)
	for _, c := range campaigns() {
		if o.only != "" && !strings.Contains(","+o.only+",", ","+c.name+",") {
			continue
		}
		for n := 1; n <= o.rounds; n++ {
			began := time.Now()
			did, err := one(ctx, o, c, n, dir)
			if err != nil {
				return fmt.Errorf("%s, round %d: %w\ntorture: what is left is in %s; repeat with: bin/torture --rounds %d --seed %d --only %s", c.name, n, err, dir, n, o.seed, c.name)
			}
			fmt.Fprintf(out, "torture: %s %d of %d, %.1f s: %s\n", c.name, n, o.rounds, time.Since(began).Seconds(), did)
		}
	}
	fmt.Fprintln(out, "torture: all held")
	if o.dir == "" {
		return os.RemoveAll(dir)
	}
	return nil
}

// one runs a round. Its choices depend on the seed, the campaign and the number alone.
func one(ctx context.Context, o *options, c campaign, n int, dir string) (did string, err error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	name := fnv.New64a()
	fmt.Fprintf(name, "%s %d", c.name, n)
	home := filepath.Join(dir, fmt.Sprintf("%s-%d", c.name, n))
	b, err := process.New(o.broker, home)
	if err != nil {
		return "", err
	}
	defer b.Kill()
	t := &trial{ctx: ctx, rng: rand.New(rand.NewPCG(o.seed, name.Sum64())), dir: home, broker: b}
	if did, err = c.round(t); err != nil {
		return "", fmt.Errorf("%s\n%w\nthe broker's last words:\n%s", did, err, b.LastWords())
	}
	b.Kill()
	return did, os.RemoveAll(home)
}

// stopGrace is how long a stop may take: the broker's own grace and a little.
const stopGrace = 15 * time.Second

// end stops the broker in order or kills it.
func (t *trial) end() (how string, err error) {
	if t.rng.IntN(2) == 0 {
		t.broker.Kill()
		return "killed", nil
	}
	return "stopped", t.broker.Stop(stopGrace)
}

// errDied says that the broker ended by itself.
var errDied = errors.New("the broker has ended by itself")

func (t *trial) alive() error {
	if t.broker.Died() {
		return errDied
	}
	return nil
}
