package cli

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// browsing is which messages are looked at.
type browsing struct {
	from, to, state string
	offset, last    int64
	partition       int64
	count           int64
}

// states are what a message in a queue can be.
var states = []string{"all", "ready", "unacked", "acked"}

func browseCommand() *cobra.Command {
	b := &browsing{}
	c := &cobra.Command{
		Use: "browse QUEUE", Short: "Look through a queue without taking anything", Args: takes(1, 1, "the name of the queue"),
		Long: `Prints messages that are in a queue, a topic or a stream, from a time, an offset or the end on, and takes nothing: consumers get what they
would have got. Of a queue that keeps its history (x-retention) those that were worked off are there, too.`,
		Example: `  leveret browse jobs
  leveret browse jobs --last 10 --output full
  leveret browse jobs --from 10:00 --to 10:20 --header kind=mail --count 0
  leveret browse jobs --from 2h --contains timeout --output json | jq .properties`,
	}
	t := reach(c)
	t.inVHost(c, inOne)
	s := showing(c)
	w := filtered(c, true)
	f := c.Flags()
	f.StringVar(&b.from, "from", "", "those from this time on, as 2026-11-29T10:00, 10:00, 10m (ago) or yesterday")
	f.StringVar(&b.to, "to", "", "those before this time")
	f.Int64Var(&b.offset, "offset", -1, "those from this offset on")
	f.Int64Var(&b.last, "last", 0, "the last so many")
	f.Int64Var(&b.partition, "partition", -1, "those of one partition")
	f.Int64VarP(&b.count, "count", "n", 50, "end after so many; 0 is all there are")
	f.StringVar(&b.state, "state", "", "only those that are ready, unacked or acked; all has those that left, too")
	_ = c.RegisterFlagCompletionFunc("state", cobra.FixedCompletions(states, cobra.ShellCompDirectiveNoFileComp))
	c.ValidArgsFunction = completeFirst("queues", "name")
	c.RunE = func(c *cobra.Command, args []string) error {
		if err := s.to(c); err != nil {
			return err
		}
		q, err := b.query(time.Now())
		if err == nil {
			err = w.query(q)
		}
		if err != nil {
			return err
		}
		cl, err := t.settle(c)
		if err != nil {
			return err
		}
		ctx, stop := interruptible(c)
		defer stop()
		left, cut := b.count, int64(0)
		if b.last > 0 {
			left = b.last
		}
		for {
			q.Set("count", strconv.FormatInt(min(maxBrowsed, cmp.Or(left, maxBrowsed)), 10))
			var page struct {
				Items []json.RawMessage `json:"items"`
				Next  *string           `json:"next"`
			}
			if err := cl.get(ctx, at("queues", t.vhost, args[0], "messages")+"?"+q.Encode(), &page); err != nil {
				return missing(err, "queue", args[0], t.vhost, "queues")
			}
			for _, m := range page.Items {
				var size struct {
					Truncated bool `json:"truncated"`
				}
				if json.Unmarshal(m, &size) == nil && size.Truncated {
					cut++
				}
				if err := s.show(m); err != nil {
					return err
				}
			}
			if left > 0 {
				if left -= int64(len(page.Items)); left <= 0 {
					break
				}
			}
			if page.Next == nil || *page.Next == "" || b.last > 0 {
				break
			}
			for _, name := range []string{"offset", "time", "last"} {
				q.Del(name)
			}
			q.Set("at", *page.Next)
		}
		if cut > 0 {
			fmt.Fprintf(c.ErrOrStderr(), "leveret: %s longer than is shown of one (%s): leveret consume, or a client of AMQP or Kafka, gets all of it\n", counted(cut, "message"), sizeText(maxShown))
		}
		return nil
	}
	return c
}

// Bounds of the API.
const (
	maxBrowsed = 1000
	maxShown   = 1 << 20 // bytes of a payload
)

// query is where to begin and to end.
func (b *browsing) query(now time.Time) (url.Values, error) {
	q := url.Values{"truncate": {strconv.Itoa(maxShown)}}
	given := 0
	for _, is := range []bool{b.from != "", b.offset >= 0, b.last > 0} {
		if is {
			given++
		}
	}
	switch {
	case given > 1:
		return nil, usagef("--from, --offset and --last exclude each other")
	case b.count < 0 || b.last < 0:
		return nil, usagef("--count and --last are not negative")
	case b.last > maxBrowsed:
		return nil, usagef("--last is %d at most; --from and --offset go further back", maxBrowsed)
	}
	from, to, err := parsePeriod(b.from, b.to, now)
	if err != nil {
		return nil, err
	}
	for name, at := range map[string]*time.Time{"time": from, "until": to} {
		if at != nil {
			q.Set(name, strconv.FormatInt(at.UnixMilli(), 10))
		}
	}
	for name, n := range map[string]int64{"offset": b.offset, "partition": b.partition} {
		if n >= 0 {
			q.Set(name, strconv.FormatInt(n, 10))
		}
	}
	if b.last > 0 {
		q.Set("last", strconv.FormatInt(b.last, 10))
	}
	if b.state != "" {
		if !slices.Contains(states, b.state) {
			return nil, usagef("--state: %q is none of %s", b.state, strings.Join(states, ", "))
		}
		q.Set("state", b.state)
	}
	return q, nil
}
