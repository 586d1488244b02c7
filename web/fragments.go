package web

import (
	"bytes"
	"net/http"
	"sync"
	"time"
)

// fragments are the changing parts of pages, as they were made last. The same part for the same user is made once in
// fragmentLife however many browsers ask; who asks while it is being made waits for it.
type fragments struct {
	mu  sync.Mutex // guards all
	all map[fragmentKey]*fragment
}

type fragmentKey struct{ user, path string }

// fragment is one of them.
type fragment struct {
	made   time.Time
	once   sync.Once
	status int
	text   []byte
}

const (
	fragmentLife = 1500 * time.Millisecond
	maxFragments = 256
)

// of is the fragment for a user and a place.
func (f *fragments) of(key fragmentKey, now time.Time) *fragment {
	f.mu.Lock()
	defer f.mu.Unlock()
	if k := f.all[key]; k != nil && now.Sub(k.made) < fragmentLife {
		return k
	}
	if len(f.all) >= maxFragments {
		for other, k := range f.all {
			if now.Sub(k.made) >= fragmentLife {
				delete(f.all, other)
			}
		}
	}
	k := &fragment{made: now}
	if f.all == nil {
		f.all = map[fragmentKey]*fragment{}
	}
	if len(f.all) < maxFragments {
		f.all[key] = k
	}
	return k
}

// fragment answers the script with what changes of a view.
func (s *Server) fragment(v *visit, of *view) {
	k := s.fragments.of(fragmentKey{v.name, v.r.URL.RequestURI()}, time.Now())
	k.once.Do(func() {
		if !s.turn(v.r) {
			k.status = http.StatusServiceUnavailable
			return
		}
		defer func() { <-s.turns }()
		var out bytes.Buffer
		if err := v.compose(&out, of); err != nil {
			k.status = statusOf(err)
			return
		}
		k.status, k.text = http.StatusOK, out.Bytes()
	})
	if k.status != http.StatusOK {
		v.w.WriteHeader(max(k.status, http.StatusBadRequest)) // one whose maker panicked has none
		return
	}
	v.send(k.status, k.text)
}
