package main

import (
	"encoding/binary"
	"maps"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl/plain"
)

// answered notes what becomes of bytes that are sent as they are: an answer to request 7, or that there is none.
func (t *talk) answered(title string, version int16, frame []byte) {
	version = max(version, 0) // in the record
	s := t.goesOn(title, version, version)
	c := t.conn()
	_, err := c.nc.Write(frame)
	if err == nil {
		_, err = c.read(7)
	}
	if err != nil {
		s.note(version, []string{err.Error()})
		t.hangUp(t.at)
		return
	}
	s.note(version, []string{"answered"})
}

// header is a request's, of request 7; tags are those of a flexible one, nil for another.
func header(key, version int16, client []byte, tags []byte) []byte {
	out := binary.BigEndian.AppendUint16(nil, uint16(key))
	out = binary.BigEndian.AppendUint16(out, uint16(version))
	out = binary.BigEndian.AppendUint32(out, 7)
	return append(append(out, client...), tags...)
}

var client = []byte{0, 4, 'd', 'i', 'f', 'f'}

// sized is a frame behind its size.
func sized(b ...byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...)
}

// plainRequest is a request of which nothing is said, with its header's tags.
func plainRequest(key, version int16) (body, tags []byte) {
	r := kmsg.RequestForKey(key)
	if d, ok := r.(interface{ Default() }); ok {
		d.Default()
	}
	switch r := r.(type) {
	case *kmsg.ProduceRequest:
		r.Acks = -1
	case *kmsg.ApiVersionsRequest:
		r.ClientSoftwareName, r.ClientSoftwareVersion = "diff", "1"
	}
	r.SetVersion(version)
	if r.IsFlexible() {
		tags = []byte{0}
	}
	return r.AppendTo(nil), tags
}

