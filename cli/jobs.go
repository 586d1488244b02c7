package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// job is work that goes on in the broker, as the API shows it.
type job struct {
	ID         string           `json:"id"`
	Kind       string           `json:"kind"`
	State      string           `json:"state"`
	Queue      string           `json:"queue"`
	Reason     string           `json:"reason"`
	DryRun     bool             `json:"dry_run"`
	Total      int64            `json:"total"`
	LookedAt   int64            `json:"looked_at"`
	Matched    int64            `json:"matched"`
	Copied     int64            `json:"copied"`
	Bytes      int64            `json:"bytes"`
	Unroutable int64            `json:"unroutable"`
	Skipped    map[string]int64 `json:"skipped"`
	Reasons    map[string]int64 `json:"reasons"`
	Origins    map[string]int64 `json:"origins"`
}

// running says that it is not over.
func (j *job) running() bool { return j.State == "running" }

// copying is what replay and redrive have in common.
type copying struct {
	queue, exchange, key string
	limit, rate          int64
	dry, detach          bool
	c                    *cobra.Command
	where                *filter
	out                  *output
}

func (k *copying) flags(c *cobra.Command, into string, letters bool) {
	k.c = c
	f := c.Flags()
	f.StringVar(&k.queue, "into", "", into)
	f.StringVar(&k.exchange, "into-exchange", "", "exchange to publish them to instead")
	f.StringVar(&k.key, "into-key", "", "with this routing key; default is each message's own")
	f.Int64Var(&k.limit, "limit", 0, "most messages that are copied; 0 is any number")
	f.Int64Var(&k.rate, "rate", 0, "most messages a second; 0 is as fast as it goes")
	f.BoolVar(&k.dry, "dry-run", false, "count, and copy nothing")
	f.BoolVar(&k.detach, "detach", false, "don't wait for the end: print the job's id")
	_ = c.RegisterFlagCompletionFunc("into", completeNames("queues", "name"))
	_ = c.RegisterFlagCompletionFunc("into-exchange", completeNames("exchanges", "name"))
	c.ValidArgsFunction = completeFirst("queues", "name")
	k.where = filtered(c, letters)
	k.out = shaped(c)
}

// body is the request that both have.
func (k *copying) body(needed bool) (map[string]any, error) {
	body := map[string]any{}
	into, exchange, key := k.c.Flags().Changed("into"), k.c.Flags().Changed("into-exchange"), k.c.Flags().Changed("into-key")
	switch {
	case into && exchange:
		return nil, usagef("--into and --into-exchange exclude each other")
	case key && !exchange:
		return nil, usagef("--into-key goes with --into-exchange")
	case needed && !into && !exchange:
		return nil, usagef("where should they go? --into QUEUE or --into-exchange EXCHANGE says it")
	case into:
		body["target"] = map[string]any{"queue": k.queue}
	case exchange:
		target := map[string]any{"exchange": k.exchange}
		if key {
			target["routing_key"] = k.key
		}
		body["target"] = target
	}
	if k.limit < 0 || k.rate < 0 {
		return nil, usagef("--limit and --rate are not negative")
	}
	if k.limit > 0 {
		body["limit"] = k.limit
	}
	if k.rate > 0 {
		body["rate"] = k.rate
	}
	if k.dry {
		body["dry_run"] = true
	}
	where, err := k.where.object()
	if err != nil {
		return nil, err
	}
	if where != nil {
		body["filter"] = where
	}
	return body, nil
}

func replayCommand() *cobra.Command {
	k := &copying{}
	var from, to string
	var fromOffset, toOffset, partition int64
	c := &cobra.Command{
		Use: "replay QUEUE --into TARGET", Short: "Copy messages of a time into a queue, to be worked on again", Args: takes(1, 1, "the name of the queue"),
		Long: `Copies messages of a queue, a topic or a stream, from a time or an offset on, into a queue or to an exchange. Nothing is taken from where they
are. What a work queue has handed out and forgotten is not there any more, unless it was declared with --retention. The broker does the work; Ctrl-C
cancels it, and leveret job resume goes on. Copies have headers that say where they are from: x-replayed-from and x-replayed-offset.`,
		Example: `  leveret replay jobs --from 10:00 --to 10:20 --into jobs
  leveret replay events --from yesterday --key 'order.#' --into orders.again --dry-run
  leveret replay events --from-offset 1000 --into-exchange logs --rate 500`,
	}
	t := reach(c)
	t.inVHost(c, inOne)
	f := c.Flags()
	f.StringVar(&from, "from", "", "those from this time on, as 2026-11-29T10:00, 10:00, 10m (ago) or yesterday")
	f.StringVar(&to, "to", "", "those before this time")
	f.Int64Var(&fromOffset, "from-offset", -1, "those from this offset on")
	f.Int64Var(&toOffset, "to-offset", -1, "those before this offset")
	f.Int64Var(&partition, "partition", -1, "those of one partition")
	k.flags(c, "queue to put them into", true)
	c.RunE = func(c *cobra.Command, args []string) error {
		body, err := k.body(true)
		if err != nil {
			return err
		}
		since, until, err := parsePeriod(from, to, time.Now())
		if err != nil {
			return err
		}
		for name, at := range map[string]*time.Time{"from": since, "to": until} {
			if at != nil {
				body[name] = at.UnixMilli()
			}
		}
		for name, n := range map[string]int64{"from_offset": fromOffset, "to_offset": toOffset, "partition": partition} {
			if n >= 0 {
				body[name] = n
			}
		}
		if from != "" && fromOffset >= 0 || to != "" && toOffset >= 0 {
			return usagef("a time and an offset exclude each other")
		}
		return k.run(t, at("queues"), args[0], "replay", body)
	}
	return c
}

