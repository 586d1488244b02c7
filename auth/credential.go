package auth

import (
	"crypto/hmac"
	"errors"
	"fmt"

	"github.com/xdg-go/scram"
)

// Mechanism is a SCRAM of RFC 5802 and RFC 7677, by its name in SASL.
type Mechanism string

// The mechanisms, the strongest first. None is bound to a channel.
const (
	ScramSHA512 Mechanism = "SCRAM-SHA-512"
	ScramSHA256 Mechanism = "SCRAM-SHA-256"
	ScramSHA1   Mechanism = "SCRAM-SHA-1"
)

// Mechanisms are those that credentials are made for.
var Mechanisms = []Mechanism{ScramSHA512, ScramSHA256, ScramSHA1}

// generators are the mechanisms' hash functions.
var generators = map[Mechanism]scram.HashGeneratorFcn{
	ScramSHA512: scram.SHA512, ScramSHA256: scram.SHA256, ScramSHA1: scram.SHA1,
}

// Iterations of credentials: a client does them at each login, so there is a limit to what
// makes guessing dear. Kafka's tools take 4096 to 16384.
const (
	MinIterations = 4096
	MaxIterations = 1 << 20
	iterations    = 10_000
)

// Bounds on the salt of a credential, and on the salted password that a client makes of it. Clients take their own, and short ones.
const (
	minSaltBytes = 1
	maxSaltBytes = 255
)

// Credential is what is stored of a password for one SCRAM mechanism. A client can be
// checked with it, and nobody can log in with it.
type Credential struct {
	Mechanism            Mechanism
	Salt                 []byte
	Iterations           int
	StoredKey, ServerKey []byte
}

// Check tells what is wrong with a credential.
func (c *Credential) Check() error {
	generator := generators[c.Mechanism]
	if generator == nil {
		return fmt.Errorf("SASL mechanism %q is not one of %q", c.Mechanism, Mechanisms)
	}
	size := generator().Size()
	switch {
	case len(c.Salt) < minSaltBytes || len(c.Salt) > maxSaltBytes:
		return fmt.Errorf("%s credential has a salt of %d bytes, not %d to %d", c.Mechanism, len(c.Salt), minSaltBytes, maxSaltBytes)
	case c.Iterations < MinIterations || c.Iterations > MaxIterations:
		return fmt.Errorf("%s credential has %d iterations, not %d to %d", c.Mechanism, c.Iterations, MinIterations, MaxIterations)
	case len(c.StoredKey) != size || len(c.ServerKey) != size:
		return fmt.Errorf("%s credential has keys of %d and %d bytes, not %d", c.Mechanism, len(c.StoredKey), len(c.ServerKey), size)
	}
	return nil
}

// SaltedCredential makes one of a password that a client has salted already.
func SaltedCredential(m Mechanism, salt []byte, iterations int, saltedPassword []byte) (Credential, error) {
	c := Credential{Mechanism: m, Salt: salt, Iterations: iterations}
	generator := generators[m]
	if generator == nil {
		return c, c.Check()
	}
	if n := len(saltedPassword); n < minSaltBytes || n > maxSaltBytes { // of another length than the mechanism's it is nobody's, but no harm
		return c, fmt.Errorf("%s credential has a salted password of %d bytes, not %d to %d", m, n, minSaltBytes, maxSaltBytes)
	}
	mac := func(key, text string) []byte {
		h := hmac.New(generator, []byte(key))
		h.Write([]byte(text))
		return h.Sum(nil)
	}
	h := generator()
	h.Write(mac(string(saltedPassword), "Client Key"))
	c.StoredKey, c.ServerKey = h.Sum(nil), mac(string(saltedPassword), "Server Key")
	return c, c.Check()
}

// newCredential hashes a password for one mechanism. The password's bytes are taken as they
// are, as Kafka's clients take them, without SASLprep.
func newCredential(m Mechanism, password, salt []byte, iterations int) (Credential, error) {
	client, err := generators[m].NewClientUnprepped("", string(password), "")
	if err != nil {
		return Credential{}, err
	}
	c, err := client.GetStoredCredentialsWithError(scram.KeyFactors{Salt: string(salt), Iters: iterations})
	return Credential{Mechanism: m, Salt: salt, Iterations: iterations, StoredKey: c.StoredKey, ServerKey: c.ServerKey}, err
}

// Matches tells whether the credential was made of the password. It takes some milliseconds.
func (c *Credential) Matches(password []byte) bool {
	made, err := newCredential(c.Mechanism, password, c.Salt, c.Iterations)
	return err == nil && hmac.Equal(made.StoredKey, c.StoredKey)
}

// Secret is all that is stored of a password.
type Secret struct {
	Hash        Hash
	Credentials []Credential
}

// NewSecret hashes a password of a user in every form. It takes some tens of milliseconds. The empty
// password has no form: nobody logs in with it. The salts of its credentials are what was shown of the name before.
func (u *Users) NewSecret(name string, password []byte) (Secret, error) {
	if len(password) == 0 {
		return Secret{}, nil
	}
	s := Secret{Hash: HashPassword(password)}
	for _, m := range Mechanisms {
		c, err := newCredential(m, password, u.saltOf(m, name, saltBytes), iterations)
		if err != nil {
			return Secret{}, fmt.Errorf("hash a password for %s: %w", m, err)
		}
		s.Credentials = append(s.Credentials, c)
	}
	return s, nil
}

// current tells whether the secret is what NewSecret would make today. That some of the
// credentials are not there is somebody's wish.
func (s *Secret) current() bool { return s.Hash.current() && len(s.Credentials) > 0 }

// find is the credential for a mechanism.
func (s *Secret) find(m Mechanism) *Credential {
	for i := range s.Credentials {
		if s.Credentials[i].Mechanism == m {
			return &s.Credentials[i]
		}
	}
	return nil
}

// Check tells what is wrong with a secret; nothing is with the zero one.
func (s *Secret) Check() error {
	if err := s.Hash.Check(); err != nil {
		return err
	}
	for i := range s.Credentials {
		if err := s.Credentials[i].Check(); err != nil {
			return err
		}
		if s.find(s.Credentials[i].Mechanism) != &s.Credentials[i] {
			return errors.New("there are two credentials for " + string(s.Credentials[i].Mechanism))
		}
	}
	return nil
}
