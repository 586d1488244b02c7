package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leveret-mq/leveret/test/process"
)

// state fills the disk and asks, over Kafka's protocol, for things that are to be kept: offsets, members, transactions, verdicts on shared
// records, topics, users. Each is answered, with success or with a code at which clients try again, and what was a success is there
// after a kill. With space again all succeed.
func state(t *trial) (did string, err error) {
	disk := t.broker.DataDir
	if err := os.MkdirAll(disk, 0o755); err != nil {
		return "", err
	}
	if _, err := sh(mountHint, "mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", disk); err != nil {
		return "", err
	}
	defer func() {
		t.broker.Kill()
		_, e := sh(mountHint, "umount", disk)
		err = errors.Join(err, e)
	}()
	segment := []string{"--segment-bytes", "256KiB"}
	if err := t.broker.Start(segment...); err != nil {
		return "", err
	}
	if err := awaitUser(filepath.Join(disk, "access", "entries"), "guest"); err != nil {
		return "", err
	}
	k := newKeeping()
	if err := k.connect(t); err != nil {
		return "", err
	}
	if err := k.everything(false); err != nil {
		return "while there is space", err
	}
	filler := filepath.Join(disk, "filler")
	if err := fillUp(filler); err != nil {
		return "", err
	}
	for range fullTries {
		if err := k.everything(true); err != nil {
			return k.summary(), err
		}
		if len(k.refused) == len(k.acts()) {
			break
		}
	}
	if len(k.refused) == 0 {
		return k.summary(), errors.New("nothing was refused on a disk that is full")
	}
	if lines := strings.Count(t.broker.Log(), "no space left"); lines == 0 {
		return k.summary(), errors.New("the log says nothing of the disk")
	}
	if t.rng.IntN(2) == 0 {
		how, err := t.end()
		did = ", " + how + " while full"
		if e := os.Truncate(filler, fillerBytes(filler)-startBytes); e != nil {
			return did, e
		}
		if err != nil {
			return k.summary() + did, err
		}
		if err := t.broker.Start(segment...); err != nil {
			return k.summary() + did, fmt.Errorf("a start on a full disk: %w", err)
		}
		if err := errors.Join(k.connect(t), k.holds()); err != nil {
			return k.summary() + did, err
		}
	}
	if err := os.Remove(filler); err != nil {
		return "", err
	}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		clear(k.refused)
		if err := k.everything(true); err != nil {
			return k.summary() + did, err
		}
		if len(k.refused) == 0 {
			break
		}
		if time.Now().After(end) {
			return k.summary() + did, fmt.Errorf("with space again %v are refused", k.refused)
		}
	}
	t.broker.Kill()
	if err := t.broker.Start(segment...); err != nil {
		return k.summary() + did, err
	}
	if err := errors.Join(k.connect(t), k.holds()); err != nil {
		return k.summary() + did, err
	}
	return k.summary() + did, t.broker.Stop(stopGrace)
}

// awaitUser waits until the default user is written, which is behind the start: no client is told when.
func awaitUser(table, name string) error {
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if data, err := os.ReadFile(table); err == nil && bytes.Contains(data, []byte(name)) {
			return nil
		}
	}
	return fmt.Errorf("user %s was not stored within 20 s of the start", name)
}

// fullTries is how often all is asked for on a disk that is full: tables have some room of their own.
const fullTries = 60

// startBytes is the space that a start needs: without any there is none.
const startBytes = 256 << 10

func fillerBytes(name string) int64 {
	info, err := os.Stat(name)
	if err != nil {
		return 0
	}
	return info.Size()
}

// fillUp takes all the space there is.
func fillUp(name string) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	for chunk := make([]byte, 64<<10); len(chunk) > 0; {
		n, err := f.Write(chunk)
		if err != nil {
			chunk = chunk[:len(chunk)/2]
		}
		_ = n
	}
	return f.Close()
}

// keeping is what was asked for, and what was answered.
type keeping struct {
	a *process.Asker

	offset, offsetKept int64
	members            int // that joined
	producer           int64
	epoch              int16
	sums, sumsKept     int64 // offsets of a transaction's group
	shared             []int64
	session            int32
	settled            map[int64]bool
	topics, users      int
	madeTopics         []string
	madeUsers          []string
	epochs             map[string]int32 // of members of a consumer group

	refused map[string]int16 // acts that were, with the last code
	codes   map[string]map[int16]int
	topic   [16]byte
	failed  bool // the transaction under way was refused something
}

const (
	keptTopic = "torture.kept"
	keptGroup = "torture.group"
	keptShare = "torture.share"
	keptTxn   = "torture.txn"
)