func redriveCommand() *cobra.Command {
	k := &copying{}
	var keep bool
	c := &cobra.Command{
		Use: "redrive QUEUE", Aliases: []string{"shovel"}, Short: "Send dead letters back to where they came from", Args: takes(1, 1, "the name of the queue of dead letters"),
		Long: `Moves dead letters from their queue back to the one in which each of them died, or to --into. The broker does the work; Ctrl-C cancels it. What consumers hold
stays, and so does what has nowhere to go: the end says why. --dry-run counts, by reason and by queue.`,
		Example: `  leveret redrive jobs.dead --dry-run
  leveret redrive jobs.dead
  leveret redrive jobs.dead --reason rejected --origin jobs --rate 100 --limit 1000
  leveret redrive jobs.dead --header kind=mail --into mail.again`,
	}
	t := reach(c)
	t.inVHost(c, inOne)
	k.flags(c, "queue to put all of them into", true)
	c.Flags().BoolVar(&keep, "keep-deaths", false, "keep the headers x-death…: counts go on instead of beginning anew")
	c.RunE = func(_ *cobra.Command, args []string) error {
		body, err := k.body(false)
		if err != nil {
			return err
		}
		if keep {
			body["keep_deaths"] = true
		}
		return k.run(t, at("queues"), args[0], "redrive", body)
	}
	return c
}

// run starts a job and follows it.
func (k *copying) run(t *target, list, queue, verb string, body map[string]any) error {
	asJSON, err := k.out.json()
	if err != nil {
		return err
	}
	cl, err := t.settle(k.c)
	if err != nil {
		return err
	}
	ctx, stop := interruptible(k.c)
	defer stop()
	var raw json.RawMessage
	// Not with ctx: a job that has begun is followed, to be cancelled.
	if _, err := cl.ask(context.WithoutCancel(ctx), http.MethodPost, list+"/"+at(t.vhost, queue, verb), body, &raw); err != nil {
		return missing(err, "queue", queue, t.vhost, "queues")
	}
	var j job
	if err := json.Unmarshal(raw, &j); err != nil || j.ID == "" {
		return errors.New("the broker's answer is no job: leveret status shows which version it has")
	}
	if k.detach {
		if asJSON {
			return writeJSON(k.c.OutOrStdout(), raw)
		}
		fmt.Fprintln(k.c.OutOrStdout(), j.ID)
		return nil
	}
	return cl.follow(ctx, k.c, j.ID, true, asJSON)
}

// follow shows how far a job is until it is over, and then what became of it. An interruption cancels it where cancel is said.
func (cl *client) follow(ctx context.Context, c *cobra.Command, id string, cancel, asJSON bool) error {
	bar := newProgress(c.ErrOrStderr(), "copied", 0)
	var last json.RawMessage
	var j job
	f := &follower{cl: cl, path: at("jobs", id, "events"), show: func(raw json.RawMessage) error {
		j = job{}
		last = slices.Clone(raw)
		if err := json.Unmarshal(raw, &j); err != nil {
			return fmt.Errorf("the broker sent something that is no job: %w", err)
		}
		bar.set(j.LookedAt, j.Total, counted(j.Copied, "message"))
		if !j.running() {
			return errEnough
		}
		return nil
	}}
	err := f.run(ctx, io.Discard)
	bar.close()
	if err == nil && ctx.Err() != nil && (j.ID == "" || j.running()) {
		if !cancel {
			return &failure{reason: "the job goes on; leveret job follow " + id + " shows it, leveret job cancel ends it", cause: context.Canceled}
		}
		behind, done := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer done()
		if _, err := cl.ask(behind, http.MethodPost, at("jobs", id, "cancel"), nil, nil); err != nil && !isStatus(err, http.StatusBadRequest) { // it was over just then
			return err
		}
		return &failure{reason: fmt.Sprintf("cancelled after %s; leveret job resume %s goes on", counted(j.Copied, "message"), id), cause: context.Canceled}
	}
	if err != nil {
		return missing(err, "job", id, "", "jobs")
	}
	if asJSON {
		if err := writeJSON(c.OutOrStdout(), last); err != nil {
			return err
		}
	} else {
		j.tell(c.OutOrStdout())
	}
	switch j.State {
	case "done":
		return nil
	case "failed":
		return fmt.Errorf("the job failed: %s; leveret job resume %s goes on where it was", j.Reason, id)
	}
	return errors.New(j.State + ": leveret job resume " + id + " goes on where it was")
}

