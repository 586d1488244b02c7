package kafka

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/fs"
	"github.com/leveret-mq/leveret/kafka/wire"
	"github.com/leveret-mq/leveret/store"
)

func TestNamesOfKafkasOwnTopicsAreNotMadeByAsking(t *testing.T) {
	r := newRig(t, nil)
	for _, name := range internalTopics {
		c := r.raw()
		for _, version := range []int16{1, 4, 9, 12} {
			req := kmsg.NewPtrMetadataRequest()
			topic := kmsg.NewMetadataRequestTopic()
			topic.Topic = &name
			req.Topics, req.AllowAutoTopicCreation = append(req.Topics, topic), true
			for range 2 {
				c.send(req, version)
				var res kmsg.MetadataResponse
				want := wire.UnknownTopicOrPartition
				if name == offsetsTopic { // which can be read
					want = wire.None
				}
				if c.receive(&res, version); res.Topics[0].ErrorCode != int16(want) {
					t.Errorf("%s, Metadata %d: %d", name, version, res.Topics[0].ErrorCode)
				}
			}
		}
		if got := c.produce(name, -1, makeBatch(nil, "a")); wire.Code(got.ErrorCode) != wire.InvalidTopic {
			t.Errorf("%s, Produce: %d", name, got.ErrorCode)
		}
		create := kmsg.NewPtrCreateTopicsRequest()
		one := kmsg.NewCreateTopicsRequestTopic()
		one.Topic, one.NumPartitions, one.ReplicationFactor = name, 1, 1
		create.Topics = append(create.Topics, one)
		c.send(create, 5)
		want := wire.InvalidTopic
		if name == offsetsTopic { // which is there
			want = wire.TopicAlreadyExists
		}
		var created kmsg.CreateTopicsResponse
		if c.receive(&created, 5); created.Topics[0].ErrorCode != int16(want) {
			t.Errorf("%s, CreateTopics: %d", name, created.Topics[0].ErrorCode)
		}
	}
	if got := r.raw().produce("unknown", -1, makeBatch(nil, "a")); wire.Code(got.ErrorCode) != wire.UnknownTopicOrPartition {
		t.Errorf("any other: %d", got.ErrorCode)
	}
}

func TestATopicThatIsMadeByAskingIsToldOfAsKafkaToldClientsOfThatAge(t *testing.T) {
	r := newRig(t, nil)
	c := r.raw()
	for version, want := range map[int16]wire.Code{0: wire.LeaderNotAvailable, 4: wire.LeaderNotAvailable, 8: wire.LeaderNotAvailable,
		9: wire.None, 13: wire.None} {
		name := fmt.Sprint("made-by-", version)
		req := kmsg.NewPtrMetadataRequest()
		topic := kmsg.NewMetadataRequestTopic()
		topic.Topic = &name
		req.Topics, req.AllowAutoTopicCreation = append(req.Topics, topic), true
		for _, want := range []wire.Code{want, wire.None} { // at first, and when it asks again
			c.send(req, version)
			var res kmsg.MetadataResponse
			if c.receive(&res, version); wire.Code(res.Topics[0].ErrorCode) != want {
				t.Errorf("Metadata %d: %d, want %d", version, res.Topics[0].ErrorCode, want)
			}
		}
	}
}