func newKeeping() *keeping {
	return &keeping{producer: -1, settled: map[int64]bool{}, epochs: map[string]int32{}, refused: map[string]int16{}, codes: map[string]map[int16]int{}}
}

func (k *keeping) connect(t *trial) (err error) {
	if k.a != nil {
		_ = k.a.Close()
	}
	k.session, k.shared, k.producer = 0, nil, -1
	k.a, err = process.DialKafka(t.broker.Kafka)
	return err
}

// act is one thing to ask for. It returns the code that was answered.
type act struct {
	name string
	do   func() (int16, error)
}

func (k *keeping) acts() []act {
	return []act{{"topic", k.makeTopic}, {"commit", k.commit}, {"member", k.join}, {"init", k.init}, {"transaction", k.transact}, {"share", k.settle}, {"user", k.user}}
}

// patient are the codes at which clients try again.
var patient = []int16{kerr.CoordinatorNotAvailable.Code, kerr.KafkaStorageError.Code, kerr.ConcurrentTransactions.Code}

// everything asks for one of each. Unless it may be, none is refused.
func (k *keeping) everything(mayBe bool) error {
	for _, x := range k.acts() {
		code, err := x.do()
		if err != nil {
			return fmt.Errorf("%s: %w", x.name, err)
		}
		if k.codes[x.name] == nil {
			k.codes[x.name] = map[int16]int{}
		}
		k.codes[x.name][code]++
		switch {
		case code == 0:
		case !mayBe || !slices.Contains(patient, code):
			return fmt.Errorf("%s is answered with %w", x.name, kerr.ErrorForCode(code))
		default:
			k.refused[x.name] = code
		}
	}
	return nil
}

func (k *keeping) summary() string {
	var out []string
	for _, x := range k.acts() {
		codes := k.codes[x.name]
		text := fmt.Sprintf("%s %d", x.name, codes[0])
		for _, c := range patient {
			if codes[c] > 0 {
				text += fmt.Sprintf(" (%d times %d)", codes[c], c)
			}
		}
		out = append(out, text)
	}
	out = append(out, fmt.Sprintf("%d records settled", len(k.settled)))
	return strings.Join(out, ", ")
}

func (k *keeping) makeTopic() (int16, error) {
	name := keptTopic
	if k.topics > 0 {
		name = fmt.Sprint(keptTopic, ".", k.topics)
	}
	k.topics++
	q := kmsg.NewPtrCreateTopicsRequest()
	one := kmsg.NewCreateTopicsRequestTopic()
	one.Topic, one.NumPartitions, one.ReplicationFactor = name, 1, 1
	q.Topics, q.TimeoutMillis = append(q.Topics, one), 15_000
	res, err := process.Ask[*kmsg.CreateTopicsResponse](k.a, q, 7)
	if err != nil {
		return 0, err
	}
	if code := res.Topics[0].ErrorCode; code != 0 {
		return code, nil
	}
	if name == keptTopic {
		k.topic = res.Topics[0].TopicID
	}
	k.madeTopics = append(k.madeTopics, name)
	return 0, nil
}

func (k *keeping) commit() (int16, error) {
	k.offset++
	q := kmsg.NewPtrOffsetCommitRequest()
	q.Group, q.Generation = keptGroup, -1
	p := kmsg.NewOffsetCommitRequestTopicPartition()
	p.Offset, p.Metadata = k.offset, kmsg.StringPtr(strings.Repeat("m", 4000))
	q.Topics = append(q.Topics, kmsg.OffsetCommitRequestTopic{Topic: keptTopic, Partitions: []kmsg.OffsetCommitRequestTopicPartition{p}})
	res, err := process.Ask[*kmsg.OffsetCommitResponse](k.a, q, 9)
	if err != nil {
		return 0, err
	}
	if res.Topics[0].Partitions[0].ErrorCode == 0 {
		k.offsetKept = k.offset
	}
	return res.Topics[0].Partitions[0].ErrorCode, nil
}

func (k *keeping) join() (int16, error) {
	k.members++
	q := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	q.Group, q.MemberID, q.RebalanceTimeoutMillis = keptGroup+".epochs", fmt.Sprint("member-", k.members), 20_000
	q.SubscribedTopicNames, q.Topics = []string{keptTopic}, []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	res, err := process.Ask[*kmsg.ConsumerGroupHeartbeatResponse](k.a, q, 1)
	if err != nil {
		return 0, err
	}
	if res.ErrorCode == 0 {
		k.epochs[q.MemberID] = res.MemberEpoch
	}
	return res.ErrorCode, nil
}

