package access

import "github.com/leveret-mq/leveret/store"

// Stored are users and rights as a table holds them that no Keeper need have open.
type Stored struct{ picture *picture }

// ReadStored reads a table: load calls its argument with each key and value.
func ReadStored(load func(func(key string, value []byte) error) error) (*Stored, error) {
	p := newPicture()
	if err := load(func(key string, value []byte) error { return p.load(store.Entry{Key: key, Value: value}) }); err != nil {
		return nil, err
	}
	return &Stored{p}, nil
}

// Stored are the users and rights of one moment.
func (k *Keeper) Stored() *Stored { return &Stored{k.current.Load()} }

// Users lists the users, by name.
func (s *Stored) Users() []User { return s.picture.listUsers(new(Options)) }

// Permissions lists all permissions, by virtual host and user.
func (s *Stored) Permissions() []Permission { return s.picture.listPermissions() }

// TopicPermissions lists all topic permissions, by virtual host, user and exchange.
func (s *Stored) TopicPermissions() []TopicPermission { return s.picture.listTopicPermissions() }
