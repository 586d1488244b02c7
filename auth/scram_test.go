package auth

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/pbkdf2"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/xdg-go/scram"

	"github.com/leveret-mq/leveret/internal/fakeclock"
)

var secrets sync.Map // password → Secret

// secretOf is a Secret that takes little time.
func secretOf(t testing.TB, password string) Secret {
	t.Helper()
	if s, ok := secrets.Load(password); ok {
		return s.(Secret)
	}
	s := Secret{Hash: cheapHash(password)}
	for _, m := range Mechanisms {
		c, err := newCredential(m, []byte(password), []byte("salt of "+password+" "), MinIterations)
		if err != nil {
			t.Fatal(err)
		}
		s.Credentials = append(s.Credentials, c)
	}
	secrets.Store(password, s)
	return s
}

// scrams are users for SCRAM.
func scrams(t testing.TB) *Users {
	t.Helper()
	u := NewUsers()
	u.decoy = cheapHash("")
	old, err := ImportHash(RabbitSHA256, "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR")
	if err != nil {
		t.Fatal(err)
	}
	if err := u.Put(User{Name: "ann", Secret: secretOf(t, "s3cret")}, User{Name: "guest", LoopbackOnly: true, Secret: secretOf(t, "guest")},
		User{Name: "a,b=c", Secret: secretOf(t, "pw")}, User{Name: "imported", Secret: Secret{Hash: old}}, User{Name: "nobody"}); err != nil {
		t.Fatal(err)
	}
	return u
}

// talk is the whole login of a client of others.
func talk(t testing.TB, u *Users, m Mechanism, name, password string, from net.Addr) (*Identity, error) {
	t.Helper()
	client, err := generators[m].NewClientUnprepped(name, password, "")
	if err != nil {
		t.Fatal(err)
	}
	x, err := u.Scram(m, nil)
	if err != nil {
		t.Fatal(err)
	}
	c := client.NewConversation()
	said, err := c.Step("")
	for err == nil {
		answer, who, refused := x.Step(t.Context(), []byte(said), from)
		if refused != nil {
			return nil, refused
		}
		if said, err = c.Step(string(answer)); who != nil {
			if err != nil || !c.Valid() {
				t.Fatalf("the client does not know the server: %v", err)
			}
			return who, nil
		}
	}
	t.Fatalf("the client gives up: %v", err)
	return nil, nil
}

func TestScramLogins(t *testing.T) {
	for _, m := range Mechanisms {
		t.Run(string(m), func(t *testing.T) {
			fakeclock.Test(t, func(t *testing.T) {
				u := scrams(t)
				for _, c := range []struct {
					name, user, password string
					from                 net.Addr
					want                 string // part of the refusal; "" = in
				}{
					{"right", "ann", "s3cret", there, ""},
					{"a name with comma and equals sign", "a,b=c", "pw", there, ""},
					{"wrong", "ann", "s3cre", there, "wrong password"},
					{"empty password", "ann", "", there, "wrong password"},
					{"unknown", "bob", "s3cret", there, "no such user"},
					{"loopback only, from here", "guest", "guest", here, ""},
					{"loopback only, from elsewhere", "guest", "guest", there, "only connect from this machine"},
					{"known by an old hash only", "imported", "test12", there, "log in with PLAIN once"},
					{"nobody by password", "nobody", "", there, "log in with PLAIN once"},
				} {
					who, err := talk(t, u, m, c.user, c.password, c.from)
					if c.want == "" {
						if err != nil || who.Name != c.user {
							t.Errorf("%s: %v, %v", c.name, who, err)
						}
					} else if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), c.user) {
						t.Errorf("%s: got %v, want %q", c.name, err, c.want)
					}
				}
			})
		})
	}
}

