package segment

// OffsetBefore returns an offset from which a walk meets the first batch that
// reaches time ms, a few KiB before it; the base when nothing better is known.
func (s *Segment) OffsetBefore(ms int64) int64 {
	x := s.index.Load()
	if x == nil {
		var h *handle
		var err error
		if x, h, err = s.openCold(); err != nil {
			return s.base
		}
		h.release()
	}
	e, ok := x.ByTime(ms)
	if !ok {
		return s.base
	}
	return s.base + int64(e.Relative)
}

// Dense reports that every offset from the base on has its record. The caller
// holds the log's mutex, or the segment is sealed.
func (s *Segment) Dense() bool { return s.tail.records == s.tail.next-s.base }
