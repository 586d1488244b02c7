package broker

import (
	"sync"
	"time"
)

// A tidier has memory to give back when time passes or messages leave, which nobody tells it
// of. The saver has it look now and then, for as long as it says that there may be more.
type tidier interface {
	// tidy gives back what it can in a moment; keep is false when nothing will be left to do.
	tidy(now time.Time) (keep bool)
}

// tidying is the tidiers.
type tidying struct {
	mu   sync.Mutex // guards list; a leaf
	list []tidier
}

// add has a tidier looked after that is not in the list.
func (t *tidying) add(x tidier) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.list = append(t.list, x)
}

// run has all of them tidy up.
func (t *tidying) run(now time.Time) {
	t.mu.Lock()
	list := t.list
	t.list = nil
	t.mu.Unlock()
	for _, x := range list {
		if x.tidy(now) {
			t.add(x)
		}
	}
}

// tidyTime is how long a tidier takes at most, but for what it does at once.
const tidyTime = 20 * time.Millisecond
