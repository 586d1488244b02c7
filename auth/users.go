package auth

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// ErrRefused is what every failed login returns, wrapped with the reason for
// the broker's own records. A listener tells its client only that the login was
// refused, so that nobody learns which names exist.
var ErrRefused = errors.New("login refused")

// ErrBusy is a login that was not looked at, because too many wait or its client is
// gone. A listener closes the connection without a word: to be told that it was
// refused would be an answer.
var ErrBusy = errors.New("login not looked at")

// loginError is a login that ended without an Identity, with the name that was given for it.
type loginError struct {
	user string
	why  error
}

// loginOf is fmt.Errorf about a login by that name.
func loginOf(user, format string, args ...any) error {
	return &loginError{user, fmt.Errorf(format, args...)}
}

func (e *loginError) Error() string { return fmt.Sprintf("user %q: %v", e.user, e.why) }
func (e *loginError) Unwrap() error { return e.why }

// LoginUser is the name that was given; the error that is wrapped says the rest.
func (e *loginError) LoginUser() string { return e.user }

// checkTimeout is how long a login may wait for its slow hash.
const checkTimeout = 5 * time.Second

// maxHashing is how many slow hashes are made at a time.
const maxHashing = 2

// Identity is a user who has proved who they are.
type Identity struct {
	// Name is the user's name.
	Name string
}

// User is one entry of the set.
type User struct {
	// Name is what clients log in as. It is never empty.
	Name string
	// Secret is the stored password. The zero Secret is nobody by password.
	Secret
	// LoopbackOnly refuses the user from any address but this machine's own.
	LoopbackOnly bool
}

// Users is the set of users. All methods may be called from any goroutine.
type Users struct {
	mu      sync.Mutex // guards changes, and removed: readers use the map in current
	removed map[*func(string)]func(string)
	current atomic.Pointer[map[string]*entry]

	// anonymous is the user whom a client becomes that sends no name at all.
	anonymous atomic.Pointer[string]

	// upgrade gets a new form of a password that is stored in an older one.
	upgrade atomic.Pointer[func(name string, old, s Secret)]
	// pending is closed when the users' passwords are whole; nil when they are.
	pending atomic.Pointer[<-chan struct{}]

	decoyKey atomic.Pointer[[32]byte] // makes the salts; see decoy.go
	looks    atomic.Pointer[looks]
	cacheKey [32]byte                // keys the digests of right passwords; never leaves the process
	hashing  turns                   // who may make a slow hash
	decoy    Hash                    // checked where there is no hash to check
	matches  func(Hash, []byte) bool // Hash.Matches, but for tests
	guard    *guard
}

// entry is a user with the digest of the password that was right last.
type entry struct {
	User
	seen atomic.Pointer[[sha256.Size]byte]
}

// NewUsers returns an empty set: nobody can log in.
func NewUsers() *Users {
	u := &Users{hashing: turns{free: maxHashing}, decoy: decoyHash(), matches: Hash.Matches, guard: newGuard()}
	// rand.Read never fails on the systems Go supports; it ends the process instead.
	_, _ = rand.Read(u.cacheKey[:])
	var decoy [32]byte
	_, _ = rand.Read(decoy[:])
	u.decoyKey.Store(&decoy)
	empty := map[string]*entry{}
	u.current.Store(&empty)
	u.looks.Store(&looks{})
	return u
}

// Put adds users, or replaces those of the same names: all of them or none.
func (u *Users) Put(users ...User) error {
	for _, user := range users {
		if user.Name == "" {
			return errors.New("a user needs a name")
		}
		if err := user.Check(); err != nil {
			return fmt.Errorf("user %q: %w", user.Name, err)
		}
	}
	if len(users) == 0 {
		return nil
	}
	u.change(func(m map[string]*entry) {
		for _, user := range users {
			e := &entry{User: user}
			if old := m[user.Name]; old != nil && old.Hash == user.Hash && user.Hash != "" {
				e.seen.Store(old.seen.Load())
			}
			m[user.Name] = e
		}
	})
	return nil
}

