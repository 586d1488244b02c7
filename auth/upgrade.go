package auth

import "context"

// OnOldSecret has fn called at a login with a right password that is stored in a form that
// is not today's, as one that was imported: with what is stored and with what should be.
// It is called while the login waits, and must not wait itself.
func (u *Users) OnOldSecret(fn func(name string, old, s Secret)) { u.upgrade.Store(&fn) }

// renew hashes a right password anew when it is stored in an older form. It is in the turn of
// the login's own hash.
func (u *Users) renew(e *entry, password []byte) {
	fn := u.upgrade.Load()
	if fn == nil || e.current() {
		return
	}
	s, err := u.NewSecret(e.Name, password)
	if err != nil {
		return
	}
	if e.Hash.current() {
		s.Hash = e.Hash // what is exported stays what was imported
	}
	(*fn)(e.Name, e.Secret, s)
}

// Await has logins by a password wait until the channel is closed, because what they need is
// still made; but those by one that was seen already. It takes the place of what was awaited before.
func (u *Users) Await(ready <-chan struct{}) { u.pending.Store(&ready) }

// Awaited waits for that, or returns ErrBusy when it takes too long or ctx ends.
func (u *Users) Awaited(ctx context.Context) error {
	ready := u.pending.Load()
	if ready == nil {
		return nil
	}
	select {
	case <-*ready:
		return nil
	default:
	}
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	select {
	case <-*ready:
		return nil
	case <-ctx.Done():
		return ErrBusy
	}
}

// SetDecoyKey sets the key of which salts are made, of users and of decoys, so that they
// stay the same from start to start. Set it before there is anybody.
func (u *Users) SetDecoyKey(key [32]byte) { u.decoyKey.Store(&key) }