func (k *keeping) init() (int16, error) {
	if k.producer >= 0 && !k.failed {
		return 0, nil
	}
	q := kmsg.NewPtrInitProducerIDRequest()
	q.TransactionalID, q.TransactionTimeoutMillis = kmsg.StringPtr(keptTxn), 60_000
	res, err := process.Ask[*kmsg.InitProducerIDResponse](k.a, q, 5)
	if err != nil {
		return 0, err
	}
	if res.ErrorCode == 0 {
		k.producer, k.epoch, k.failed = res.ProducerID, res.ProducerEpoch, false
	}
	return res.ErrorCode, nil
}

// transact commits an offset of a group in a transaction.
func (k *keeping) transact() (int16, error) {
	if k.producer < 0 || k.failed {
		return 0, nil // begins anew first
	}
	k.sums++
	k.failed = true
	q := kmsg.NewPtrTxnOffsetCommitRequest()
	q.TransactionalID, q.ProducerID, q.ProducerEpoch, q.Group, q.Generation = keptTxn, k.producer, k.epoch, keptTxn, -1
	p := kmsg.NewTxnOffsetCommitRequestTopicPartition()
	p.Offset, p.Metadata = k.sums, kmsg.StringPtr(strings.Repeat("m", 4000))
	q.Topics = append(q.Topics, kmsg.TxnOffsetCommitRequestTopic{Topic: keptTopic, Partitions: []kmsg.TxnOffsetCommitRequestTopicPartition{p}})
	committed, err := process.Ask[*kmsg.TxnOffsetCommitResponse](k.a, q, 5)
	if err != nil {
		return 0, err
	}
	if code := committed.Topics[0].Partitions[0].ErrorCode; code != 0 {
		return code, nil
	}
	e := kmsg.NewPtrEndTxnRequest()
	e.TransactionalID, e.ProducerID, e.ProducerEpoch, e.Commit = keptTxn, k.producer, k.epoch, true
	ended, err := process.Ask[*kmsg.EndTxnResponse](k.a, e, 5)
	if err != nil {
		return 0, err
	}
	if ended.ErrorCode == 0 {
		k.producer, k.epoch, k.sumsKept, k.failed = ended.ProducerID, ended.ProducerEpoch, k.sums, false
	}
	return ended.ErrorCode, nil
}

// settle has a share group's member take records and accept every other, so that more and more is to be kept ahead of the first.
func (k *keeping) settle() (int16, error) {
	q := kmsg.NewPtrShareFetchRequest()
	q.GroupID, q.MemberID, q.ShareSessionEpoch = kmsg.StringPtr(keptShare), kmsg.StringPtr("m"), k.session
	q.MaxRecords, q.BatchSize, q.MaxBytes, q.MaxWaitMillis = 20, 20, 1<<20, 50
	t := kmsg.NewShareFetchRequestTopic()
	t.TopicID = k.topic
	p := kmsg.NewShareFetchRequestTopicPartition()
	var told []int64
	slices.Sort(k.shared)
	for _, at := range k.shared {
		if at%2 == 1 {
			b := kmsg.NewShareFetchRequestTopicPartitionAcknowledgementBatch()
			b.FirstOffset, b.LastOffset, b.AcknowledgeTypes = at, at, []int8{1}
			p.AcknowledgementBatches = append(p.AcknowledgementBatches, b)
			told = append(told, at)
		}
	}
	t.Partitions = append(t.Partitions, p)
	q.Topics = append(q.Topics, t)
	if k.session == 0 {
		if code, err := k.produce(60); err != nil || code != 0 && !slices.Contains(patient, code) {
			return code, err
		}
	}
	res, err := process.Ask[*kmsg.ShareFetchResponse](k.a, q, 2)
	if err != nil || res.ErrorCode != 0 {
		return res.ErrorCode, err
	}
	k.session++
	k.shared = nil
	if len(res.Topics) == 0 {
		return 0, nil
	}
	got := res.Topics[0].Partitions[0]
	for _, run := range got.AcquiredRecords {
		for at := run.FirstOffset; at <= run.LastOffset; at++ {
			k.shared = append(k.shared, at)
			if k.settled[at] {
				return 0, fmt.Errorf("record %d comes again, which was accepted", at)
			}
		}
	}
	if got.ErrorCode != 0 || got.AcknowledgeErrorCode != 0 {
		return max(got.ErrorCode, got.AcknowledgeErrorCode), nil
	}
	for _, at := range told {
		k.settled[at] = true
	}
	return 0, nil
}

