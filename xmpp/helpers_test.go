package xmpp

import (
	"os"
	"testing"
)

var certDir string

func TestMain(m *testing.M) {
	var err error
	if certDir, err = os.MkdirTemp("", "xmpp"); err != nil {
		panic(err)
	}
	code := m.Run()
	_ = os.RemoveAll(certDir)
	os.Exit(code)
}

func tempDir() string { return certDir }
