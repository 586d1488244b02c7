package server

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/leveret-mq/leveret/access"
	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/config"
	"github.com/leveret-mq/leveret/definitions"
	"github.com/leveret-mq/leveret/internal/audit"
	"github.com/leveret-mq/leveret/internal/fs"
	"github.com/leveret-mq/leveret/store"
	"github.com/leveret-mq/leveret/store/local"
)

// definitionsFile is a file of definitions that is open until it was applied.
type definitionsFile struct {
	name string
	file *os.File
	*definitions.File
}

func openDefinitions(name string) (*definitionsFile, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("definitions: %w", err)
	}
	f := &definitionsFile{name: name, file: file}
	if f.File, err = definitions.Parse(file); err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("definitions %s: %w", name, err)
	}
	return f, nil
}

func (f *definitionsFile) close() { _ = f.file.Close() }

// readDefinitions reads the file of definitions before there is anything that it could be about: whether it
// brings users is asked before one is made.
func (s *Server) readDefinitions() error {
	if s.config.Definitions == "" {
		return nil
	}
	var err error
	s.defined, err = openDefinitions(s.config.Definitions)
	return err
}

// loadDefinitions applies what was read, before anybody is let in.
func (s *Server) loadDefinitions() error {
	s.rereadBy("definitions", s.prepareDefinitions)
	if s.defined == nil {
		return nil
	}
	f := s.defined
	s.defined = nil
	defer f.close()
	by := audit.Process("--definitions")
	plan, err := s.checkDefinitions(f, by, true)
	if err == nil {
		err = s.imported(f, plan, plan.Apply(by))
	}
	return err
}

// prepareDefinitions is for a reload.
func (s *Server) prepareDefinitions(c *config.Config) (apply func(), err error) {
	if c.Definitions == "" {
		return func() {}, nil
	}
	f, err := openDefinitions(c.Definitions)
	if err != nil {
		return nil, err
	}
	by := audit.Process("SIGHUP")
	plan, err := s.checkDefinitions(f, by, false)
	if err != nil {
		f.close()
		return nil, err
	}
	return func() {
		defer f.close()
		if err := s.imported(f, plan, plan.Apply(by)); err != nil {
			s.logger.Error("can't apply all of the definitions; the next reload or start goes on", "error", err)
		}
	}, nil
}

func (s *Server) checkDefinitions(f *definitionsFile, by audit.Actor, starting bool) (*definitions.Plan, error) {
	t := definitions.Target{Broker: s.broker, Access: s.access, Name: "file '" + f.name + "'", Log: s.logger, Starting: starting}
	plan, err := f.Check(t)
	if err != nil {
		audit.Acted(s.logger, by, audit.ImportDefinitions, t.Name, "", err)
		return nil, fmt.Errorf("definitions %s: %w", f.name, err)
	}
	return plan, nil
}

// maxDefinitionWarnings bounds what is logged of one file.
const maxDefinitionWarnings = 20

// imported tells of an import, and returns its error with the name of the file.
func (s *Server) imported(f *definitionsFile, plan *definitions.Plan, err error) error {
	for i, w := range f.Warnings {
		if i == maxDefinitionWarnings {
			s.logger.Warn("more in the definitions has no effect", "file", f.name, "such", len(f.Warnings)-i)
			break
		}
		s.logger.Warn("something in the definitions has no effect", "file", f.name, "what", w)
	}
	if err != nil {
		return fmt.Errorf("definitions %s: %w", f.name, err)
	}
	s.logger.Info("definitions are applied", "file", f.name, "of", plan.Size())
	return nil
}

// ExportDefinitions writes what the data directory of a broker, which may run, holds of definitions, of all
// virtual hosts or of one. It returns what could not be written.
func ExportDefinitions(w io.Writer, dir, vhost string) (warnings []string, err error) {
	s := definitions.Source{VHost: vhost}
	for try := 0; ; try++ { // users after what they may do things with, which may be written meanwhile
		if s.Broker, err = broker.ReadDefined(table(dir, broker.DefinitionsTable)); err == nil {
			s.Access, err = access.ReadStored(table(dir, access.Table))
		}
		if err == nil {
			return definitions.Export(w, s)
		}
		if try == 3 {
			return nil, err
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func table(dir, name string) func(func(key string, value []byte) error) error {
	return func(fn func(string, []byte) error) error {
		return local.ReadTable(dir, name, func(e store.Entry) error { return fn(e.Key, e.Value) })
	}
}

// CheckDefinitions says whether an empty broker would take a file, and returns how much it is of and what has no effect.
func CheckDefinitions(name string) (size string, warnings []string, err error) {
	f, err := openDefinitions(name)
	if err != nil {
		return "", nil, err
	}
	defer f.close()
	st, err := local.Open(local.Options{Dir: "check", FS: fs.NewMem(1), Mode: store.ModeOS})
	if err != nil {
		return "", nil, err
	}
	defer st.Close()
	k, err := access.Open(st, access.Options{})
	if err != nil {
		return "", nil, err
	}
	defer k.Close()
	b, err := broker.Open(st, broker.Options{})
	if err != nil {
		return "", nil, err
	}
	defer b.Close()
	k.Serve(b)
	plan, err := f.Check(definitions.Target{Broker: b, Access: k})
	if err != nil {
		return "", f.Warnings, fmt.Errorf("definitions %s: %w", name, err)
	}
	return plan.Size(), f.Warnings, nil
}
