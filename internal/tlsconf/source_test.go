package tlsconf

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/internal/fakeclock"
	"github.com/leveret-mq/leveret/internal/logged"
)

// files are a certificate and its key in a directory of their own.
type files struct {
	dir string
	key crypto.Signer
}

func newFiles(t *testing.T) *files {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &files{t.TempDir(), key}
}

func (f *files) path(name string) string { return filepath.Join(f.dir, name) }

func (f *files) put(t *testing.T, name string, content []byte, mode os.FileMode) string {
	t.Helper()
	if err := os.WriteFile(f.path(name), content, mode); err != nil {
		t.Fatal(err)
	}
	return f.path(name)
}

// certificate is one that signs itself, and is changed before.
func (f *files) certificate(t *testing.T, change func(*x509.Certificate)) []byte {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "broker"}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(90 * 24 * time.Hour),
	}
	if change != nil {
		change(template)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, f.key.Public(), f.key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func keyPEM(t *testing.T, key crypto.Signer) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// pair writes a good certificate and its key.
func (f *files) pair(t *testing.T, change func(*x509.Certificate)) Options {
	t.Helper()
	return Options{
		CertFile: f.put(t, "cert.pem", f.certificate(t, change), 0o600), KeyFile: f.put(t, "key.pem", keyPEM(t, f.key), 0o600),
		Verify: Request, Logger: slog.New(slog.DiscardHandler),
	}
}

func TestFilesThatCanNotWorkAreRefusedByFlagAndFile(t *testing.T) {
	f, other := newFiles(t), newFiles(t)
	cert, key := f.certificate(t, nil), keyPEM(t, f.key)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(cert)
	encrypted := pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte("x")})
	legacy := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Headers: map[string]string{"Proc-Type": "4,ENCRYPTED"}, Bytes: []byte("x")})
	damaged := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: block.Bytes[:100]})
	for _, c := range []struct {
		name          string
		cert, key, ca []byte
		want          []string
	}{
		{"exchanged", key, cert, nil, []string{"--tls-cert", "cert.pem", "exchanged", "--tls-key"}},
		{"no certificate", []byte("hello"), key, nil, []string{"--tls-cert", "cert.pem", "not a PEM file"}},
		{"DER", block.Bytes, key, nil, []string{"--tls-cert", "cert.pem", "DER or PKCS#12"}},
		{"empty", []byte{}, key, nil, []string{"--tls-cert", "cert.pem", "no certificate"}},
		{"no key", cert, []byte("hello"), nil, []string{"--tls-key", "key.pem", "not a PEM file"}},
		{"a certificate for a key", cert, cert, nil, []string{"--tls-key", "key.pem", "a certificate and no private key"}},
		{"another's key", cert, keyPEM(t, other.key), nil, []string{"--tls-key", "key.pem", "does not belong", "cert.pem"}},
		{"a key of another kind", cert, keyPEM(t, rsaKey), nil, []string{"--tls-key", "key.pem", "does not belong", "cert.pem"}},
		{"a chain in the wrong order", append(other.certificate(t, nil), cert...), key, nil, []string{"--tls-key", "does not belong", "the first one"}},
		{"an encrypted key", cert, encrypted, nil, []string{"--tls-key", "key.pem", "password"}},
		{"an encrypted key of old", cert, legacy, nil, []string{"--tls-key", "key.pem", "password"}},
		{"a damaged certificate", damaged, key, nil, []string{"--tls-cert", "certificate 1", "cert.pem"}},
		{"a damaged one in the chain", append(bytes.Clone(cert), damaged...), key, nil, []string{"--tls-cert", "certificate 2", "cert.pem"}},
		{"a damaged key", cert, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("x")}), nil, []string{"--tls-key", "key.pem"}},
		{"too large", make([]byte, maxFileBytes+1), key, nil, []string{"--tls-cert", "cert.pem", "MiB"}},
		{"nobody signs", cert, key, []byte("hello"), []string{"--tls-ca", "ca.pem", "no certificate"}},
		{"a key signs", cert, key, key, []string{"--tls-ca", "ca.pem", "private key"}},
		{"a damaged one signs", cert, key, append(bytes.Clone(cert), damaged...), []string{"--tls-ca", "certificate 2", "ca.pem"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFiles(t)
			o := Options{CertFile: f.put(t, "cert.pem", c.cert, 0o600), KeyFile: f.put(t, "key.pem", c.key, 0o600)}
			if c.ca != nil {
				o.CAFile = f.put(t, "ca.pem", c.ca, 0o600)
			}
			_, err := Load(o)
			if err == nil {
				t.Fatal("it was taken")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("want %q in: %v", want, err)
				}
			}
			if strings.Contains(err.Error(), "BEGIN") {
				t.Errorf("the error shows what stands in the file: %v", err)
			}
		})
	}
	for flag, o := range map[string]Options{
		"--tls-cert": {CertFile: f.path("missing"), KeyFile: f.put(t, "key.pem", key, 0o600)},
		"--tls-key":  {CertFile: f.put(t, "cert.pem", cert, 0o600), KeyFile: f.path("missing")},
		"--tls-ca":   {CertFile: f.path("cert.pem"), KeyFile: f.path("key.pem"), CAFile: f.path("missing")},
	} {
		if _, err := Load(o); err == nil || !strings.Contains(err.Error(), flag) || !strings.Contains(err.Error(), "missing") {
			t.Errorf("%s: %v", flag, err)
		}
	}
}

