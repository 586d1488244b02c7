package kafka

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/internal/fs"
	"github.com/leveret-mq/leveret/store"
)

// answeredState is what one client was answered of everything that is kept for Kafka's clients.
type answeredState struct {
	member     string // of the classic group c, in generation
	generation int32
	epoch      int32 // of the member m of group g
	producer   int64 // of the transactional id tx, in txEpoch
	txEpoch    int16
	plain      int64 // an idempotent producer, of which the offset is known at which its record with sequence 0 is
	offset     int64
}

// TestWhatWasAnsweredOutlastsWhatItSays holds the table "Kafka's state and crashes" in docs/compatibility.md: what is there at once after the
// answer when the process is killed, in each mode, and when the power goes, in the modes that promise it.
func TestWhatWasAnsweredOutlastsWhatItSays(t *testing.T) {
	for _, mode := range []store.Mode{store.ModeGroup, store.ModeAlways, store.ModeOS} {
		t.Run(mode.String(), func(t *testing.T) {
			r := newRigWith(t, mode, func(r *rig) { r.mode, r.under = mode, func(o *broker.Options) { o.SaveEvery = time.Hour } })
			said := answerAll(t, r)
			disk := r.mem.(*fs.Mem)
			if mode != store.ModeOS {
				for seed := range uint64(5) {
					said.holds(t, fmt.Sprint("power cut ", seed), disk.Crash(rand.New(rand.NewPCG(seed, 1))), mode, false)
				}
			}
			said.holds(t, "kill", disk.Kill(), mode, true)
		})
	}
}

func answerAll(t *testing.T, r *rig) (said answeredState) {
	t.Helper()
	r.topic("t", 1, nil)
	r.filled(t, "shared", 10)
	c := r.raw()
	c.ask(createTopics("made"), 5, new(kmsg.CreateTopicsResponse))
	c.ask(offsetCommit("plain", "t", 7), 7, new(kmsg.OffsetCommitResponse))

	var in kmsg.JoinGroupResponse
	c.ask(joinOf("c", ""), 3, &in)
	sync := kmsg.NewPtrSyncGroupRequest()
	sync.Group, sync.MemberID, sync.Generation = "c", in.MemberID, in.Generation
	sync.GroupAssignment = append(sync.GroupAssignment, kmsg.SyncGroupRequestGroupAssignment{MemberID: in.MemberID, MemberAssignment: []byte("all")})
	c.ask(sync, 2, new(kmsg.SyncGroupResponse))
	said.member, said.generation = in.MemberID, in.Generation

	said.epoch = c.consumerBeat("m", 0, nil).MemberEpoch
	c.alterGroup("s", "share.record.lock.duration.ms", "20000")
	c.shareBeat("m", 0, "shared")
	s := r.sharer(t, "m", "shared") // whose connection stays: with it what it holds would come again
	s.got("ten", s.fetch(10), []string{"0-9:1"})
	s.fetch(0, verdictsAt{0, 2, []int8{shareAccept}}, verdictsAt{4, 4, []int8{shareRelease}}, verdictsAt{6, 7, []int8{shareAccept}})

	plain := new(kmsg.InitProducerIDResponse)
	c.ask(kmsg.NewPtrInitProducerIDRequest(), 5, plain)
	said.plain = plain.ProducerID
	said.offset = c.produce("t", -1, said.sequenced()).BaseOffset

	tx := initialized(c, "tx")
	if code := inTransaction(c, "tx", 12, transactionalBatch(tx.ProducerID, tx.ProducerEpoch, 0, "committed")); code != 0 {
		t.Fatal(code)
	}
	offsets := kmsg.NewPtrTxnOffsetCommitRequest()
	offsets.TransactionalID, offsets.ProducerID, offsets.ProducerEpoch, offsets.Group, offsets.Generation = "tx", tx.ProducerID, tx.ProducerEpoch, "txg", -1
	p := kmsg.NewTxnOffsetCommitRequestTopicPartition()
	p.Offset = 9
	offsets.Topics = append(offsets.Topics, kmsg.TxnOffsetCommitRequestTopic{Topic: "t", Partitions: []kmsg.TxnOffsetCommitRequestTopicPartition{p}})
	c.ask(offsets, 5, new(kmsg.TxnOffsetCommitResponse))
	end, ended := kmsg.NewPtrEndTxnRequest(), new(kmsg.EndTxnResponse)
	end.TransactionalID, end.ProducerID, end.ProducerEpoch, end.Commit = "tx", tx.ProducerID, tx.ProducerEpoch, true
	if c.ask(end, 5, ended); ended.ErrorCode != 0 {
		t.Fatal(ended)
	}
	said.producer, said.txEpoch = ended.ProducerID, ended.ProducerEpoch
	return said
}

