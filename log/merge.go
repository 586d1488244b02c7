package log

import (
	"github.com/leveret-mq/leveret/internal/fs"
	"github.com/leveret-mq/leveret/segment"
)

// Small neighbours become one segment, so that what stays of a log behind one record is a
// bounded number of files, however much has passed through:
//
//	│ 2 pages │ 1 │ 1 │ 3 │ 1 │ 1 │ 1 │ 1 │ full │ 1 │ 1 │ active
//	└──────────────── one ────────────────┘        └ too few ┘
//
// Only neighbours of about a size are merged, as it is done with sorted runs, or the first
// one would be copied for each few that come behind it: the limit of size grows by
// mergeStep, from one of a few pages up to a quarter of a full segment. So a byte that stays is
// copied a few times in all.
const (
	mergeLeast = 8 // so many neighbours
	mergeFrom  = 4 * fs.PageBytes
	mergeStep  = 8
	mergeShare = 4
)

// merge is the second part of Thin. The caller holds thinMu.
func (l *Log) merge(below int64, keep func(first, last int64) bool) (freedBytes int64, err error) {
	l.mu.Lock()
	full := l.o.SegmentBytes
	l.mu.Unlock()
	largest := max(full/mergeShare, mergeFrom)
	for limit := int64(mergeFrom); ; limit *= mergeStep {
		limit = min(limit, largest)
		for _, group := range l.neighbours(below, limit, max(full, mergeFrom*mergeLeast)) {
			n, err := l.rewrite(segment.Merge, group, keep)
			if freedBytes += n; err != nil {
				return freedBytes, err
			}
		}
		if limit == largest {
			return freedBytes, nil
		}
	}
}

// neighbours returns the runs of segments that end at or before an offset, have at most
// limit bytes each and most together, and could be one.
func (l *Log) neighbours(below, limit, most int64) (groups [][]*segment.Segment) {
	var run []*segment.Segment
	var bytes int64
	end := func() {
		if len(run) >= l.mergeLeast {
			groups = append(groups, run)
		}
		run, bytes = nil, 0
	}
	for _, s := range l.segments() {
		if !s.Sealed() || s.Next() > below {
			break
		}
		if s.Position() > limit || !s.Whole() {
			end()
			continue
		}
		if n := len(run); n > 0 && (!follows(run[0], run[n-1], s) || bytes+s.Position() > most) {
			end()
		}
		run, bytes = append(run, s), bytes+s.Position()
	}
	end()
	return groups
}

// follows says whether a segment could be one with those from first to last.
func follows(first, last, s *segment.Segment) bool {
	return last.Next() == s.Base() && s.Next()-first.Base() <= segment.MaxOffsets
}
