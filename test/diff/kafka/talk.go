package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
)

// patience is how long an answer may take.
const patience = 10 * time.Second

// lost ends a conversation: what it needs first did not work.
type lost struct{ error }

// talk is one conversation. It keeps connections by number; requests go to the first unless on says another.
type talk struct {
	name, address string
	settle        time.Duration
	base          int64 // milliseconds since 1970: the time of its first record
	steps         []*step
	lines         *lines
	ids           map[string][16]byte // of topics, by name
	conns         map[int]*conn
	at            int
	login         map[int]sasl.Mechanism
}

func newTalk(name, address string, settle time.Duration) *talk {
	base := time.Now().UnixMilli() - 60_000
	return &talk{name: name, address: address, settle: settle, base: base, lines: newLines(name, base), ids: map[string][16]byte{}, conns: map[int]*conn{}, login: map[int]sasl.Mechanism{}}
}

func (t *talk) close() {
	for _, c := range t.conns {
		_ = c.nc.Close()
	}
}

func (t *talk) text() string {
	var b strings.Builder
	for _, s := range t.steps {
		s.write(&b)
	}
	return b.String()
}

// step is what was asked, in some versions, and what each of them was answered.
type step struct {
	title string
	held  []int16            // versions
	found map[string][]int16 // versions by line
	order []string
}

func (s *step) note(version int16, lines []string) {
	s.held = append(s.held, version)
	for _, l := range lines {
		if s.found[l] == nil {
			s.order = append(s.order, l)
		}
		s.found[l] = append(s.found[l], version)
	}
}

// write writes the step down. A quotation mark stands for what the path of a line has in common, up to its last dot, with the line before.
func (s *step) write(b *strings.Builder) {
	fmt.Fprintf(b, "> %s\n", s.title)
	slices.SortStableFunc(s.order, func(x, y string) int { return strings.Compare(pathOf(x), pathOf(y)) })
	before := ""
	for _, l := range s.order {
		path, text := pathOf(l), l
		place := path[:strings.LastIndex(path, ".")+1]
		if place != "" && place == before {
			text = `"` + l[len(place):]
		}
		before = place
		fmt.Fprintf(b, "%s %s\n", ranges(s.found[l]), text)
	}
}

// pathOf is the field of a line.
func pathOf(line string) string {
	path, _, _ := strings.Cut(line, "=")
	return path
}

// ranges tells versions as in 0-3,5.
func ranges(versions []int16) string {
	slices.Sort(versions)
	versions = slices.Compact(versions)
	var out []string
	for i := 0; i < len(versions); {
		j := i
		for j+1 < len(versions) && versions[j+1] == versions[j]+1 {
			j++
		}
		if i == j {
			out = append(out, fmt.Sprint(versions[i]))
		} else {
			out = append(out, fmt.Sprintf("%d-%d", versions[i], versions[j]))
		}
		i = j + 1
	}
	return strings.Join(out, ",")
}

// Which connection, as whom.

// on has what follows go over another connection.
func (t *talk) on(number int) *talk {
	t.at = number
	return t
}

// as has a connection log in as somebody else than guest; nil does not log in.
func (t *talk) as(number int, m sasl.Mechanism) {
	t.hangUp(number)
	t.login[number] = m
}

// hangUp ends a connection. The next request over it opens another.
func (t *talk) hangUp(number int) {
	if c := t.conns[number]; c != nil {
		_ = c.nc.Close()
		delete(t.conns, number)
	}
}

func (t *talk) conn() *conn {
	if c := t.conns[t.at]; c != nil {
		return c
	}
	m, other := t.login[t.at]
	if !other {
		m = plain.Auth{User: "guest", Pass: "guest"}.AsMechanism()
	}
	c, err := dial(t.address, m)
	if err != nil {
		panic(lost{err})
	}
	t.conns[t.at] = c
	return c
}

// What is asked.

// option changes how a step is held.
type option func(*asked)

type asked struct {
	from, to int16
	mine     bool
	without  []string
	key      int16
}

// from leaves out the versions before that one.
func from(v int16) option { return func(a *asked) { a.from = max(a.from, v) } }

// to leaves out the versions after that one.
func to(v int16) option { return func(a *asked) { a.to = min(a.to, v) } }

// only asks in one version.
func only(v int16) option { return func(a *asked) { a.from, a.to = v, v } }

