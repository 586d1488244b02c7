package auth

import (
	"crypto/md5"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"github.com/leveret-mq/leveret/internal/fakeclock"
)

// rabbitHashes are of the password "test12" and the like, as RabbitMQ makes them; the first is
// from its documentation.
func rabbitHashes() map[string]string {
	salt := "\x90\x8d\xc6\x0a"
	b64 := base64.StdEncoding.EncodeToString
	sum256, sum512, sumMD5 := sha256.Sum256([]byte(salt+"test12")), sha512.Sum512([]byte(salt+"test12")), md5.Sum([]byte(salt+"test12"))
	return map[string]string{
		RabbitSHA256: b64(append([]byte(salt), sum256[:]...)), RabbitSHA512: b64(append([]byte(salt), sum512[:]...)), RabbitMD5: b64(append([]byte(salt), sumMD5[:]...)),
	}
}

func TestHashesOfRabbitMQAreTaken(t *testing.T) {
	all := rabbitHashes()
	if all[RabbitSHA256] != "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR" {
		t.Errorf("RabbitMQ's documentation has another hash than %s", all[RabbitSHA256])
	}
	for algorithm, text := range all {
		if h, err := ImportHash("", text); err != nil || !h.Matches([]byte("test12")) {
			t.Errorf("%s, not named: %v", algorithm, err)
		}
	}
	all[""] = all[RabbitSHA256]
	for algorithm, text := range all {
		h, err := ImportHash(algorithm, text)
		if err != nil || !h.Matches([]byte("test12")) || h.Matches([]byte("test13")) || h.Matches(nil) {
			t.Errorf("%s: %v", algorithm, err)
		}
		if a, back := h.Export(); back != text || a != algorithm && algorithm != "" {
			t.Errorf("%s goes out as %s %s", algorithm, a, back)
		}
	}
	own := string(cheapHash("pw"))
	for _, algorithm := range []string{"", Argon2id} {
		if h, err := ImportHash(algorithm, own); err != nil || !h.Matches([]byte("pw")) {
			t.Errorf("ours: %v", err)
		}
	}
	if h, err := ImportHash(RabbitSHA512, ""); h != "" || err != nil {
		t.Errorf("no password: %q, %v", h, err)
	}
}

func TestHashesThatCanNotWorkAreRefused(t *testing.T) {
	all := rabbitHashes()
	for name, c := range map[string]struct{ algorithm, text string }{
		"unknown algorithm":              {"rabbit_password_hashing_sha1", all[RabbitSHA256]},
		"unknown algorithm, no password": {"bcrypt", ""},
		"another algorithm's":            {RabbitSHA512, all[RabbitSHA256]},
		"no base64":                      {RabbitSHA256, "????"},
		"long":                           {RabbitSHA256, strings.Repeat("A", 1<<20)},
		"ours under RabbitMQ's name":     {RabbitSHA256, string(cheapHash("pw"))},
		"RabbitMQ's under ours":          {Argon2id, all[RabbitSHA256]},
	} {
		if h, err := ImportHash(c.algorithm, c.text); err == nil {
			t.Errorf("%s: taken as %s", name, h)
		} else if strings.Contains(err.Error(), all[RabbitSHA256]) {
			t.Errorf("%s: the error shows the hash: %v", name, err)
		}
	}
}

// An imported password costs as much work as any other, and is told to be stored better at the
// first login with it.
func TestAnImportedPasswordIsRenewedAtTheFirstLogin(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		u := scrams(t)
		slowHashes := 0
		u.matches = func(h Hash, password []byte) bool {
			slowHashes++
			return h.Matches(password)
		}
		var got []Secret
		u.OnOldSecret(func(name string, old, s Secret) {
			if name != "imported" || old.Hash != (*u.current.Load())[name].Hash {
				t.Errorf("%s had %s", name, old.Hash)
			}
			got = append(got, s)
		})
		if _, err := u.Login(t.Context(), "imported", []byte("wrong"), there); !errors.Is(err, ErrRefused) || slowHashes != 1 || len(got) != 0 {
			t.Fatalf("%v after %d slow hashes, %d renewed", err, slowHashes, len(got))
		}
		if _, err := u.Login(t.Context(), "imported", []byte("test12"), there); err != nil || slowHashes != 2 || len(got) != 1 {
			t.Fatalf("%v after %d slow hashes, %d renewed", err, slowHashes, len(got))
		}
		if err := u.Put(User{Name: "imported", Secret: got[0]}); err != nil {
			t.Fatal(err)
		}
		for _, m := range Mechanisms {
			if _, err := talk(t, u, m, "imported", "test12", there); err != nil {
				t.Error(err)
			}
		}
		for _, password := range []string{"test12", "wrong"} {
			_, err := u.Login(t.Context(), "imported", []byte(password), there)
			if (err == nil) != (password == "test12") || len(got) != 1 {
				t.Errorf("%s: %v", password, err)
			}
		}
	})
}