// PutPassword is Put with a password that is known now. The password is taken
// as already seen, so the first login is as cheap as the later ones.
func (u *Users) PutPassword(user User, password string) error {
	if user.Name == "" {
		return errors.New("a user needs a name")
	}
	e := &entry{User: user}
	if password != "" {
		digest := u.digest(user.Name, []byte(password))
		e.seen.Store(&digest)
	}
	u.change(func(m map[string]*entry) { m[user.Name] = e })
	return nil
}

// Remove takes users out of the set. Connections that are open stay.
func (u *Users) Remove(names ...string) {
	if len(names) == 0 {
		return // what all users look like together is not looked at for nothing
	}
	u.change(func(m map[string]*entry) {
		for _, name := range names {
			delete(m, name)
		}
	})
	u.mu.Lock()
	told := slices.Collect(maps.Values(u.removed))
	u.mu.Unlock()
	for _, fn := range told {
		for _, name := range names {
			fn(name)
		}
	}
}

// OnRemoved has fn called with the name of each user that is taken out of the set from now on. It must not block. Who keeps
// something of users drops, when it opens, what is of one that does not exist.
func (u *Users) OnRemoved(fn func(name string)) (stop func()) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.removed == nil {
		u.removed = map[*func(string)]func(string){}
	}
	u.removed[&fn] = fn
	return func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		delete(u.removed, &fn)
	}
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
	next := maps.Clone(old)
	edit(next)
	of := looksOf(next)
	u.looks.Store(&of)
	u.current.Store(&next)
}

// Has tells whether there is a user of that name. It is for a listener that must know
// how a name is meant, not for its client to know.
func (u *Users) Has(name string) bool {
	_, ok := (*u.current.Load())[name]
	return ok
}

// Login checks a name and a password that came from the address from. The password
// is not kept. The error wraps ErrRefused and says why, or ErrBusy.
//
// A refusal takes its time: it comes late, the later the more there were from that
// address or for that name, and counted from the beginning, so that neither the time
// nor the work tells a name that exists from one that does not. ctx is the client's
// stay: at its end Login returns at once.
func (u *Users) Login(ctx context.Context, name string, password []byte, from net.Addr) (Identity, error) {
	e := (*u.current.Load())[name]
	a := u.guard.begin(sourceOf(from), name)
	defer u.guard.end(a)
	if a.care == turnedAway {
		return Identity{}, loginOf(name, "too many logins from there wait: %w", ErrBusy)
	}
	digest := u.digest(name, password)
	if e.remembers(digest) && e.allowedFrom(from) == nil {
		u.guard.succeeded(a)
		return e.identity(), nil
	}
	if a.care == glancedAt && !u.guard.look(a) {
		return Identity{}, loginOf(name, "too many logins from there wait, and it is not the password that was right last: %w", ErrBusy)
	}
	begun := time.Now()
	if err := u.Awaited(ctx); err != nil {
		return Identity{}, loginOf(name, "passwords that came in are still hashed: %w", err)
	}
	e = (*u.current.Load())[name]
	err := u.check(ctx, a, e, digest, password, from)
	if err == nil {
		u.guard.succeeded(a)
		return e.identity(), nil
	}
	if errors.Is(err, ErrRefused) {
		return Identity{}, u.refuse(ctx, a, name, err, begun)
	}
	return Identity{}, loginOf(name, "%w", err)
}

// refuse is the end of a login that is refused for the reason given. It returns late, counted
// from when it was begun.
func (u *Users) refuse(ctx context.Context, a *attempt, name string, why error, begun time.Time) error {
	wait, stays := u.guard.failed(a)
	if !stays {
		return loginOf(name, "%v, and too many wait already to be told so: %w", why, ErrBusy)
	}
	if !sleep(ctx, wait-time.Since(begun)) {
		return loginOf(name, "its client did not wait for the refusal: %w", ErrBusy)
	}
	return loginOf(name, "%w", why)
}

