package access

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leveret-mq/leveret/auth"
	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/audit"
	"github.com/leveret-mq/leveret/store"
)

// Table is the name of the table.
const Table = "access"

// storeTimeout bounds one call of a store that may have to ask another machine.
const storeTimeout = 30 * time.Second

// Options are how a Keeper is set up.
type Options struct {
	// DefaultUser and DefaultPassword are the user that is made when none is stored.
	DefaultUser, DefaultPassword string
	// DefaultVHost is where it has all permissions; default broker.DefaultVHost.
	DefaultVHost string
	// NoFirst has no user made when none is stored: others are to come.
	NoFirst bool
	// Remote lets users in from everywhere who else may come from this machine only.
	Remote bool
	// Log gets what an operator should read; default slog.Default().
	Log *slog.Logger

	newSecret func(name string, password []byte) (auth.Secret, error) // auth.Users.NewSecret, but for tests
}

// Keeper keeps users and rights. All methods may be called from any goroutine.
type Keeper struct {
	opts    Options
	table   store.Table
	logins  *auth.Users
	current atomic.Pointer[picture]
	unwatch func()
	others  follower       // of what other processes change
	behind  sync.WaitGroup // what goes on behind the start

	made  string        // the default user, if this start has made it
	first chan struct{} // closed when that is stored

	mu     sync.Mutex // one change at a time
	broker *broker.Broker
}

// Open reads what is stored. When there is no user it makes the default one.
func Open(s store.Store, o Options) (*Keeper, error) {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.DefaultVHost == "" {
		o.DefaultVHost = broker.DefaultVHost
	}
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	table, err := s.Table(ctx, Table)
	if err != nil {
		return nil, fmt.Errorf("open users: %w", err)
	}
	k := &Keeper{opts: o, table: table, logins: auth.NewUsers()}
	if o.newSecret == nil {
		k.opts.newSecret = k.logins.NewSecret
	}
	k.others.k = k
	k.unwatch = table.Watch(k.others.hear)
	if err := k.load(ctx); err != nil {
		k.unwatch()
		k.others.close()
		return nil, err
	}
	return k, nil
}

// load reads what is stored. What others change meanwhile waits.
func (k *Keeper) load(ctx context.Context) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	p := newPicture()
	p.generation = 1
	k.current.Store(newPicture())
	if err := k.table.Load(ctx, p.load); err != nil {
		return fmt.Errorf("load users: %w", err)
	}
	if p.decoy == nil {
		p.decoy = make([]byte, 32)
		_, _ = rand.Read(p.decoy) // never fails on the systems Go supports
		k.behind.Go(func() {
			if err := k.agreeOnDecoys(p.decoy); err != nil {
				k.opts.Log.Warn("what clients are shown that name nobody changes with the next start", "error", err)
			}
		})
	}
	k.logins.OnOldSecret(func(name string, old, s auth.Secret) {
		k.behind.Go(func() { k.renew(name, old, s) })
	})
	if err := k.publish(newPicture(), p); err != nil {
		return fmt.Errorf("load users: %w", err)
	}
	return k.firstUser()
}

// agreeOnDecoys writes the key that this start has made, of what is shown of users; another
// process may have been first.
func (k *Keeper) agreeOnDecoys(key []byte) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	e, err := encodeRecord(keyDecoy, key)
	if err == nil {
		_, err = k.table.Swap(ctx, e)
	}
	if errors.Is(err, store.ErrConflict) {
		old := k.current.Load()
		p := old.copy()
		if e, err = k.table.Get(ctx, keyDecoy); err == nil {
			err = p.load(e)
		}
		if err == nil {
			err = k.publish(old, p)
		}
	}
	if err != nil {
		return fmt.Errorf("write users: %w", err)
	}
	return nil
}

// renew stores a password in today's form, unless it was changed meanwhile. The credentials
// that there are stay: a client may be in the middle of a login with one.
func (k *Keeper) renew(name string, old, s auth.Secret) {
	by := audit.Process("first login with an imported password")
	err := k.Change(by, func(d *Draft) error {
		r := d.picture.users[name]
		if r == nil || !reflect.DeepEqual(r.secret(), old) {
			return nil
		}
		d.note(audit.PutUser, "password hash", name, "")
		renewed := *r
		for i := range s.Credentials {
			for _, c := range old.Credentials {
				if c.Mechanism == s.Credentials[i].Mechanism {
					s.Credentials[i] = c
				}
			}
		}
		renewed.setSecret(s)
		return d.put(store.Key(prefixUser, name), &renewed)
	})
	if err != nil {
		k.opts.Log.Error("can't store a password in a better form; the next login tries again", "user", name, "error", err)
	}
}

// AwaitFirst waits until the default user is stored that this start has made, if any.
func (k *Keeper) AwaitFirst() {
	if k.first != nil {
		<-k.first
	}
}

