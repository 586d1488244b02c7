package cluster

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leveret-mq/leveret/store"
)

// Options say where the cluster is and what is kept there.
type Options struct {
	Brokers []string // to ask first, host:port each
	Prefix  string   // of all topics and groups; default "leveret"
	// Replicas is how many brokers keep each log; default what the cluster says.
	Replicas int
	// Slots is into how many parts the work cursors are dealt to processes; fixed by
	// whoever comes first. Default 16.
	Slots int
	// MaxBatchBytes is the longest record batch that the cluster takes; default 1 MB.
	MaxBatchBytes int
	// Linger is how long records wait for others of their partition; default 2 ms.
	Linger time.Duration
	// PollEvery is how often the ends of watched logs are looked at for what others
	// produced; default 100 ms.
	PollEvery time.Duration
	// Session is how long a process may be silent before others get its slots; default 6 s.
	Session time.Duration
	Logger  *slog.Logger
	Now     func() time.Time
}

func (o *Options) defaults() {
	o.Prefix = cmp.Or(o.Prefix, "leveret")
	o.Slots = cmp.Or(o.Slots, 16)
	o.Replicas = cmp.Or(o.Replicas, -1)
	o.MaxBatchBytes = cmp.Or(o.MaxBatchBytes, 1_000_000)
	o.Linger = cmp.Or(o.Linger, 2*time.Millisecond)
	o.PollEvery = cmp.Or(o.PollEvery, 100*time.Millisecond)
	o.Session = cmp.Or(o.Session, 6*time.Second)
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
}

// bufferedBytes bounds what was appended and not confirmed, of all logs. Append waits
// when there is more, which is what slows a publisher down.
const bufferedBytes = 64 << 20

// Store is a store.Store over a cluster.
type Store struct {
	o      Options
	client *kgo.Client
	admin  *kadm.Client
	self   string // tells this process's writes to tables from others'
	leases *leases

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	work   sync.WaitGroup
	closed atomic.Bool

	appended atomic.Uint64 // bytes

	mu     sync.Mutex // guards the following
	logs   map[store.LogID]*Log
	tables map[string]*table
	topics map[string]*topicInfo
	// produced has which topic of a name the client may produce to.
	produced map[string]kadm.TopicID

	commitMu sync.Mutex // held over finding out which commits are done; guards the following
	toTell   []*commit
	telling  bool // somebody calls their done
}

var _ store.Store = (*Store)(nil)

// Open connects to the cluster.
func Open(ctx context.Context, o Options) (*Store, error) {
	o.defaults()
	client, err := kgo.NewClient(
		kgo.SeedBrokers(o.Brokers...),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(kgo.NoCompression()), // readers look into batches, and producers' packed ones stay rare
		kgo.ProducerBatchMaxBytes(int32(o.MaxBatchBytes)),
		kgo.ProducerLinger(o.Linger),
		kgo.MaxBufferedRecords(1<<20),
		kgo.MaxBufferedBytes(bufferedBytes),
		kgo.MetadataMinAge(50*time.Millisecond),
	)
	if err != nil {
		return nil, fmt.Errorf("kafka client: %w", err)
	}
	if err := client.Ping(ctx); err != nil {
		client.Close()
		return nil, fmt.Errorf("connect to %v: %w", o.Brokers, asStoreError(err))
	}
	var self [8]byte
	rand.Read(self[:]) // never fails (crypto/rand)
	s := &Store{
		o: o, client: client, admin: kadm.NewClient(client), self: hex.EncodeToString(self[:]),
		logs: map[store.LogID]*Log{}, tables: map[string]*table{}, topics: map[string]*topicInfo{}, produced: map[string]kadm.TopicID{},
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.leases = newLeases(s)
	s.work.Go(s.poll)
	s.work.Go(s.commitCursors)
	return s, nil
}

// Caps are those of a store that others use too.
func (s *Store) Caps() store.Caps {
	return store.Caps{Shared: true, MaxBatchBytes: s.o.MaxBatchBytes, MaxCursorBytes: maxCursorData}
}

// Leases say whose the work cursors are.
func (s *Store) Leases() store.Leases { return s.leases }

// Unclaimed lists nothing: a log that this process did not open is another's.
func (s *Store) Unclaimed(...store.LogID) []store.Unclaimed { return nil }

// Stats are what was appended; flushing is the cluster's matter.
func (s *Store) Stats() store.Stats {
	return store.Stats{Mode: store.ModeGroup, AppendedBytes: s.appended.Load()}
}

// Err is not nil when the store is closed; a cluster that can't be reached now may be later.
func (s *Store) Err() error {
	if s.closed.Load() {
		return store.ErrClosed
	}
	return nil
}

// closeTimeout bounds what Close waits for the cluster.
const closeTimeout = 10 * time.Second

// Close waits for what was appended, keeps the cursors, gives the leases back and
// deletes the transient logs.
func (s *Store) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	var errs []error
	if err := s.client.Flush(ctx); err != nil {
		errs = append(errs, fmt.Errorf("flush: %w", asStoreError(err)))
	}
	s.leases.giveBack() // tells who works on cursors, and keeps them
	errs = append(errs, s.flushCursors(ctx, true))
	s.leases.close()
	s.cancel()
	s.work.Wait()
	s.mu.Lock()
	logs := s.logs
	s.logs, s.tables = map[store.LogID]*Log{}, map[string]*table{}
	s.mu.Unlock()
	for _, l := range logs {
		if l.transient && l.id.part == 0 {
			errs = append(errs, s.deleteTopic(ctx, l.id))
		}
	}
	s.client.Close()
	return errors.Join(errs...)
}

// everyLog lists the open logs.
func (s *Store) everyLog() []*Log {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*Log, 0, len(s.logs))
	for _, l := range s.logs {
		all = append(all, l)
	}
	return all
}
