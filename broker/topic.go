package broker

import (
	"maps"
	"strconv"
	"strings"
)

// LegalTopicName reports whether Kafka clients can see a queue of that name:
// letters, digits, ".", "_" and "-", at most 249, not "." or "..".
func LegalTopicName(name string) bool {
	if name == "" || len(name) > 249 || name == "." || name == ".." {
		return false
	}
	for i := range len(name) {
		c := name[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '.', c == '_', c == '-':
		default:
			return false
		}
	}
	return true
}

// likeness is the same for names that Kafka holds to be too much alike, since its
// metrics write "_" for ".". It is empty for a name that has neither.
func likeness(name string) string {
	if !strings.ContainsAny(name, "._") {
		return ""
	}
	return strings.ReplaceAll(name, ".", "_")
}

// likeTopic finds a topic that Kafka would not have beside one of this name. It
// needs mu.
func (v *VHost) likeTopic(name string) string {
	if other := v.topics[likeness(name)]; other != name {
		return other
	}
	return ""
}

// LikeTopic is the topic beside which none of this name can be created, "" when
// there is none: one that differs only in "." and "_".
func (v *VHost) LikeTopic(name string) string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.likeTopic(name)
}

// Feed finds the exchange that was declared with x-kafka-topic of that name. Such
// a topic can be written to, and its records are routed by their keys.
func (v *VHost) Feed(topic string) *Exchange {
	if x, ok := v.feeds.Load(topic); ok {
		return x.(*Exchange)
	}
	return nil
}

// Feeds lists the names of all such topics that the session may see.
func (s *Session) Feeds() []string {
	var out []string
	s.vhost.feeds.Range(func(name, x any) bool {
		if s.May(Look, OnExchange, x.(*Exchange).Name) == nil {
			out = append(out, name.(string))
		}
		return true
	})
	return out
}

// Config returns the topic's settings that differ from the defaults.
func (q *Queue) Config() map[string]string {
	q.mu.Lock()
	defer q.mu.Unlock()
	return maps.Clone(q.config)
}

// TopicRetention is the age at which a topic's segments go when it does not say.
func (b *Broker) TopicRetentionMs() int64 { return b.opts.TopicRetention.Milliseconds() }

// SetConfig replaces settings of a topic; an empty value takes one away. Names and
// values were checked by the caller. It acts on the live log.
func (s *Session) SetConfig(q *Queue, set map[string]string) error {
	if err := s.May(Alter, OnQueue, q.Name); err != nil {
		return err
	}
	v := q.vhost
	v.mu.Lock()
	defer v.mu.Unlock()
	if q.Deleted() { // or its definition would come back
		return fail(NotFound, "no topic '%s'", q.Name)
	}
	if !q.Topic {
		return fail(Precondition, "queue '%s' was not created as a topic; its settings are queue arguments", q.Name)
	}
	q.mu.Lock()
	before := q.config
	q.config = maps.Clone(before)
	if q.config == nil {
		q.config = map[string]string{}
	}
	for k, val := range set {
		if val == "" {
			delete(q.config, k)
		} else {
			q.config[k] = val
		}
	}
	q.mu.Unlock()
	if err := q.write(q.Partitions()); err != nil {
		q.mu.Lock()
		q.config = before
		q.mu.Unlock()
		return err
	}
	for _, p := range q.Partitions() {
		p.log.SetOptions(q.logOptions())
	}
	return nil
}

func configInt(config map[string]string, key string) (int64, bool) {
	n, err := strconv.ParseInt(config[key], 10, 64)
	return n, err == nil
}
