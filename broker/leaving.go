package broker

import "github.com/leveret-mq/leveret/store"

// leaving is what goes together: a queue or an exchange, the bindings from and to
// it, and the auto-delete exchanges that lose their last binding with these. All of
// it is taken out of the table in one write, so that a kill leaves all or nothing,
// and only then out of memory. Its methods need VHost.mu held.
type leaving struct {
	v         *VHost
	entries   []store.Entry
	bindings  map[string]bindingDef
	exchanges map[*Exchange]int // of those that bindings leave, how many
	gone      []*Exchange
}

func (v *VHost) newLeaving() *leaving {
	return &leaving{v: v, bindings: map[string]bindingDef{}, exchanges: map[*Exchange]int{}}
}

// binding adds a binding that exists.
func (l *leaving) binding(key string, d bindingDef) {
	if _, have := l.bindings[key]; have {
		return
	}
	l.bindings[key] = d
	src, q, x, err := l.v.endsOf(d)
	if err != nil {
		return // can't be: both ends are there until do
	}
	if stored(src, q, x) {
		l.entries = append(l.entries, store.Entry{Key: key})
	}
	if l.exchanges[src]++; src.AutoDelete && l.exchanges[src] == len(src.bindings) {
		l.exchange(src)
	}
}

// exchange adds an exchange with its bindings.
func (l *leaving) exchange(x *Exchange) {
	if x.deleted.Swap(true) {
		return
	}
	l.gone = append(l.gone, x)
	if x.Durable {
		l.entries = append(l.entries, store.Entry{Key: defKey(prefixEx, l.v.Name, x.Name)})
	}
	for key, d := range x.bindings {
		l.binding(key, d)
	}
	for key, d := range x.incoming {
		l.binding(key, d)
	}
}

// queue adds a queue with its bindings.
func (l *leaving) queue(q *Queue) {
	if q.lives() {
		l.entries = append(l.entries, store.Entry{Key: defKey(prefixQueue, l.v.Name, q.Name)})
	}
	for key, d := range q.bindings {
		l.binding(key, d)
	}
}

// do writes and then forgets what was added. After an error nothing has changed.
func (l *leaving) do() error {
	if len(l.entries) > 0 {
		if err := l.v.b.putDef(l.entries...); err != nil {
			for _, x := range l.gone {
				x.deleted.Store(false)
			}
			return err
		}
	}
	for key, d := range l.bindings {
		l.v.dropBinding(key, d)
	}
	for _, x := range l.gone {
		l.v.exchanges.Delete(x.Name)
		if x.feed != "" {
			l.v.feeds.Delete(x.feed)
		}
		l.v.freeEnd(x.target)
	}
	l.v.changed()
	return nil
}