func (s *answeredState) sequenced() []byte {
	return makeBatch(func(h *batch.Header) { h.ProducerID, h.ProducerEpoch, h.BaseSequence = s.plain, 0, 0 }, "once")
}

// holds starts on a disk as it is after a crash, and compares.
func (s *answeredState) holds(t *testing.T, crash string, disk fs.FS, mode store.Mode, kill bool) {
	t.Helper()
	r := &rig{t: t, mem: disk, mode: mode}
	r.start()
	defer r.stop()
	c, member := r.raw(), r.sharer(t, "m", "shared")
	defer c.nc.Close() // or the end waits for them
	defer member.nc.Close()
	is := func(what string, got, want any) {
		t.Helper()
		if got != want {
			t.Errorf("%s: %s is %v, was answered as %v", crash, what, got, want)
		}
	}
	if _, err := mustVHost(t, r).Queue("made"); err != nil {
		t.Errorf("%s: %v", crash, err)
	}
	for group, want := range map[string]int64{"plain": 7, "txg": 9} {
		at, _ := r.committed(group, "t")
		is("the offset of group "+group, at, want)
	}
	beat, beaten := kmsg.NewPtrHeartbeatRequest(), new(kmsg.HeartbeatResponse)
	beat.Group, beat.MemberID, beat.Generation = "c", s.member, s.generation
	c.ask(beat, 2, beaten)
	is("what the member of a classic group is told", beaten.ErrorCode, int16(0))
	sync, synced := kmsg.NewPtrSyncGroupRequest(), new(kmsg.SyncGroupResponse)
	sync.Group, sync.MemberID, sync.Generation = "c", s.member, s.generation
	c.ask(sync, 2, synced)
	is("what it is assigned", string(synced.MemberAssignment), "all")
	again := c.consumerBeat("m", s.epoch, nil)
	is("what the member of a consumer group is told", again.ErrorCode, int16(0))
	is("its epoch", again.MemberEpoch, s.epoch)
	is("the setting of a share group", r.groups().Settings("s").ShareLock, 20*time.Second)
	c.shareBeat("m", 1)

	is("the offset of a record that is sent again", c.produce("t", -1, s.sequenced()).BaseOffset, s.offset)
	is("what the producer before is told", inTransaction(c, "tx", 12, transactionalBatch(s.producer, s.txEpoch-1, 1, "zombie")), int16(47))
	next := initialized(c, "tx")
	is("the producer of a transactional id", next.ProducerID, s.producer)
	is("its next epoch", next.ProducerEpoch, s.txEpoch+1)
	is("what is committed", strings.Join(r.committedValues(0, 2), " "), "once committed")

	got := strings.Join(runsOf(member.fetch(100)), " ")
	if kill {
		is("what a share group is handed", got, "3-3:1 4-4:2 5-5:1 8-9:1")
	} else if !strings.HasSuffix(got, "-9:1") { // what was settled in the last second may come again, and what was not must
		t.Errorf("%s: a share group is handed %s", crash, got)
	}
}
