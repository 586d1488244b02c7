package auth

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
)

// ErrRefused is what every failed login returns, wrapped with the reason for
// the broker's own records. A listener tells its client only that the login was
// refused, so that nobody learns which names exist.
var ErrRefused = errors.New("login refused")

// Identity is a user who has proved who they are.
type Identity struct {
	// Name is the user's name.
	Name string
}

// User is one entry of the set.
type User struct {
	// Name is what clients log in as. It is never empty.
	Name string
	// Hash is the stored password, as HashPassword writes it.
	Hash Hash
	// LoopbackOnly refuses the user from any address but this machine's own.
	LoopbackOnly bool
}

// Users is the set of users. All methods may be called from any goroutine;
// logging in takes no lock.
type Users struct {
	mu      sync.Mutex // guards changes: readers use the map in current
	current atomic.Pointer[map[string]*entry]

	// anonymous is the user whom a client becomes that sends no name at all.
	anonymous atomic.Pointer[string]

	cacheKey [32]byte      // keys the digests of right passwords; never leaves the process
	hashing  chan struct{} // bounds how many slow hashes run at once, and so their memory
	decoy    Hash          // checked in place of an unknown user's hash
}

// entry is a user with the digest of the password that was right last.
type entry struct {
	User
	seen atomic.Pointer[[sha256.Size]byte]
}

// NewUsers returns an empty set: nobody can log in.
func NewUsers() *Users {
	u := &Users{hashing: make(chan struct{}, 2), decoy: decoyHash()}
	// rand.Read never fails on the systems Go supports; it ends the process instead.
	_, _ = rand.Read(u.cacheKey[:])
	empty := map[string]*entry{}
	u.current.Store(&empty)
	return u
}

// Put adds a user, or replaces the one of the same name.
func (u *Users) Put(user User) error {
	if user.Name == "" {
		return errors.New("a user needs a name")
	}
	if err := user.Hash.check(); err != nil {
		return fmt.Errorf("user %q: %w", user.Name, err)
	}
	u.change(func(m map[string]*entry) { m[user.Name] = &entry{User: user} })
	return nil
}

// PutPassword is Put with a password that is known now. The password is taken
// as already seen, so the first login is as cheap as the later ones.
func (u *Users) PutPassword(user User, password string) error {
	if user.Name == "" {
		return errors.New("a user needs a name")
	}
	e := &entry{User: user}
	digest := u.digest(user.Name, []byte(password))
	e.seen.Store(&digest)
	u.change(func(m map[string]*entry) { m[user.Name] = e })
	return nil
}

// Remove takes a user out of the set. Connections that are open stay.
func (u *Users) Remove(name string) {
	u.change(func(m map[string]*entry) { delete(m, name) })
}

// SetAnonymous names the user whom clients become that do not log in, as Kafka
// clients without SASL do. An empty name refuses them. The user's own rules
// hold: one that is LoopbackOnly is nobody from elsewhere.
func (u *Users) SetAnonymous(name string) { u.anonymous.Store(&name) }

// change publishes a changed copy of the map.
func (u *Users) change(edit func(map[string]*entry)) {
	u.mu.Lock()
	defer u.mu.Unlock()
	old := *u.current.Load()
	next := make(map[string]*entry, len(old)+1)
	for name, e := range old {
		next[name] = e
	}
	edit(next)
	u.current.Store(&next)
}

// Login checks a name and a password that came from the address from. The
// password is not kept. The error wraps ErrRefused and says why.
func (u *Users) Login(name string, password []byte, from net.Addr) (Identity, error) {
	e, known := (*u.current.Load())[name]
	if !known {
		// The same work as for a known user, so that time tells nothing.
		u.slowCheck(u.decoy, password)
		return Identity{}, fmt.Errorf("user %q: no such user: %w", name, ErrRefused)
	}
	if err := e.allowedFrom(from); err != nil {
		return Identity{}, err
	}
	digest := u.digest(name, password)
	if seen := e.seen.Load(); seen != nil && hmac.Equal(seen[:], digest[:]) {
		return e.identity(), nil
	}
	if !u.slowCheck(e.Hash, password) {
		return Identity{}, fmt.Errorf("user %q: wrong password: %w", name, ErrRefused)
	}
	e.seen.Store(&digest)
	return e.identity(), nil
}

// Anonymous is the login of a client at the address from that sent no name.
func (u *Users) Anonymous(from net.Addr) (Identity, error) {
	name := u.anonymous.Load()
	if name == nil || *name == "" {
		return Identity{}, fmt.Errorf("clients must log in: %w", ErrRefused)
	}
	e, known := (*u.current.Load())[*name]
	if !known {
		return Identity{}, fmt.Errorf("clients that do not log in are user %q, who does not exist: %w", *name, ErrRefused)
	}
	if err := e.allowedFrom(from); err != nil {
		return Identity{}, err
	}
	return e.identity(), nil
}

func (e *entry) identity() Identity { return Identity{Name: e.Name} }

// allowedFrom holds the loopback rule.
func (e *entry) allowedFrom(from net.Addr) error {
	if !e.LoopbackOnly || IsLoopback(from) {
		return nil
	}
	return fmt.Errorf("user %q can only connect from this machine: %w", e.Name, ErrRefused)
}

// digest is what is remembered of a right password: useless without the key,
// and bound to the name.
func (u *Users) digest(name string, password []byte) (d [sha256.Size]byte) {
	mac := hmac.New(sha256.New, u.cacheKey[:])
	// The length keeps ("ab","c") and ("a","bc") apart.
	fmt.Fprintf(mac, "%d:%s:", len(name), name)
	mac.Write(password)
	mac.Sum(d[:0])
	return d
}

// slowCheck runs the slow hash, a few at a time: each takes 19 MiB while it runs.
func (u *Users) slowCheck(h Hash, password []byte) bool {
	u.hashing <- struct{}{}
	defer func() { <-u.hashing }()
	return h.Matches(password)
}

// IsLoopback tells whether the address is this machine talking to itself. An
// address that is not IP (a pipe, a Unix socket) counts as local.
func IsLoopback(from net.Addr) bool {
	tcp, ok := from.(*net.TCPAddr)
	if !ok {
		return from != nil
	}
	return tcp.IP.IsLoopback()
}