func TestWhatWorksBadlyIsAWarning(t *testing.T) {
	day := 24 * time.Hour
	for _, c := range []struct {
		name   string
		change func(*x509.Certificate)
		mode   os.FileMode
		want   string // "" is no warning
	}{
		{"good", nil, 0o600, ""},
		{"readable by the group", nil, 0o640, ""},
		{"readable by all", nil, 0o644, "chmod 600"},
		{"expired", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }, 0o600, "expired on"},
		{"not valid yet", func(c *x509.Certificate) { c.NotBefore = time.Now().Add(day) }, 0o600, "not valid before"},
		{"expires soon", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(29*day + time.Hour) }, 0o600, "in 29 days"},
		{"expires late", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(31 * day) }, 0o600, ""},
		{"no names", func(c *x509.Certificate) { c.DNSNames = nil }, 0o600, "subject alternative name"},
		{"an address", func(c *x509.Certificate) { c.DNSNames, c.IPAddresses = nil, []net.IP{{1, 2, 3, 4}} }, 0o600, ""},
		{"for clients", func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }, 0o600, "not for servers"},
		{"for servers", func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }, 0o600, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFiles(t)
			o := f.pair(t, c.change)
			if err := os.Chmod(o.KeyFile, c.mode); err != nil {
				t.Fatal(err)
			}
			said := new(logged.Lines)
			o.Logger = said.Logger()
			if _, err := Load(o); err != nil {
				t.Fatal(err)
			}
			text := said.Take()
			if !strings.Contains(text, c.want) || strings.Count(text, "\n") != min(1, len(c.want)) {
				t.Errorf("want %q: %s", c.want, text)
			}
		})
	}
}

func TestANewCertificateIsTakenAndABrokenOneIsNot(t *testing.T) {
	f := newFiles(t)
	o := f.pair(t, nil)
	said := new(logged.Lines)
	o.Logger = said.Logger()
	s, err := Load(o)
	if err != nil {
		t.Fatal(err)
	}
	reload := func() error {
		use, err := s.Prepare(o)
		if err == nil {
			use()
		}
		return err
	}
	old := s.Config()
	if err := reload(); err != nil {
		t.Fatal(err)
	}
	if said.Take() != "" || s.Config() == old {
		t.Error("the same files, read again")
	}
	old = s.Config()
	if _, err := s.Prepare(o); err != nil || s.Config() != old {
		t.Errorf("what is not to be used yet is: %v", err)
	}
	f.put(t, "key.pem", keyPEM(t, newFiles(t).key), 0o600)
	if err := reload(); err == nil || !strings.Contains(err.Error(), "does not belong") || !strings.Contains(err.Error(), "stays in use") {
		t.Error(err)
	}
	if s.Config() != old {
		t.Error("what was broken is in use")
	}
	end := time.Now().Add(200 * 24 * time.Hour).Truncate(time.Second)
	f.pair(t, func(c *x509.Certificate) { c.NotAfter = end })
	if err := reload(); err != nil || !s.NotAfter().Equal(end) || !strings.Contains(said.Take(), "replaced") {
		t.Errorf("%v %v", s.NotAfter(), err)
	}
	f.pair(t, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })
	if err := reload(); err == nil || !s.NotAfter().Equal(end) {
		t.Errorf("one that has expired is in use instead of a good one: %v", err)
	}
	f.pair(t, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Hour) })
	if err := reload(); err == nil || !s.NotAfter().Equal(end) {
		t.Errorf("one that is not valid yet is in use instead of a good one: %v", err)
	}
}

