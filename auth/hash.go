package auth

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"
)

// Hash is a stored password in the text form that argon2's own tools write:
//
//	$argon2id$v=19$m=19456,t=2,p=1$<salt>$<hash>
//	               │       │   │    └────────┴─ base64, no padding
//	               │       │   └─ threads
//	               │       └─ passes over the memory
//	               └─ memory in KiB
//
// or one of RabbitMQ's, of which ForeignHash says the form. The zero Hash matches no
// password.
type Hash string

// The cost of a hash made here: the least that the current guidance for
// password storage asks of argon2id.
const (
	hashMemoryKiB = 19 * 1024
	hashPasses    = 2
	hashThreads   = 1
	saltBytes     = 16
	keyBytes      = 32
)

// Bounds on what a stored hash may ask for, so that a damaged or hostile
// definition can't take all memory.
const (
	maxMemoryKiB = 256 * 1024
	maxPasses    = 32
	maxThreads   = 16
	maxHashBytes = 512
)

// HashPassword makes a Hash with a salt of its own.
func HashPassword(password []byte) Hash {
	salt := make([]byte, saltBytes)
	_, _ = rand.Read(salt) // never fails; see NewUsers
	key := argon2.IDKey(password, salt, hashPasses, hashMemoryKiB, hashThreads, keyBytes)
	return formatHash(params{hashMemoryKiB, hashPasses, hashThreads, salt, key})
}

// decoyHash is a well-formed hash that is checked for names that do not exist.
func decoyHash() Hash {
	return formatHash(params{hashMemoryKiB, hashPasses, hashThreads, make([]byte, saltBytes), make([]byte, keyBytes)})
}

// Matches tells whether the password is the one that was hashed. It takes tens
// of milliseconds, the same for right and wrong.
func (h Hash) Matches(password []byte) bool {
	if algorithm, text, foreign := h.foreign(); foreign {
		return foreignMatches(algorithm, text, password)
	}
	p, err := parseHash(h)
	if err != nil {
		return false
	}
	key := argon2.IDKey(password, p.salt, p.passes, p.memoryKiB, p.threads, uint32(len(p.key)))
	return subtle.ConstantTimeCompare(key, p.key) == 1
}

// current tells whether the hash costs what one costs that is made today.
func (h Hash) current() bool {
	if h.quick() {
		return false
	}
	p, err := parseHash(h)
	return err == nil && uint64(p.memoryKiB)*uint64(p.passes) >= hashMemoryKiB*hashPasses && len(p.salt) >= saltBytes && len(p.key) >= keyBytes
}

// Check tells what is wrong with a hash; the zero Hash is right.
func (h Hash) Check() error {
	if h == "" {
		return nil
	}
	if algorithm, text, foreign := h.foreign(); foreign {
		_, err := parseForeign(algorithm, text)
		return err
	}
	_, err := parseHash(h)
	return err
}

var errArgonForm = errors.New("password hash is not in the form $argon2id$v=…$m=…,t=…,p=…$salt$hash")

// params is a parsed Hash.
type params struct {
	memoryKiB, passes uint32
	threads           uint8
	salt, key         []byte
}

func formatHash(p params) Hash {
	b64 := base64.RawStdEncoding
	return Hash(fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version,
		p.memoryKiB, p.passes, p.threads, b64.EncodeToString(p.salt), b64.EncodeToString(p.key)))
}

func parseHash(h Hash) (p params, err error) {
	if len(h) > maxHashBytes {
		return p, fmt.Errorf("password hash of %d bytes is longer than %d", len(h), maxHashBytes)
	}
	part := strings.Split(string(h), "$")
	if len(part) != 6 || part[0] != "" || part[1] != "argon2id" {
		return p, errArgonForm
	}
	if part[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return p, fmt.Errorf("password hash has argon2 version %q, only v=%d is known", part[2], argon2.Version)
	}
	if _, err := fmt.Sscanf(part[3], "m=%d,t=%d,p=%d", &p.memoryKiB, &p.passes, &p.threads); err != nil {
		return p, fmt.Errorf("password hash has parameters %q: %w", part[3], err)
	}
	if p.memoryKiB < 8 || p.memoryKiB > maxMemoryKiB || p.passes < 1 || p.passes > maxPasses || p.threads < 1 || p.threads > maxThreads {
		return p, fmt.Errorf("password hash has parameters %q outside the bounds m 8…%d, t 1…%d, p 1…%d", part[3], maxMemoryKiB, maxPasses, maxThreads)
	}
	if p.salt, err = base64.RawStdEncoding.DecodeString(part[4]); err != nil {
		return p, fmt.Errorf("password hash has a broken salt: %w", err)
	}
	if p.key, err = base64.RawStdEncoding.DecodeString(part[5]); err != nil {
		return p, fmt.Errorf("password hash is broken: %w", err)
	}
	if len(p.salt) < 8 || len(p.key) < 16 {
		return p, fmt.Errorf("password hash has %d bytes of salt and %d of hash, at least 8 and 16 are needed", len(p.salt), len(p.key))
	}
	return p, nil
}
