package cli

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/spf13/cobra"
)

// received is a message as the API shows it.
type received struct {
	Offset      *int64          `json:"offset,omitempty"`
	Timestamp   *int64          `json:"timestamp,omitempty"`
	Exchange    string          `json:"exchange"`
	Key         string          `json:"routing_key"`
	Redelivered *bool           `json:"redelivered,omitempty"`
	Bytes       int64           `json:"payload_bytes"`
	Properties  json.RawMessage `json:"properties"`
	Payload     string          `json:"payload"`
	Encoding    string          `json:"payload_encoding"`
	State       string          `json:"state,omitempty"`
	Partition   int             `json:"partition,omitempty"`
}

// body is what was published.
func (r *received) body() ([]byte, error) {
	if r.Encoding != "base64" {
		return []byte(r.Payload), nil
	}
	return base64.StdEncoding.DecodeString(r.Payload)
}

// shower shows messages.
type shower struct {
	out     io.Writer
	format  string // body, full or json
	tty     bool
	raw     bool
	noBreak bool
}

// messageFormats are those of --output where messages are shown.
var messageFormats = []string{"body", "full", "json"}

// showing gives a command the flags that say how messages are shown.
func showing(c *cobra.Command) *shower {
	s := &shower{}
	c.Flags().StringVarP(&s.format, "output", "o", "body", "body: what was published, a line each; full: with where it comes from and its properties; json: an object a line")
	c.Flags().BoolVar(&s.raw, "raw", false, "bodies as they are, also on a terminal, where what could steer it is shown as \\x1b otherwise")
	c.Flags().BoolVar(&s.noBreak, "no-newline", false, "no line feed behind a body")
	_ = c.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(messageFormats, cobra.ShellCompDirectiveNoFileComp))
	return s
}

// to makes it write to a command's output.
func (s *shower) to(c *cobra.Command) error {
	s.out = c.OutOrStdout()
	s.tty = isTerminal(s.out)
	for _, f := range messageFormats {
		if s.format == f {
			return nil
		}
	}
	if s.format == "table" {
		s.format = "full"
		return nil
	}
	return usagef("--output: %q is none of body, full, json", s.format)
}

// show shows a message; given is the object it came as.
func (s *shower) show(given json.RawMessage) error {
	if s.format == "json" {
		_, err := s.out.Write(append(cleanJSON(slices.Clone(given)), '\n'))
		return err
	}
	var r received
	if err := json.Unmarshal(given, &r); err != nil {
		return fmt.Errorf("the broker sent something that is no message: %w", err)
	}
	body, err := r.body()
	if err != nil {
		return fmt.Errorf("the broker sent a body that is not base64: %w", err)
	}
	if s.format == "full" {
		if _, err := fmt.Fprintln(s.out, "--- "+cleanLine(r.head())); err != nil {
			return err
		}
	}
	if s.tty && !s.raw {
		body = []byte(clean(string(body)))
	}
	if !s.noBreak {
		body = append(body, '\n')
	}
	_, err = s.out.Write(body)
	return err
}

// head is a line of all but the body.
func (r *received) head() string {
	text := ""
	if r.Offset != nil {
		if r.Partition > 0 {
			text += fmt.Sprintf("partition %d  ", r.Partition)
		}
		text += fmt.Sprintf("offset %d  ", *r.Offset)
	}
	if r.Timestamp != nil {
		text += time.UnixMilli(*r.Timestamp).Format("2006-01-02T15:04:05.000") + "  "
	}
	text += fmt.Sprintf("exchange %q  key %q  %d bytes", r.Exchange, r.Key, r.Bytes)
	if r.Redelivered != nil && *r.Redelivered {
		text += "  redelivered"
	}
	if r.State != "" {
		text += "  " + r.State
	}
	if fields, err := decode(r.Properties); err == nil && len(fields) > 0 {
		text += "  " + plain(fields)
	}
	return text
}

