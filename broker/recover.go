package broker

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/leveret-mq/leveret/store"
)

// Logs that no definition knows of stand in the store when the definitions were lost, or
// when a process ended between the deletion of a queue and that of its messages. Their
// options hold what the queue's definition was.

// refuseLoss refuses a store that holds messages and has no definitions at all.
func (b *Broker) refuseLoss(lost bool) error {
	if !lost || b.opts.Recover {
		return nil
	}
	if n := len(b.store.Unclaimed()); n > 0 {
		return fmt.Errorf("there are no definitions, but %d logs with messages: %w", n, store.ErrMissing)
	}
	return nil
}

// refuseStrays refuses a store with logs whose definitions must have been lost.
func (b *Broker) refuseStrays(logs []store.Unclaimed) error {
	names, n := "", 0
	for _, u := range logs {
		if u.Excused {
			continue
		}
		if n++; n <= 10 {
			names += fmt.Sprintf(" %q", u.Options.Name)
		}
	}
	if n == 0 {
		return nil
	}
	return fmt.Errorf("%d logs with messages belong to no queue that is defined:%s: %w", n, names, store.ErrMissing)
}

// unclaimed lists the logs of which the definitions say nothing at all: not that they are
// a queue's, and not that they are to be removed.
func (b *Broker) unclaimed() []store.Unclaimed {
	removed := slices.Clone(b.goingLogs)
	for _, r := range b.removals.list {
		removed = append(removed, r.id)
	}
	return b.store.Unclaimed(removed...)
}

// claim deals with the logs that no definition knows of, when everything defined is there:
// rebuilds their queues, or says that they are there.
func (b *Broker) claim(lost bool) error {
	logs := b.unclaimed()
	if len(logs) == 0 {
		return nil
	}
	if !b.opts.Recover {
		if err := b.refuseStrays(logs); err != nil {
			return err
		}
		for i, u := range logs {
			if i == 10 {
				break
			}
			b.opts.Log.Warn("a log belongs to no queue; it is left alone", "log", u.ID, "name", u.Options.Name, "such_logs", len(logs))
		}
		return nil
	}
	rebuilt := b.rebuild(logs)
	b.opts.Log.Error("definitions were lost; queues are rebuilt from what stands beside their messages, exchanges, bindings and queues without messages are not",
		"rebuilt", rebuilt, "logs", len(logs))
	if lost { // ids of producers that may still be in use must not be given out again
		return b.skipProducerIDs()
	}
	return nil
}

// rebuild defines the queues of unclaimed logs anew and returns how many. What can't be
// is told and left alone.
func (b *Broker) rebuild(logs []store.Unclaimed) (rebuilt int) {
	for _, d := range b.lostQueues(logs) {
		if err := b.rebuildQueue(d); err != nil {
			b.opts.Log.Error("can't rebuild a queue; its messages are left alone", "vhost", d.VHost, "queue", d.Name, "logs", d.Logs, "error", err)
			continue
		}
		rebuilt++
	}
	return rebuilt
}

// lostQueues are the definitions to which logs belong, each once, as the one of its logs
// says that knows most of them: those that a topic got later are not named by the others
// until they are opened again.
func (b *Broker) lostQueues(logs []store.Unclaimed) []queueDef {
	var order []string
	found := map[string]queueDef{}
	for _, u := range logs {
		d, err := lostQueue(u)
		if err != nil {
			b.opts.Log.Error("a log belongs to no queue that is known; it is left alone", "log", u.ID, "name", u.Options.Name, "error", err)
			continue
		}
		key := store.Key(prefixQueue, d.VHost, d.Name)
		old, had := found[key]
		switch {
		case !had:
			order = append(order, key)
			found[key] = d
		case u.Definition == "":
			old.Logs = append(old.Logs, u.ID)
			found[key] = old
		case len(d.Logs) > len(old.Logs):
			found[key] = d
		}
	}
	defs := make([]queueDef, len(order))
	for i, key := range order {
		defs[i] = found[key]
	}
	return defs
}

// lostQueue is the definition of an unclaimed log's queue. Logs that an older version
// made have only a name.
func lostQueue(u store.Unclaimed) (d queueDef, err error) {
	if u.Definition != "" {
		dec := json.NewDecoder(strings.NewReader(u.Definition))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&d); err != nil {
			return d, fmt.Errorf("the definition beside it: %w", err)
		}
		if !slices.Contains(d.Logs, u.ID) { // it was made while the queue was being put together
			d.Logs = append(d.Logs, u.ID)
		}
		return d, nil
	}
	vhost, name, ok := strings.Cut(u.Options.Name, " ")
	if !ok || name == "" {
		return d, fmt.Errorf("%w: its name", store.ErrMissing)
	}
	return queueDef{VHost: vhost, Name: name, Topic: !u.Options.Retention.Consumed, Logs: []store.LogID{u.ID}}, nil
}

// rebuildQueue defines a queue anew and opens it.
func (b *Broker) rebuildQueue(d queueDef) error {
	v := b.vhosts[d.VHost]
	if v == nil {
		v = newVHost(b, d.VHost)
		if err := b.putJSON(store.Key(prefixVHost, d.VHost), vhostDef{Name: d.VHost}); err != nil {
			return err
		}
		b.vhosts[d.VHost] = v
	}
	if _, err := v.Queue(d.Name); err == nil {
		return fail(Exists, "a queue of that name was declared since")
	}
	if err := v.restoreQueue(&d); err != nil {
		return err
	}
	return b.putJSON(store.Key(prefixQueue, d.VHost, d.Name), d)
}

// producerIDsPerSecond is more ids than are given out in a second, for skipProducerIDs.
const producerIDsPerSecond = 1 << 20

// skipProducerIDs has ids begin above all that were given out before they were forgotten.
func (b *Broker) skipProducerIDs() error {
	n := b.opts.Now().Unix() * producerIDsPerSecond
	b.producerID.Store(n)
	b.producerHi.Store(n)
	return b.putJSON(keyProducerID, n)
}

// recoverFigures opens, once, what changed in a process that was killed, so that figures
// are right that were saved before. It ends with the broker.
func (b *Broker) recoverFigures() {
	opened := 0
	for _, v := range b.VHosts() {
		for _, q := range v.Queues() {
			for _, p := range q.Partitions() {
				select {
				case <-b.stop:
					return
				default:
				}
				if p.recoverFigures() {
					opened++
				}
			}
		}
	}
	if opened > 0 {
		b.opts.Log.Info("logs were opened that had changed when the last process ended", "logs", opened)
	}
}

// recoverFigures makes the figures of one log certain, and says whether it had to.
func (p *Partition) recoverFigures() bool {
	if !p.q.restored || p.log.Figures().Certain {
		return false
	}
	if p.q.Topic {
		p.log.Bounds()
		return true
	}
	if _, err := p.work(); err == nil { // an error is met, and told, by whoever uses the queue
		p.q.vhost.b.markDirty(p)
	}
	return true
}
