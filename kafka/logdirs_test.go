package kafka

import (
	"errors"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leveret-mq/leveret/kafka/wire"
)

func askLogDirs(c *raw, version int16, topics ...kmsg.DescribeLogDirsRequestTopic) kmsg.DescribeLogDirsResponse {
	c.t.Helper()
	req := kmsg.NewPtrDescribeLogDirsRequest()
	req.Topics = topics
	c.send(req, version)
	var res kmsg.DescribeLogDirsResponse
	c.receive(&res, version)
	return res
}

// sizes is an answer as "topic/partition" and its bytes.
func sizes(t *testing.T, res kmsg.DescribeLogDirsResponse) (names string, bytes []int64) {
	t.Helper()
	if res.ErrorCode != 0 || len(res.Dirs) != 1 || res.Dirs[0].ErrorCode != 0 || res.Dirs[0].Dir != "/data" {
		t.Fatalf("%+v", res)
	}
	var all []string
	for _, topic := range res.Dirs[0].Topics {
		for _, p := range topic.Partitions {
			all = append(all, topic.Topic+string(rune('0'+p.Partition)))
			bytes = append(bytes, p.Size)
		}
	}
	return strings.Join(all, " "), bytes
}

func TestLogDirsTellWhatEachPartitionTakes(t *testing.T) {
	r := newRig(t, func(o *Options) {
		o.Disk = func() (Disk, error) { return Disk{Dir: "/data", Free: 7, Total: 11}, nil }
	})
	r.topic("b", 1, nil)
	r.topic("a", 2, nil)
	c := r.raw()
	c.produce("b", -1, makeBatch(nil, "value"))
	for version := int16(1); version <= 4; version++ {
		res := askLogDirs(c, version)
		names, bytes := sizes(t, res)
		if names != "a0 a1 b0" || bytes[0] != 0 || bytes[2] < 100 {
			t.Errorf("version %d: %s %v", version, names, bytes)
		}
		if free := res.Dirs[0].UsableBytes; version >= 4 && (free != 7 || res.Dirs[0].TotalBytes != 11) {
			t.Errorf("version %d: %d bytes of %d are free", version, free, res.Dirs[0].TotalBytes)
		}
		asked := func(name string, partitions ...int32) kmsg.DescribeLogDirsRequestTopic {
			return kmsg.DescribeLogDirsRequestTopic{Topic: name, Partitions: partitions}
		}
		for _, q := range []struct {
			want   string
			topics []kmsg.DescribeLogDirsRequestTopic
		}{
			{"", []kmsg.DescribeLogDirsRequestTopic{}},
			{"b0", []kmsg.DescribeLogDirsRequestTopic{asked("b", 0)}},
			{"a1 b0", []kmsg.DescribeLogDirsRequestTopic{asked("a", 1, 2, 1), asked("b", 0), asked("none", 0), asked("a", 1)}},
			{"a1 a0", []kmsg.DescribeLogDirsRequestTopic{asked("a", 1), asked("a", 0, -1)}},
		} {
			if names, _ := sizes(t, askLogDirs(c, version, q.topics...)); names != q.want {
				t.Errorf("version %d: %q, want %q", version, names, q.want)
			}
		}
	}
}

func TestAnAdminClientReadsTheLogDirs(t *testing.T) {
	r := newRig(t, func(o *Options) {
		o.Disk = func() (Disk, error) { return Disk{Dir: "/data", Free: 7, Total: 11}, nil }
	})
	r.topic("t", 2, nil)
	all, err := r.admin().DescribeAllLogDirs(testContext(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	dir, ok := all[NodeID]["/data"]
	if !ok || dir.Err != nil || len(dir.Topics["t"]) != 2 {
		t.Errorf("%+v", all)
	}
}

func TestADirectoryThatCantBeLookedAtSaysSo(t *testing.T) {
	r := newRig(t, func(o *Options) {
		o.Disk = func() (Disk, error) { return Disk{Dir: "/data"}, errors.New("gone") }
	})
	res := askLogDirs(r.raw(), 4)
	if len(res.Dirs) != 1 || res.Dirs[0].ErrorCode != int16(wire.StorageError) || res.Dirs[0].Dir != "/data" || res.Dirs[0].TotalBytes != -1 {
		t.Errorf("%+v", res)
	}
}
