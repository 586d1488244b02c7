// Package devcert makes certificates for development: a small authority of its own, a certificate for the broker, and
// some for clients. They are as good as bought ones, but nobody trusts the authority who was not told to.
//
//	DIR/ca.pem            who signs; clients are given it
//	DIR/ca-key.pem        with this; whoever has it can make certificates that those clients trust
//	DIR/NAME.pem          a certificate, with the authority's behind it
//	DIR/NAME-key.pem      its key
//
// An authority that is there is used again. A file is written whole or not at all, keys with mode 0600, and nothing that
// exists is replaced unless that is asked for. It owns these files and imports nothing of this module.
package devcert

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	// authorityTime and DefaultTime are how long an authority and a certificate are good. Some systems refuse
	// certificates of servers that are good for more than 825 days.
	authorityTime = 10 * 365 * 24 * time.Hour
	DefaultTime   = 397 * 24 * time.Hour
	// backdated is for clients whose clock is behind.
	backdated = time.Hour
	// maxCommonName bounds a common name (X.520).
	maxCommonName = 64
)

// Authority signs certificates.
type Authority struct {
	dir  string
	cert *x509.Certificate
	key  crypto.Signer
	now  func() time.Time
}

// Pair is where a certificate and its key are.
type Pair struct{ Cert, Key string }

// CA is the file with the authority's certificate.
func (a *Authority) CA() string { return filepath.Join(a.dir, "ca.pem") }

// Open opens the authority in a directory, or makes one; made says so.
func Open(dir string) (a *Authority, made bool, err error) {
	a = &Authority{dir: dir, now: time.Now}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, false, err
	}
	keyFile := filepath.Join(dir, "ca-key.pem")
	certPEM, certErr := os.ReadFile(a.CA())
	keyPEM, keyErr := os.ReadFile(keyFile)
	switch {
	case errors.Is(certErr, fs.ErrNotExist) && errors.Is(keyErr, fs.ErrNotExist):
		return a, true, a.make(keyFile)
	case certErr != nil || keyErr != nil:
		return nil, false, fmt.Errorf("half of the authority is missing (%w); put it back, or take both ca.pem and ca-key.pem away for a new one, which clients have to be given", errors.Join(certErr, keyErr))
	}
	return a, false, a.read(certPEM, keyPEM)
}

// read takes an authority that is there.
func (a *Authority) read(certPEM, keyPEM []byte) error {
	cert, key := block(certPEM), block(keyPEM)
	var err error
	if a.cert, err = x509.ParseCertificate(cert); err != nil {
		return fmt.Errorf("%s: %w", a.CA(), err)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("%s: %w", filepath.Join(a.dir, "ca-key.pem"), err)
	}
	var ok bool
	if a.key, ok = parsed.(crypto.Signer); !ok || !a.cert.IsCA {
		return fmt.Errorf("%s is no authority that could sign", a.CA())
	}
	if public, ok := a.key.Public().(interface{ Equal(crypto.PublicKey) bool }); !ok || !public.Equal(a.cert.PublicKey) {
		return fmt.Errorf("ca-key.pem does not belong to %s", a.CA())
	}
	if now := a.now(); now.After(a.cert.NotAfter) {
		return fmt.Errorf("%s expired on %s; take ca.pem and ca-key.pem away for a new one, which clients have to be given", a.CA(), a.cert.NotAfter.Format(time.DateOnly))
	}
	return nil
}

// block is what the first PEM block holds; nil is none.
func block(raw []byte) []byte {
	if b, _ := pem.Decode(raw); b != nil {
		return b.Bytes
	}
	return nil
}

// make makes a new authority.
func (a *Authority) make(keyFile string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	now := a.now()
	host, _ := os.Hostname() // to tell one from another
	template := &x509.Certificate{
		Subject:   pkix.Name{CommonName: clip("Leveret development CA " + host)},
		NotBefore: now.Add(-backdated), NotAfter: now.Add(authorityTime),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := sign(template, template, key.Public(), key)
	if err != nil {
		return err
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		return err
	}
	a.key = key
	return write(Pair{a.CA(), keyFile}, key, false, der)
}

// Server makes a certificate for a broker that is called by these names and addresses, which are DNS names, of
// which the first label may be *, or IP addresses. name is what the files are called. It says fs.ErrExist when
// they are there and replace is not set.
func (a *Authority) Server(name string, hosts []string, good time.Duration, replace bool) (Pair, error) {
	if len(hosts) == 0 {
		return Pair{}, errors.New("a certificate of a server needs a name")
	}
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: clip(hosts[0])},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, h := range hosts {
		if ip := net.ParseIP(strings.Trim(h, "[]")); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
			continue
		}
		if err := checkHost(h); err != nil {
			return Pair{}, err
		}
		template.DNSNames = append(template.DNSNames, h)
	}
	return a.issue(name, template, good, replace)
}

// Client makes a certificate by which a client is that user: its common name, and its first alternative name where
// it can be one.
func (a *Authority) Client(user string, good time.Duration, replace bool) (Pair, error) {
	if user == "" || len(user) > maxCommonName {
		return Pair{}, fmt.Errorf("user %q: a name in a certificate has 1 to %d bytes", user, maxCommonName)
	}
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: user},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	switch {
	case strings.Contains(user, "@") && isASCII(user):
		template.EmailAddresses = []string{user}
	case checkHost(user) == nil:
		template.DNSNames = []string{user}
	}
	return a.issue("client-"+url.PathEscape(user), template, good, replace)
}

// issue signs a certificate and writes it.
func (a *Authority) issue(name string, template *x509.Certificate, good time.Duration, replace bool) (Pair, error) {
	p := Pair{filepath.Join(a.dir, name+".pem"), filepath.Join(a.dir, name+"-key.pem")}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return p, err
	}
	now := a.now()
	template.NotBefore, template.NotAfter = now.Add(-backdated), now.Add(good)
	if template.NotAfter.After(a.cert.NotAfter) {
		template.NotAfter = a.cert.NotAfter
	}
	der, err := sign(template, a.cert, key.Public(), a.key)
	if err != nil {
		return p, err
	}
	return p, write(p, key, replace, der, a.cert.Raw)
}

func sign(template, by *x509.Certificate, public crypto.PublicKey, key crypto.Signer) ([]byte, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	template.SerialNumber = serial
	return x509.CreateCertificate(rand.Reader, template, by, public, key)
}

// checkHost refuses what no DNS name can be.
func checkHost(h string) error {
	wrong := fmt.Errorf("%q is no DNS name and no IP address", h)
	name := strings.TrimPrefix(h, "*.")
	if name == "" || len(name) > 253 {
		return wrong
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return wrong
		}
		for _, r := range label {
			if !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_", r) {
				return wrong
			}
		}
	}
	return nil
}

func isASCII(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) < 0
}

// clip makes a common name no longer than it may be.
func clip(s string) string { return s[:min(len(s), maxCommonName)] }
