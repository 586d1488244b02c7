package auth

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"strings"
)

// What a SCRAM client is shown of a name before it has proved anything, a salt and a number of iterations, must
// not tell whether there is such a user:
//
//	nobody, or one without a credential   a decoy, which looks like one of those that there are
//	a user with a password of ours        the salt that the decoy had, so that it changes neither as users come and go
//	                                      nor with their passwords
//	a user with a credential of others'   the salt that came with it
//
// A listener may take "ann@shop" for the user ann. So a salt is of what stands ahead of the first @: names that only differ
// behind it show the same, whoever of them is there.

// look is what can be seen of a credential but for its salt's bytes.
type look struct {
	iterations, saltBytes int
	text                  bool // the salt is of digits and small letters, as Kafka's tools make them
}

// looks are how many users' credentials look how, for each mechanism.
type looks map[Mechanism]map[look]int

// ourLook is that of NewSecret.
var ourLook = look{iterations: iterations, saltBytes: saltBytes}

const saltLetters = "0123456789abcdefghijklmnopqrstuvwxyz"

// looksOf counts those of all users.
func looksOf(users map[string]*entry) looks {
	all := looks{}
	for _, e := range users {
		for i := range e.Credentials {
			c := &e.Credentials[i]
			of := all[c.Mechanism]
			if of == nil {
				of = map[look]int{}
				all[c.Mechanism] = of
			}
			of[look{c.Iterations, len(c.Salt), strings.Trim(string(c.Salt), saltLetters) == ""}]++
		}
	}
	return all
}

// keyed is the n-th part of what the key makes of a name.
func (u *Users) keyed(m Mechanism, what, name string, n int) []byte {
	key := *u.decoyKey.Load()
	mac := hmac.New(sha256.New, key[:])
	fmt.Fprintf(mac, "%s:%s:%d:%s", m, what, n, name)
	return mac.Sum(nil)
}

// saltOf is the salt of a name.
func (u *Users) saltOf(m Mechanism, name string, bytes int) []byte {
	if name != "" {
		ahead, _, _ := strings.Cut(name[1:], "@") // one that begins with it is no user in a virtual host
		name = name[:1] + ahead
	}
	salt := make([]byte, 0, bytes+sha256.Size)
	for n := 0; len(salt) < bytes; n++ {
		salt = append(salt, u.keyed(m, "salt", name, n)...)
	}
	return salt[:bytes]
}

// lookOf chooses how a decoy looks: of those that there are, each by how many they are, so that a user more or less
// changes few of them.
func (u *Users) lookOf(m Mechanism, name string) look {
	best, most := ourLook, 0.0
	for l, users := range (*u.looks.Load())[m] {
		h := binary.BigEndian.Uint64(u.keyed(m, fmt.Sprintf("look %d %d %t", l.iterations, l.saltBytes, l.text), name, 0))
		if weight := float64(users) / -math.Log((float64(h>>11)+1)/(1<<53+1)); weight > most {
			best, most = l, weight
		}
	}
	return best
}

// decoyCredential is what a client is shown that names nobody, or one who has none.
func (u *Users) decoyCredential(m Mechanism, name string) *Credential {
	l := u.lookOf(m, name)
	salt := u.saltOf(m, name, l.saltBytes)
	if l.text {
		for i, b := range salt {
			salt[i] = saltLetters[int(b)%len(saltLetters)]
		}
	}
	size := generators[m]().Size()
	part := func(what string) []byte {
		return append(u.keyed(m, what, name, 0), u.keyed(m, what, name, 1)...)[:size]
	}
	return &Credential{Mechanism: m, Salt: salt, Iterations: l.iterations, StoredKey: part("stored"), ServerKey: part("server")}
}
