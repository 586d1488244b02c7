package kafka

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leveret-mq/leveret/kafka/wire"
)

// A member goes on after the broker was restarted, without joining again, and the
// group is known for what it is.
func TestAMemberGoesOnAfterTheBrokerWasRestarted(t *testing.T) {
	r := newRig(t, nil)
	r.topic("t", 1, nil)
	client := r.raw()
	client.send(joinOf("g", ""), 3)
	var in kmsg.JoinGroupResponse
	client.receive(&in, 3)
	sync := kmsg.NewPtrSyncGroupRequest()
	sync.Group, sync.MemberID, sync.Generation = "g", in.MemberID, in.Generation
	sync.GroupAssignment = append(sync.GroupAssignment, kmsg.SyncGroupRequestGroupAssignment{MemberID: in.MemberID, MemberAssignment: []byte("all")})
	client.send(sync, 2)
	client.receive(kmsg.NewPtrSyncGroupResponse(), 2)
	client.nc.Close()

	r.restart()
	client = r.raw()
	beat := kmsg.NewPtrHeartbeatRequest()
	beat.Group, beat.MemberID, beat.Generation = "g", in.MemberID, in.Generation
	client.send(beat, 2)
	var alive kmsg.HeartbeatResponse
	if client.receive(&alive, 2); alive.ErrorCode != 0 {
		t.Errorf("its heartbeat: error %d", alive.ErrorCode)
	}
	commit := commitOf("g", "t", 5)
	commit.MemberID, commit.Generation = in.MemberID, in.Generation
	client.send(commit, 5)
	var committed kmsg.OffsetCommitResponse
	if client.receive(&committed, 5); committed.Topics[0].Partitions[0].ErrorCode != 0 {
		t.Errorf("its commit: error %d", committed.Topics[0].Partitions[0].ErrorCode)
	}
	client.send(kmsg.NewPtrListGroupsRequest(), 2)
	var list kmsg.ListGroupsResponse
	if client.receive(&list, 2); len(list.Groups) != 1 || list.Groups[0].ProtocolType != "consumer" {
		t.Errorf("listed as %+v", list.Groups)
	}
}

// commitOf commits an offset of partition 0 as nobody's member.
func commitOf(name, topic string, offset int64) *kmsg.OffsetCommitRequest {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group, req.Generation = name, -1
	t := kmsg.NewOffsetCommitRequestTopic()
	t.Topic = topic
	p := kmsg.NewOffsetCommitRequestTopicPartition()
	p.Offset = offset
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	return req
}

func TestCommitsThatComeFromNoMember(t *testing.T) {
	r := newRig(t, nil)
	r.topic("t", 1, nil)
	r.form("live", 1, 10)
	instance := "i"
	for _, c := range []struct {
		name, group, member string
		instance            *string
		generation          int32
		want                wire.Code
	}{
		{"nothing beside the -1, a new group", "new", "", nil, -1, wire.None},
		{"nothing beside the -1, the group again", "new", "", nil, -1, wire.None},
		{"an instance id", "new", "", &instance, -1, wire.None},
		{"a member id", "new", "m", nil, -1, wire.None},
		{"both, a group of its own", "other", "m", &instance, -1, wire.None},
		{"the group without a name", "", "", nil, -1, wire.None},
		{"a generation in a group without members", "new", "m", nil, 3, wire.UnknownMemberID},
		{"a generation in a group that is not there", "none", "m", nil, 3, wire.IllegalGeneration},
		{"a group with members", "live", "", nil, -1, wire.UnknownMemberID},
		{"a group with members, an instance id", "live", "", &instance, -1, wire.UnknownMemberID},
	} {
		req := commitOf(c.group, "t", 7)
		req.MemberID, req.InstanceID, req.Generation = c.member, c.instance, c.generation
		client := r.raw()
		client.send(req, 7)
		var res kmsg.OffsetCommitResponse
		if client.receive(&res, 7); res.Topics[0].Partitions[0].ErrorCode != int16(c.want) {
			t.Errorf("%s: error %d, want %d", c.name, res.Topics[0].Partitions[0].ErrorCode, c.want)
		}
	}
}

