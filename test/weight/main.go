// Command weight measures what very many messages weigh in memory that are neither ready nor
// gone, with a real broker and a client that others wrote:
//
//	delayed    wait in an exchange for their time
//	dead       become dead letters, all at once
//	acks       are acked one by one in a random order, of 10,000 that are held
//	straggler  pass through a queue at full rate, in which one stays unacked
//	keys       are of a compacted topic, each of a key of its own but for some; -memory is for keys
//
// Each has a broker of its own. The memory of the process without mapped files is taken before
// and after, and its peak between, and compared with a bound; so are the files of the straggler.
//
//	make weight N=1000000 ONLY=acks
//	make weight N=10000000 ONLY=straggler SEGMENT=64KiB
//	make weight N=100000000 ONLY=keys SHARE=100
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/leveret-mq/leveret/bench/measure"
	"github.com/leveret-mq/leveret/test/process"
)

// load is one kind of message. It returns what is wrong with the broker, or what is to be said.
type load struct {
	name string
	run  func(w *weighing) (note string, err error)
}

var loads = []load{{"delayed", delayed}, {"dead", dead}, {"acks", acks}, {"straggler", straggler}, {"keys", keys}}

// most is what any of them may take, however many messages there are: buffers of connections
// and garbage.
const most = 96 << 20

// weighing is one load's broker.
type weighing struct {
	ctx    context.Context
	broker *process.Broker
	n      int
}

// segment is how large the broker's segments are: small ones show what each of them costs.
var segment = flag.String("segment", "64MiB", "size of the broker's segments")

// What the broker's compaction may take.
var (
	keyMemory = flag.String("memory", "64MiB", "memory of compaction for keys")
	keyShare  = flag.String("share", "25", "percent of its time in which compaction works")
)

func main() {
	binary := flag.String("broker", "bin/leveret", "the binary to weigh")
	n := flag.Int("n", 1_000_000, "messages")
	only := flag.String("only", "", "loads, with commas between; empty is all of them")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	for _, l := range loads {
		if *only != "" && !strings.Contains(","+*only+",", ","+l.name+",") {
			continue
		}
		if err := l.weigh(ctx, *binary, *n); err != nil {
			fmt.Fprintf(os.Stderr, "weight: %s: %v\n", l.name, err)
			os.Exit(1)
		}
	}
}

func (l *load) weigh(ctx context.Context, binary string, n int) error {
	dir, err := os.MkdirTemp("", "leveret-weight-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	b, err := process.New(binary, filepath.Join(dir, l.name))
	if err != nil {
		return err
	}
	if err := b.Start("--sync", "os", "--segment-bytes", *segment, "--compaction-memory", *keyMemory, "--compaction-share", *keyShare, "--compaction-interval", "1s"); err != nil {
		return err
	}
	defer b.Kill()
	before, err := measure.MemoryOf(b.PID())
	if err != nil {
		return err
	}
	watch, err := measure.Begin(b.PID())
	if err != nil {
		return err
	}
	note, err := l.run(&weighing{ctx, b, n})
	used, _, watchErr := watch.End()
	if err := errors.Join(err, watchErr); err != nil {
		return err
	}
	after, err := measure.MemoryOf(b.PID())
	if err != nil {
		return err
	}
	fmt.Printf("weight: %-9s %d messages in %.1f s: %.1f MB before, %.1f MB at most, %.1f MB after; %s\n", l.name, n, used.Wall.Seconds(),
		mb(before.AnonBytes), mb(used.AnonBytes), mb(after.AnonBytes), note)
	bound := int64(most)
	if l.name == "keys" {
		if bound, err = keysBound(); err != nil {
			return err
		}
	}
	if grown := used.AnonBytes - before.AnonBytes; grown > bound {
		return fmt.Errorf("%d messages took %.1f MB, more than %.1f", n, mb(grown), mb(bound))
	}
	return nil
}

func mb(bytes int64) float64 { return float64(bytes) / 1e6 }

// counter is the figure of a series without labels.
func (w *weighing) counter(name string) (int64, error) {
	req, err := http.NewRequestWithContext(w.ctx, http.MethodGet, "http://"+w.broker.Metrics+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer func() { _ = res.Body.Close() }()
	for lines := bufio.NewScanner(res.Body); lines.Scan(); {
		if figure, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			n, err := strconv.ParseFloat(figure, 64)
			return int64(n), err
		}
	}
	return 0, fmt.Errorf("no %s in /metrics", name)
}

// diskBytes is what the files of a directory take.
func diskBytes(dir string) (n int64, err error) {
	files, err := measure.DiskOf(dir)
	for _, bytes := range files {
		n += bytes
	}
	return n, err
}
