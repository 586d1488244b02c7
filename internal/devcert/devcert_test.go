package devcert

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func open(t *testing.T, dir string, made bool) *Authority {
	t.Helper()
	a, new, err := Open(dir)
	if err != nil || new != made {
		t.Fatalf("made: %t, %v", new, err)
	}
	return a
}

func leaf(t *testing.T, p Pair) *x509.Certificate {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(p.Cert, p.Key) // which holds the key to the certificate
	if err != nil {
		t.Fatal(err)
	}
	return pair.Leaf
}

func roots(t *testing.T, a *Authority) *x509.CertPool {
	t.Helper()
	raw, err := os.ReadFile(a.CA())
	pool := x509.NewCertPool()
	if err != nil || !pool.AppendCertsFromPEM(raw) {
		t.Fatal(err)
	}
	return pool
}

func TestWhatIsMadeIsGoodForWhoTrustsTheAuthority(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	a := open(t, dir, true)
	server, err := a.Server("server", []string{"localhost", "127.0.0.1", "::1", "*.broker.example"}, 24*time.Hour, false)
	if err != nil {
		t.Fatal(err)
	}
	a = open(t, dir, false) // the same authority
	client, err := a.Client("alice", DefaultTime, false)
	if err != nil {
		t.Fatal(err)
	}
	pool := roots(t, a)
	for _, name := range []string{"localhost", "127.0.0.1", "::1", "one.broker.example"} {
		if _, err := leaf(t, server).Verify(x509.VerifyOptions{Roots: pool, DNSName: name}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, c := range []struct {
		what string
		p    Pair
		o    x509.VerifyOptions
		good bool
	}{
		{"a client's", client, x509.VerifyOptions{Roots: pool, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, true},
		{"a client's for a server", client, x509.VerifyOptions{Roots: pool}, false},
		{"a server's for a client", server, x509.VerifyOptions{Roots: pool, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, false},
		{"another name", server, x509.VerifyOptions{Roots: pool, DNSName: "elsewhere.example"}, false},
		{"before it is good", server, x509.VerifyOptions{Roots: pool, CurrentTime: time.Now().Add(-2 * backdated)}, false},
		{"when it has expired", server, x509.VerifyOptions{Roots: pool, CurrentTime: time.Now().Add(25 * time.Hour)}, false},
		{"before that", server, x509.VerifyOptions{Roots: pool, CurrentTime: time.Now().Add(23 * time.Hour)}, true},
		{"nobody trusts it", server, x509.VerifyOptions{Roots: x509.NewCertPool()}, false},
	} {
		if _, err := leaf(t, c.p).Verify(c.o); (err == nil) != c.good {
			t.Errorf("%s: %v", c.what, err)
		}
	}
	if got := leaf(t, client); got.Subject.CommonName != "alice" || len(got.DNSNames) != 1 || got.DNSNames[0] != "alice" {
		t.Errorf("%v %v", got.Subject, got.DNSNames)
	}
	list, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(list) != 6 {
		t.Fatalf("%v %v", list, err)
	}
	for _, name := range list {
		if info, err := os.Stat(name); err != nil || info.Mode() != 0o600 {
			t.Errorf("%s has mode %v: %v", name, info.Mode(), err)
		}
	}
}

func TestNothingIsReplacedUnasked(t *testing.T) {
	dir := t.TempDir()
	a := open(t, dir, true)
	make := func(replace bool) (string, error) {
		p, err := a.Server("server", []string{"localhost"}, DefaultTime, replace)
		return leaf(t, p).SerialNumber.String(), err
	}
	first, err := make(false)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := make(false); !errors.Is(err, fs.ErrExist) || again != first {
		t.Errorf("%v, and it is another: %t", err, again != first)
	}
	if forced, err := make(true); err != nil || forced == first {
		t.Errorf("%v, and it is the same: %t", err, forced == first)
	}
	if err := os.Remove(filepath.Join(dir, "server.pem")); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Server("server", []string{"localhost"}, DefaultTime, false); err == nil || errors.Is(err, fs.ErrExist) || !strings.Contains(err.Error(), "only one is there") {
		t.Error(err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".new*")); len(left) > 0 {
		t.Error(left)
	}
}

func TestAnAuthorityThatIsNotWholeIsRefused(t *testing.T) {
	other := t.TempDir()
	open(t, other, true)
	for name, c := range map[string]struct {
		damage func(dir string) error
		want   string
	}{
		"no key":       {func(dir string) error { return os.Remove(filepath.Join(dir, "ca-key.pem")) }, "half of the authority"},
		"no file":      {func(dir string) error { return os.Remove(filepath.Join(dir, "ca.pem")) }, "half of the authority"},
		"not PEM":      {func(dir string) error { return os.WriteFile(filepath.Join(dir, "ca.pem"), []byte("x"), 0o600) }, "ca.pem"},
		"no key in it": {func(dir string) error { return os.WriteFile(filepath.Join(dir, "ca-key.pem"), []byte("x"), 0o600) }, "ca-key.pem"},
		"another key": {func(dir string) error {
			return os.Rename(filepath.Join(other, "ca-key.pem"), filepath.Join(dir, "ca-key.pem"))
		}, "does not belong"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			open(t, dir, true)
			if err := c.damage(dir); err != nil {
				t.Fatal(err)
			}
			if _, _, err := Open(dir); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Error(err)
			}
		})
	}
}

func TestAnAuthorityThatExpiredSignsNoMore(t *testing.T) {
	dir := t.TempDir()
	a := open(t, dir, true)
	a.now = func() time.Time { return time.Now().Add(authorityTime - time.Hour) }
	p, err := a.Server("late", []string{"localhost"}, DefaultTime, false)
	if err != nil || leaf(t, p).NotAfter.After(a.cert.NotAfter) {
		t.Errorf("it outlives who signed it: %v", err)
	}
	a.now = func() time.Time { return time.Now().Add(authorityTime + time.Hour) }
	cert, _ := os.ReadFile(a.CA())
	key, _ := os.ReadFile(filepath.Join(dir, "ca-key.pem"))
	if err := a.read(cert, key); err == nil || !strings.Contains(err.Error(), "expired") {
		t.Error(err)
	}
}

func TestNamesThatNoCertificateCanHave(t *testing.T) {
	a := open(t, t.TempDir(), true)
	for _, host := range []string{"", " ", "a b", "a..b", ".", "-a", "a-", "*", "a.*.b", "host:5671", "http://host", "ä.example", strings.Repeat("a", 64), strings.Repeat("a.", 127) + "a"} {
		if _, err := a.Server("server", []string{"localhost", host}, DefaultTime, true); err == nil {
			t.Errorf("%q was taken", host)
		}
	}
	if _, err := a.Server("server", nil, DefaultTime, true); err == nil {
		t.Error("no name was taken")
	}
	for _, user := range []string{"", strings.Repeat("a", maxCommonName+1)} {
		if _, err := a.Client(user, DefaultTime, true); err == nil {
			t.Errorf("user %q was taken", user)
		}
	}
}

// Whatever a user is called, the files stay in their directory.
func TestUsersAreNotPaths(t *testing.T) {
	dir := t.TempDir()
	a := open(t, dir, true)
	for user, email := range map[string]bool{"../../x": false, "a/b": false, "..": false, "ann@example.org": true, "ü": false, "a\x00b": false, "-rf": false} {
		p, err := a.Client(user, DefaultTime, false)
		if err != nil {
			t.Errorf("%q: %v", user, err)
			continue
		}
		if filepath.Dir(p.Cert) != dir || filepath.Dir(p.Key) != dir {
			t.Errorf("%q: %v", user, p)
		}
		if got := leaf(t, p); got.Subject.CommonName != user || (len(got.EmailAddresses) == 1) != email {
			t.Errorf("%q: %q %q", user, got.Subject.CommonName, got.EmailAddresses)
		}
	}
}

func TestADomainGetsItsCertificateOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tls")
	first, made, err := ForDomain(dir, "Chat.Example")
	if err != nil || !made {
		t.Fatal(made, err)
	}
	again, made, err := ForDomain(dir, "chat.example")
	if err != nil || made || again != first {
		t.Error(again, made, err)
	}
	a := open(t, dir, false)
	for _, name := range []string{"chat.example", "conference.chat.example"} {
		if _, err := leaf(t, first).Verify(x509.VerifyOptions{Roots: roots(t, a), DNSName: name}); err != nil {
			t.Error(err)
		}
	}
	if _, made, err := ForDomain(dir, "ca"); err != nil || !made {
		t.Error("a domain that is called as a file is:", made, err)
	}
	for _, domain := range []string{"", "*.example", "../x"} {
		if _, _, err := ForDomain(dir, domain); err == nil {
			t.Errorf("%q was taken", domain)
		}
	}
	if err := os.Remove(first.Cert); err != nil {
		t.Fatal(err)
	}
	if _, _, err := ForDomain(dir, "chat.example"); err == nil {
		t.Error("half of a pair was taken")
	}
}

func TestAddressesMayStandInBrackets(t *testing.T) {
	a := open(t, t.TempDir(), true)
	p, err := a.Server("server", []string{"[2001:db8::1]"}, DefaultTime, false)
	if err != nil || !leaf(t, p).IPAddresses[0].Equal(net.ParseIP("2001:db8::1")) {
		t.Error(err)
	}
	raw, _ := os.ReadFile(p.Cert)
	if _, rest := pem.Decode(raw); len(rest) == 0 {
		t.Error("the authority does not stand behind the certificate")
	}
}
