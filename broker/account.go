package broker

import (
	"math"
	"sync"
	"sync/atomic"
)

// account is what a user, or a virtual host, has and may have. Everything is counted whether
// there is a limit or not, so that one that is set later finds the right figures; nothing of
// that is done for a message.
type account struct {
	user    string                 // whose it is; "" of a virtual host
	limits  atomic.Pointer[limits] // nil: none
	held    [countedKinds]atomic.Int64
	in, out pace
	refs    int // who uses it; guarded by accounts.mu; a virtual host's is its own
}

// limit is one of its limits; math.MaxInt64 is none.
func (a *account) limit(k limitKind) int64 {
	if l := a.limits.Load(); l != nil {
		return l[k]
	}
	return math.MaxInt64
}

// take counts one more, unless that is over the limit.
func (a *account) take(k limitKind) bool {
	for {
		have := a.held[k].Load()
		if have >= a.limit(k) {
			return false
		}
		if a.held[k].CompareAndSwap(have, have+1) {
			return true
		}
	}
}

func (a *account) give(k limitKind, n int64) { a.held[k].Add(-n) }

// limit has other limits hold.
func (a *account) setLimits(l *limits) {
	a.limits.Store(l)
	a.in.set(a.limit(limitIn))
	a.out.set(a.limit(limitOut))
}

// accounts are those of the users who are connected, or have queues that count.
type accounts struct {
	mu   sync.Mutex // guards all; over it only connections.mu
	list map[string]*account
}

// account is a user's, which is given back by release.
func (b *Broker) account(user string) *account {
	b.accounts.mu.Lock()
	defer b.accounts.mu.Unlock()
	return b.accountOf(user)
}

// accountOf is account with accounts.mu held.
func (b *Broker) accountOf(user string) *account {
	a := b.accounts.list[user]
	if a == nil {
		a = &account{user: user}
		a.setLimits(b.userLimits(user))
		if b.accounts.list == nil {
			b.accounts.list = map[string]*account{}
		}
		b.accounts.list[user] = a
	}
	a.refs++
	return a
}

func (b *Broker) userLimits(user string) *limits {
	if b.opts.UserLimits == nil {
		return nil
	}
	return compileLimits(b.opts.UserLimits(user))
}

// release gives a user's account back.
func (b *Broker) release(a *account) {
	b.accounts.mu.Lock()
	defer b.accounts.mu.Unlock()
	b.drop(a)
}

// drop is release with accounts.mu held.
func (b *Broker) drop(a *account) {
	if a.refs--; a.refs == 0 {
		delete(b.accounts.list, a.user)
	}
}

// limitsChanged has limits hold that change sets, and those of users as they are now, in all
// sessions.
func (b *Broker) limitsChanged(change func()) {
	b.accounts.mu.Lock()
	change()
	for user, a := range b.accounts.list {
		a.setLimits(b.userLimits(user))
	}
	r := &b.connections
	r.mu.Lock()
	for _, k := range r.open {
		if k.session != nil && k.session.user.Load() != nil {
			k.session.obey()
		}
	}
	r.mu.Unlock()
	b.accounts.mu.Unlock()
}

// admit counts the session as a connection of its user and its virtual host, once; one that only visits as none. The
// limits of both hold for what it does.
func (s *Session) admit(visits bool) error {
	b := s.vhost.b
	b.accounts.mu.Lock()
	defer b.accounts.mu.Unlock()
	if s.user.Load() != nil || s.left {
		return nil
	}
	v, user := &s.vhost.account, b.accountOf(s.who.Name)
	s.visits = visits
	if visits {
		s.user.Store(user)
		s.obey()
		return nil
	}
	if !v.take(limitConnections) {
		b.drop(user)
		b.counters.overLimit[limitConnections][1].Add(1)
		return fail(LimitReached, "access to vhost '%s' refused for user '%s': connection limit (%d) is reached", s.vhost.Name, s.who.Name, v.limit(limitConnections))
	}
	if !user.take(limitConnections) {
		v.give(limitConnections, 1)
		b.drop(user)
		b.counters.overLimit[limitConnections][0].Add(1)
		return fail(LimitReached, "connection refused for user '%s': user connection limit (%d) is reached", s.who.Name, user.limit(limitConnections))
	}
	s.user.Store(user)
	s.obey()
	return nil
}

// obey takes over the limits that hold for the session now. accounts.mu is held.
func (s *Session) obey() {
	user, v := s.user.Load(), &s.vhost.account
	s.mostBytes.Store(min(user.limit(limitMessage), v.limit(limitMessage), s.vhost.b.maxMessage.Load()))
	s.pacer.Store(newPacer(user, v, s.pacer.Load(), &s.vhost.b.counters.Throttled))
}

