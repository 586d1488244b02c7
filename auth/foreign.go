package auth

import (
	"crypto/md5"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"slices"
	"strings"
)

// Names of algorithms, where a hash comes from or goes to a file of definitions.
const (
	Argon2id     = "argon2id" // ours, in its text form
	RabbitSHA256 = "rabbit_password_hashing_sha256"
	RabbitSHA512 = "rabbit_password_hashing_sha512"
	RabbitMD5    = "rabbit_password_hashing_md5"
)

// foreignAlgorithms are RabbitMQ's: the hash of salt and password. They are quick to guess,
// so what was hashed so is hashed anew at the first login.
var foreignAlgorithms = map[string]func() hash.Hash{
	RabbitSHA256: sha256.New,
	RabbitSHA512: sha512.New,
	RabbitMD5:    md5.New,
}

// foreignSaltBytes are before the hash.
const foreignSaltBytes = 4

// ImportHash makes a Hash of one that was stored elsewhere. An empty text is the zero
// Hash, with any algorithm; an empty algorithm is ours when the text has our form, and else that of
// RabbitMQ's whose hashes are as long: rabbitmqadmin, for one, names none. In RabbitMQ's form it is
//
//	base64( salt, 4 bytes | hash of the salt and the password )
func ImportHash(algorithm, text string) (Hash, error) {
	if algorithm == "" {
		algorithm = algorithmOf(text)
	}
	h := Hash(text)
	switch {
	case algorithm != Argon2id && foreignAlgorithms[algorithm] == nil:
		return "", fmt.Errorf("password hashing algorithm %q is not one of %s, %s", algorithm, Argon2id, strings.Join(foreignNames(), ", "))
	case text == "":
		return "", nil
	case algorithm != Argon2id:
		h = Hash(algorithm + ":" + text)
	case !strings.HasPrefix(text, "$"):
		return "", errArgonForm
	}
	return h, h.Check()
}

// algorithmOf is the algorithm of a hash of which nobody says it.
func algorithmOf(text string) string {
	if strings.HasPrefix(text, "$") {
		return Argon2id
	}
	for name, makeHash := range foreignAlgorithms {
		if base64.StdEncoding.EncodedLen(foreignSaltBytes+makeHash().Size()) == len(text) {
			return name
		}
	}
	return RabbitSHA256
}

// Export is the opposite of ImportHash.
func (h Hash) Export() (algorithm, text string) {
	if algorithm, text, foreign := h.foreign(); foreign {
		return algorithm, text
	}
	return Argon2id, string(h)
}

func foreignNames() []string {
	names := make([]string, 0, len(foreignAlgorithms))
	for name := range foreignAlgorithms {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// foreign takes a hash of RabbitMQ's apart; ours begin with "$".
func (h Hash) foreign() (algorithm, text string, foreign bool) {
	if strings.HasPrefix(string(h), "$") {
		return "", "", false
	}
	algorithm, text, foreign = strings.Cut(string(h), ":")
	return algorithm, text, foreign
}

// quick tells that a hash is made in no time, so that a slow one must be made besides.
func (h Hash) quick() bool {
	_, _, foreign := h.foreign()
	return foreign
}

// parseForeign gives the salt and the hash behind it.
func parseForeign(algorithm, text string) ([]byte, error) {
	makeHash := foreignAlgorithms[algorithm]
	if makeHash == nil {
		return nil, errors.New("password hash has an unknown algorithm")
	}
	if len(text) > maxHashBytes {
		return nil, fmt.Errorf("password hash of %d bytes is longer than %d", len(text), maxHashBytes)
	}
	salted, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, errors.New("password hash is not base64")
	}
	if want := foreignSaltBytes + makeHash().Size(); len(salted) != want {
		return nil, fmt.Errorf("password hash has %d bytes, %s makes %d", len(salted), algorithm, want)
	}
	return salted, nil
}

// MakeRabbitHash is the hash of a password as RabbitMQ makes it by default, with a salt of its own: in the form
// that ImportHash takes, and definitions of RabbitMQ hold.
func MakeRabbitHash(password []byte) string {
	salted := make([]byte, foreignSaltBytes)
	_, _ = rand.Read(salted) // never fails; see NewUsers
	sum := sha256.Sum256(append(salted, password...))
	return base64.StdEncoding.EncodeToString(append(salted, sum[:]...))
}

func foreignMatches(algorithm, text string, password []byte) bool {
	salted, err := parseForeign(algorithm, text)
	if err != nil {
		return false
	}
	h := foreignAlgorithms[algorithm]()
	h.Write(salted[:foreignSaltBytes])
	h.Write(password)
	return subtle.ConstantTimeCompare(h.Sum(nil), salted[foreignSaltBytes:]) == 1
}
