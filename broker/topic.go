package broker

import (
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

// Readable says whether readers by offset, who know a queue by its name, may have this one:
// not one session's own, and not one whose messages stand in a log for each priority.
func (q *Queue) Readable() bool { return !q.Exclusive && !q.levelled() && LegalTopicName(q.Name) }

// OfKafka says whether a Kafka client made it: its settings are configs, which can be changed, and it
// may get more partitions.
func (q *Queue) OfKafka() bool { return q.Settings().kind == topic }

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

// FeedExchange finds the exchange that was declared with x-kafka-topic of that name. Such
// a topic can be written to, and its records are routed by their keys.
func (v *VHost) FeedExchange(topic string) *Exchange {
	if x, ok := v.feeds.Load(topic); ok {
		return x.(*Exchange)
	}
	return nil
}

// FeedTopics lists the names of all such topics.
func (v *VHost) FeedTopics() []string {
	var out []string
	v.feeds.Range(func(name, _ any) bool {
		out = append(out, name.(string))
		return true
	})
	return out
}

// FeedTopics lists the names of all such topics that the session may see.
func (s *Session) FeedTopics() []string {
	var out []string
	s.vhost.feeds.Range(func(name, x any) bool {
		if s.May(Look, OnExchange, x.(*Exchange).Name) == nil {
			out = append(out, name.(string))
		}
		return true
	})
	return out
}

// SetConfig changes settings of a topic, under Kafka's names; nil brings the default
// back. All of the change holds or none, and it acts on the live logs.
func (s *Session) SetConfig(q *Queue, config map[string]*string) error {
	if err := s.May(Alter, OnQueue, q.Name); err != nil {
		return err
	}
	v := q.vhost
	return v.change(func(c *change) error {
		if err := c.topic(q); err != nil {
			return err
		}
		if !q.OfKafka() {
			return fail(Precondition, "queue '%s' was not created as a topic; its settings are queue arguments", q.Name)
		}
		declared, err := q.Settings().with(config)
		if err != nil {
			return err
		}
		return c.obey(q, v.settingsOf(q.Name, topic, declared))
	})
}

// CheckConfig says what SetConfig would, and changes nothing.
func (q *Queue) CheckConfig(change map[string]*string) error {
	_, err := q.Settings().with(change)
	return err
}

// obey makes these the queue's settings.
func (c *change) obey(q *Queue, set *Settings) error {
	under := c.v.policies.Load()
	c.show = func() error {
		q.settings.Store(set)
		if now := c.v.policies.Load(); now != under {
			q.match(now)
		}
		return nil
	}
	c.finish = func() {
		q.setLogOptions()
		c.v.b.compactor.note(q)
	}
	return c.putQueue(q, q.Partitions(), set)
}

// emptyList is how older versions kept a list without words.
const emptyList = "none"

// keptConfigs reads the configs of a topic that is there. What this version does not
// take any more has no effect.
func (v *VHost) keptConfigs(name string, configs map[string]string) layer {
	l := layer{}
	for config, value := range configs {
		t := TopicSetting(config)
		if t != nil && t.Type == List && value == emptyList {
			value = ""
		}
		if t == nil || t.check(value) != "" {
			v.b.opts.Log.Warn("a setting of a topic has no effect", "topic", name, "setting", config, "value", value)
			continue
		}
		l[t] = value
	}
	return l
}