// A hash of ours that is cheaper than those made today is renewed, too.
func TestACheapHashIsRenewed(t *testing.T) {
	u := scrams(t)
	renewed := 0
	var last Secret
	u.OnOldSecret(func(_ string, _, s Secret) { renewed, last = renewed+1, s })
	today, err := NewUsers().NewSecret("ann", []byte("pw"))
	if err != nil {
		t.Fatal(err)
	}
	hashOnly := Secret{Hash: today.Hash}
	for want, s := range []Secret{today, secretOf(t, "pw"), hashOnly} {
		if err := u.Put(User{Name: "u", Secret: s}); err != nil {
			t.Fatal(err)
		}
		if _, err := u.Login(t.Context(), "u", []byte("pw"), there); err != nil || renewed != want {
			t.Errorf("%d: %v, %d renewed", want, err, renewed)
		}
	}
	if last.Hash != today.Hash || len(last.Credentials) != len(Mechanisms) {
		t.Error("a hash that is as good as today's is made anew for the sake of the rest")
	}
}

// One who is known to SCRAM only, as Kafka's tools make users, logs in everywhere.
func TestPlainIsCheckedWithWhatScramKnows(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		u := scrams(t)
		renewed := 0
		u.OnOldSecret(func(string, Secret, Secret) { renewed++ })
		s := secretOf(t, "pw")
		s.Hash = ""
		if err := u.Put(User{Name: "kafka", Secret: s}); err != nil {
			t.Fatal(err)
		}
		if _, err := u.Login(t.Context(), "kafka", []byte("pww"), there); !errors.Is(err, ErrRefused) || renewed != 0 {
			t.Error(err)
		}
		if _, err := u.Login(t.Context(), "kafka", []byte("pw"), there); err != nil || renewed != 1 {
			t.Error(err, renewed)
		}
	})
}

// The empty password logs nobody in, whatever is stored.
func TestNobodyLogsInWithoutAPassword(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		u := scrams(t)
		sum := sha256.Sum256([]byte("salt"))
		rabbit, err := ImportHash(RabbitSHA256, base64.StdEncoding.EncodeToString(append([]byte("salt"), sum[:]...)))
		if err != nil || !rabbit.Matches(nil) {
			t.Fatal(err)
		}
		if err := u.Put(User{Name: "ours", Secret: Secret{Hash: cheapHash("")}}, User{Name: "rabbit", Secret: Secret{Hash: rabbit}}); err != nil {
			t.Fatal(err)
		}
		if err := u.PutPassword(User{Name: "clear"}, ""); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"ours", "rabbit", "clear", "nobody"} {
			if _, err := u.Login(t.Context(), name, nil, here); !errors.Is(err, ErrRefused) {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

func FuzzImportHash(f *testing.F) {
	for algorithm, text := range rabbitHashes() {
		f.Add(algorithm, text)
	}
	f.Add("", string(cheapHash("pw")))
	f.Fuzz(func(t *testing.T, algorithm, text string) {
		h, err := ImportHash(algorithm, text)
		if err != nil || h == "" {
			return
		}
		if err := h.Check(); err != nil {
			t.Fatalf("taken, and then: %v", err)
		}
		a, back := h.Export()
		if again, err := ImportHash(a, back); err != nil || again != h {
			t.Fatalf("%s goes out as %s %s and comes back as %s, %v", h, a, back, again, err)
		}
		if h.quick() {
			h.Matches([]byte("x"))
		}
	})
}

func TestAHashOfRabbitMQIsMade(t *testing.T) {
	one, other := MakeRabbitHash([]byte("test12")), MakeRabbitHash([]byte("test12"))
	for _, text := range []string{one, other, MakeRabbitHash([]byte("test12"))} {
		if h, err := ImportHash("", text); err != nil || !h.Matches([]byte("test12")) || h.Matches([]byte("test13")) {
			t.Errorf("%s: %v", text, err)
		}
	}
	if one == other {
		t.Error("two have the same salt")
	}
}
