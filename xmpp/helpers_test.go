package xmpp

import (
	"context"
	"os"
	"testing"
	"time"
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

func contextFor(d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), d)
}
