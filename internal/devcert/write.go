package devcert

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// write writes a key and the chain of its certificate, the key first: one without its certificate is of no use to anybody,
// and a certificate without its key would keep a broker from starting.
func write(p Pair, key crypto.Signer, replace bool, chain ...[]byte) error {
	if !replace {
		cert, key := there(p.Cert), there(p.Key)
		switch {
		case cert && key:
			return fmt.Errorf("%s: %w", p.Cert, fs.ErrExist)
		case cert || key:
			return fmt.Errorf("of %s and %s only one is there; put the other back, or take it away", p.Cert, p.Key)
		}
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	var certs bytes.Buffer
	for _, c := range chain {
		if err := pem.Encode(&certs, &pem.Block{Type: "CERTIFICATE", Bytes: c}); err != nil {
			return err
		}
	}
	if err := put(p.Key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600, replace); err != nil {
		return err
	}
	return put(p.Cert, certs.Bytes(), 0o600, replace)
}

func there(name string) bool {
	_, err := os.Lstat(name)
	return err == nil
}

// put writes a file, whole or not at all.
func put(name string, content []byte, mode fs.FileMode, replace bool) (err error) {
	f, err := os.CreateTemp(filepath.Dir(name), ".new-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	_, err = f.Write(content)
	if err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close()); err != nil {
		return err
	}
	if replace {
		return os.Rename(f.Name(), name)
	}
	if err := os.Link(f.Name(), name); err != nil { // unlike a rename it replaces nothing
		return err
	}
	return os.Remove(f.Name())
}
