package group

import (
	"errors"
	"time"

	"github.com/leveret-mq/leveret/kafka/wire"
)

// Options are a coordinator's settings; a zero field gets its default.
type Options struct {
	// InitialDelay is how long the first rebalance of an empty group waits for
	// more members, each of whom prolongs it; default 20 ms. Kafka's default is
	// 3 s, which every short-lived consumer pays for.
	InitialDelay time.Duration
	// MinSession and MaxSession bound the session timeout a member may ask for;
	// default 6 s and 30 min.
	MinSession, MaxSession time.Duration
	// MaxMembers bounds one group, members that were only given an id included;
	// default 5,000.
	MaxMembers int
	// MaxGroups bounds the groups; default 100,000.
	MaxGroups int
	// MaxMetadataBytes bounds the text committed beside an offset; default 4096.
	MaxMetadataBytes int
	// MaxOffsetBytes bounds what committed offsets take in memory, of which what was
	// committed before a restart is never refused; default 1 GiB.
	MaxOffsetBytes int64
	// OffsetRetention is how long the offsets of a group without members are
	// kept; default 7 days.
	OffsetRetention time.Duration
	// SweepEvery is the time between two looks for offsets to forget; default 10 min.
	SweepEvery time.Duration
	// Journal is told of offsets that are forgotten without a client asking for it;
	// nil tells nobody.
	Journal Journal
	// Keeper keeps the members of groups across restarts; nil forgets them.
	Keeper Keeper
	// Memory counts what members take; nil counts nothing.
	Memory Memory
	// Topics are those that consumer and share groups are assigned; nil: none.
	Topics Topics
	// EpochSession is how long a member of a consumer or share group may be silent; default 45 s. EpochInterval is how often
	// one of a large group is to be heard; default 5 s.
	EpochSession, EpochInterval time.Duration
	// ShareLock is how long a member of a share group may keep a message, where the group does not say; default 30 s.
	ShareLock time.Duration
	// NewID returns the random part of a member id; default 128 random bits.
	NewID func() string
}

// Memory counts the bytes that members make the coordinator keep, beyond the life
// of their connections.
type Memory interface {
	// Try takes n bytes, or fails because there are not so many; with ErrLater when
	// others hold them for a while.
	Try(n int64) error
	// Give returns n bytes that were taken.
	Give(n int64)
}

// ErrLater says that asking again helps.
var ErrLater = errors.New("the memory is in use for a while")

// take counts n bytes more, or less when n is negative. Clients give up at the one
// code and ask again at the other.
func (o *Options) take(n int64) wire.Code {
	switch {
	case o.Memory == nil:
		return wire.None
	case n < 0:
		o.Memory.Give(-n)
		return wire.None
	}
	switch err := o.Memory.Try(n); {
	case err == nil:
		return wire.None
	case errors.Is(err, ErrLater):
		return wire.CoordinatorLoadInProgress
	}
	return wire.GroupMaxSizeReached
}

func (o *Options) give(n int64) { _ = o.take(-n) } // giving does not fail

// Journal keeps committed offsets across restarts. A client's commits and deletions
// go to one of its own.
type Journal interface {
	// Save writes all changes at once or none, and returns when they are durable.
	Save(changes []Change) error
}

// Change is one committed offset, or its removal.
type Change struct {
	Group     string
	Topic     string
	Partition int32
	Offset    Offset
	Delete    bool
}

// Offset is what was committed for a partition.
type Offset struct {
	TopicID     [16]byte // of the topic it is for, not of another of that name
	Offset      int64
	LeaderEpoch int32 // -1 when the client told none
	Metadata    string
	Committed   time.Time
}

// NoOffset is what a partition has for which nothing was committed.
var NoOffset = Offset{Offset: -1, LeaderEpoch: -1}

// State is where a group stands; the strings are Kafka's own.
type State string

// The states of a group.
const (
	Empty      State = "Empty"
	Preparing  State = "PreparingRebalance"
	Completing State = "CompletingRebalance"
	Stable     State = "Stable"
	Dead       State = "Dead" // not there
)

// Protocol is one way of assigning partitions that a member knows, with what it
// tells the leader.
type Protocol struct {
	Name     string
	Metadata []byte
}

// JoinRequest is a member's wish to be in the next generation.
type JoinRequest struct {
	Group            string
	MemberID         string // empty the first time
	InstanceID       string // empty for dynamic members
	ClientID         string
	ClientHost       string
	ProtocolType     string
	Protocols        []Protocol // kept: the caller must not change the bytes later
	SessionTimeout   time.Duration
	RebalanceTimeout time.Duration
	// MustKnowID has a member without an id be given one and come again (v4+).
	MustKnowID bool
	// MaySkipAssignment says that the member understands SkipAssignment (v9+).
	MaySkipAssignment bool
}

// JoinReply is the answer to a JoinRequest.
type JoinReply struct {
	Err            wire.Code
	Generation     int32
	ProtocolType   string
	Protocol       string
	Leader         string
	MemberID       string
	SkipAssignment bool
	Members        []JoinedMember // for the leader only
}

// JoinedMember is what a leader learns of a member.
type JoinedMember struct {
	ID, InstanceID string
	Metadata       []byte
}

// SyncRequest asks for, or as the leader brings, the assignments of a generation.
type SyncRequest struct {
	Group        string
	MemberID     string
	InstanceID   string
	Generation   int32
	ProtocolType string // empty: not checked, unless Named
	Protocol     string // the same
	Named        bool
	Assignments  map[string][]byte
}

// SyncReply is the answer to a SyncRequest.
type SyncReply struct {
	Err          wire.Code
	ProtocolType string
	Protocol     string
	Assignment   []byte
}

// Identity says who calls: a member of a generation. The group "" can't have
// members, but clients who named no group have always committed to it.
type Identity struct {
	Group      string
	MemberID   string
	InstanceID string
	Generation int32 // negative: not a member; of a consumer group, the member's epoch
	// NoEpochs says that the client can't be told that an epoch is over (v0 to v8).
	NoEpochs bool
}

// Leaver is one member that leaves; either name may be empty.
type Leaver struct {
	MemberID, InstanceID string
	Err                  wire.Code // the outcome
}