// leaveAccounts ends what admit began, once.
func (s *Session) leaveAccounts() {
	b, channels := s.vhost.b, s.channels.Swap(0)
	b.churn.channelsClosed.Add(uint64(channels))
	b.accounts.mu.Lock()
	defer b.accounts.mu.Unlock()
	s.left = true
	user := s.user.Swap(nil)
	if user == nil {
		return
	}
	for _, a := range []*account{user, &s.vhost.account} {
		if !s.visits {
			a.give(limitConnections, 1)
		}
		a.give(limitChannels, channels)
	}
	b.drop(user)
}

// hold counts one thing more of the session's. over says in whose words it is refused, by the
// limit of the user or of the virtual host.
func (s *Session) hold(k limitKind, over func(ofUser bool, limit int64) error) error {
	user, v := s.user.Load(), &s.vhost.account
	if user == nil {
		return nil // of the broker's own
	}
	counters := &s.vhost.b.counters.overLimit[k]
	if !user.take(k) {
		counters[0].Add(1)
		return over(true, user.limit(k))
	}
	if !v.take(k) {
		user.give(k, 1)
		counters[1].Add(1)
		return over(false, v.limit(k))
	}
	return nil
}

// OpenChannel counts one more channel of the connection.
func (s *Session) OpenChannel() error {
	err := s.hold(limitChannels, func(ofUser bool, limit int64) error {
		if ofUser {
			return fail(LimitReached, "number of channels opened for user '%s' has reached the maximum allowed user limit of %d", s.who.Name, limit)
		}
		return fail(LimitReached, "number of channels opened in vhost '%s' has reached the maximum allowed limit of %d", s.vhost.Name, limit)
	})
	if err == nil {
		s.channels.Add(1)
		s.vhost.b.churn.channelsOpened.Add(1)
	}
	return err
}

// CloseChannel ends OpenChannel; Close does so for those that are open then.
func (s *Session) CloseChannel() {
	if user := s.user.Load(); user != nil {
		s.channels.Add(-1)
		s.vhost.b.churn.channelsClosed.Add(1)
		user.give(limitChannels, 1)
		s.vhost.account.give(limitChannels, 1)
	}
}

// holdConsumer counts one more consumer until the subscription leaves.
func (s *Session) holdConsumer(sub *Subscription) error {
	err := s.hold(limitConsumers, func(ofUser bool, limit int64) error {
		if ofUser {
			return fail(LimitReached, "number of consumers of user '%s' has reached the maximum allowed user limit of %d", s.who.Name, limit)
		}
		return fail(LimitReached, "number of consumers in vhost '%s' has reached the maximum allowed limit of %d", s.vhost.Name, limit)
	})
	if err == nil {
		sub.holder = s.user.Load()
	}
	return err
}

// holdQueue counts one queue more of the virtual host, and of a user who may have only so many:
// of others it is not kept whose queues are whose.
func (s *Session) holdQueue(q *Queue) error {
	over := func(where string, limit int64) error {
		return fail(LimitReached, "cannot declare queue '%s': queue limit %s (%d) is reached", q.Name, where, limit)
	}
	user, v := s.user.Load(), &s.vhost.account
	if user != nil && user.limit(limitQueues) != math.MaxInt64 {
		if !user.take(limitQueues) {
			s.vhost.b.counters.overLimit[limitQueues][0].Add(1)
			return over("of user '"+user.user+"'", user.limit(limitQueues))
		}
		q.extras().maker.Store(s.vhost.b.account(user.user))
	}
	if !v.take(limitQueues) {
		q.dropMaker()
		s.vhost.b.counters.overLimit[limitQueues][1].Add(1)
		return over("in vhost '"+s.vhost.Name+"'", v.limit(limitQueues))
	}
	return nil
}

// restoreMaker counts a queue of an earlier start.
func (q *Queue) restoreMaker(user string) {
	q.vhost.account.held[limitQueues].Add(1)
	if user != "" {
		a := q.vhost.b.account(user)
		a.held[limitQueues].Add(1)
		q.extras().maker.Store(a)
	}
}

// uncount ends holdQueue.
func (q *Queue) uncount() {
	q.vhost.account.give(limitQueues, 1)
	q.dropMaker()
}

func (q *Queue) dropMaker() {
	x := q.extra.Load()
	if x == nil {
		return
	}
	if a := x.maker.Swap(nil); a != nil {
		a.give(limitQueues, 1)
		q.vhost.b.release(a)
	}
}

// maker is the account of who declared the queue, nil if that is not kept.
func (q *Queue) maker() *account {
	if x := q.extra.Load(); x != nil {
		return x.maker.Load()
	}
	return nil
}

// MaxMessageBytes is the limit of one publish's body.
func (s *Session) MaxMessageBytes() int { return int(s.mostBytes.Load()) }
