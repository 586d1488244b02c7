package auth

import (
	"errors"
	"net"
	"strings"
	"testing"

	"golang.org/x/crypto/argon2"

	"github.com/leveret-mq/leveret/internal/fakeclock"
)

var (
	here  = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 5000}
	here6 = &net.TCPAddr{IP: net.IPv6loopback, Port: 5000}
	there = &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 5000}
)

// cheapHash is a hash that takes no time, for tests that make many.
func cheapHash(password string) Hash {
	salt := make([]byte, saltBytes)
	return formatHash(params{8, 1, 1, salt, argon2.IDKey([]byte(password), salt, 1, 8, 1, keyBytes)})
}

func guests(t *testing.T) *Users {
	t.Helper()
	u := NewUsers()
	u.decoy = cheapHash("")
	if err := u.PutPassword(User{Name: "guest", LoopbackOnly: true}, "guest"); err != nil {
		t.Fatal(err)
	}
	if err := u.Put(User{Name: "ann", Secret: Secret{Hash: cheapHash("s3cret")}}); err != nil {
		t.Fatal(err)
	}
	return u
}

func TestLogin(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		u := guests(t)
		for _, c := range []struct {
			name, user, password string
			from                 net.Addr
			want                 string // part of the error; empty = in
		}{
			{"default user from loopback", "guest", "guest", here, ""},
			{"default user from IPv6 loopback", "guest", "guest", here6, ""},
			{"default user from elsewhere", "guest", "guest", there, "only connect from this machine"},
			{"default user, wrong password", "guest", "Guest", here, "wrong password"},
			{"default user, no password", "guest", "", here, "wrong password"},
			{"stored user", "ann", "s3cret", there, ""},
			{"stored user again, from the cache", "ann", "s3cret", there, ""},
			{"stored user, wrong after right", "ann", "s3cre", there, "wrong password"},
			{"name and password shifted by a byte", "an", "ns3cret", there, "no such user"},
			{"unknown", "bob", "s3cret", here, "no such user"},
			{"default user, by a page of elsewhere", "guest", "guest", Elsewhere(here), "not by way of a page of another site"},
			{"stored user, by a page of elsewhere", "ann", "s3cret", Elsewhere(here), ""},
			{"address unknown", "guest", "guest", nil, "only connect from this machine"},
		} {
			func() {
				id, err := u.Login(t.Context(), c.user, []byte(c.password), c.from)
				if c.want == "" {
					if err != nil || id.Name != c.user {
						t.Fatalf("%s: got %+v, %v", c.name, id, err)
					}
					return
				}
				if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), c.want) {
					t.Fatalf("%s: got %v, want a refusal with %q", c.name, err, c.want)
				}
				if c.password != "" && strings.Contains(err.Error(), c.password) && c.password != c.user {
					t.Fatalf("%s: the error shows the password: %v", c.name, err)
				}
			}()
		}
	})
}

func TestSecondLoginSkipsTheSlowHash(t *testing.T) {
	u := guests(t)
	if _, err := u.Login(t.Context(), "ann", []byte("s3cret"), there); err != nil {
		t.Fatal(err)
	}
	// With all turns of the slow hash taken, only the remembered digest can answer.
	occupy(u)
	if _, err := u.Login(t.Context(), "ann", []byte("s3cret"), there); err != nil {
		t.Fatal(err)
	}
}

func TestChangedPasswordForgetsTheOldOne(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		u := guests(t)
		if _, err := u.Login(t.Context(), "ann", []byte("s3cret"), there); err != nil {
			t.Fatal(err)
		}
		if err := u.Put(User{Name: "ann", Secret: Secret{Hash: HashPassword([]byte("new"))}}); err != nil {
			t.Fatal(err)
		}
		if _, err := u.Login(t.Context(), "ann", []byte("s3cret"), there); !errors.Is(err, ErrRefused) {
			t.Fatalf("the old password still works: %v", err)
		}
		u.Remove("ann")
		if _, err := u.Login(t.Context(), "ann", []byte("new"), there); !errors.Is(err, ErrRefused) {
			t.Fatalf("a removed user still works: %v", err)
		}
	})
}

func TestAnonymous(t *testing.T) {
	u := guests(t)
	if _, err := u.Anonymous(here); !errors.Is(err, ErrRefused) {
		t.Fatalf("no anonymous user is set, got %v", err)
	}
	u.SetAnonymous("guest")
	if id, err := u.Anonymous(here); err != nil || id.Name != "guest" {
		t.Fatalf("got %+v, %v", id, err)
	}
	if _, err := u.Anonymous(there); !errors.Is(err, ErrRefused) {
		t.Fatalf("the loopback rule must hold for anonymous clients too, got %v", err)
	}
	u.SetAnonymous("nobody")
	if _, err := u.Anonymous(here); !errors.Is(err, ErrRefused) {
		t.Fatalf("got %v", err)
	}
}

