package demo

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// ReadAll reads queues as Kafka topics by a group, from the beginning to where they
// end now, and commits.
func (b *Broker) ReadAll(ctx context.Context, group string, queues []string, each func(*kgo.Record) error) error {
	ctx, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers(b.Kafka), kgo.ClientID(group), kgo.ConsumerGroup(group), kgo.ConsumeTopics(queues...),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit(), kgo.FetchMaxWait(200*time.Millisecond))
	if err != nil {
		return err
	}
	defer client.Close()
	ends, err := kadm.NewClient(client).ListEndOffsets(ctx, queues...)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return fmt.Errorf("the ends of %v: %w", queues, err)
	}
	unread := map[string]int64{} // queue → its end
	ends.Each(func(o kadm.ListedOffset) {
		if o.Offset > 0 {
			unread[o.Topic] = o.Offset
		}
	})
	for len(unread) > 0 {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return fmt.Errorf("read %v: %w", queues, err)
		}
		for _, r := range fetches.Records() {
			end, open := unread[r.Topic]
			if open && r.Offset < end {
				if err := each(r); err != nil {
					return err
				}
			}
			if r.Offset+1 >= end {
				delete(unread, r.Topic)
			}
		}
	}
	return client.CommitUncommittedOffsets(ctx)
}

// DeleteGroups forgets where groups of an earlier run were.
func (b *Broker) DeleteGroups(ctx context.Context, groups ...string) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(b.Kafka))
	if err != nil {
		return err
	}
	defer client.Close()
	_, err = kadm.NewClient(client).DeleteGroups(ctx, groups...) // one that is not there is no error of the whole
	return err
}

// Headers are those of a record by name. AMQP's are there under their own names.
func Headers(r *kgo.Record) map[string]string {
	m := make(map[string]string, len(r.Headers))
	for _, h := range r.Headers {
		m[h.Key] = string(h.Value)
	}
	return m
}
