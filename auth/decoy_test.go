package auth

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
)

// shown is what a SCRAM client sees of a name that a listener may split at an @, as Kafka's does.
func shown(t *testing.T, u *Users, name string) (salt []byte, iterations string) {
	t.Helper()
	x, err := u.Scram(ScramSHA256, func(name string) string {
		if at := strings.LastIndexByte(name, '@'); at > 0 && !u.Has(name) {
			return name[:at]
		}
		return name
	})
	if err != nil {
		t.Fatal(err)
	}
	answer, _, err := x.Step(t.Context(), []byte("n,,n="+name+",r=nonce"), there)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(answer), ",s=")
	text, iterations, _ := strings.Cut(rest, ",i=")
	if salt, err = base64.StdEncoding.DecodeString(text); err != nil {
		t.Fatal(err)
	}
	return salt, iterations
}

func putSecret(t *testing.T, u *Users, name, password string) {
	t.Helper()
	s, err := u.NewSecret(name, []byte(password))
	if err == nil {
		err = u.Put(User{Name: name, Secret: s})
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Names that differ behind the @ show the same, whether one of them is a user's as a whole or
// not, and so does a name before, while and after it is a user's, whatever the password.
func TestASaltSaysNothingOfWhoIsThere(t *testing.T) {
	u := NewUsers()
	all := []string{"ann", "ann@shop", "ann@shop@", "joe", "joe@shop", "joe@other", "joe@a@b", "@", "@joe", "@joe@shop", "a"}
	look := func() (out []string) {
		for _, name := range all {
			salt, iterations := shown(t, u, name)
			out = append(out, fmt.Sprintf("%x %s", salt, iterations))
		}
		return out
	}
	before := look()
	for _, c := range [][2]int{{0, 1}, {0, 2}, {3, 4}, {3, 5}, {3, 6}, {8, 9}} {
		if before[c[0]] != before[c[1]] {
			t.Errorf("%s shows %s, %s %s", all[c[0]], before[c[0]], all[c[1]], before[c[1]])
		}
	}
	different := map[string]bool{}
	for _, s := range before {
		different[s] = true
	}
	if len(different) != 5 {
		t.Errorf("%d salts: %v", len(different), before)
	}
	same := func(what string) {
		t.Helper()
		for i, now := range look() {
			if now != before[i] {
				t.Errorf("%s: %s shows %s, %s before", what, all[i], now, before[i])
			}
		}
	}
	putSecret(t, u, "ann", "pw")
	putSecret(t, u, "joe@other", "pw")
	putSecret(t, u, "@joe", "pw")
	same("with users")
	putSecret(t, u, "ann", "another")
	same("with another password")
	u.Remove("ann", "joe@other")
	same("without them")
}

// Nobody looks like the users that there are, when their credentials are made by Kafka's tools, and when some are.
func TestADecoyLooksLikeThoseThatThereAre(t *testing.T) {
	u := NewUsers()
	looksOfKafka := func() (n int) {
		for i := range 400 {
			salt, iterations := shown(t, u, fmt.Sprint("nobody", i))
			if iterations == "4096" && len(salt) == 26 && strings.Trim(string(salt), saltLetters) == "" {
				n++
			} else if iterations != "10000" || len(salt) != saltBytes {
				t.Fatalf("%q, %s", salt, iterations)
			}
		}
		return n
	}
	if n := looksOfKafka(); n != 0 {
		t.Errorf("%d of 400 without users", n)
	}
	for i := range 3 {
		c, err := newCredential(ScramSHA256, []byte("pw"), fmt.Appendf(nil, "1u4c2k0q9z8x7w6v5t3s2r1p%02d", i), 4096)
		if err == nil {
			err = u.Put(User{Name: fmt.Sprint("kafka", i), Secret: Secret{Credentials: []Credential{c}}})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if n := looksOfKafka(); n != 400 {
		t.Errorf("%d of 400 with Kafka's users only", n)
	}
	putSecret(t, u, "ann", "pw")
	if n := looksOfKafka(); n < 250 || n > 350 {
		t.Errorf("%d of 400 with three of four", n)
	}
}
