package broker

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/leveret-mq/leveret/message"
	"github.com/leveret-mq/leveret/store"
)

// What is kept of transactions stands in the table "groups" too, so that a decision and the offsets that are committed with it
// are written at once:
//
//	key    t/VHOST/ID                parts escaped as in a URL's path
//	value  what whoever decides about transactions makes of it: see package kafka/txn
//
//	key    x/VHOST/TOPIC/PARTITION   a partition that has had transactions
//	value  the topic's id, 16 bytes
const (
	txnPrefix     = "t/"
	txnPartPrefix = "x/"
)

func txnKey(vhost, id string) string {
	return txnPrefix + url.PathEscape(vhost) + "/" + url.PathEscape(id)
}

func txnPartKey(p *Partition) string {
	return txnPartPrefix + url.PathEscape(p.q.vhost.Name) + "/" + url.PathEscape(p.q.Name) + "/" + strconv.Itoa(int(p.index))
}

// parseKey takes the names and the rest of a key apart.
func parseKey(key string, parts int) ([]string, error) {
	list := strings.Split(key, "/")[1:]
	if len(list) != parts {
		return nil, fmt.Errorf("malformed key %q", key)
	}
	for i := range list {
		name, err := url.PathUnescape(list[i])
		if err != nil {
			return nil, fmt.Errorf("malformed key %q: %w", key, err)
		}
		list[i] = name
	}
	return list, nil
}

// loadTxnParts has partitions know that they had transactions. What is known of those that are gone is forgotten.
func (b *Broker) loadTxnParts() error {
	var stale []store.Entry
	ctx, cancel := asking()
	defer cancel()
	err := b.groups.Load(ctx, func(e store.Entry) error {
		if !strings.HasPrefix(e.Key, txnPartPrefix) {
			return nil
		}
		names, err := parseKey(e.Key, 3)
		if err != nil {
			return err
		}
		if p := b.partitionOf(names, e.Value); p != nil {
			p.active().txns.Store(newPartTxns())
		} else {
			stale = append(stale, store.Entry{Key: e.Key})
		}
		return nil
	})
	if err != nil || len(stale) == 0 {
		return err
	}
	return b.groups.Put(ctx, stale...)
}

func (b *Broker) partitionOf(names []string, id []byte) *Partition {
	v, err := b.VHost(names[0])
	if err != nil {
		return nil
	}
	q, err := v.Queue(names[1])
	n, notNumber := strconv.Atoi(names[2])
	if err != nil || notNumber != nil || string(q.TopicID[:]) != string(id) || n < 0 || n >= len(q.Partitions()) {
		return nil
	}
	return q.Partitions()[n]
}

// Transactions calls fn with everything that was kept of transactions. The bytes are never changed.
func (b *Broker) Transactions(fn func(v *VHost, id string, state []byte) error) error {
	ctx, cancel := asking()
	defer cancel()
	return b.groups.Load(ctx, func(e store.Entry) error {
		if !strings.HasPrefix(e.Key, txnPrefix) {
			return nil
		}
		names, err := parseKey(e.Key, 2)
		if err != nil {
			return err
		}
		v, err := b.VHost(names[0])
		if err != nil {
			return nil
		}
		return fn(v, names[1], e.Value)
	})
}

// KeepTransaction replaces what is kept of a transactional id, nil removes it, and commits the offsets of groups with it: all or
// nothing of that. It returns when it is durable.
func (v *VHost) KeepTransaction(id string, state []byte, offsets []GroupOffset) error {
	entries := []store.Entry{{Key: txnKey(v.Name, id), Value: state}}
	for i := range offsets {
		entries = append(entries, store.Entry{Key: offsets[i].key(v.Name), Value: offsets[i].append(nil)})
	}
	return v.putGroups(entries)
}

// EndTransaction writes the marker that ends a producer's transaction in a partition, unless it has none there of an epoch up
// to the given one. From then on the producer's epoch is next.
func (v *VHost) EndTransaction(p *Partition, producer int64, epoch, next int16, commit bool) error {
	_, err := p.endTxn(producer, epoch, next, commit)
	return err
}

