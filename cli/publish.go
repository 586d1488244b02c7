package cli

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"unicode/utf8"

	"github.com/spf13/cobra"
)

// maxBody is how long a message that is published here may be, in bytes: the API takes 20 MB with what stands around it.
const maxBody = 14 << 20

// publishing is what is to be published, and how.
type publishing struct {
	exchange, key, file                string
	lines, transient, unrouted, quiet  bool
	count, atOnce                      int
	headers, properties                []string
	contentType, expiration, messageID string
	priority                           int
	delay                              string
}

func publishCommand() *cobra.Command {
	p := &publishing{}
	c := &cobra.Command{
		Use: "publish [QUEUE] [TEXT]", Short: "Publish messages, and wait until they are safe", Args: takes(0, 2, ""),
		Long: `Publishes a message to a queue, or with --exchange to an exchange. The message is the text that is given, a file, or what
comes in on standard input; with --lines each line is one. It is done when the broker has confirmed it, which means what the broker's
setting sync says; a message that no queue takes is an error.`,
		Example: `  leveret publish jobs 'resize 17.png'
  leveret publish jobs --file job.json --content-type application/json
  tail -f app.log | leveret publish --exchange logs --key app.error --lines
  leveret publish jobs 'later' -H kind=mail -H tries=3 -P correlation_id=17 --expiration 10m
  leveret publish jobs --lines --file jobs.txt --at-once 32`,
	}
	t := reach(c)
	t.inVHost(c, inOne)
	f := c.Flags()
	f.StringVarP(&p.exchange, "exchange", "x", "", "exchange to publish to, default the one that leads to each queue by its name")
	f.StringVarP(&p.key, "key", "k", "", "routing key, default the name of the queue")
	f.StringVarP(&p.file, "file", "f", "", "file that is the message, or with --lines holds them; - is standard input")
	f.BoolVarP(&p.lines, "lines", "l", false, "each line is a message")
	f.StringArrayVarP(&p.headers, "header", "H", nil, "header NAME=VALUE; may be given several times")
	f.StringArrayVarP(&p.properties, "property", "P", nil, "property NAME=VALUE, such as reply_to or type; may be given several times")
	f.StringVar(&p.contentType, "content-type", "", "what the message is, such as application/json")
	f.StringVar(&p.messageID, "message-id", "", "its id")
	f.IntVar(&p.priority, "priority", 0, "its priority, in a queue that has some")
	f.StringVar(&p.expiration, "expiration", "", "it expires after this time, as 10m or milliseconds")
	f.StringVar(&p.delay, "delay", "", "an x-delayed-message exchange keeps it for this time, as 10m")
	f.BoolVar(&p.transient, "transient", false, "it need not outlive the broker")
	f.BoolVar(&p.unrouted, "allow-unrouted", false, "a message that no queue takes is no error")
	f.IntVarP(&p.count, "count", "n", 1, "publish it so many times")
	f.IntVar(&p.atOnce, "at-once", 1, "so many are on their way at a time; more than 1 is faster and keeps no order")
	f.BoolVarP(&p.quiet, "quiet", "q", false, "say nothing when all went well")
	c.ValidArgsFunction = completeFirst("queues", "name")
	_ = c.RegisterFlagCompletionFunc("exchange", completeNames("exchanges", "name"))
	c.RunE = func(c *cobra.Command, args []string) error {
		cl, err := t.settle(c)
		if err != nil {
			return err
		}
		return p.run(c, cl, t, args)
	}
	return c
}

// message is the body of a request to publish.
type message struct {
	Properties map[string]any `json:"properties"`
	RoutingKey string         `json:"routing_key"`
	Payload    string         `json:"payload"`
	Encoding   string         `json:"payload_encoding"`
}

func (p *publishing) run(c *cobra.Command, cl *client, t *target, args []string) error {
	if p.exchange != "" {
		switch {
		case len(args) > 1:
			return usagef("with --exchange the key is given with --key, and the message is the one word behind: %q is too many", args[1])
		case len(args) == 1:
			args = []string{p.key, args[0]}
		default:
			args = []string{p.key}
		}
	} else if len(args) == 0 {
		return usagef("the name of the queue is missing, or --exchange; %s --help shows how it is written", c.CommandPath())
	}
	key := args[0]
	if p.exchange == "" && p.key != "" {
		return usagef("--key goes with --exchange; to a queue it is the queue's name")
	}
	if p.count < 1 || p.atOnce < 1 || p.atOnce > maxAtOnce {
		return usagef("--count is from 1 on, --at-once from 1 to %d", maxAtOnce)
	}
	properties, err := p.read(c)
	if err != nil {
		return err
	}
	one := func(body []byte) (*message, error) {
		if len(body) > maxBody {
			return nil, fmt.Errorf("a message of %s is more than the HTTP API takes (%s): publish it with a client of AMQP or Kafka", sizeText(float64(len(body))), sizeText(maxBody))
		}
		m := &message{properties, key, string(body), "string"}
		if !utf8.Valid(body) {
			m.Payload, m.Encoding = base64.StdEncoding.EncodeToString(body), "base64"
		}
		return m, nil
	}
	w := &posting{p: p, cl: cl, path: at("exchanges", t.vhost, exchangeName(p.exchange), "publish"), to: p.exchange, key: key}
	ctx, stop := interruptible(c)
	defer stop()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	w.start(ctx, cancel)
	err = p.feed(c, args[1:], func(body []byte) error {
		m, err := one(body)
		if err != nil {
			return err
		}
		for range p.count {
			if err := w.give(ctx, m); err != nil {
				return err
			}
		}
		return nil
	})
	w.wait()
	if failed := context.Cause(ctx); failed != nil && !errors.Is(failed, context.Canceled) {
		err = failed
	}
	n := w.done.Load()
	if err != nil && n > 0 {
		return fmt.Errorf("%d were published, then: %w", n, err)
	}
	if err != nil {
		return missing(err, "exchange", exchangeName(p.exchange), t.vhost, "exchanges")
	}
	if !p.quiet {
		fmt.Fprintln(c.OutOrStdout(), counted(n, "message"), "published")
	}
	return nil
}