// frames are requests that are not as they should be.
func frames(t *talk) {
	// What brokers alone ask, and what logs in, is left out.
	others := []int16{17, 36, 57, 64, 80, 81, 83, 84, 85, 86, 87, 88, 89, 93, 94}
	keys := slices.DeleteFunc(slices.Sorted(maps.Keys(offered)), func(key int16) bool { return slices.Contains(others, key) })
	each := func(title string, f func(key, version int16)) {
		for _, key := range keys {
			low, high := offered[key][0], offered[key][1]
			if key == 0 {
				low = 3
			}
			f(key, low)
			if high != low {
				f(key, high)
			}
		}
	}
	name := func(key int16, title string) string { return kmsg.NameForKey(key) + " " + title }
	each("", func(key, v int16) {
		body, tags := plainRequest(key, v)
		t.answered(name(key, "of nothing"), v, sized(append(header(key, v, client, tags), body...)...))
	})
	each("", func(key, v int16) {
		if body, tags := plainRequest(key, v); len(body) > 0 {
			t.answered(name(key, "that is cut"), v, sized(append(header(key, v, client, tags), body[:len(body)-1]...)...))
		}
	})
	each("", func(key, v int16) {
		body, tags := plainRequest(key, v)
		t.answered(name(key, "with bytes behind it"), v, sized(append(append(header(key, v, client, tags), body...), 1, 2, 3)...))
	})
	each("", func(key, v int16) {
		if body, tags := plainRequest(key, v); tags != nil {
			t.answered(name(key, "with an unknown tag"), v, sized(append(append(header(key, v, client, tags), body[:len(body)-1]...), 1, 99, 2, 'a', 'b')...))
			t.answered(name(key, "with an unknown tag in its header"), v, sized(append(header(key, v, client, []byte{1, 99, 2, 'a', 'b'}), body...)...))
			t.answered(name(key, "with a tag that is cut"), v, sized(append(append(header(key, v, client, tags), body[:len(body)-1]...), 1, 99, 200, 'a')...))
		}
	})
	for _, key := range []int16{3, 18} {
		v := offered[key][1]
		body, tags := plainRequest(key, v)
		whole := func(client []byte) []byte { return sized(append(header(key, v, client, tags), body...)...) }
		t.answered(name(key, "without a client's name"), v, whole([]byte{0xff, 0xff}))
		t.answered(name(key, "with an empty name of a client"), v, whole([]byte{0, 0}))
		t.answered(name(key, "with a name of a client below zero"), v, whole([]byte{0xff, 0xfe}))
		t.answered(name(key, "with a name of a client that is cut"), v, sized(header(key, v, []byte{0, 50, 'd'}, nil)...))
		t.answered(name(key, "with a name of a client that is no text"), v, whole([]byte{0, 2, 0xff, 0xfe}))
		t.answered(name(key, "with a long name of a client"), v, whole(append([]byte{0x40, 0}, strings.Repeat("x", 0x4000)...)))
		t.answered(name(key, "with two tags of one number"), v, sized(append(header(key, v, client, []byte{2, 99, 0, 99, 0}), body...)...))
		t.answered(name(key, "without a body"), v, sized(header(key, v, client, tags)...))
		t.answered(name(key, "of half a header"), v, sized(header(key, v, nil, nil)[:6]...))
	}
	text := func(s string) []byte { return append(binary.BigEndian.AppendUint16(nil, uint16(len(s))), s...) }
	null := []byte{0xff, 0xff}
	none := []byte{0xff, 0xff, 0xff, 0xff}
	join := func(parts ...[]byte) []byte { return slices.Concat(parts...) }
	zero := func(n int) []byte { return make([]byte, n) }
	for _, bad := range []struct {
		title        string
		key, version int16
		flexible     bool
		body         []byte
	}{
		{"of topics that are null", 3, 0, false, none},
		{"of more topics than fit", 3, 1, false, []byte{0x7f, 0xff, 0xff, 0xff}},
		{"of topics below null", 3, 1, false, []byte{0xff, 0xff, 0xff, 0xfe}},
		{"of a topic that is null", 3, 1, false, join([]byte{0, 0, 0, 1}, null)},
		{"of a topic's name below null", 3, 1, false, join([]byte{0, 0, 0, 1}, []byte{0xff, 0xfe})},
		{"of a name that is no text", 3, 1, false, join([]byte{0, 0, 0, 1}, text("\xff\xfe"))},
		{"of a number that does not end", 3, 9, true, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}},
		{"of a list of a length that is too large", 3, 9, true, []byte{0xff, 0xff, 0xff, 0xff, 0x0f}},
		{"of topics that are null", 0, 3, false, join(null, []byte{0xff, 0xff, 0, 0, 0, 0}, none)},
		{"of partitions that are null", 0, 3, false, join(null, []byte{0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 1}, text("frames-t"), none)},
		{"of topics that are null", 1, 4, false, join(none, zero(12), []byte{0}, none)},
		{"of topics that are null", 2, 1, false, join(none, none)},
		{"of a group that is null", 8, 2, false, join(null, zero(4), null, zero(8), zero(4))},
		{"of a name that is null", 10, 0, false, null},
		{"of a group that is null", 11, 0, false, join(null, zero(4), text(""), text("consumer"), zero(4))},
		{"of protocols that are null", 11, 0, false, join(text("frames-g"), zero(4), text(""), text("consumer"), none)},
		{"of a member that is null", 12, 0, false, join(text("frames-g"), zero(4), null)},
		{"of assignments that are null", 14, 0, false, join(text("frames-g"), zero(4), text("m"), none)},
		{"of groups that are null", 15, 0, false, none},
		{"of groups that are null", 42, 0, false, none},
		{"of topics that are null", 19, 2, false, join(none, zero(4), []byte{0})},
		{"of a topic that is null", 19, 2, false, join([]byte{0, 0, 0, 1}, null, zero(14), zero(4), []byte{0})},
		{"of topics that are null", 20, 1, false, join(none, zero(4))},
		{"of topics that are null", 20, 5, true, join([]byte{0}, zero(4), []byte{0})},
		{"of an id that is null", 24, 0, false, join(null, zero(10), zero(4))},
		{"of settings that are null", 33, 0, false, join(none, []byte{0})},
	} {
		var tags []byte
		if bad.flexible {
			tags = []byte{0}
		}
		t.answered(name(bad.key, bad.title), bad.version, sized(append(header(bad.key, bad.version, client, tags), bad.body...)...))
	}
	size := func(n uint32, b ...byte) []byte { return append(binary.BigEndian.AppendUint32(nil, n), b...) }
	t.answered("a frame of no bytes", 0, size(0))
	t.answered("a frame of a size below zero", 0, size(0xffffffff, header(3, 1, client, nil)...))
	t.answered("a frame larger than there may be", 0, size(100<<20+1, header(3, 1, client, nil)...))
	t.answered("a frame of the largest size", 0, size(0x7fffffff, header(3, 1, client, nil)...))
	t.answered("a frame of three bytes", 0, size(3, 0, 3, 0))
	t.answered("a page that is asked for", 0, []byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"))
	t.answered("a hello of TLS", 0, []byte{22, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3})
	// Two requests at once, of which the first is bad: the second goes with it.
	body, tags := plainRequest(3, 12)
	t.answered("a bad request before a good one", 0, join(sized(append(header(3, 12, client, tags), body[:2]...)...), sized(append(header(3, 12, client, tags), body...)...)))

	// Before the login.
	for _, early := range []struct {
		title string
		key   int16
		v     int16
		body  []byte
	}{
		{"ApiVersions of a version to come", 18, 99, []byte{0, 0, 0}},
		{"ApiVersions that is cut", 18, 3, []byte{5, 'd'}},
		{"SASLHandshake of a version to come", 17, 9, text("PLAIN")},
		{"SASLHandshake of null", 17, 1, null},
		{"SASLHandshake that is cut", 17, 1, []byte{0, 9, 'P'}},
		{"SASLAuthenticate of a version to come", 36, 9, zero(8)},
		{"Metadata", 3, 1, none},
		{"a key that nobody knows", 1000, 0, zero(8)},
	} {
		t.as(9, nil)
		t.on(9).answered(early.title+" before a login", 0, sized(append(header(early.key, early.v, client, nil), early.body...)...))
	}
	t.as(9, nil)
	t.on(9).answered("a page that is asked for before a login", 0, []byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"))
	t.as(9, plain.Auth{User: "guest", Pass: "guest"}.AsMechanism())
	handshake, login := text("PLAIN"), append(binary.BigEndian.AppendUint32(nil, 12), "\x00guest\x00guest"...)
	t.answered("SASLHandshake behind a login", 0, sized(append(header(17, 1, client, nil), handshake...)...))
	t.answered("SASLAuthenticate behind a login", 0, sized(append(header(36, 1, client, nil), login...)...))
}
