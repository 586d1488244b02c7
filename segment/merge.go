package segment

// Merge is Thin of what is small already: it makes one of several segments also when hardly
// a byte is spared.
//
//	segments  │header│ 0‥99 │   │header│ empty 100‥199 │   │header│ empty 200‥249 │ 250‥259 │ empty 260‥299 │
//	Thinned   │header│ 0‥99 │ empty 100‥249 │ 250‥259 │ empty 260‥299 │
//
// The header of what takes the place of several tells up to where it covers the log. So
// whoever finds files behind it that begin before that knows them to be left over: the
// successor was durable under its name before the first of them went.
func Merge(list []*Segment, keep func(first, last int64) bool) (*Thinned, error) {
	if len(list) == 0 {
		return nil, nil
	}
	return rewrite(list, keep, thinning{limit: MaxBytes, most: MaxBytes})
}

// MaxOffsets is how many offsets a segment may span, because those in the index have 32 bits.
const MaxOffsets = 1<<32 - 1

// Covers is the offset up to which a merged segment takes the place of others; 0 if it is
// not one.
func (s *Segment) Covers() int64 { return s.covers }
