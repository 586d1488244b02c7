package field

import (
	"encoding/binary"
	"fmt"
	"math/bits"
)

// CheckProperties reports whether Parse would take raw. It is what every delivery
// does, so it walks the set flags and keeps nothing
// (BenchmarkRecords measures it in place).
func CheckProperties(raw []byte) bool {
	if len(raw) < 2 {
		return false
	}
	f := binary.BigEndian.Uint16(raw)
	if f&unusedFlags != 0 {
		return false
	}
	raw = raw[2:]
	for ; f != 0; f &= 1<<(15-bits.LeadingZeros16(f)) - 1 {
		n := 1
		switch top := uint16(1) << (15 - bits.LeadingZeros16(f)); top {
		case FlagDeliveryMode, FlagPriority:
		case FlagTimestamp:
			n = 8
		case FlagHeaders:
			if len(raw) < 4 || uint64(binary.BigEndian.Uint32(raw)) > uint64(len(raw)-4) {
				return false
			}
			n = 4 + int(binary.BigEndian.Uint32(raw))
		default:
			if len(raw) > 0 {
				n = 1 + int(raw[0])
			}
		}
		if n > len(raw) {
			return false
		}
		raw = raw[n:]
	}
	return len(raw) == 0
}

// propertyDecoder reads fields one by one; after a short read it yields nothing.
type propertyDecoder struct {
	b  []byte
	ok bool
}

func (r *propertyDecoder) take(n int) []byte {
	if !r.ok || n > len(r.b) {
		r.ok = false
		return nil
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}

func (r *propertyDecoder) octet() uint8 {
	if v := r.take(1); v != nil {
		return v[0]
	}
	return 0
}

func (r *propertyDecoder) u64() uint64 {
	if v := r.take(8); v != nil {
		return binary.BigEndian.Uint64(v)
	}
	return 0
}

func (r *propertyDecoder) short(flag uint16, into *[]byte) {
	if flag != 0 {
		*into = r.take(int(r.octet()))
	}
}

func (r *propertyDecoder) long() []byte {
	n := r.take(4)
	if n == nil {
		return nil
	}
	size := binary.BigEndian.Uint32(n)
	if uint64(size) > uint64(len(r.b)) {
		r.ok = false
		return nil
	}
	return r.take(int(size))
}

func (r *propertyDecoder) end() error {
	if !r.ok || len(r.b) != 0 {
		return fmt.Errorf("%w: list does not fit its flags", ErrProperties)
	}
	return nil
}

// AppendWithHeader appends properties with one header set: name to a tagged value, as
// AppendInt and its like make them. It is the first of the headers. props have been checked.
func AppendWithHeader(dst, props []byte, name string, value []byte) []byte {
	var p Properties
	if p.Parse(props) != nil {
		return append(dst, props...)
	}
	from, to := p.headersAt, p.headersEnd
	if p.Flags&FlagHeaders == 0 { // they stand behind these two
		from = 2
		for _, flag := range [...]uint16{FlagContentType, FlagContentEncoding} {
			if p.Flags&flag != 0 {
				from += 1 + int(props[from])
			}
		}
		to = from
	}
	at := len(dst)
	dst = append(append(dst, props[:from]...), 0, 0, 0, 0)
	binary.BigEndian.PutUint16(dst[at:], p.Flags|FlagHeaders)
	at = len(dst)
	dst = append(AppendName(dst, name), value...)
	for t := NewIterator(p.Headers); len(t.rest) > 0; {
		rest := t.rest
		if !t.Next() {
			dst = append(dst, rest...) // a damaged table stays what it is
			break
		}
		if string(t.Name()) != name {
			dst = append(dst, rest[:len(rest)-len(t.rest)]...)
		}
	}
	binary.BigEndian.PutUint32(dst[at-4:], uint32(len(dst)-at))
	return append(dst, props[to:]...)
}