// last asks in the newest version.
func last(a *asked) { a.from = a.to }

// mine leaves out topics, groups and the like of other conversations.
func mine(a *asked) { a.mine = true }

// without leaves out fields by their names.
func without(fields ...string) option {
	return func(a *asked) { a.without = append(a.without, fields...) }
}

// ask sends a request in each version that Kafka has, writes down what was answered, and returns the last answer, nil when there was none.
func ask[R kmsg.Request](t *talk, title string, build func(v int16) R, options ...option) kmsg.Response {
	key := build(0).Key()
	span, known := offered[key]
	if !known {
		panic(fmt.Sprintf("key %d has no versions", key))
	}
	a := asked{from: span[0], to: span[1], key: key}
	for _, o := range options {
		o(&a)
	}
	s := t.goesOn(kmsg.NameForKey(key)+" "+title, a.from, a.to)
	var answer kmsg.Response
	for v := a.from; v <= a.to; v++ {
		answer = t.exchange(s, &a, build(v), v)
	}
	return answer
}

// goesOn is the step of a title that was not held in any of these versions yet, or a new one: what is asked in each version in its
// turn is told as what is asked in all of them at once.
func (t *talk) goesOn(title string, from, to int16) *step {
	for _, s := range t.steps {
		if s.title == title && !slices.ContainsFunc(s.held, func(v int16) bool { return v >= from && v <= to }) {
			return s
		}
	}
	return t.step(title)
}

func (t *talk) step(title string) *step {
	s := &step{title: title, found: map[string][]int16{}}
	t.steps = append(t.steps, s)
	return s
}

func (t *talk) exchange(s *step, a *asked, req kmsg.Request, v int16) kmsg.Response {
	req.SetVersion(v)
	res, err := t.settled(req)
	if err != nil {
		s.note(v, []string{err.Error()})
		t.hangUp(t.at)
		return nil
	}
	t.lines.mine, t.lines.without = a.mine, a.without
	s.note(v, t.lines.of(res))
	return res
}

// settled asks until the broker does not say any more that it is not ready yet.
func (t *talk) settled(req kmsg.Request) (kmsg.Response, error) {
	for end := time.Now().Add(patience); ; {
		res, err := t.conn().ask(req)
		if err != nil || t.settle == 0 || time.Now().After(end) || !unready(reflect.ValueOf(res)) {
			return res, err
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// unready tells whether an answer says anywhere that a coordinator is not there yet, or not done with what it was told before.
func unready(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Pointer:
		return !v.IsNil() && unready(v.Elem())
	case reflect.Slice:
		if v.Type().Elem().Kind() != reflect.Struct {
			return false
		}
		for i := range v.Len() {
			if unready(v.Index(i)) {
				return true
			}
		}
	case reflect.Struct:
		if f := v.FieldByName("ErrorCode"); f.IsValid() && (f.Int() == 14 || f.Int() == 15 || f.Int() == 16 || f.Int() == 51) {
			return true
		}
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() && unready(v.Field(i)) {
				return true
			}
		}
	}
	return false
}

// quietly asks without a word in the record. Its request has its version.
func quietly[A kmsg.Response](t *talk, req kmsg.Request, v int16) A {
	req.SetVersion(v)
	res, err := t.settled(req)
	if err != nil {
		panic(lost{fmt.Errorf("%s %d: %w", kmsg.NameForKey(req.Key()), v, err)})
	}
	return res.(A)
}

// raw sends the bytes of a request behind its header, and writes down the length of what comes, or that nothing does.
func (t *talk) raw(title string, key, version int16, flexible bool, body []byte) {
	s := t.step(fmt.Sprintf("key %d: %s", key, title))
	c := t.conn()
	got, err := c.raw(key, version, flexible, body)
	version = max(version, 0) // in the record
	if err != nil {
		s.note(version, []string{err.Error()})
		t.hangUp(t.at)
		return
	}
	s.note(version, []string{fmt.Sprintf("bytes=%x", got)})
}

// rest waits until all of the broker knows what was changed, where that takes time.
func (t *talk) rest() { time.Sleep(t.settle) }

// conn is a connection.
type conn struct {
	nc   net.Conn
	corr int32
}

var (
	errEnded   = errors.New("the connection ended")
	errSilence = errors.New("silence")
)

func dial(address string, m sasl.Mechanism) (*conn, error) {
	nc, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		return nil, err
	}
	c := &conn{nc: nc}
	if m == nil {
		return c, nil
	}
	if err := c.logIn(m); err != nil {
		_ = nc.Close()
		return nil, fmt.Errorf("log in: %w", err)
	}
	return c, nil
}

