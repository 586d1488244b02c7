package local

import (
	"errors"

	"github.com/leveret-mq/leveret/internal/fs"
	"github.com/leveret-mq/leveret/log"
)

// scarce reports whether an error says that too many files are open, which
// makeRoom may help.
func scarce(err error) bool {
	return err != nil && (errors.Is(err, log.ErrTooManyOpen) || fs.OutOfFiles(err))
}

// roomTries is how often an append asks for room: others may take what was made.
const roomTries = 20

// makeRoom closes segments so that others can be opened. What is unsynced is
// flushed first, because a segment keeps its descriptor until it is: a writeback
// error is told to no other. Those who come while it runs wait for its end and
// try again then. The caller holds no lock of a log or of the store.
func (s *Store) makeRoom() {
	before := s.rooms.Load()
	s.roomMu.Lock()
	defer s.roomMu.Unlock()
	if s.rooms.Load() != before {
		return
	}
	s.syncer.flushListed()
	s.pool.MakeRoom()
	s.rooms.Add(1)
}
