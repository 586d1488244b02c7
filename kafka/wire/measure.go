package wire

// Measured is what a request's body turns out to hold.
type Measured struct {
	Bytes    int // of the body
	Elements int // of all lists, nested ones included
	Tags     int // tagged fields, which nobody asked for
}

// Memory is about what decoding the body takes, and an answer that says little of
// each element. It is more than that rather than less: a test holds it to every key.
func (m Measured) Memory() int {
	const (
		element = 400 // the largest generated structures and what they point to
		tag     = 400 // a map for each structure that has some
	)
	return 3*m.Bytes + element*m.Elements + tag*m.Tags
}

// Measure goes through the body of a request of a generated type without
// allocating, and fails where the body does not follow its layout. Generated
// decoders reserve lists by the length that a request claims, up to a hundred bytes
// for each byte of the request; after Measure every claim is true.
func Measure(h Header, body []byte) (Measured, error) {
	fields, ok := shapes[h.Key]
	if !ok {
		return Measured{}, &Refused{h.Key, h.Version}
	}
	s := scanner{decoder: decoder{src: body}, version: h.Version, flexible: Lookup(h.Key).IsFlexible(h.Version)}
	s.found.Bytes = len(body)
	s.fields(fields, true)
	if s.bad {
		return Measured{}, h.Malformed(ErrMalformed)
	}
	return s.found, nil
}

// scanner walks a body along its shape.
type scanner struct {
	decoder
	version  int16
	flexible bool
	found    Measured
}

// fields goes through one structure, or one plain value that has no tags behind it.
func (s *scanner) fields(fields []shape, tagged bool) {
	for i := range fields {
		f := &fields[i]
		if s.version < f.from || s.version > f.upto {
			continue
		}
		switch f.kind {
		case fixedSize:
			s.span(f.bytes)
		case textual:
			s.str(s.flexible)
		case binary32:
			s.decoder.bytes(s.flexible)
		case listed:
			s.list(f)
		case optional:
			if there := s.span(1); len(there) == 1 && int8(there[0]) >= 0 {
				s.fields(f.of, true)
			}
		}
	}
	if tagged {
		s.skipTags()
	}
}

func (s *scanner) list(f *shape) {
	n := s.array(s.flexible, s.least(f.of, !f.plain))
	s.found.Elements += n
	for ; n > 0 && !s.bad; n-- {
		s.fields(f.of, !f.plain)
	}
}

// least is the smallest encoding of a list's element.
func (s *scanner) least(fields []shape, tagged bool) int {
	n := 0
	for i := range fields {
		f := &fields[i]
		if s.version < f.from || s.version > f.upto {
			continue
		}
		switch {
		case f.kind == fixedSize:
			n += f.bytes
		case f.kind == optional:
			n++
		case s.flexible:
			n++
		case f.kind == textual:
			n += 2
		default:
			n += 4
		}
	}
	if tagged && s.flexible {
		n++
	}
	return max(n, 1)
}

func (s *scanner) skipTags() {
	if !s.flexible {
		return
	}
	for n := s.uvarint(); n > 0 && !s.bad; n-- {
		s.found.Tags++
		s.uvarint()
		s.span(int(s.uvarint()))
	}
}