func TestWatchTakesNewFilesOnceTheyRest(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		f := newFiles(t)
		o := f.pair(t, nil)
		said := new(logged.Lines)
		o.Logger = said.Logger()
		s, err := Load(o)
		if err != nil {
			t.Fatal(err)
		}
		go s.Watch(t.Context())
		touch := func() { // files have the time of the real clock
			when := time.Now()
			_, _ = os.Chtimes(o.CertFile, when, when), os.Chtimes(o.KeyFile, when, when)
		}
		touch()
		time.Sleep(3 * watchEvery)
		said.Take()
		old := s.Config()
		time.Sleep(3*watchEvery + time.Second)
		if s.Config() != old {
			t.Error("nothing changed, and they were read again")
		}
		// The key is still the old one's when Watch looks for the first time.
		f.key = newFiles(t).key
		f.put(t, "cert.pem", f.certificate(t, nil), 0o600)
		touch()
		time.Sleep(watchEvery)
		f.put(t, "key.pem", keyPEM(t, f.key), 0o600)
		touch()
		time.Sleep(2 * watchEvery)
		if text := said.Take(); s.Config() == old || !strings.Contains(text, "was replaced") || strings.Contains(text, "ERROR") {
			t.Errorf("it was not taken, or half of it was: %s", text)
		}
		old = s.Config()
		f.put(t, "key.pem", []byte("broken"), 0o600)
		touch()
		time.Sleep(10 * watchEvery)
		if text := said.Take(); s.Config() != old || strings.Count(text, "level=ERROR") != 1 || !strings.Contains(text, "key.pem") {
			t.Errorf("want one error: %s", text)
		}
	})
}

func TestWatchWarnsDayByDay(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		f := newFiles(t)
		o := f.pair(t, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(soon + 36*time.Hour) })
		said := new(logged.Lines)
		o.Logger = said.Logger()
		s, err := Load(o)
		if err != nil {
			t.Fatal(err)
		}
		go s.Watch(t.Context())
		time.Sleep(warnEvery + time.Minute)
		if text := said.Take(); text != "" {
			t.Errorf("too early: %s", text)
		}
		time.Sleep(3 * warnEvery)
		if text := said.Take(); strings.Count(text, "expires on") != 3 {
			t.Errorf("want it three times: %s", text)
		}
	})
}

func TestWhatIsSpoken(t *testing.T) {
	f := newFiles(t)
	o := f.pair(t, nil)
	o.CAFile = o.CertFile
	for verify, want := range map[string]tls.ClientAuthType{None: tls.NoClientCert, Request: tls.VerifyClientCertIfGiven, Require: tls.RequireAndVerifyClientCert} {
		o.Verify = verify
		s, err := Load(o)
		if err != nil {
			t.Fatal(err)
		}
		c := s.Config()
		if c.ClientAuth != want || c.MinVersion != tls.VersionTLS12 || c.MaxVersion != 0 || c.ClientCAs == nil || !c.DynamicRecordSizingDisabled {
			t.Errorf("%s: %v, from %x to %x", verify, c.ClientAuth, c.MinVersion, c.MaxVersion)
		}
		for _, suite := range tls.CipherSuites() {
			good := !strings.Contains(suite.Name, "CBC") && (strings.Contains(suite.Name, "ECDHE") || suite.SupportedVersions[0] == tls.VersionTLS13)
			if listed := slices.Contains(c.CipherSuites, suite.ID); listed != (good && suite.SupportedVersions[0] != tls.VersionTLS13) {
				t.Errorf("%s is spoken: %t", suite.Name, listed)
			}
		}
	}
	o.CAFile, o.Verify = "", Request
	if s, err := Load(o); err != nil || s.Config().ClientAuth != tls.NoClientCert {
		t.Errorf("nobody can sign: %v", err)
	}
}