// Clients who named no group have always committed to the one without a name. It
// can't have members.
func TestTheGroupWithoutAName(t *testing.T) {
	r := newRig(t, nil)
	r.topic("t", 1, nil)
	ask := func(req kmsg.Request, version int16) kmsg.Response {
		client := r.raw()
		client.send(req, version)
		res := req.ResponseKind()
		client.receive(res, version)
		return res
	}
	ask(commitOf("", "t", 7), 7)
	fetch := kmsg.NewPtrOffsetFetchRequest()
	fetch.Topics = append(fetch.Topics, kmsg.OffsetFetchRequestTopic{Topic: "t", Partitions: []int32{0}})
	if res := ask(fetch, 5).(*kmsg.OffsetFetchResponse); res.ErrorCode != 0 || res.Topics[0].Partitions[0].Offset != 7 {
		t.Errorf("fetched: %+v", res)
	}
	describe := kmsg.NewPtrDescribeGroupsRequest()
	describe.Groups = []string{""}
	if res := ask(describe, 4).(*kmsg.DescribeGroupsResponse); res.Groups[0].ErrorCode != 0 || res.Groups[0].State != "Empty" {
		t.Errorf("described: %+v", res.Groups[0])
	}
	if res := ask(joinOf("", ""), 5).(*kmsg.JoinGroupResponse); res.ErrorCode != int16(wire.InvalidGroupID) {
		t.Errorf("joined: error %d", res.ErrorCode)
	}
	if res := ask(kmsg.NewPtrSyncGroupRequest(), 3).(*kmsg.SyncGroupResponse); res.ErrorCode != int16(wire.InvalidGroupID) {
		t.Errorf("synced: error %d", res.ErrorCode)
	}
	if res := ask(kmsg.NewPtrHeartbeatRequest(), 3).(*kmsg.HeartbeatResponse); res.ErrorCode != int16(wire.InvalidGroupID) {
		t.Errorf("heartbeat: error %d", res.ErrorCode)
	}
	if res := ask(kmsg.NewPtrLeaveGroupRequest(), 3).(*kmsg.LeaveGroupResponse); res.ErrorCode != int16(wire.InvalidGroupID) {
		t.Errorf("left: error %d", res.ErrorCode)
	}
	r.restart()
	if res := ask(fetch, 5).(*kmsg.OffsetFetchResponse); res.Topics[0].Partitions[0].Offset != 7 {
		t.Errorf("fetched after a restart: %+v", res)
	}
	drop := kmsg.NewPtrDeleteGroupsRequest()
	drop.Groups = []string{""}
	if res := ask(drop, 1).(*kmsg.DeleteGroupsResponse); res.Groups[0].ErrorCode != 0 {
		t.Errorf("deleted: error %d", res.Groups[0].ErrorCode)
	}
}

// A text that is too long is refused where it stands, however long it is.
func TestATextOfMegabytesIsRefusedWhereItStands(t *testing.T) {
	r := newRig(t, nil)
	r.topic("t", 3, nil)
	req := commitOf("g", "t", 7)
	req.Topics[0].Partitions = nil
	for i, n := range []int{1_600_000, 4096, 4097} {
		p := kmsg.NewOffsetCommitRequestTopicPartition()
		p.Partition, p.Metadata = int32(i), kmsg.StringPtr(string(make([]byte, n)))
		req.Topics[0].Partitions = append(req.Topics[0].Partitions, p)
	}
	client := r.raw()
	client.send(req, 8)
	var res kmsg.OffsetCommitResponse
	client.receive(&res, 8)
	for i, want := range []wire.Code{wire.OffsetMetadataTooLarge, wire.None, wire.OffsetMetadataTooLarge} {
		if got := res.Topics[0].Partitions[i].ErrorCode; got != int16(want) {
			t.Errorf("partition %d: error %d, want %d", i, got, want)
		}
	}
}
