package kafka

import (
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/kafka/wire"
)

// Disk is the directory that holds the data, and how full its file system is.
type Disk struct {
	Dir         string
	Free, Total uint64
}

// Key 35, DescribeLogDirs, versions 1 to 5: how much each partition takes on disk, as
// tools ask for it before they move partitions and to bill. There is one directory.
//
// What is asked for and not there is left out, as Kafka does. A null list asks for all.
func (c *conn) describeLogDirs(r *kmsg.DescribeLogDirsRequest) kmsg.Response {
	res := kmsg.NewPtrDescribeLogDirsResponse()
	if err := c.session.May(broker.Look, broker.OnCluster, ""); err != nil {
		res.ErrorCode = int16(codeOf(err))
		return res
	}
	dir := kmsg.NewDescribeLogDirsResponseDir()
	disk, err := c.s.opts.Disk()
	dir.Dir = disk.Dir
	if err != nil {
		c.log.Warn("can't look at the data directory", "dir", disk.Dir, "error", err)
		dir.ErrorCode = int16(wire.StorageError)
	} else {
		dir.TotalBytes, dir.UsableBytes = int64(disk.Total), int64(disk.Free)
		dir.Topics, err = c.topicSizes(r)
		dir.ErrorCode = int16(codeOf(err))
	}
	res.Dirs = append(res.Dirs, dir)
	return res
}

// topicSizes are the sizes of the partitions that a request asks for.
func (c *conn) topicSizes(r *kmsg.DescribeLogDirsRequest) ([]kmsg.DescribeLogDirsResponseDirTopic, error) {
	var out []kmsg.DescribeLogDirsResponseDirTopic
	if r.Topics == nil {
		for _, q := range c.session.Queues() {
			if !q.Readable() {
				continue
			}
			t, err := c.partitionSizes(q, q.Partitions())
			if err != nil {
				return nil, err
			}
			out = append(out, t)
		}
		slices.SortFunc(out, func(a, b kmsg.DescribeLogDirsResponseDirTopic) int { return strings.Compare(a.Topic, b.Topic) })
		return out, nil
	}
	asked := map[string][]int32{}
	var names []string // in the order of the request
	for _, t := range r.Topics {
		if _, named := asked[t.Topic]; !named {
			names = append(names, t.Topic)
		}
		asked[t.Topic] = append(asked[t.Topic], t.Partitions...)
	}
	for _, name := range names {
		q, err := c.queueFor(broker.Look, name)
		if err != nil {
			continue
		}
		var parts []*broker.Partition
		for _, i := range onlyOnce(asked[name], func(i *int32) int32 { return *i }) {
			if p := partitionOf(q, i); p != nil {
				parts = append(parts, p)
			}
		}
		if len(parts) == 0 {
			continue
		}
		t, err := c.partitionSizes(q, parts)
		if err != nil {
			return nil, err
		}
		out = append(out, t)
	}
	return out, nil
}

func (c *conn) partitionSizes(q *broker.Queue, parts []*broker.Partition) (kmsg.DescribeLogDirsResponseDirTopic, error) {
	t := kmsg.NewDescribeLogDirsResponseDirTopic()
	t.Topic = q.Name
	if err := c.charge(topicBytes + 2*len(q.Name) + len(parts)*sizeBytes); err != nil {
		return t, err
	}
	for _, p := range parts {
		bytes, err := c.session.SizeOf(p)
		if err != nil {
			return t, err
		}
		one := kmsg.NewDescribeLogDirsResponseDirTopicPartition()
		one.Partition, one.Size = p.Index(), bytes
		t.Partitions = append(t.Partitions, one)
	}
	return t, nil
}
