package access

import (
	"maps"
	"slices"

	"github.com/leveret-mq/leveret/auth"
	"github.com/leveret-mq/leveret/internal/pattern"
)

// picture is all users and rights at a moment. One that was published is never changed; what a change leaves alone, the
// next one shares with it.
type picture struct {
	generation  uint64
	decoy       []byte // the key of decoys and salts; nil before there is one
	users       map[string]*userRecord
	permissions map[grant]*granted
	topics      map[grant]map[string]*grantedTopics // by exchange
	shares      parts                               // which of these are those of the picture that it is a copy of
}

// parts are maps of a picture.
type parts struct{ users, permissions, topics bool }

// grant is for whom and where a permission is.
type grant struct{ vhost, user string }

// granted is a permission with its patterns compiled.
type granted struct {
	Permission
	configure, write, read *pattern.Names
}

// grantedTopics is a topic permission. Its patterns may hold variables and are compiled
// when these are known.
type grantedTopics struct{ TopicPermission }

func newPicture() *picture {
	return &picture{users: map[string]*userRecord{}, permissions: map[grant]*granted{}, topics: map[grant]map[string]*grantedTopics{}}
}

// copy is a picture of the next generation that may be changed.
func (p *picture) copy() *picture {
	return &picture{
		generation: p.generation + 1, decoy: p.decoy, users: p.users, permissions: p.permissions, topics: p.topics, shares: parts{true, true, true},
	}
}

// ownUsers are the users, which may be changed; so are the others.
func (p *picture) ownUsers() map[string]*userRecord {
	if p.shares.users {
		p.users, p.shares.users = maps.Clone(p.users), false
	}
	return p.users
}

func (p *picture) ownPermissions() map[grant]*granted {
	if p.shares.permissions {
		p.permissions, p.shares.permissions = maps.Clone(p.permissions), false
	}
	return p.permissions
}

func (p *picture) ownTopics() map[grant]map[string]*grantedTopics {
	if p.shares.topics {
		p.topics, p.shares.topics = maps.Clone(p.topics), false
	}
	return p.topics
}

// sameRights tells that nobody may do, or have, more or less than in the picture that it is a copy of.
func (p *picture) sameRights(old *picture) bool {
	return (p.shares.users || maps.EqualFunc(p.users, old.users, func(a, b *userRecord) bool {
		return a == b || slices.Equal(a.Tags, b.Tags) && maps.Equal(a.Limits, b.Limits)
	})) &&
		(p.shares.permissions || maps.Equal(p.permissions, old.permissions)) &&
		(p.shares.topics || maps.EqualFunc(p.topics, old.topics, func(a, b map[string]*grantedTopics) bool { return maps.Equal(a, b) }))
}

func (p *picture) putUser(r *userRecord) error {
	if err := checkUser(r); err != nil {
		return err
	}
	p.ownUsers()[r.Name] = r
	return nil
}

func (p *picture) putPermission(r Permission) error {
	g := &granted{Permission: r}
	var err error
	if g.configure, err = compile(r.Configure); err != nil {
		return err
	}
	if g.write, err = compile(r.Write); err != nil {
		return err
	}
	if g.read, err = compile(r.Read); err != nil {
		return err
	}
	p.ownPermissions()[grant{r.VHost, r.User}] = g
	return nil
}

func (p *picture) putTopic(r TopicPermission) error {
	if err := compiles(r.Write, r.Read); err != nil {
		return err
	}
	key := grant{r.VHost, r.User}
	of := maps.Clone(p.topics[key])
	if of == nil {
		of = map[string]*grantedTopics{}
	}
	of[r.Exchange] = &grantedTopics{r}
	p.ownTopics()[key] = of
	return nil
}

func (p *picture) dropTopic(key grant, exchange string) {
	of := maps.Clone(p.topics[key])
	delete(of, exchange)
	if len(of) == 0 {
		delete(p.ownTopics(), key)
		return
	}
	p.ownTopics()[key] = of
}

// login is the user as package auth has it.
func (r *userRecord) login(rule *Options) auth.User {
	return auth.User{Name: r.Name, Secret: r.secret(), LoopbackOnly: rule.loopbackOnly(r)}
}

func (r *userRecord) user(rule *Options) User {
	var scram []auth.Mechanism
	for _, c := range r.Scram {
		scram = append(scram, c.Mechanism)
	}
	return User{Name: r.Name, Hash: r.Hash, Scram: scram, Tags: slices.Clone(r.Tags), Limits: maps.Clone(r.Limits), WellKnown: r.WellKnown, LoopbackOnly: rule.loopbackOnly(r)}
}