// Older librdkafka repeats its nonce. What it signs is in the proof, so that it is no hole.
func TestScramTakesARepeatedNonce(t *testing.T) {
	for name, c := range map[string]struct {
		password, before string // before the server's nonce
		in               bool
	}{
		"as the RFC has it": {"s3cret", "", true},
		"repeated":          {"s3cret", "nonce", true},
		"wrong password":    {"guess", "nonce", false},
		"another nonce":     {"s3cret", "other", false},
		"thrice":            {"s3cret", "noncenonce", false},
	} {
		for _, m := range Mechanisms {
			fakeclock.Test(t, func(t *testing.T) {
				u := scrams(t)
				x, _ := u.Scram(m, nil)
				answer, _, err := x.Step(t.Context(), []byte("y,a=ann,n=ann,r=nonce,x=1"), there)
				if err != nil {
					t.Fatal(err)
				}
				fields := strings.Split(string(answer), ",")
				salt, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(fields[1], "s="))
				if err != nil {
					t.Fatal(err)
				}
				salted, err := pbkdf2.Key(generators[m], c.password, salt, MinIterations, generators[m]().Size())
				if err != nil {
					t.Fatal(err)
				}
				mac := func(key []byte, text string) []byte {
					h := hmac.New(generators[m], key)
					h.Write([]byte(text))
					return h.Sum(nil)
				}
				key := mac(salted, "Client Key")
				h := generators[m]()
				h.Write(key)
				signed := "c=" + base64.StdEncoding.EncodeToString([]byte("y,a=ann,")) + ",r=" + c.before + strings.TrimPrefix(fields[0], "r=")
				all := "n=ann,r=nonce,x=1," + string(answer) + "," + signed
				for i, b := range mac(h.Sum(nil), all) {
					key[i] ^= b
				}
				got, who, err := x.Step(t.Context(), []byte(signed+",p="+base64.StdEncoding.EncodeToString(key)), there)
				if (who != nil) != c.in || !c.in && !errors.Is(err, ErrRefused) {
					t.Errorf("%s, %s: %v, %v", name, m, who, err)
				}
				if want := "v=" + base64.StdEncoding.EncodeToString(mac(mac(salted, "Server Key"), all)); c.in && string(got) != want {
					t.Errorf("%s, %s: the client is answered %s, want %s", name, m, got, want)
				}
			})
		}
	}
}

func TestScramRefusesAProofOfAnotherLength(t *testing.T) {
	for _, size := range []int{0, 31, 33, 64} {
		x, _ := scrams(t).Scram(ScramSHA256, nil)
		answer, _, err := x.Step(t.Context(), []byte("n,,n=ann,r=nonce"), there)
		if err != nil {
			t.Fatal(err)
		}
		nonce, _, _ := strings.Cut(strings.TrimPrefix(string(answer), "r="), ",")
		final := "c=biws,r=nonce" + nonce + ",p=" + base64.StdEncoding.EncodeToString(make([]byte, size))
		if _, who, err := x.Step(canceled(t), []byte(final), there); who != nil || !errors.Is(err, ErrBusy) {
			t.Errorf("%d bytes: %v, %v", size, who, err)
		}
	}
}

// What is shown of a name must not tell whether there is such a user: the same form, and the
// same each time.
func TestScramShowsTheSameOfEveryName(t *testing.T) {
	first := func(u *Users, name string) string {
		x, err := u.Scram(ScramSHA256, nil)
		if err != nil {
			t.Fatal(err)
		}
		answer, _, err := x.Step(t.Context(), []byte("n,,n="+name+",r=nonce"), there)
		if err != nil || !strings.HasPrefix(string(answer), "r=nonce") {
			t.Fatalf("%s: %s, %v", name, answer, err)
		}
		_, shown, _ := strings.Cut(string(answer), ",")
		return shown
	}
	u := NewUsers()
	s, err := NewUsers().NewSecret("ann", []byte("s3cret"))
	if err != nil {
		t.Fatal(err)
	}
	if err := u.Put(User{Name: "ann", Secret: s}); err != nil {
		t.Fatal(err)
	}
	ann, bob := first(u, "ann"), first(u, "bob")
	if len(ann) != len(bob) || ann == bob || bob != first(u, "bob") || ann != first(u, "ann") || bob == first(u, "bobo") {
		t.Errorf("ann %s, bob %s, again %s", ann, bob, first(u, "bob"))
	}
	other := NewUsers()
	if first(other, "bob") == bob {
		t.Error("the salt of nobody can be foretold")
	}
	for _, u := range []*Users{u, other} {
		u.SetDecoyKey([32]byte{1})
	}
	if first(u, "bob") != first(other, "bob") {
		t.Error("the salt of nobody changes with a restart")
	}
}

