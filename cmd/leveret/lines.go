package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"

	"github.com/leveret-mq/leveret/config"
	"github.com/leveret-mq/leveret/internal/audit"
)

// lines is where the process writes: standard error, and a file for those of audit.
type lines struct {
	logger *slog.Logger
	level  slog.LevelVar
	audit  auditFile
}

// openLines makes the logger that the settings ask for, and the process's default.
func openLines(c *config.Config, to io.Writer) (*lines, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	l := &lines{}
	take, _, err := l.prepare(c)
	if err != nil {
		return nil, err
	}
	take()
	l.logger = slog.New(audit.NewHandler(c.LogFormat, &l.level, to, &l.audit))
	slog.SetDefault(l.logger)
	return l, nil
}

// prepare opens what the settings name. Of what it returns one must be called: take has
// the settings take hold, drop leaves all as it was.
func (l *lines) prepare(c *config.Config) (take, drop func(), err error) {
	level, err := c.Level()
	if err != nil {
		return nil, nil, fmt.Errorf("--log-level: %w", err)
	}
	var file *os.File
	if c.AuditLog != "" {
		if file, err = os.OpenFile(c.AuditLog, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600); err != nil {
			return nil, nil, fmt.Errorf("%s: %w", c.Called("audit-log"), err)
		}
	}
	take = func() {
		l.level.Set(level)
		l.audit.change(file)
	}
	drop = func() {
		if file != nil {
			_ = file.Close()
		}
	}
	return take, drop, nil
}

// warn says what the owner should hear about the settings.
func (l *lines) warn(c *config.Config) {
	for _, text := range c.Warnings() {
		l.logger.Warn(text)
	}
}

func (l *lines) close() { l.audit.change(nil) }

// auditFile is a file that may be opened anew, as tools want that move it away. While
// there is none nothing is written.
type auditFile struct {
	mu   sync.Mutex
	file *os.File // guarded by mu
}

func (a *auditFile) change(file *os.File) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.file != nil {
		_ = a.file.Close()
	}
	a.file = file
}

func (a *auditFile) Write(line []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.file == nil {
		return len(line), nil
	}
	return a.file.Write(line)
}
