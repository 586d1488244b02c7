package tlsconf

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// maxFileBytes bounds what is read of a file; a bundle of all public authorities has some 250 KiB.
const maxFileBytes = 4 << 20

// Names of the flags that stand in errors.
const (
	certFlag = "--tls-cert"
	keyFlag  = "--tls-key"
	caFlag   = "--tls-ca"
)

// blocks is what a PEM file holds.
type blocks struct {
	certificates [][]byte
	keys         int
	encrypted    bool // a key is
}

// readFile reads a file, up to maxFileBytes.
func readFile(flag, name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", flag, err)
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", flag, err)
	}
	if len(raw) > maxFileBytes {
		return nil, fmt.Errorf("%s: %s has more than %d MiB", flag, name, maxFileBytes>>20)
	}
	return raw, nil
}

// split lists the blocks of a PEM file.
func split(raw []byte) (b blocks) {
	for {
		var block *pem.Block
		if block, raw = pem.Decode(raw); block == nil {
			return b
		}
		switch {
		case block.Type == "CERTIFICATE":
			b.certificates = append(b.certificates, block.Bytes)
		case strings.HasSuffix(block.Type, "PRIVATE KEY"):
			b.keys++
			b.encrypted = b.encrypted || strings.HasPrefix(block.Type, "ENCRYPTED") || strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED")
		}
	}
}

// notPEM is said of a file in which no block was found.
func notPEM(raw []byte) string {
	if bytes.HasPrefix(raw, []byte{0x30, 0x82}) || bytes.HasPrefix(raw, []byte{0x30, 0x81}) {
		return "is not a PEM file, but looks like DER or PKCS#12; openssl converts it"
	}
	return "is not a PEM file"
}

// readPair reads a certificate with its chain and its key.
func readPair(certFile, keyFile string) (tls.Certificate, error) {
	none := tls.Certificate{}
	cert, err := readFile(certFlag, certFile)
	if err != nil {
		return none, err
	}
	key, err := readFile(keyFlag, keyFile)
	if err != nil {
		return none, err
	}
	inCert, inKey := split(cert), split(key)
	switch {
	case len(inCert.certificates) == 0 && inCert.keys > 0:
		return none, fmt.Errorf("%s: %s holds a private key and no certificate; are %s and %s exchanged?", certFlag, certFile, certFlag, keyFlag)
	case len(inCert.certificates) == 0:
		return none, fmt.Errorf("%s: %s holds no certificate: it %s", certFlag, certFile, notPEM(cert))
	case inKey.keys == 0 && len(inKey.certificates) > 0:
		return none, fmt.Errorf("%s: %s holds a certificate and no private key", keyFlag, keyFile)
	case inKey.keys == 0:
		return none, fmt.Errorf("%s: %s holds no private key: it %s", keyFlag, keyFile, notPEM(key))
	case inKey.encrypted:
		return none, fmt.Errorf("%s: the key in %s is encrypted with a password, which nobody could give at a start; write it without (openssl pkey -in … -out …)", keyFlag, keyFile)
	}
	for n, der := range inCert.certificates {
		if _, err := x509.ParseCertificate(der); err != nil {
			return none, fmt.Errorf("%s: certificate %d of %s: %w", certFlag, n+1, certFile, err)
		}
	}
	pair, err := tls.X509KeyPair(cert, key)
	switch {
	case err == nil:
		return pair, nil
	case strings.Contains(err.Error(), "private key does not match"), strings.Contains(err.Error(), "private key type does not match"):
		return none, fmt.Errorf("%s: the key in %s does not belong to the certificate in %s (the server's own has to be the first one there)", keyFlag, keyFile, certFile)
	}
	return none, fmt.Errorf("%s: the key in %s: %w", keyFlag, keyFile, errors.New(strings.TrimPrefix(err.Error(), "tls: ")))
}

// readCAs reads who may sign clients' certificates.
func readCAs(name string) (*x509.CertPool, []*x509.Certificate, error) {
	raw, err := readFile(caFlag, name)
	if err != nil {
		return nil, nil, err
	}
	in := split(raw)
	if len(in.certificates) == 0 {
		if in.keys > 0 {
			return nil, nil, fmt.Errorf("%s: %s holds a private key and no certificate", caFlag, name)
		}
		return nil, nil, fmt.Errorf("%s: %s holds no certificate: it %s", caFlag, name, notPEM(raw))
	}
	pool, list := x509.NewCertPool(), make([]*x509.Certificate, 0, len(in.certificates))
	for n, der := range in.certificates {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: certificate %d of %s: %w", caFlag, n+1, name, err)
		}
		pool.AddCert(c)
		list = append(list, c)
	}
	return pool, list, nil
}