// Close waits for what is under way. The store may be closed then.
func (k *Keeper) Close() {
	k.unwatch()
	k.others.close()
	k.behind.Wait()
}

// Serve tells the keeper whose Policy it is. Permissions for virtual hosts that are gone go.
func (k *Keeper) Serve(b *broker.Broker) {
	k.mu.Lock()
	k.broker = b
	k.mu.Unlock()
	b.OnVHostDeleted(k.vhostDeleted)
	if err := k.settle(b); err != nil {
		k.opts.Log.Error("can't give the default user the virtual hosts that there are", "user", k.made, "error", err)
	}
	var gone []string
	p := k.current.Load()
	for g := range p.permissions {
		gone = append(gone, g.vhost)
	}
	for g := range p.topics {
		gone = append(gone, g.vhost)
	}
	slices.Sort(gone)
	gone = slices.DeleteFunc(slices.Compact(gone), func(name string) bool {
		_, err := b.VHost(name)
		return err == nil
	})
	for _, name := range gone { // a kill came between
		if err := k.vhostDeleted(name); err != nil {
			k.opts.Log.Error("can't drop the permissions for a virtual host that is gone; the next start tries again", "vhost", name, "error", err)
		}
	}
}

// vhostDeleted drops the permissions for a virtual host.
func (k *Keeper) vhostDeleted(name string) error {
	return k.Change(audit.Process("deletion of a virtual host"), func(d *Draft) error { return d.ForgetVHost(name) })
}

// Logins are the users for those who check passwords.
func (k *Keeper) Logins() *auth.Users { return k.logins }

// Generation changes with every change of users and rights.
func (k *Keeper) Generation() uint64 { return k.current.Load().generation }

// publish makes a picture the current one, which is a copy of the old one with what was changed, or all there is. Needs k.mu.
func (k *Keeper) publish(old, p *picture) error {
	if !p.shares.users {
		if err := k.publishLogins(old, p); err != nil {
			return err
		}
	}
	if !bytes.Equal(old.decoy, p.decoy) {
		k.logins.SetDecoyKey(sha256.Sum256(p.decoy))
	}
	k.current.Store(p)
	k.logins.SetAnonymous(k.anonymous(p))
	if k.broker != nil && !p.sameRights(old) {
		k.broker.PolicyChanged()
	}
	return nil
}

func (k *Keeper) publishLogins(old, p *picture) error {
	var put []auth.User
	var gone []string
	for name, r := range p.users {
		if old.users[name] != r {
			put = append(put, r.login(&k.opts))
		}
	}
	for name := range old.users {
		if p.users[name] == nil {
			gone = append(gone, name)
		}
	}
	if err := k.logins.Put(put...); err != nil {
		return err
	}
	k.logins.Remove(gone...)
	return nil
}

// anonymous is the user whom clients become that can't log in: the default one, as long
// as everybody knows its password.
func (k *Keeper) anonymous(p *picture) string {
	if r := p.users[k.opts.DefaultUser]; r != nil && r.WellKnown {
		return r.Name
	}
	return ""
}

// Change makes one change of everything that edit asks for: all of it is written and
// holds, or nothing. Nobody else changes anything meanwhile.
func (k *Keeper) Change(by audit.Actor, edit func(*Draft) error) error {
	return k.change(by, edit, nil)
}

// change is Change; late, if not nil, gets the passwords that are not hashed yet.
func (k *Keeper) change(by audit.Actor, edit func(*Draft) error, late *[]latePassword) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	old := k.current.Load()
	d := k.draft(old)
	d.late = late
	err := edit(d)
	if err == nil {
		err = k.commit(old, d)
	}
	if late != nil && err != nil {
		*late = nil
	}
	for _, a := range d.acts {
		audit.Acted(k.opts.Log, by, a.act, a.on, a.vhost, err)
	}
	return err
}

// Check tells whether Change would take it, and changes nothing. The virtual hosts are
// taken to be there, besides those that are.
func (k *Keeper) Check(edit func(*Draft) error, vhosts ...string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	d := k.draft(k.current.Load())
	d.checking, d.vhosts = true, vhosts
	return edit(d)
}

// commit writes a draft and lets it hold.
func (k *Keeper) commit(old *picture, d *Draft) error {
	if len(d.entries) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	entries := make([]store.Entry, 0, len(d.entries))
	for key, value := range d.entries {
		entries = append(entries, store.Entry{Key: key, Value: value})
	}
	if err := k.table.Put(ctx, entries...); err != nil {
		return &broker.Error{Kind: broker.KindOf(err), Text: "can't write users", Err: err}
	}
	return k.publish(old, d.picture)
}

// errNoBroker is a change that must know virtual hosts, before there is any.
var errNoBroker = errors.New("virtual hosts are not known yet")

func (k *Keeper) hasVHost(name string) error {
	if k.broker == nil {
		return errNoBroker
	}
	if _, err := k.broker.VHost(name); err != nil {
		return missing("no such vhost '%s'", name)
	}
	return nil
}