func TestScramRefusalsTakeTheSameTimeForEveryName(t *testing.T) {
	for _, c := range []struct {
		user, password string
		from           net.Addr
	}{{"ann", "x", there}, {"bob", "x", there}, {"imported", "test12", there}, {"guest", "guest", there}} {
		fakeclock.Test(t, func(t *testing.T) {
			u := scrams(t)
			for n, want := range []time.Duration{200, 400, 800} {
				begun := time.Now()
				_, err := talk(t, u, ScramSHA256, c.user, c.password, c.from)
				if took := time.Since(begun); !errors.Is(err, ErrRefused) || took != want*time.Millisecond {
					t.Fatalf("refusal %d of %s took %v, want %v ms: %v", n+1, c.user, took, want, err)
				}
			}
			begun := time.Now()
			if _, _ = u.Login(t.Context(), "joe", nil, there); time.Since(begun) != 1600*time.Millisecond {
				t.Errorf("a wrong password of PLAIN is answered after %v: guesses are counted apart", time.Since(begun))
			}
		})
	}
}

// Who guesses by SCRAM is held up as one who guesses by PLAIN, and locks nobody out.
func TestAFloodByScramIsBounded(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		u := scrams(t)
		if _, err := talk(t, u, ScramSHA256, "a,b=c", "pw", there); err != nil {
			t.Fatal(err)
		}
		const guesses = 400
		results := make(chan error, guesses)
		for n := range guesses {
			go func() {
				_, err := talk(t, u, ScramSHA256, "ann", fmt.Sprint("guess", n), there)
				results <- err
			}()
		}
		synctest.Wait()
		u.guard.mu.Lock()
		waiting := u.guard.pending
		u.guard.mu.Unlock()
		if waiting > maxSuspectsOf {
			t.Errorf("%d wait", waiting)
		}
		if _, err := talk(t, u, ScramSHA256, "a,b=c", "pw", addr(1)); err != nil {
			t.Errorf("one from another address: %v", err)
		}
		if _, err := talk(t, u, ScramSHA256, "a,b=c", "pw", there); err != nil {
			t.Errorf("one who was in from there before: %v", err)
		}
		if _, err := talk(t, u, ScramSHA256, "ann", "s3cret", there); !errors.Is(err, ErrBusy) {
			t.Errorf("the right one among the guesses is looked at: %v", err)
		}
		busy := 0
		for range guesses {
			if err := <-results; errors.Is(err, ErrBusy) {
				busy++
			} else if !errors.Is(err, ErrRefused) {
				t.Fatal(err)
			}
		}
		if busy < guesses-maxSuspectsOf {
			t.Errorf("%d of %d were answered", guesses-busy, guesses)
		}
		if _, err := talk(t, u, ScramSHA256, "ann", "s3cret", there); err != nil {
			t.Errorf("the right one from there: %v", err)
		}
	})
}

