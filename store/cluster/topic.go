package cluster

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/leveret-mq/leveret/store"
)

// logID is a log's id taken apart: TOPIC/PARTITION/GENERATION, of which the last is the
// topic's id in the cluster, so that a topic made anew is another log.
type logID struct {
	topic string
	part  int32
	gen   kadm.TopicID
}

func (id logID) String() string {
	return id.topic + "/" + strconv.Itoa(int(id.part)) + "/" + hex.EncodeToString(id.gen[:])
}

// parseID reads what String writes.
func parseID(name store.LogID) (id logID, err error) {
	parts := strings.Split(string(name), "/")
	if len(parts) == 3 {
		part, e := strconv.ParseInt(parts[1], 10, 32)
		gen, e2 := hex.DecodeString(parts[2])
		if e == nil && e2 == nil && part >= 0 && len(gen) == len(id.gen) && parts[0] != "" {
			id.topic, id.part = parts[0], int32(part)
			copy(id.gen[:], gen)
			return id, nil
		}
	}
	return id, fmt.Errorf("log %q is not of a cluster: %w", name, store.ErrNotFound)
}

const (
	maxTopicBytes = 249
	maxNames      = 100 // that are tried for a topic whose own is taken
)

// topicName is the topic of logs of a name: what a topic's name may not hold is written
// as _ and its code, and a long one ends in a hash.
func topicName(prefix, name string) string {
	var b strings.Builder
	b.WriteString(prefix)
	b.WriteByte('.')
	for i := range len(name) {
		c := name[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '.', c == '-':
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "_%02x", c)
		}
	}
	out := b.String()
	if most := maxTopicBytes - len("_99"); len(out) > most {
		sum := sha256.Sum256([]byte(name))
		tail := "_" + hex.EncodeToString(sum[:16])
		out = out[:most-len(tail)] + tail
	}
	return out
}

// topicInfo is what is known of a topic.
type topicInfo struct {
	id      kadm.TopicID
	leaders []int32
}

// topic asks the cluster about a topic unless that was done; retry asks anew.
func (s *Store) topic(ctx context.Context, name string, retry bool) (*topicInfo, error) {
	s.mu.Lock()
	known := s.topics[name]
	s.mu.Unlock()
	if known != nil && !retry {
		return known, nil
	}
	m, err := s.admin.Metadata(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("ask for topic %s: %w", name, asStoreError(err))
	}
	d := m.Topics[name]
	if d.Err != nil {
		s.forgetTopic(name)
		return nil, fmt.Errorf("topic %s: %w", name, asStoreError(d.Err))
	}
	t := &topicInfo{id: d.ID, leaders: make([]int32, len(d.Partitions))}
	for i := range t.leaders {
		p := d.Partitions[int32(i)]
		if t.leaders[i] = p.Leader; p.Err != nil || p.Leader < 0 {
			return nil, fmt.Errorf("partition %d of topic %s has no leader: %w", i, name, store.ErrUnavailable)
		}
	}
	s.mu.Lock()
	s.topics[name] = t
	s.mu.Unlock()
	return t, nil
}

func (s *Store) forgetTopic(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.topics, name)
}

// leader is the broker that has a log, which must still be the one of that id.
func (s *Store) leader(ctx context.Context, id logID, retry bool) (int32, error) {
	t, err := s.topic(ctx, id.topic, retry)
	if err != nil {
		return 0, err
	}
	if t.id != id.gen || int(id.part) >= len(t.leaders) {
		if !retry {
			return s.leader(ctx, id, true)
		}
		return 0, fmt.Errorf("topic %s is not the one that this log was in: %w", id.topic, store.ErrNotFound)
	}
	return t.leaders[id.part], nil
}

// NewLogs makes a topic, or further partitions of the one of the logs beside them.
func (s *Store) NewLogs(ctx context.Context, o store.LogOptions, beside []store.LogID, n int) ([]store.LogID, error) {
	if s.closed.Load() {
		return nil, store.ErrClosed
	}
	var topic string
	var err error
	if len(beside) == 0 {
		topic, err = s.createTopic(ctx, topicName(s.o.Prefix, o.Called()), n, logConfigs(o))
	} else {
		topic, err = s.growTopic(ctx, beside, n)
	}
	if err != nil {
		return nil, err
	}
	t, err := s.awaitTopic(ctx, topic, len(beside)+n)
	if err != nil {
		return nil, err
	}
	ids := make([]store.LogID, n)
	s.produceTo(logID{topic: topic, gen: t.id})
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range ids {
		l := newLog(s, logID{topic, int32(len(beside) + i), t.id}, o.Transient)
		l.known = true // and empty; others' messages show as in any other
		s.logs[l.name] = l
		ids[i] = l.name
	}
	return ids, nil
}