// produce appends records.
func (k *keeping) produce(n int) (code int16, err error) {
	for range n {
		q := kmsg.NewPtrProduceRequest()
		q.Acks, q.TimeoutMillis = 1, 15_000
		p := kmsg.NewProduceRequestTopicPartition()
		p.Records = process.Batch(process.Nobody, binary.BigEndian.AppendUint64(nil, 1))
		q.Topics = append(q.Topics, kmsg.ProduceRequestTopic{Topic: keptTopic, Partitions: []kmsg.ProduceRequestTopicPartition{p}})
		res, err := process.Ask[*kmsg.ProduceResponse](k.a, q, 9)
		if err != nil {
			return 0, err
		}
		if code = res.Topics[0].Partitions[0].ErrorCode; code != 0 {
			return code, nil
		}
	}
	return 0, nil
}

func (k *keeping) user() (int16, error) {
	k.users++
	name := fmt.Sprint("torture-", k.users)
	q := kmsg.NewPtrAlterUserSCRAMCredentialsRequest()
	u := kmsg.NewAlterUserSCRAMCredentialsRequestUpsertion()
	u.Name, u.Mechanism, u.Iterations, u.Salt, u.SaltedPassword = name, 1, 4096, []byte("sixteen of salt!"), []byte("thirty-two bytes of salted words")
	q.Upsertions = append(q.Upsertions, u)
	res, err := process.Ask[*kmsg.AlterUserSCRAMCredentialsResponse](k.a, q, 0)
	if err != nil {
		return 0, err
	}
	if res.Results[0].ErrorCode == 0 {
		k.madeUsers = append(k.madeUsers, name)
	}
	return res.Results[0].ErrorCode, nil
}

// holds compares what there is after a start with what was answered.
func (k *keeping) holds() error {
	for group, kept := range map[string][2]int64{keptGroup: {k.offsetKept, k.offset}, keptTxn: {k.sumsKept, k.sums}} {
		q := kmsg.NewPtrOffsetFetchRequest()
		g := kmsg.NewOffsetFetchRequestGroup()
		g.Group = group
		g.Topics = append(g.Topics, kmsg.OffsetFetchRequestGroupTopic{Topic: keptTopic, Partitions: []int32{0}})
		q.Groups = append(q.Groups, g)
		res, err := process.Ask[*kmsg.OffsetFetchResponse](k.a, q, 8)
		if err != nil {
			return err
		}
		if at := res.Groups[0].Topics[0].Partitions[0].Offset; at < kept[0] || at > kept[1] {
			return fmt.Errorf("group %s stands at %d, %d was answered, %d asked for", group, at, kept[0], kept[1])
		}
	}
	for id, epoch := range k.epochs {
		q := kmsg.NewPtrConsumerGroupHeartbeatRequest()
		q.Group, q.MemberID, q.MemberEpoch, q.RebalanceTimeoutMillis = keptGroup+".epochs", id, epoch, -1
		q.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
		res, err := process.Ask[*kmsg.ConsumerGroupHeartbeatResponse](k.a, q, 1)
		if err != nil {
			return err
		}
		if res.ErrorCode != 0 && !slices.Contains(patient, res.ErrorCode) {
			return fmt.Errorf("member %s in epoch %d goes on: %w", id, epoch, kerr.ErrorForCode(res.ErrorCode))
		}
		if res.ErrorCode == 0 {
			k.epochs[id] = res.MemberEpoch
		}
	}
	meta := kmsg.NewPtrMetadataRequest()
	for _, name := range k.madeTopics {
		one := kmsg.NewMetadataRequestTopic()
		one.Topic = kmsg.StringPtr(name)
		meta.Topics = append(meta.Topics, one)
	}
	topics, err := process.Ask[*kmsg.MetadataResponse](k.a, meta, 9)
	if err != nil {
		return err
	}
	for _, t := range topics.Topics {
		if t.ErrorCode != 0 {
			return fmt.Errorf("topic %s was made: %w", *t.Topic, kerr.ErrorForCode(t.ErrorCode))
		}
	}
	users, err := process.Ask[*kmsg.DescribeUserSCRAMCredentialsResponse](k.a, kmsg.NewPtrDescribeUserSCRAMCredentialsRequest(), 0)
	if err != nil {
		return err
	}
	for _, name := range k.madeUsers {
		if !slices.ContainsFunc(users.Results, func(u kmsg.DescribeUserSCRAMCredentialsResponseResult) bool { return u.User == name }) {
			return fmt.Errorf("user %s was made, and is not there", name)
		}
	}
	code, err := k.settle() // which holds what comes against what was accepted
	if err == nil && code != 0 && !slices.Contains(patient, code) {
		err = kerr.ErrorForCode(code)
	}
	return err
}