func TestAPasswordThatChangesDuringALoginDoesNotLetIn(t *testing.T) {
	for name, change := range map[string]func(u *Users) error{
		"changed": func(u *Users) error { return u.Put(User{Name: "ann", Secret: secretOf(t, "new")}) },
		"gone":    func(u *Users) error { u.Remove("ann"); return nil },
		"made":    func(u *Users) error { return u.Put(User{Name: "bob", Secret: secretOf(t, "s3cret")}) },
	} {
		t.Run(name, func(t *testing.T) {
			fakeclock.Test(t, func(t *testing.T) {
				u := scrams(t)
				user := "ann"
				if name == "made" {
					user = "bob"
				}
				client, _ := scram.SHA256.NewClientUnprepped(user, "s3cret", "")
				c := client.NewConversation()
				said, _ := c.Step("")
				x, _ := u.Scram(ScramSHA256, nil)
				answer, _, err := x.Step(t.Context(), []byte(said), there)
				if err != nil {
					t.Fatal(err)
				}
				if err := change(u); err != nil {
					t.Fatal(err)
				}
				if said, err = c.Step(string(answer)); err != nil {
					t.Fatal(err)
				}
				if _, who, err := x.Step(t.Context(), []byte(said), there); who != nil || !errors.Is(err, ErrRefused) {
					t.Errorf("%v, %v", who, err)
				}
			})
		})
	}
}

func TestScramRefusesWhatIsMalformed(t *testing.T) {
	u := scrams(t)
	for name, first := range map[string]string{
		"empty": "", "no form": "guest", "channel binding": "p=tls-unique,,n=ann,r=x", "an extension that must be known": "n,,m=x,n=ann,r=x",
		"for another": "n,a=root,n=ann,r=x", "no name": "n,,n=,r=x", "a name that is not escaped": "n,,n=a=b,r=x",
		"too long": "n,,n=" + strings.Repeat("x", MaxScramBytes) + ",r=x", "only commas": strings.Repeat(",", MaxScramBytes),
	} {
		x, _ := u.Scram(ScramSHA256, nil)
		answer, who, err := x.Step(t.Context(), []byte(first), there)
		if answer != nil || who != nil || !errors.Is(err, ErrRefused) {
			t.Errorf("%s: %s, %v, %v", name, answer, who, err)
		}
		if _, who, err := x.Step(t.Context(), []byte("c=biws,r=x,p=AAAA"), there); who != nil || !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "is over") {
			t.Errorf("%s goes on: %v", name, err)
		}
	}
	if _, err := u.Scram("SCRAM-SHA-256-PLUS", nil); err == nil {
		t.Error("a mechanism that is not there")
	}
	if _, err := talk(t, u, ScramSHA1, "ann", "s3cret", here); err != nil {
		t.Error(err)
	}
}

func TestScramWaitsForUsersThatAreStillMade(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		u := scrams(t)
		ready := make(chan struct{})
		u.Await(ready)
		in := make(chan error)
		go func() {
			_, err := talk(t, u, ScramSHA256, "new", "pw", there)
			in <- err
		}()
		synctest.Wait()
		if err := u.Put(User{Name: "new", Secret: secretOf(t, "pw")}); err != nil {
			t.Fatal(err)
		}
		close(ready)
		if err := <-in; err != nil {
			t.Error(err)
		}
	})
}