func TestPutRefusesWhatCanNotWork(t *testing.T) {
	u := NewUsers()
	for name, user := range map[string]User{
		"no name":        {Secret: Secret{Hash: HashPassword(nil)}},
		"no form":        {Name: "a", Secret: Secret{Hash: "s3cret"}},
		"other scheme":   {Name: "a", Secret: Secret{Hash: "$2b$10$abcdefghijklmnopqrstuv"}},
		"other version":  {Name: "a", Secret: Secret{Hash: "$argon2id$v=16$m=64,t=1,p=1$AAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAA"}},
		"too much":       {Name: "a", Secret: Secret{Hash: "$argon2id$v=19$m=99999999,t=1,p=1$AAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAA"}},
		"no passes":      {Name: "a", Secret: Secret{Hash: "$argon2id$v=19$m=64,t=0,p=1$AAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAA"}},
		"no base64":      {Name: "a", Secret: Secret{Hash: "$argon2id$v=19$m=64,t=1,p=1$????$AAAAAAAAAAAAAAAAAAAAAAAA"}},
		"salt too short": {Name: "a", Secret: Secret{Hash: "$argon2id$v=19$m=64,t=1,p=1$AAAA$AAAAAAAAAAAAAAAAAAAAAAAA"}},
	} {
		if err := u.Put(user); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestSplitPlain(t *testing.T) {
	for _, c := range []struct{ name, in, user, password, err string }{
		{"usual", "\x00guest\x00guest", "guest", "guest", ""},
		{"acts for itself", "ann\x00ann\x00pw", "ann", "pw", ""},
		{"empty password", "\x00ann\x00", "ann", "", ""},
		{"acts for another", "root\x00ann\x00pw", "", "", "another user"},
		{"no user", "\x00\x00pw", "", "", "empty user"},
		{"two parts", "ann\x00pw", "", "", "2 parts"},
		{"four parts", "\x00a\x00b\x00c", "", "", "4 parts"},
		{"empty", "", "", "", "1 parts"},
		{"too long", "\x00a\x00" + strings.Repeat("x", MaxPlainBytes), "", "", "longer"},
	} {
		user, password, err := SplitPlain([]byte(c.in))
		if user != c.user || string(password) != c.password || (err == nil) != (c.err == "") {
			t.Errorf("%s: got %q %q %v", c.name, user, password, err)
		}
		if err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.err)
		}
	}
}

func FuzzSplitPlain(f *testing.F) {
	for _, seed := range []string{"\x00guest\x00guest", "", "\x00", "a\x00a\x00", "\x00\x00\x00"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		user, password, err := SplitPlain(in)
		if err == nil && (user == "" || len(user)+len(password) > len(in)) {
			t.Fatalf("%q gave %q and %q", in, user, password)
		}
	})
}

func FuzzParseHash(f *testing.F) {
	f.Add(string(decoyHash()))
	f.Add("$argon2id$v=19$m=64,t=1,p=1$AAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAA")
	f.Add("$$$$$")
	f.Fuzz(func(t *testing.T, in string) {
		p, err := parseHash(Hash(in))
		if err == nil && (p.memoryKiB > maxMemoryKiB || len(p.key) == 0) {
			t.Fatalf("%q gave %+v", in, p)
		}
	})
}

func BenchmarkLoginCached(b *testing.B) {
	u := NewUsers()
	if err := u.PutPassword(User{Name: "guest"}, "guest"); err != nil {
		b.Fatal(err)
	}
	password := []byte("guest")
	for b.Loop() {
		if _, err := u.Login(b.Context(), "guest", password, here); err != nil {
			b.Fatal(err)
		}
	}
}

func TestACertifiedUserNeedsNoPasswordAndMayComeFromWhereItMay(t *testing.T) {
	u := NewUsers()
	if err := u.PutPassword(User{Name: "guest", LoopbackOnly: true}, "guest"); err != nil {
		t.Fatal(err)
	}
	here, elsewhere := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}, &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1)}
	for _, c := range []struct {
		name string
		from net.Addr
		ok   bool
	}{{"guest", here, true}, {"guest", elsewhere, false}, {"nobody", here, false}, {"", here, false}} {
		who, err := u.Certified(c.name, c.from)
		if (err == nil) != c.ok || c.ok && who.Name != c.name || !c.ok && !errors.Is(err, ErrRefused) {
			t.Errorf("%q from %v: %+v, %v", c.name, c.from, who, err)
		}
		var named interface{ LoginUser() string }
		if err != nil && (!errors.As(err, &named) || named.LoginUser() != c.name) {
			t.Errorf("%q: the refusal names %v", c.name, named)
		}
	}
}
