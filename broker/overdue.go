package broker

import (
	"errors"
	"sync"
)

// overdue is what should have gone by itself and has not, since that could not be
// written down: auto-delete queues without consumers, auto-delete exchanges without
// bindings. The saver tries again until they are gone, or used again.
type overdue struct {
	mu   sync.Mutex // guards list; a leaf
	list map[any]func() error
}

// add notes a queue or an exchange with what removes it.
func (o *overdue) add(what any, remove func() error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.list == nil {
		o.list = map[any]func() error{}
	}
	o.list[what] = remove
}

// run tries all, up to the first that fails: the others would, too.
func (o *overdue) run() {
	for {
		what, remove := o.next()
		if remove == nil {
			return
		}
		if err := remove(); err != nil && !errors.Is(err, errUsed) && !errors.Is(err, errVHostGone) {
			return
		}
		o.mu.Lock()
		delete(o.list, what)
		o.mu.Unlock()
	}
}

func (o *overdue) next() (what any, remove func() error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for what, remove = range o.list {
		return what, remove
	}
	return nil, nil
}
