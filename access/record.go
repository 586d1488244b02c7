package access

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"

	"github.com/leveret-mq/leveret/auth"
	"github.com/leveret-mq/leveret/store"
)

// Keys of the table "access". Each part of a name is escaped, so that "/" only
// stands between parts; values are JSON, for people and for later fields.
//
//	m/decoy                  the key of which salts are made, of users and of what is shown of nobody
//	u/USER                   a user
//	p/VHOST/USER             what a user may do in a virtual host
//	t/VHOST/USER/EXCHANGE    with which routing keys, of a topic exchange
const (
	keyDecoy         = "m/decoy"
	prefixUser       = "u/"
	prefixPermission = "p/"
	prefixTopic      = "t/"
)

// userRecord is a user as it is stored.
type userRecord struct {
	Name  string             `json:"name"`
	Hash  auth.Hash          `json:"hash,omitempty"`  // "" is nobody by password
	Scram []credentialRecord `json:"scram,omitempty"` // made of the same password
	// Imported is the SHA-256 of the hash that the password came in as. What comes in
	// again changes nothing of what was made of it since.
	Imported []byte   `json:"imported,omitempty"`
	Tags     []string `json:"tags,omitempty"`
	// WellKnown says that the password is the one that everybody knows.
	WellKnown bool             `json:"well_known,omitempty"`
	Limits    map[string]int64 `json:"limits,omitempty"`
}

type credentialRecord struct {
	Mechanism  auth.Mechanism `json:"mechanism"`
	Salt       []byte         `json:"salt"`
	Iterations int            `json:"iterations"`
	StoredKey  []byte         `json:"stored_key"`
	ServerKey  []byte         `json:"server_key"`
}

// secret is what is stored of the password.
func (r *userRecord) secret() auth.Secret {
	s := auth.Secret{Hash: r.Hash}
	for _, c := range r.Scram {
		s.Credentials = append(s.Credentials, auth.Credential(c))
	}
	return s
}

func (r *userRecord) setSecret(s auth.Secret) {
	r.Hash, r.Scram = s.Hash, nil
	for _, c := range s.Credentials {
		r.Scram = append(r.Scram, credentialRecord(c))
	}
}

// tidy is the record with one form of what is empty, to be compared.
func (r *userRecord) tidy() userRecord {
	out := *r
	if len(out.Tags) == 0 {
		out.Tags = nil
	}
	if len(out.Limits) == 0 {
		out.Limits = nil
	}
	return out
}

type permissionRecord struct {
	VHost     string `json:"vhost"`
	User      string `json:"user"`
	Configure string `json:"configure"`
	Write     string `json:"write"`
	Read      string `json:"read"`
}

type topicRecord struct {
	VHost    string `json:"vhost"`
	User     string `json:"user"`
	Exchange string `json:"exchange"`
	Write    string `json:"write"`
	Read     string `json:"read"`
}

func encodeRecord(key string, v any) (store.Entry, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return store.Entry{}, fmt.Errorf("encode %s: %w", key, err)
	}
	return store.Entry{Key: key, Value: data}, nil
}

// decodeRecord reads one record. What a newer version has written is refused: to leave
// out what is not understood could let somebody in.
func decodeRecord(e store.Entry, into any) error {
	dec := json.NewDecoder(bytes.NewReader(e.Value))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return fmt.Errorf("record %q: %w", e.Key, err)
	}
	return nil
}

// load puts one entry of the table into the picture; without a value it takes it out.
func (p *picture) load(e store.Entry) error {
	var key string
	var put func() error
	switch {
	case e.Key == keyDecoy:
		if e.Value == nil {
			return nil
		}
		return decodeRecord(e, &p.decoy)
	case strings.HasPrefix(e.Key, prefixUser):
		var r userRecord
		if e.Value == nil {
			return p.unload(e.Key)
		}
		if err := decodeRecord(e, &r); err != nil {
			return err
		}
		key, put = store.Key(prefixUser, r.Name), func() error { return p.putUser(&r) }
	case strings.HasPrefix(e.Key, prefixPermission):
		var r permissionRecord
		if e.Value == nil {
			return p.unload(e.Key)
		}
		if err := decodeRecord(e, &r); err != nil {
			return err
		}
		key, put = store.Key(prefixPermission, r.VHost, r.User), func() error { return p.putPermission(Permission(r)) }
	case strings.HasPrefix(e.Key, prefixTopic):
		var r topicRecord
		if e.Value == nil {
			return p.unload(e.Key)
		}
		if err := decodeRecord(e, &r); err != nil {
			return err
		}
		key, put = store.Key(prefixTopic, r.VHost, r.User, r.Exchange), func() error { return p.putTopic(TopicPermission(r)) }
	default:
		return fmt.Errorf("unknown record %q: was the directory written by a newer version?", e.Key)
	}
	if key != e.Key {
		return fmt.Errorf("record %q: it says that it is %q", e.Key, key)
	}
	if err := put(); err != nil {
		return fmt.Errorf("record %q: %w", e.Key, err)
	}
	return nil
}

// unload takes the record of a key out of the picture.
func (p *picture) unload(key string) error {
	parts := strings.Split(key, "/")
	for i := range parts {
		name, err := url.PathUnescape(parts[i])
		if err != nil {
			return fmt.Errorf("key %q: %w", key, err)
		}
		parts[i] = name
	}
	switch {
	case strings.HasPrefix(key, prefixUser) && len(parts) == 2:
		delete(p.ownUsers(), parts[1])
	case strings.HasPrefix(key, prefixPermission) && len(parts) == 3:
		delete(p.ownPermissions(), grant{parts[1], parts[2]})
	case strings.HasPrefix(key, prefixTopic) && len(parts) == 4:
		p.dropTopic(grant{parts[1], parts[2]}, parts[3])
	default:
		return fmt.Errorf("key %q has %d parts", key, len(parts))
	}
	return nil
}