// consuming is how messages are taken.
type consuming struct {
	count  int64
	drain  bool
	wait   time.Duration
	keep   bool
	reject bool
}

func consumeCommand() *cobra.Command {
	k := &consuming{}
	c := &cobra.Command{
		Use: "consume QUEUE", Aliases: []string{"get"}, Short: "Take messages from a queue and print them", Args: takes(1, 1, "the name of the queue"),
		Long: `Takes messages from a queue, as any consumer does, and prints them: until it is interrupted, or as the flags say. They are
gone from the queue when the broker has sent them. What only looks is leveret tail, and leveret browse for what is there.`,
		Example: `  leveret consume jobs
  leveret consume jobs --count 10 --output full
  leveret consume jobs --drain > jobs.txt
  leveret consume jobs --count 1 --wait 5s --requeue`,
	}
	t := reach(c)
	t.inVHost(c, inOne)
	s := showing(c)
	c.Flags().Int64VarP(&k.count, "count", "n", 0, "end after so many; 0 is any number")
	c.Flags().BoolVar(&k.drain, "drain", false, "end when the queue is empty")
	c.Flags().DurationVar(&k.wait, "wait", 0, "end when none came for this time, as 10s")
	c.Flags().BoolVar(&k.keep, "requeue", false, "put those of --count back into the queue; they count as redelivered then")
	c.Flags().BoolVar(&k.reject, "reject", false, "reject them instead of acking: those of a queue with a dead-letter exchange go there")
	c.ValidArgsFunction = completeFirst("queues", "name")
	c.RunE = func(c *cobra.Command, args []string) error {
		if err := s.to(c); err != nil {
			return err
		}
		switch {
		case k.count < 0:
			return usagef("--count: %d is negative", k.count)
		case k.keep && (k.count == 0 || k.count > maxRequeue):
			return usagef("--requeue goes with a --count up to %d: what was put back comes again", maxRequeue)
		case k.keep && k.reject:
			return usagef("--requeue and --reject exclude each other")
		}
		cl, err := t.settle(c)
		if err != nil {
			return err
		}
		ctx, stop := interruptible(c)
		defer stop()
		err = k.run(ctx, cl, at("queues", t.vhost, args[0], "get"), s)
		return missing(err, "queue", args[0], t.vhost, "queues")
	}
	return c
}

// Bounds of what is asked for at a time: an answer is taken whole, before the next is asked for.
const (
	maxRequeue = 1000
	maxTake    = 100
)

// run takes messages until there are enough. An interruption waits for what was taken already.
func (k *consuming) run(ctx context.Context, cl *client, path string, s *shower) error {
	mode := "ack_requeue_false"
	if k.reject {
		mode = "reject_requeue_false"
	}
	most := int64(maxTake)
	if k.keep {
		mode, most = "ack_requeue_true", maxRequeue
	}
	pause, since := 50*time.Millisecond, time.Now()
	for taken := int64(0); k.count == 0 || taken < k.count; {
		ask := most
		if k.count > 0 {
			ask = min(ask, k.count-taken)
		}
		var list []json.RawMessage
		// Not with ctx: what is on its way is gone from the queue, and must be shown.
		if _, err := cl.ask(context.WithoutCancel(ctx), http.MethodPost, path, map[string]any{"count": ask, "ackmode": mode, "encoding": "auto"}, &list); err != nil {
			return err
		}
		for _, m := range list {
			if err := s.show(m); err != nil {
				return err
			}
		}
		taken += int64(len(list))
		if ctx.Err() != nil {
			return nil
		}
		if len(list) > 0 {
			pause, since = 50*time.Millisecond, time.Now()
			if !k.keep {
				continue
			}
		}
		if k.drain || k.keep || k.wait > 0 && time.Since(since) >= k.wait {
			if taken < k.count && taken == 0 {
				return errNothing
			}
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
			pause = min(2*pause, time.Second)
		}
	}
	return nil
}

// errNothing ends a command that was to give some messages and found none.
var errNothing = errors.New("no message was there")