// check is the slow part of a login: the same work for every name, whether there is
// such a user or not, and whether it may come from there or not.
func (u *Users) check(ctx context.Context, a *attempt, e *entry, digest [sha256.Size]byte, password []byte, from net.Addr) error {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	if err := u.hashing.take(ctx, a.source, a.rank); err != nil {
		return err
	}
	defer u.hashing.give()
	var elsewhere error
	if e != nil {
		elsewhere = e.allowedFrom(from)
	}
	right := elsewhere == nil && e.remembers(digest) // another login may have been first
	if !right {
		right = u.right(e, password) && len(password) > 0
	}
	switch {
	case e == nil:
		return fmt.Errorf("no such user: %w", ErrRefused)
	case elsewhere != nil:
		return elsewhere
	case !right:
		return fmt.Errorf("wrong password: %w", ErrRefused)
	}
	e.seen.Store(&digest)
	u.renew(e, password)
	return nil
}

// right compares a password with what is stored of it: a slow hash, whatever that is.
func (u *Users) right(e *entry, password []byte) bool {
	if e != nil && e.Hash != "" && !e.Hash.quick() {
		return u.matches(e.Hash, password)
	}
	u.matches(u.decoy, password)
	switch {
	case e == nil:
		return false
	case e.Hash != "":
		return e.Hash.Matches(password)
	}
	return len(e.Credentials) > 0 && e.Credentials[0].Matches(password)
}

// sleep waits, and reports whether ctx lasted that long.
func sleep(ctx context.Context, wait time.Duration) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
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
		return Identity{}, fmt.Errorf("clients that do not log in are user %q: %w", *name, err)
	}
	return e.identity(), nil
}

// Certified is the login of a client at the address from whose certificate, which was verified, gives it
// that name. There is nothing to guess, so a refusal takes no time. The error wraps ErrRefused and says why.
func (u *Users) Certified(name string, from net.Addr) (Identity, error) {
	e, known := (*u.current.Load())[name]
	if !known {
		return Identity{}, loginOf(name, "no such user, as the client's certificate has it: %w", ErrRefused)
	}
	if err := e.allowedFrom(from); err != nil {
		return Identity{}, loginOf(name, "by the client's certificate: %w", err)
	}
	return e.identity(), nil
}

// remembers tells whether the digest is that of the password that was right last.
// It may be called on nil, which is no user.
func (e *entry) remembers(digest [sha256.Size]byte) bool {
	if e == nil {
		return false
	}
	seen := e.seen.Load()
	return seen != nil && hmac.Equal(seen[:], digest[:])
}

func (e *entry) identity() Identity { return Identity{Name: e.Name} }

// allowedFrom holds the loopback rule.
func (e *entry) allowedFrom(from net.Addr) error {
	if !e.LoopbackOnly || isLoopback(from) {
		return nil
	}
	if _, page := from.(elsewhere); page {
		return fmt.Errorf("can only connect from this machine, and not by way of a page of another site (use a user with a password of its own): %w", ErrRefused)
	}
	return fmt.Errorf("can only connect from this machine (use a user with a password of its own from elsewhere): %w", ErrRefused)
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

// elsewhere is an address whose owner does not decide what comes from it.
type elsewhere struct{ net.Addr }

// Elsewhere is the address of one who acts for somebody who is not there: a browser, for a page of another site. It is
// no loopback address, whatever it is, and failed logins count for it as for the address itself.
func Elsewhere(from net.Addr) net.Addr { return elsewhere{from} }

// isLoopback tells whether the address is this machine talking to itself. An
// address that is not IP (a pipe, a Unix socket) counts as local.
func isLoopback(from net.Addr) bool {
	switch from := from.(type) {
	case *net.TCPAddr:
		return from.IP.IsLoopback()
	case elsewhere:
		return false
	}
	return from != nil
}
