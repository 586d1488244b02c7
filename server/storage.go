package server

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/leveret-mq/leveret/access"
	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/config"
	"github.com/leveret-mq/leveret/internal/fs"
	"github.com/leveret-mq/leveret/store"
	"github.com/leveret-mq/leveret/store/local"
)

// openStore opens the data directory.
func (s *Server) openStore() error {
	dir, err := filepath.Abs(s.config.DataDir)
	if err != nil {
		return fmt.Errorf("data directory %s: %w", s.config.DataDir, err)
	}
	if err := refuseForeign(dir); err != nil {
		return err
	}
	mode, err := store.ParseMode(s.config.Sync)
	if err != nil {
		return err
	}
	st, err := local.Open(local.Options{
		Dir: dir, FS: s.dataFS, Mode: mode, SegmentBytes: int64(s.config.SegmentBytes), Logger: s.logger,
		Recover: s.config.Recover, LimitOpenFiles: s.files.segments,
	})
	if err != nil {
		return adviseRecover(err)
	}
	s.store = st
	s.probe = st.Probe
	s.scratch = func() (broker.Scratch, error) {
		f, err := st.Scratch()
		if err != nil {
			return nil, err // not a nil file in an interface
		}
		return f, nil
	}
	s.push("store", func(context.Context) error { return st.Close() })
	return nil
}

// adviseRecover says what to do when a start is refused because something is missing.
func adviseRecover(err error) error {
	if !errors.Is(err, store.ErrMissing) {
		return err
	}
	return fmt.Errorf("%w; put back what is missing from a backup, or start with --recover to go on with what is there: "+
		"what can't be rebuilt is lost then, and the log says what", err)
}

// ours are the names in a data directory by which it is known as one, even when
// the process that made it was killed at once.
var ours = map[string]bool{"leveret.lock": true, "format": true, "lost+found": true}

// refuseForeign refuses a directory that holds something else: a mistyped
// --data-dir must not sprinkle files over somebody's home.
func refuseForeign(dir string) error {
	list, err := os.ReadDir(dir)
	if os.IsNotExist(err) || len(list) == 0 {
		return nil
	}
	if err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	foreign := ""
	for _, e := range list {
		if e.Name() == "leveret.lock" || e.Name() == "format" {
			return nil
		}
		if !ours[e.Name()] {
			foreign = e.Name()
		}
	}
	if foreign == "" {
		return nil
	}
	return fmt.Errorf("data directory %s holds something else (%s); give an empty or a new directory with --data-dir", dir, foreign)
}

// openBroker starts the broker over the store.
func (s *Server) openBroker() error {
	_, total, _ := s.disk() // 0 where it can't be told
	b, err := broker.Open(s.store, broker.Options{
		MaxMessageBytes: int(s.config.MaxMessageBytes),
		MaxBatchBytes:   int(s.config.KafkaMaxBatchBytes),
		TopicRetention:  s.config.TopicRetention,
		CompactEvery:    s.config.CompactionInterval,
		CompactMemory:   int64(s.config.CompactionMemory),
		CompactShare:    s.config.CompactionShare,
		Pages:           fs.Pages,
		Scratch:         s.scratch,
		ScratchBytes:    requestDisk(int64(s.config.RequestDisk), total),
		UnpackBytes:     s.budget.Stats().Bytes / 2,
		ProducerBytes:   s.budget.Stats().Bytes / 16,
		ProducerMemory:  s.budget.OpenCommon(),
		Recover:         s.config.Recover,
		Probe:           s.probe,
		Memory:          s.memoryAlarm(),
		FirstVHost:      s.config.DefaultVHost,
		Policy:          s.access.Policy,
		UserLimits:      s.access.Limits,
		KeyPolicy:       s.access.Keys,
		Log:             s.logger,
	})
	if err != nil {
		return adviseRecover(err)
	}
	s.broker = b
	if _, err := b.VHost(s.config.DefaultVHost); err != nil {
		s.logger.Warn("the default virtual host of the configuration is left aside: it is made only when there is none; Kafka clients that name no virtual host are refused",
			"vhost", s.config.DefaultVHost, "do", "make it, or name one that is there with --default-vhost")
	}
	s.access.Serve(b)
	s.adjustBy(func(c *config.Config) { b.LimitMessages(int(c.MaxMessageBytes)) })
	s.push("broker", func(context.Context) error { return b.Close() })
	return nil
}

// openUsers reads users and rights. At the first start it makes one user. With the
// well-known password it works from this machine only, and clients that can't log in, as
// Kafka clients without SASL, are that user; with a password of the owner's
// choice it works from anywhere and everybody must log in.
func (s *Server) openUsers() error {
	k, err := access.Open(s.store, access.Options{
		DefaultUser: s.config.DefaultUser, DefaultPassword: s.config.DefaultPassword, DefaultVHost: s.config.DefaultVHost, Remote: s.config.DefaultUserRemote, Log: s.logger,
		NoFirst: s.defined != nil && s.defined.HasUsers(),
	})
	if err != nil {
		return err
	}
	s.access, s.users = k, k.Logins()
	s.push("users", func(context.Context) error {
		k.Close()
		return nil
	})
	return nil
}
