// Package logged is, for tests, what was logged, which a test reads while others write it.
package logged

import (
	"bytes"
	"log/slog"
	"sync"
)

// Lines are what was logged, as text. The zero value is ready.
type Lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Logger makes one whose lines of the default level and above are these.
func (l *Lines) Logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// Write implements io.Writer.
func (l *Lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// String is what was logged since Take was called last.
func (l *Lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// Take is String, and begins anew.
func (l *Lines) Take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.b.Reset()
	return l.b.String()
}