func counted(n int64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.FormatInt(n, 10) + " " + what + "s"
}

// read makes the properties of what the flags say.
func (p *publishing) read(c *cobra.Command) (map[string]any, error) {
	out := map[string]any{"delivery_mode": 2}
	if p.transient {
		out["delivery_mode"] = 1
	}
	for _, w := range p.properties {
		name, value, ok := strings.Cut(w, "=")
		if !ok {
			return nil, usagef("--property: %q should be NAME=VALUE", w)
		}
		if !slices.Contains(propertyNames, name) {
			return nil, usagef("--property: there is none called %q; there are %s; all else is a --header", name, strings.Join(propertyNames, ", "))
		}
		out[name] = value
		if name == "priority" || name == "timestamp" || name == "delivery_mode" {
			n, err := strconv.ParseUint(value, 10, 62)
			if err != nil {
				return nil, usagef("--property: %s must be a number, it is %q", name, value)
			}
			out[name] = n
		}
	}
	headers := map[string]any{}
	if err := readPairs("--header", p.headers, headers); err != nil {
		return nil, err
	}
	if p.delay != "" {
		ms, err := readMillis(p.delay)
		if err != nil {
			return nil, usagef("--delay: %v", err)
		}
		headers["x-delay"] = ms
	}
	if len(headers) > 0 {
		out["headers"] = headers
	}
	if p.expiration != "" {
		ms, err := readMillis(p.expiration)
		if err != nil {
			return nil, usagef("--expiration: %v", err)
		}
		out["expiration"] = fmt.Sprint(ms)
	}
	if p.contentType != "" {
		out["content_type"] = p.contentType
	}
	if p.messageID != "" {
		out["message_id"] = p.messageID
	}
	if c.Flags().Changed("priority") {
		if p.priority < 0 || p.priority > 255 {
			return nil, usagef("--priority: %d is not between 0 and 255", p.priority)
		}
		out["priority"] = p.priority
	}
	return out, nil
}

var propertyNames = []string{"app_id", "cluster_id", "content_encoding", "content_type", "correlation_id", "delivery_mode", "expiration", "message_id", "priority", "reply_to", "timestamp", "type", "user_id"}

// feed calls give with each message that there is.
func (p *publishing) feed(c *cobra.Command, text []string, give func([]byte) error) error {
	if len(text) > 0 {
		if p.file != "" || p.lines {
			return usagef("the message is given twice: as the word %q, and by --file or --lines", text[0])
		}
		return give([]byte(text[0]))
	}
	in, size := c.InOrStdin(), int64(0)
	switch {
	case p.file != "" && p.file != "-":
		f, err := os.Open(p.file)
		if err != nil {
			return err
		}
		defer f.Close()
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
			size = info.Size()
		}
		in = f
	case isTerminal(in):
		fmt.Fprintln(c.ErrOrStderr(), "Type the message; Ctrl-D on a line of its own ends it.")
	}
	if !p.lines {
		body, err := io.ReadAll(io.LimitReader(in, maxBody+1))
		if err != nil {
			return err
		}
		return give(body)
	}
	bar := newProgress(c.ErrOrStderr(), "published", size)
	defer bar.close()
	r := bufio.NewReaderSize(bar.reader(in), 64<<10)
	for {
		line, err := readLine(r)
		if len(line) > 0 || err == nil {
			if err := give(line); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// readLine reads a line without its end, and a last one that has none.
func readLine(r *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case len(line) > maxBody+2:
			return nil, fmt.Errorf("a line is longer than a message may be (%s)", sizeText(maxBody))
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err != nil:
			return line, err
		}
		line = line[:len(line)-1]
		if n := len(line); n > 0 && line[n-1] == '\r' {
			line = line[:n-1]
		}
		return line, nil
	}
}

// posting sends messages, several at a time where it is asked to.
type posting struct {
	p             *publishing
	cl            *client
	path, to, key string
	queue         chan *message
	workers       sync.WaitGroup
	done          atomic.Int64
}

func (w *posting) start(ctx context.Context, cancel context.CancelCauseFunc) {
	w.queue = make(chan *message)
	for range w.p.atOnce {
		w.workers.Go(func() {
			for m := range w.queue {
				if err := w.post(ctx, m); err != nil {
					cancel(err)
					return
				}
				w.done.Add(1)
			}
		})
	}
}

// give hands a message on; it waits for the one before where order is kept.
func (w *posting) give(ctx context.Context, m *message) error {
	select {
	case w.queue <- m:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (w *posting) wait() {
	close(w.queue)
	w.workers.Wait()
}

func (w *posting) post(ctx context.Context, m *message) error {
	var said struct {
		Routed bool `json:"routed"`
	}
	if _, err := w.cl.ask(ctx, http.MethodPost, w.path, m, &said); err != nil {
		return err
	}
	if !said.Routed && !w.p.unrouted {
		if w.to == "" {
			return fmt.Errorf("there is no queue %s, so nobody has the message: leveret declare queue %s makes it", w.key, w.key)
		}
		return fmt.Errorf("no queue takes the key %q from exchange %s, so nobody has the message: leveret bind %s QUEUE %s makes a queue take it, --allow-unrouted lets it go", w.key, w.to, w.to, w.key)
	}
	return nil
}
