package log

// Droppable reports, without a lock, whether a segment lies wholly below an
// offset and could be dropped: whoever calls DropExpired often asks this first.
func (l *Log) Droppable(below int64) bool {
	list := l.segments()
	return len(list) > 1 && list[0].Next() <= below
}
