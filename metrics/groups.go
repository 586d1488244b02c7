package metrics

import (
	"strconv"

	"github.com/leveret-mq/leveret/broker"
)

// The names here are kafka_exporter's, with the virtual host beside its labels.

// positionSerie is a family with a line for each partition that a group has committed of; sum is the one
// with a line for each topic.
type positionSerie struct {
	*serie
	sum  *serie
	read func(*broker.GroupPosition) int64
}

var (
	perPosition = []positionSerie{
		{addSerie("gauge", "kafka_consumergroup_current_offset", "Offset that a consumer group reads next.", "vhost", "consumergroup", "topic", "partition"),
			addSerie("gauge", "kafka_consumergroup_current_offset_sum", "The same, of all partitions of a topic together.", "vhost", "consumergroup", "topic"),
			func(p *broker.GroupPosition) int64 { return p.Offset }},
		{addSerie("gauge", "kafka_consumergroup_lag", "Messages that a consumer group has not read yet, or not committed.", "vhost", "consumergroup", "topic", "partition"),
			addSerie("gauge", "kafka_consumergroup_lag_sum", "The same, of all partitions of a topic together.", "vhost", "consumergroup", "topic"),
			func(p *broker.GroupPosition) int64 { return p.Lag }},
	}
	groupAge = newSerie("gauge", "consumergroup_oldest_message_age_seconds", "Age of the first message that a consumer group has not read yet, or not committed. It is not there when it has read all.",
		"vhost", "consumergroup", "topic", "partition")
	groupMembers = addSerie("gauge", "kafka_consumergroup_members", "Members of a consumer group.", "vhost", "consumergroup")
	kafkaBrokers = addSerie("gauge", "kafka_brokers", "Brokers of the cluster.")
)

// partitionSerie is a family with a line for each partition of a topic.
type partitionSerie struct {
	*serie
	read func(*broker.PartitionStats) int64
}

func newPartitionSerie(name, help string, read func(*broker.PartitionStats) int64) partitionSerie {
	return partitionSerie{addSerie("gauge", "kafka_topic_partition_"+name, help, "vhost", "topic", "partition"), read}
}

func one(*broker.PartitionStats) int64 { return 1 }

var (
	topicPartitions = addSerie("gauge", "kafka_topic_partitions", "Partitions of a topic.", "vhost", "topic")
	perPartition    = []partitionSerie{
		newPartitionSerie("current_offset", "Offset behind the last message.", func(p *broker.PartitionStats) int64 { return p.End }),
		newPartitionSerie("oldest_offset", "Offset of the first message.", func(p *broker.PartitionStats) int64 { return p.Start }),
		newPartitionSerie("leader", "Number of the broker that has the partition.", one),
		newPartitionSerie("leader_is_preferred", "1 when that is the broker that should.", one),
		newPartitionSerie("replicas", "Copies of the partition.", one),
		newPartitionSerie("in_sync_replica", "Of these, those that have everything.", one),
		newPartitionSerie("under_replicated_partition", "1 when there are fewer copies than there should be.", func(*broker.PartitionStats) int64 { return 0 }),
	}
)

// writeGroups writes what there is of consumer groups.
func writeGroups(out *lines, groups []broker.GroupStats) error {
	out.family(groupMembers)
	for i := range groups {
		out.value(int64(groups[i].Members), groups[i].VHost, groups[i].Name)
	}
	out.family(groupAge)
	for i := range groups {
		g := &groups[i]
		for j := range g.Positions {
			if p := &g.Positions[j]; p.Age.Known {
				out.value(seconds(p.Age), g.VHost, g.Name, p.Topic, strconv.Itoa(int(p.Partition)))
			}
		}
	}
	for _, s := range perPosition {
		out.family(s.serie)
		for i := range groups {
			g := &groups[i]
			for j := range g.Positions {
				p := &g.Positions[j]
				out.value(s.read(p), g.VHost, g.Name, p.Topic, strconv.Itoa(int(p.Partition)))
			}
		}
		out.family(s.sum)
		for i := range groups {
			g := &groups[i]
			for from := 0; from < len(g.Positions); {
				topic, sum := g.Positions[from].Topic, int64(0)
				for ; from < len(g.Positions) && g.Positions[from].Topic == topic; from++ {
					sum += s.read(&g.Positions[from])
				}
				out.value(sum, g.VHost, g.Name, topic)
			}
		}
	}
	return out.err
}

// writePartitions writes what there is of partitions.
func writePartitions(out *lines, all []broker.PartitionStats) error {
	out.family(topicPartitions)
	for i := range all {
		if i+1 == len(all) || all[i+1].Queue != all[i].Queue || all[i+1].VHost != all[i].VHost {
			out.value(int64(all[i].Partition)+1, all[i].VHost, all[i].Queue)
		}
	}
	for _, s := range perPartition {
		out.family(s.serie)
		for i := range all {
			out.value(s.read(&all[i]), all[i].VHost, all[i].Queue, strconv.Itoa(int(all[i].Partition)))
		}
	}
	return out.err
}