func TestATopicIsNamedByItsIDWhateverStandsBeside(t *testing.T) {
	r := newRig(t, nil)
	r.topic("t", 1, nil)
	v, err := r.broker.VHost("/")
	if err != nil {
		t.Fatal(err)
	}
	q, err := v.Queue("t")
	if err != nil {
		t.Fatal(err)
	}
	c := r.raw()
	for _, beside := range []*string{nil, kmsg.StringPtr(""), kmsg.StringPtr("other")} {
		for _, version := range []int16{10, 12} {
			req := kmsg.NewPtrMetadataRequest()
			topic := kmsg.NewMetadataRequestTopic()
			topic.Topic, topic.TopicID = beside, q.TopicID
			req.Topics = append(req.Topics, topic)
			c.send(req, version)
			var res kmsg.MetadataResponse
			if c.receive(&res, version); res.Topics[0].ErrorCode != 0 || deref(res.Topics[0].Topic) != "t" {
				t.Errorf("Metadata %d, name %v: %+v", version, beside, res.Topics[0])
			}
		}
	}
	for _, d := range []struct {
		name *string
		want wire.Code
	}{{kmsg.StringPtr("t"), wire.InvalidRequest}, {kmsg.StringPtr(""), wire.None}, {nil, wire.UnknownTopicID}} {
		req := kmsg.NewPtrDeleteTopicsRequest()
		topic := kmsg.NewDeleteTopicsRequestTopic()
		topic.Topic, topic.TopicID = d.name, q.TopicID
		req.Topics = append(req.Topics, topic)
		c.send(req, 6)
		var res kmsg.DeleteTopicsResponse
		if c.receive(&res, 6); wire.Code(res.Topics[0].ErrorCode) != d.want {
			t.Errorf("DeleteTopics, name %v: %d, want %d", d.name, res.Topics[0].ErrorCode, d.want)
		}
	}
}

// lengthen puts a name in the place of every text of a request that is a topic's or group's.
func lengthen(v reflect.Value, name string, which ...string) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			lengthen(v.Elem(), name, which...)
		}
	case reflect.Slice:
		for i := range v.Len() {
			lengthen(v.Index(i), name, which...)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			lengthen(v.Field(i), name, which...)
		}
	case reflect.String:
		if slices.Contains(which, v.String()) {
			v.SetString(name)
		}
	}
}

// A compact string may hold megabytes: no pattern is held against a name that is longer than any may be, by no
// request, and where one is refused for it the answer says so.
func TestVeryLongNamesAreNotLookedInto(t *testing.T) {
	var mu sync.Mutex
	longest := 0
	r := &rig{t: t, mem: fs.NewMem(1), mode: store.ModeOS, policy: func(q broker.Request) error {
		mu.Lock()
		defer mu.Unlock()
		longest = max(longest, len(q.On.Name))
		return nil
	}}
	r.start()
	t.Cleanup(r.stop)
	said := map[wire.Code]int{}
	try := func(made func() kmsg.Request) {
		for _, s := range wire.Supported {
			req := made()
			version := min(s.Max, req.MaxVersion())
			if int16(s.Key) != req.Key() || !wire.Lookup(s.Key).IsFlexible(version) {
				continue
			}
			for _, which := range [][]string{{"t", "new", "none", "feed"}, {"g"}} { // topics, and then groups too
				lengthen(reflect.ValueOf(req), strings.Repeat("n", 1<<16), which...)
				c := r.raw()
				c.send(req, version)
				res := req.ResponseKind()
				c.receive(res, version)
				all := map[wire.Code]bool{}
				codesIn(reflect.ValueOf(res), all)
				for code := range all {
					said[code]++
				}
				c.nc.Close()
			}
		}
	}
	for _, refused := range refusedRequests {
		try(refused.make)
	}
	for _, n := range needed {
		if n.make != nil {
			try(n.make)
		}
	}
	mu.Lock()
	asked := longest
	mu.Unlock()
	if asked > maxGroupBytes {
		t.Errorf("it was asked what may be done with a name of %d bytes", asked)
	}
	if said[wire.InvalidGroupID] < 8 || said[wire.InvalidTopic] < 4 {
		t.Errorf("the answers say %v", said)
	}
	created := kmsg.NewPtrCreateTopicsRequest()
	one := kmsg.NewCreateTopicsRequestTopic()
	one.Topic, one.NumPartitions, one.ReplicationFactor = strings.Repeat("n", 1<<16), 1, 1
	created.Topics = append(created.Topics, one)
	c := r.raw()
	c.send(created, 6)
	var res kmsg.CreateTopicsResponse
	if c.receive(&res, 6); res.Topics[0].ErrorMessage == nil || len(*res.Topics[0].ErrorMessage) > 200 {
		t.Errorf("code %d, and the name again", res.Topics[0].ErrorCode)
	}
}
