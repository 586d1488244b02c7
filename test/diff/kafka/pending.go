package main

import "github.com/twmb/franz-go/pkg/kmsg"

// pending is a request whose answer is not read yet.
type pending struct {
	t    *talk
	at   int
	req  kmsg.Request
	c    *conn
	corr int32
}

// begin sends a request over a connection, and does not wait for its answer.
func (t *talk) begin(number int, req kmsg.Request, v int16) *pending {
	defer t.on(t.at)
	c := t.on(number).conn()
	req.SetVersion(v)
	p := &pending{t: t, at: number, req: req, c: c}
	var err error
	if p.corr, err = c.send(req); err != nil {
		panic(lost{err})
	}
	return p
}

// end writes down the answer of what was begun.
func (p *pending) end(title string, options ...option) kmsg.Response {
	a := asked{key: p.req.Key()}
	for _, o := range options {
		o(&a)
	}
	s := p.t.goesOn(kmsg.NameForKey(a.key)+" "+title, p.req.GetVersion(), p.req.GetVersion())
	res, err := p.c.receive(p.req, p.corr)
	if err != nil {
		s.note(p.req.GetVersion(), []string{err.Error()})
		p.t.hangUp(p.at)
		return nil
	}
	p.t.lines.mine, p.t.lines.without = a.mine, a.without
	s.note(p.req.GetVersion(), p.t.lines.of(res))
	return res
}