// logConfigs are the topic's settings. Work queues keep all until Release; what else
// may go is the cluster's to see to.
func logConfigs(o store.LogOptions) map[string]*string {
	age, bytes := "-1", "-1"
	if r := o.Retention; !r.Consumed {
		if r.Age > 0 {
			age = strconv.FormatInt(r.Age.Milliseconds(), 10)
		}
		if r.Bytes > 0 {
			bytes = strconv.FormatInt(r.Bytes, 10)
		}
	}
	policy := "delete"
	return map[string]*string{"cleanup.policy": &policy, "retention.ms": &age, "retention.bytes": &bytes}
}

// createTopic makes a topic of that name, or of one like it if that is taken: by a
// queue that was deleted and whose topic is not gone yet, or by a creation that nobody
// finished.
func (s *Store) createTopic(ctx context.Context, name string, partitions int, configs map[string]*string) (string, error) {
	for i := range maxNames {
		try := name
		if i > 0 {
			try = fmt.Sprintf("%s_%d", name, i)
		}
		r, err := s.admin.CreateTopic(ctx, int32(partitions), int16(s.o.Replicas), configs, try)
		if err = errors.Join(err, r.Err); err == nil {
			return try, nil
		}
		if !errors.Is(err, kerr.TopicAlreadyExists) {
			return "", fmt.Errorf("create topic %s: %w", try, asStoreError(err))
		}
	}
	return "", fmt.Errorf("create topic %s: this name and %d like it are taken: %w", name, maxNames, store.ErrConflict)
}

func (s *Store) growTopic(ctx context.Context, beside []store.LogID, n int) (string, error) {
	id, err := parseID(beside[0])
	if err != nil {
		return "", err
	}
	t, err := s.topic(ctx, id.topic, true)
	if err != nil {
		return "", err
	}
	if want := len(beside) + n; len(t.leaders) < want { // or an attempt that was not finished left them
		r, err := s.admin.UpdatePartitions(ctx, want, id.topic)
		if err = errors.Join(err, r[id.topic].Err); err != nil {
			return "", fmt.Errorf("add partitions to topic %s: %w", id.topic, asStoreError(err))
		}
	}
	return id.topic, nil
}

// awaitTopic waits until all partitions of a topic have leaders.
func (s *Store) awaitTopic(ctx context.Context, name string, partitions int) (*topicInfo, error) {
	for wait := 5 * time.Millisecond; ; wait = min(2*wait, 200*time.Millisecond) {
		t, err := s.topic(ctx, name, true)
		if err == nil && len(t.leaders) >= partitions {
			return t, nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("topic %s has no leaders yet: %w", name, errors.Join(store.ErrUnavailable, err))
		case <-time.After(wait):
		}
	}
}

// OpenLog returns the log; the cluster is asked when it is used.
func (s *Store) OpenLog(name store.LogID, o store.LogOptions) (store.Log, error) {
	if s.closed.Load() {
		return nil, store.ErrClosed
	}
	id, err := parseID(name)
	if err != nil {
		return nil, err
	}
	s.produceTo(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.logs[name]
	if l == nil {
		l = newLog(s, id, o.Transient)
		s.logs[name] = l
	}
	l.transient = o.Transient
	l.consumed.Store(o.Retention.Consumed && o.Retention.Age == 0)
	return l, nil
}

// produceTo has the client forget an earlier topic of the name: it never goes over to a new one by itself, but fails what it
// is given with UNKNOWN_TOPIC_ID for good.
func (s *Store) produceTo(id logID) {
	s.mu.Lock()
	before, known := s.produced[id.topic]
	s.produced[id.topic] = id.gen
	s.mu.Unlock()
	if known && before != id.gen {
		s.client.PurgeTopicsFromClient(id.topic)
	}
}

// DeleteLog deletes the topic of a log that is its first partition. The others go with
// that one: a topic can only grow.
func (s *Store) DeleteLog(ctx context.Context, name store.LogID) error {
	if s.closed.Load() {
		return store.ErrClosed
	}
	id, err := parseID(name)
	if err != nil {
		return err
	}
	s.mu.Lock()
	l := s.logs[name]
	delete(s.logs, name)
	s.mu.Unlock()
	if l != nil {
		l.gone.Store(true)
		l.wake()
	}
	if id.part > 0 {
		return nil
	}
	return s.deleteTopic(ctx, id)
}

func (s *Store) deleteTopic(ctx context.Context, id logID) error {
	if _, err := s.leader(ctx, id, true); errors.Is(err, store.ErrNotFound) {
		return nil
	}
	s.forgetTopic(id.topic)
	r, err := s.admin.DeleteTopic(ctx, id.topic)
	if err = asStoreError(errors.Join(err, r.Err)); err != nil && !errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("delete topic %s: %w", id.topic, err)
	}
	s.mu.Lock()
	if s.produced[id.topic] == id.gen {
		delete(s.produced, id.topic)
	}
	s.mu.Unlock()
	s.client.PurgeTopicsFromClient(id.topic)
	return nil
}