// tell says what became of a job.
func (j *job) tell(out io.Writer) {
	what := map[string]string{"replay": "replayed", "redrive": "sent back"}[j.Kind]
	if j.DryRun {
		fmt.Fprintf(out, "%s of %d would be %s\n", counted(j.Matched, "message"), j.LookedAt, cmp.Or(what, "copied"))
	} else {
		fmt.Fprintf(out, "%s %s (%s), of %d looked at\n", counted(j.Copied, "message"), cmp.Or(what, "copied"), sizeText(float64(j.Bytes)), j.LookedAt)
	}
	for _, part := range []struct {
		title string
		of    map[string]int64
	}{{"died of", j.Reasons}, {"died in", j.Origins}, {"left where they are", j.Skipped}} {
		if text := countsText(part.of); text != "" {
			fmt.Fprintf(out, "  %s: %s\n", part.title, text)
		}
	}
	if j.Unroutable > 0 {
		fmt.Fprintf(out, "  no queue took %d\n", j.Unroutable)
	}
}

// skips are what the reasons mean for which dead letters stay.
var skips = map[string]string{"held": "consumers hold", "no_origin": "tell no queue they died in", "no_queue": "died in a queue that is gone", "refused": "were refused"}

// countsText lists figures, the largest first.
func countsText(counts map[string]int64) string {
	var names []string
	for name, n := range counts {
		if n > 0 {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, func(a, b string) int {
		if counts[a] != counts[b] {
			return int(min(1, max(-1, counts[b]-counts[a])))
		}
		return strings.Compare(a, b)
	})
	parts := make([]string, len(names))
	for i, name := range names {
		parts[i] = fmt.Sprintf("%s %d", cleanLine(cmp.Or(skips[name], name)), counts[name])
	}
	return strings.Join(parts, ", ")
}

func jobCommand() *cobra.Command {
	one := func(use, short string, done func(*client, *cobra.Command, string, bool) error) *cobra.Command {
		c := &cobra.Command{Use: use + " ID", Short: short, Args: takes(1, 1, "the id of the job"), Example: "  leveret job " + use + " 7r2k"}
		t, o := reach(c), shaped(c)
		c.ValidArgsFunction = completeFirst("jobs", "id")
		c.RunE = func(c *cobra.Command, args []string) error {
			cl, asJSON, err := t.settleFor(c, o)
			if err != nil {
				return err
			}
			if args[0] == "" {
				return usagef("the id of the job is empty")
			}
			return missing(done(cl, c, args[0], asJSON), "job", args[0], "", "jobs")
		}
		return c
	}
	follow := func(cl *client, c *cobra.Command, id string, asJSON bool) error {
		ctx, stop := interruptible(c)
		defer stop()
		return cl.follow(ctx, c, id, false, asJSON)
	}
	c := group("job", "Follow, cancel and resume what replay and redrive began", "Replays and redrives are jobs of the broker: they go on when nobody watches. leveret list jobs shows them, delete job forgets one that is over.", "do with a job",
		one("follow", "Show how far a job is, until it is over", follow),
		one("cancel", "End a job; what it has copied stays", func(cl *client, c *cobra.Command, id string, _ bool) error {
			_, err := cl.ask(c.Context(), http.MethodPost, at("jobs", id, "cancel"), nil, nil)
			if err == nil {
				fmt.Fprintf(c.OutOrStdout(), "job %s: cancelled\n", cleanLine(id))
			}
			return err
		}),
		one("resume", "Go on with a job that was cancelled, failed or interrupted, where it was", func(cl *client, c *cobra.Command, id string, asJSON bool) error {
			var j job
			if _, err := cl.ask(c.Context(), http.MethodPost, at("jobs", id, "resume"), nil, &j); err != nil {
				return err
			}
			return follow(cl, c, cmp.Or(j.ID, id), asJSON)
		}))
	c.Example = `  leveret list jobs
  leveret job follow 7r2k
  leveret job cancel 7r2k`
	return c
}
