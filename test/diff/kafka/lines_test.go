package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestVersionsAreToldInRanges(t *testing.T) {
	for want, versions := range map[string][]int16{"0": {0}, "0-3": {0, 1, 2, 3}, "0,2-3,7": {7, 3, 2, 0}} {
		if got := ranges(versions); got != want {
			t.Errorf("%v: %s, want %s", versions, got, want)
		}
	}
}

func TestALineSaysWhatIsNotByDefault(t *testing.T) {
	res := kmsg.NewPtrListOffsetsResponse()
	one := kmsg.NewListOffsetsResponseTopic()
	p := kmsg.NewListOffsetsResponseTopicPartition()
	p.Partition, p.ErrorCode, p.Timestamp = 2, 3, 1_000_001
	one.Topic, one.Partitions = "mine-t", append(one.Partitions, p)
	other := kmsg.NewListOffsetsResponseTopic()
	other.Topic = "yours"
	res.Topics = append(res.Topics, other, one)
	l := newLines("mine", 1_000_000)
	l.mine = true
	got := l.of(res)
	want := []string{
		"Topics=<mine-t>", "Topics[mine-t].Partitions=<2>", "Topics[mine-t].Partitions[2].ErrorCode=3 UNKNOWN_TOPIC_OR_PARTITION", "Topics[mine-t].Partitions[2].Timestamp=base+1",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestWhatIsRandomIsNumberedAsItComes(t *testing.T) {
	l := newLines("mine", 0)
	for i, id := range []int64{4711, 8, 4711} {
		if got, want := l.number("ProducerID", id), []string{"producer#1", "producer#2", "producer#1"}[i]; got != want {
			t.Errorf("%d is %s, want %s", id, got, want)
		}
	}
	if got := l.number("ProducerID", -1); got != "-1" {
		t.Errorf("none is %s", got)
	}
}

func TestConversationsHaveNamesOfTheirOwn(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range conversations() {
		for other := range seen {
			if strings.HasPrefix(c.name, other+"-") || strings.HasPrefix(other, c.name+"-") || other == c.name {
				t.Errorf("what %s makes can't be told from what %s makes", c.name, other)
			}
		}
		seen[c.name] = true
	}
}