// EndTransaction is VHost.EndTransaction for an administrator, who is told whether there was something to end, when that is as
// durable as the queue promises. A producer with a newer epoch there is ErrProducerFenced.
func (s *Session) EndTransaction(p *Partition, producer int64, epoch int16, commit bool) (ended bool, err error) {
	if err := s.May(Alter, OnCluster, ""); err != nil {
		return false, err
	}
	if _, err := p.knowTxns(); err != nil {
		return false, p.unreadable(err)
	}
	if p.txns() == nil {
		return false, nil
	}
	if err := p.lockProducers(producer); err != nil {
		return false, p.unreadable(err)
	}
	ps := &p.active().producers
	pr := ps.byID[producer]
	fenced := pr != nil && pr.epoch > epoch
	ps.mu.Unlock()
	if fenced {
		return false, ErrProducerFenced
	}
	if ended, err = p.endTxn(producer, epoch, epoch, commit); !ended || err != nil {
		return false, err
	}
	done := make(chan error, 1)
	s.vhost.FlushTransactions([]*Partition{p}, func(err error) { done <- err })
	return true, <-done
}

// FlushTransactions calls done once the markers written there before are as durable as each queue promises.
func (v *VHost) FlushTransactions(parts []*Partition, done func(error)) {
	logs := make([]store.Log, len(parts))
	for i, p := range parts {
		logs[i] = p.log
	}
	v.b.store.Commit(logs, done)
}

// OpenTransaction is a transaction that is not decided in a partition.
type OpenTransaction struct {
	Partition *Partition
	Producer  int64
	Epoch     int16
	First     message.Offset
}

// OpenTransactions lists those of a virtual host's partitions. It reads what has to be read for that, once after a start.
func (v *VHost) OpenTransactions() (out []OpenTransaction, err error) {
	for _, q := range v.Queues() {
		for _, p := range q.Partitions() {
			t, e := p.knowTxns()
			if e != nil {
				err = e
			}
			if t == nil || e != nil {
				continue
			}
			ps := &p.active().producers
			ps.mu.Lock()
			for id, o := range t.open {
				out = append(out, OpenTransaction{p, id, o.epoch, o.first})
			}
			ps.mu.Unlock()
		}
	}
	return out, err
}

// StableOffset is where a partition ends for readers of what is committed.
func (s *Session) StableOffset(p *Partition) (message.Offset, error) {
	if err := s.May(Look, OnQueue, p.q.Name); err != nil {
		return 0, err
	}
	if _, err := p.knowTxns(); err != nil {
		return 0, err
	}
	_, end, err := p.bounds()
	if err != nil {
		return 0, p.unreadable(err)
	}
	return end, nil
}

// ActiveProducer is an idempotent producer as a partition knows it.
type ActiveProducer struct {
	ID       int64
	Epoch    int16
	Sequence int32 // of its last record; -1 if none is known
	Seen     time.Time
	Open     message.Offset // where its transaction begins; message.NoOffset without one
	Ended    bool           // the end of a transaction of it is known
}

// Producers lists the producers that a partition knows, by id.
func (s *Session) Producers(p *Partition) ([]ActiveProducer, error) {
	if err := s.May(Consume, OnQueue, p.q.Name); err != nil {
		return nil, err
	}
	if err := p.lockProducers(-1); err != nil {
		return nil, p.unreadable(err)
	}
	ps := &p.active().producers
	defer ps.mu.Unlock()
	t := p.txns()
	out := make([]ActiveProducer, 0, len(ps.byID))
	for id, pr := range ps.byID {
		one := ActiveProducer{ID: id, Epoch: pr.epoch, Sequence: -1, Seen: time.UnixMilli(pr.seen), Open: message.NoOffset, Ended: pr.ended}
		if pr.n > 0 {
			one.Sequence = pr.last[(pr.next+keptBatches-1)%keptBatches].last
		}
		if t != nil {
			if o, has := t.open[id]; has {
				one.Open = o.first
			}
		}
		out = append(out, one)
	}
	slices.SortFunc(out, func(a, b ActiveProducer) int { return int(min(max(a.ID-b.ID, -1), 1)) })
	return out, nil
}
