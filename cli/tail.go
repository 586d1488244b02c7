package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// maxEvent is how long a line of a stream of events may be, in bytes: a body in base64, and what stands around it.
const maxEvent = 1 << 30

func tailCommand() *cobra.Command {
	var count int64
	var first bool
	var offset int64
	c := &cobra.Command{
		Use: "tail QUEUE", Short: "Follow a queue: print what comes, and take nothing", Args: takes(1, 1, "the name of the queue"),
		Long: `Prints messages as they come into a queue, until it is interrupted. Nothing is taken: consumers get what they would have got. When
the broker goes away, it waits and goes on where it was.`,
		Example: `  leveret tail jobs
  leveret tail jobs --first --output full
  leveret tail jobs --output json | jq .routing_key`,
	}
	t := reach(c)
	t.inVHost(c, inOne)
	s := showing(c)
	c.Flags().Int64VarP(&count, "count", "n", 0, "end after so many; 0 is any number")
	c.Flags().BoolVar(&first, "first", false, "begin with what is there already")
	c.Flags().Int64Var(&offset, "offset", -1, "begin at this offset")
	c.ValidArgsFunction = completeFirst("queues", "name")
	c.RunE = func(c *cobra.Command, args []string) error {
		if err := s.to(c); err != nil {
			return err
		}
		if first && offset >= 0 {
			return usagef("--first and --offset exclude each other")
		}
		cl, err := t.settle(c)
		if err != nil {
			return err
		}
		f := &follower{cl: cl, path: at("queues", t.vhost, args[0], "stream"), left: count, show: s.show}
		switch {
		case first:
			f.query = "?from=first"
		case offset >= 0:
			f.query = fmt.Sprintf("?offset=%d", offset)
		}
		ctx, stop := interruptible(c)
		defer stop()
		return missing(f.run(ctx, c.ErrOrStderr()), "queue", args[0], t.vhost, "queues")
	}
	return c
}

// follower reads a stream of events, and goes on where it was when it breaks.
type follower struct {
	cl          *client
	path, query string
	show        func(json.RawMessage) error
	left        int64 // 0: any number
	lastID      string
	connected   bool
}

// errEnough ends a stream of which enough was read.
var errEnough = errors.New("enough")

// againAfter is how long to wait for a broker that went away.
const againAfter = time.Second

func (f *follower) run(ctx context.Context, errOut io.Writer) error {
	told := false
	for {
		err := f.once(ctx)
		switch {
		case ctx.Err() != nil || errors.Is(err, errEnough):
			return nil
		case !f.connected || err != nil && statusOf(err) != Unavailable:
			return err
		}
		if !told {
			fmt.Fprintln(errOut, "leveret: the broker went away; waiting for it (Ctrl-C ends it)")
		}
		told = err != nil
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(againAfter):
		}
	}
}

// once reads one stream to its end.
func (f *follower) once(ctx context.Context) error {
	r, err := f.cl.request(ctx, http.MethodGet, f.path+f.query, nil)
	if err != nil {
		return err
	}
	r.Header.Set("Accept", "text/event-stream")
	if f.lastID != "" {
		r.Header.Set("Last-Event-ID", f.lastID)
	}
	res, err := f.cl.send(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	f.connected = true
	return events(res.Body, f.event)
}

// event takes one.
func (f *follower) event(id string, data []byte) error {
	var what struct {
		Error string `json:"error"`
	}
	if id == "error" {
		if err := json.Unmarshal(data, &what); err == nil && what.Error != "" {
			return errors.New(what.Error)
		}
	}
	if err := f.show(data); err != nil {
		return err
	}
	f.lastID = id
	if f.left > 0 {
		if f.left--; f.left == 0 {
			return errEnough
		}
	}
	return nil
}

// events reads server-sent events, as https://html.spec.whatwg.org/multipage/server-sent-events.html has them, until the stream ends.
func events(in io.Reader, take func(id string, data []byte) error) error {
	r := bufio.NewReaderSize(in, 64<<10)
	var id string
	var data []byte
	for {
		line, err := eventLine(r)
		if err != nil {
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				return nil // what is not whole does not count
			}
			return &failure{reason: "the broker's answer broke off: " + err.Error(), cause: err}
		}
		if len(line) == 0 {
			if len(data) > 0 {
				if err := take(id, bytes.TrimSuffix(data, []byte("\n"))); err != nil {
					return err
				}
			}
			data = nil
			continue
		}
		name, value, _ := strings.Cut(string(line), ":")
		value = strings.TrimPrefix(value, " ")
		switch name {
		case "id":
			id = value
		case "data":
			data = append(append(data, value...), '\n')
		}
		if len(data) > maxEvent {
			return errors.New("the broker sent an event that is too long")
		}
	}
}

// eventLine reads a line without its end.
func eventLine(r *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		if len(line)+len(part) > maxEvent {
			return nil, errors.New("a line is too long")
		}
		line = append(line, part...)
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if err != nil {
			return nil, err
		}
		return bytes.TrimRight(line, "\r\n"), nil
	}
}