func TestCredentialsAreThoseOfTheRFC(t *testing.T) {
	// RFC 7677, section 3: user "user", password "pencil".
	c, err := newCredential(ScramSHA256, []byte("pencil"), []byte("[m\x99h\x9d\x125\x8e\xec\xa0K\x14\x126\xfa\x81"), 4096)
	if err != nil {
		t.Fatal(err)
	}
	s, err := scram.SHA256.NewServer(func(string) (scram.StoredCredentials, error) {
		return scram.StoredCredentials{KeyFactors: scram.KeyFactors{Salt: string(c.Salt), Iters: c.Iterations}, StoredKey: c.StoredKey, ServerKey: c.ServerKey}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	talk := s.WithNonceGenerator(func() string { return "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0" }).NewConversation()
	if _, err := talk.Step("n,,n=user,r=rOprNGfwEbeRWgbNEkqO"); err != nil {
		t.Fatal(err)
	}
	got, err := talk.Step("c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
	if err != nil || got != "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=" {
		t.Errorf("%s, %v", got, err)
	}
}

func TestACredentialOfASaltedPasswordIsTheSame(t *testing.T) {
	want := secretOf(t, "pw").Credentials[1]
	salted := pbkdf2Key(t, want)
	got, err := SaltedCredential(want.Mechanism, want.Salt, want.Iterations, salted)
	if err != nil || !bytes.Equal(got.StoredKey, want.StoredKey) || !bytes.Equal(got.ServerKey, want.ServerKey) {
		t.Errorf("%+v, %v", got, err)
	}
	for name, c := range map[string]struct {
		m      Mechanism
		salt   []byte
		n      int
		salted []byte
	}{
		"mechanism":       {"SCRAM-MD5", want.Salt, 4096, salted},
		"no salt":         {want.Mechanism, nil, 4096, salted},
		"long salt":       {want.Mechanism, make([]byte, maxSaltBytes+1), 4096, salted},
		"few iterations":  {want.Mechanism, want.Salt, MinIterations - 1, salted},
		"many iterations": {want.Mechanism, want.Salt, MaxIterations + 1, salted},
		"no key":          {want.Mechanism, want.Salt, 4096, nil},
		"long key":        {want.Mechanism, want.Salt, 4096, make([]byte, maxSaltBytes+1)},
	} {
		if _, err := SaltedCredential(c.m, c.salt, c.n, c.salted); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if _, err := SaltedCredential(want.Mechanism, []byte("salt"), 4096, salted[1:]); err != nil { // as the tests of librdkafka and kafka-go send them
		t.Errorf("a short salt: %v", err)
	}
}

func TestSecretsAreChecked(t *testing.T) {
	s := secretOf(t, "pw")
	if err := s.Check(); err != nil {
		t.Fatal(err)
	}
	twice := s
	twice.Credentials = append(twice.Credentials[:3:3], s.Credentials[0])
	short := Secret{Credentials: []Credential{s.Credentials[0]}}
	short.Credentials[0].ServerKey = nil
	for name, s := range map[string]Secret{"twice": twice, "no key": short} {
		if s.Check() == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if s, err := NewUsers().NewSecret("ann", nil); err != nil || s.Hash != "" || len(s.Credentials) != 0 {
		t.Errorf("of the empty password is stored %+v, %v", s, err)
	}
}

func FuzzScram(f *testing.F) {
	u := scrams(f)
	f.Add("SCRAM-SHA-256", []byte("n,,n=ann,r=x"), []byte("c=biws,r=x,p=AAAA"))
	f.Add("SCRAM-SHA-512", []byte("y,a=ann,n=a=2Cb=3Dc,r=,x=1"), []byte("c=,r=,p="))
	f.Add("SCRAM-SHA-1", []byte("n,,n=ann,r="), []byte("c=biws,r=,p="))
	f.Fuzz(func(t *testing.T, m string, first, final []byte) {
		x, err := u.Scram(Mechanism(m), strings.ToLower)
		if err != nil {
			return
		}
		ctx := canceled(t)
		_, who, err := x.Step(ctx, first, there)
		if who != nil {
			t.Fatal("in after one message")
		}
		if err != nil && strings.ContainsAny(err.Error(), "\x00\n") {
			t.Fatalf("%q", err)
		}
		if _, who, _ := x.Step(ctx, final, there); who != nil {
			t.Fatal("in without a password")
		}
	})
}

// canceled is the stay of a client that is gone: nothing is waited for.
func canceled(t testing.TB) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}

func pbkdf2Key(t testing.TB, c Credential) []byte {
	key, err := pbkdf2.Key(generators[c.Mechanism], "pw", c.Salt, c.Iterations, generators[c.Mechanism]().Size())
	if err != nil {
		t.Fatal(err)
	}
	return key
}
