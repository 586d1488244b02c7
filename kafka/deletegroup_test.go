package kafka

import (
	"errors"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/kafka/group"
	"github.com/leveret-mq/leveret/kafka/txn"
	"github.com/leveret-mq/leveret/kafka/wire"
)

// savedAll is a journal that keeps nothing, and says that it did.
type savedAll struct{}

func (savedAll) Save([]group.Change) error { return nil }

// Where the group could be deleted, and what an open transaction has for it could not be taken away, deleting it once more does the rest.
func TestADeletionOfAGroupThatGotHalfWayCanBeRepeated(t *testing.T) {
	var disk error
	groups := group.New(group.Options{Journal: savedAll{}})
	defer groups.Close()
	txns := txn.New(txn.Options{
		Keep:        func(string, []byte, []group.Change) error { return disk },
		Commit:      func(_ []group.Change, save func() error) error { return save() },
		NewProducer: func() (int64, error) { return 1, nil },
	})
	defer txns.Close()
	if code := groups.Commit(savedAll{}, group.Identity{Group: "g", Generation: -1}, []group.Position{{Topic: "t", Offset: group.Offset{Offset: 5}}}); code != wire.None {
		t.Fatal(code)
	}
	producer, epoch, code := txns.Init("guest", "x", time.Minute, -1, -1)
	if code != wire.None {
		t.Fatal(code)
	}
	if code := txns.CommitOffsets("x", producer, epoch, "g", []group.Change{{Group: "g", Topic: "t", Offset: group.Offset{Offset: 9}}}, true); code != wire.None {
		t.Fatal(code)
	}
	disk = errors.New("full")
	if code := deleteGroup(groups, txns, savedAll{}, "g"); code != wire.CoordinatorNotAvailable || !txns.Unstable("g", "t", 0) {
		t.Errorf("on a disk that is full: error %d", code)
	}
	if code := deleteGroup(groups, txns, savedAll{}, "g"); code != wire.CoordinatorNotAvailable {
		t.Errorf("once more: error %d", code)
	}
	disk = nil
	if code := deleteGroup(groups, txns, savedAll{}, "g"); code != wire.GroupIDNotFound || txns.Unstable("g", "t", 0) {
		t.Errorf("on one that is not: error %d, the transaction has offsets: %v", code, txns.Unstable("g", "t", 0))
	}
}