func (c *conn) logIn(m sasl.Mechanism) error {
	hello := kmsg.NewPtrSASLHandshakeRequest()
	hello.Version, hello.Mechanism = 1, m.Name()
	if _, err := c.ask(hello); err != nil {
		return err
	}
	session, say, err := m.Authenticate(context.Background(), "")
	for done := false; err == nil && !done; {
		token := kmsg.NewPtrSASLAuthenticateRequest()
		token.Version, token.SASLAuthBytes = 1, say
		var res kmsg.Response
		if res, err = c.ask(token); err != nil {
			return err
		}
		answer := res.(*kmsg.SASLAuthenticateResponse)
		if answer.ErrorCode != 0 {
			return fmt.Errorf("code %d", answer.ErrorCode)
		}
		done, say, err = session.Challenge(answer.SASLAuthBytes)
	}
	return err
}

func (c *conn) ask(req kmsg.Request) (kmsg.Response, error) {
	corr, err := c.send(req)
	if err != nil {
		return nil, err
	}
	return c.receive(req, corr)
}

func (c *conn) send(req kmsg.Request) (int32, error) {
	return c.write(req.Key(), req.GetVersion(), req.IsFlexible(), req.AppendTo(nil))
}

func (c *conn) write(key, version int16, flexible bool, body []byte) (int32, error) {
	c.corr++
	out := make([]byte, 4, 64+len(body))
	out = binary.BigEndian.AppendUint16(out, uint16(key))
	out = binary.BigEndian.AppendUint16(out, uint16(version))
	out = binary.BigEndian.AppendUint32(out, uint32(c.corr))
	out = append(out, 0, 4, 'd', 'i', 'f', 'f')
	if flexible {
		out = append(out, 0)
	}
	out = append(out, body...)
	binary.BigEndian.PutUint32(out, uint32(len(out)-4))
	if _, err := c.nc.Write(out); err != nil {
		return 0, errEnded
	}
	return c.corr, nil
}

// receive reads the answer to a request. What is not as it would be written is an error.
func (c *conn) receive(req kmsg.Request, corr int32) (kmsg.Response, error) {
	body, err := c.read(corr)
	if err != nil {
		return nil, err
	}
	res := req.ResponseKind()
	res.SetVersion(req.GetVersion())
	if res.IsFlexible() && req.Key() != 18 {
		if len(body) == 0 || body[0] != 0 {
			return nil, errors.New("the header has no tags")
		}
		body = body[1:]
	}
	if req.Key() == 18 && len(body) > 1 && int16(binary.BigEndian.Uint16(body)) == 35 {
		res.SetVersion(0) // whatever was asked
	}
	if err := res.ReadFrom(body); err != nil {
		return nil, fmt.Errorf("an answer that can't be read: %x", body)
	}
	if again := res.AppendTo(nil); string(again) != string(body) {
		return nil, fmt.Errorf("an answer of other bytes than its fields have: %x, not %x", body, again)
	}
	return res, nil
}

func (c *conn) read(corr int32) ([]byte, error) {
	_ = c.nc.SetReadDeadline(time.Now().Add(patience))
	head := make([]byte, 8)
	if _, err := io.ReadFull(c.nc, head); err != nil {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return nil, errSilence
		}
		return nil, errEnded
	}
	size := int(binary.BigEndian.Uint32(head)) - 4
	if size < 0 || size > 64<<20 {
		return nil, fmt.Errorf("an answer of %d bytes", size)
	}
	if got := int32(binary.BigEndian.Uint32(head[4:])); got != corr {
		return nil, fmt.Errorf("an answer to request %d, not %d", got, corr)
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(c.nc, body); err != nil {
		return nil, errEnded
	}
	return body, nil
}

func (c *conn) raw(key, version int16, flexible bool, body []byte) ([]byte, error) {
	corr, err := c.write(key, version, flexible, body)
	if err != nil {
		return nil, err
	}
	return c.read(corr)
}
