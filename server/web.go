package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/pprof"
	"os"
	"path/filepath"
	"time"

	"github.com/leveret-mq/leveret/admin"
	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/config"
	"github.com/leveret-mq/leveret/internal/fs"
	"github.com/leveret-mq/leveret/internal/netx"
	"github.com/leveret-mq/leveret/management"
	"github.com/leveret-mq/leveret/metrics"
	"github.com/leveret-mq/leveret/store"
	"github.com/leveret-mq/leveret/web"
)

// openAdmin serves /metrics and /health.
func (s *Server) openAdmin() error {
	list := s.config.MetricsListeners()
	if len(list) == 0 {
		return nil
	}
	node := management.DefaultNode()
	collector := metrics.New(metrics.Options{Source: s.broker, Version: s.version, Disk: s.disk, Requests: s.budget.Stats, Memory: s.memory,
		Listeners: s.listenerFigures, CertificateEnd: s.certificateEnd(), Groups: s.groups, Started: s.started,
		Node: node, Cluster: func() string { return management.ClusterName(s.broker, node) }, ClusterID: s.broker.ClusterID(),
		Files: func() (int, int) { return openFiles(), s.files.limit }, DiskFreeLimit: minFreeBytes, Alarms: s.broker.Alarms})
	handler := admin.Handler(admin.Options{
		Version: s.version, Durability: s.config.Sync, Started: s.started,
		Listeners: s.listenerStates, Ready: s.ready, Metrics: collector.Handler(),
		Checks: []admin.Check{{Name: "store", Run: s.probeStore}, {Name: "disk", Run: s.probeDisk}, {Name: "memory", Run: s.probeMemory}},
	})
	for _, l := range list {
		if err := s.serveHTTP(l, handler); err != nil {
			return err
		}
	}
	return nil
}

// groups are how far Kafka's groups are.
func (s *Server) groups() []broker.GroupStats {
	k := s.kafka.Load()
	if k == nil {
		return nil
	}
	return k.GroupStats()
}

func (s *Server) deleteGroup(session *broker.Session, name string) error {
	k := s.kafka.Load()
	if k == nil {
		return errNoGroups
	}
	return k.DeleteGroup(session, name)
}

func (s *Server) resetGroup(session *broker.Session, r broker.GroupReset) error {
	k := s.kafka.Load()
	if k == nil {
		return errNoGroups
	}
	return k.ResetGroup(session, r)
}

var errNoGroups = &broker.Error{Kind: broker.Unavailable, Text: "groups are looked after by the Kafka listener, which is off"}

// openFiles is how many descriptors are open; elsewhere than on Linux nobody knows.
func openFiles() int {
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(list)
}

// openManagement serves the management API, and the pages over it.
func (s *Server) openManagement() error {
	list := s.config.HTTPListeners()
	if len(list) == 0 {
		return nil
	}
	api, err := management.New(management.Options{Broker: s.broker, Access: s.access, Users: s.users, Budget: s.budget, Logger: s.logger,
		Version: s.version, Started: s.started, Listeners: s.listening, Machine: s.machine, Groups: s.groups, DeleteGroup: s.deleteGroup, ResetGroup: s.resetGroup, Recent: s.recent, Ready: s.ready, CertificateEnd: s.certificateEnd(), Origins: s.config.Origins()})
	if err != nil {
		return err
	}
	pages := web.New(web.Options{API: api, Version: s.version, Logger: s.logger})
	for _, l := range list {
		if err := s.serveHTTP(l, pages.Handler(l.TLS)); err != nil {
			return err
		}
	}
	s.push("management API", func(context.Context) error { api.Close(); return nil })
	return nil
}

// listening is what the management API tells of listeners.
func (s *Server) listening() []management.Listener {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]management.Listener, 0, len(s.listeners))
	for _, l := range s.listeners {
		list = append(list, management.Listener{Name: l.name, Addr: l.addr, TLS: l.tls, Up: l.up})
	}
	return list
}

// machine is what it tells of the machine.
func (s *Server) machine() management.Machine {
	m := management.Machine{MemoryLimit: uint64(s.watermark.Load()), DiskFreeLimit: minFreeBytes, ConfigFile: s.config.File()}
	m.Memory = uint64(memoryUsed())
	m.DiskFree, _, _ = s.disk() // 0 when it can't be read, which is an alarm of its own
	m.MaxFiles = uint64(s.files.limit)
	m.SocketLimit = s.files.connections
	m.OpenFiles = uint64(openFiles())
	m.DataDir, _ = filepath.Abs(s.config.DataDir)
	s.mu.Lock()
	for _, l := range s.listeners {
		m.Sockets += l.accept.Open()
	}
	s.mu.Unlock()
	return m
}

// openPprof serves Go's profiles.
func (s *Server) openPprof() error {
	if s.config.PprofAddr == config.Off {
		return nil
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return s.serveHTTP(config.Listener{Kind: "pprof", Flag: "pprof-addr", Addr: s.config.PprofAddr}, mux)
}

// serveHTTP serves HTTP at an address, with TLS or without.
func (s *Server) serveHTTP(at config.Listener, handler http.Handler) error {
	inner, l, err := s.listen(at.Kind, at.Flag, at.Addr)
	if err != nil {
		return err
	}
	o := netx.Options{Name: at.Kind, MaxConns: maxWebConnections, Logger: s.logger}
	if at.TLS {
		o.TLS, o.Handshakes = s.tls.Config, s.handshakes
	}
	accept, hand := netx.Wrap(inner, o), newHand(inner, netx.NewLog(at.Kind, s.logger))
	l.tls = at.TLS
	s.listens(l, accept)
	web := &http.Server{
		Handler: owing(handler), ConnContext: withSocket, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
		ErrorLog: slog.NewLogLogger(s.logger.Handler(), slog.LevelDebug),
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = web.Serve(hand) // it ends with hand, and for no other reason
	}()
	ended := s.run(l, func() error { return accept.Serve(hand.over) })
	s.push(at.Kind+" listener", func(ctx context.Context) error {
		err := accept.Close()
		if web.Shutdown(ctx) != nil {
			err = errors.Join(err, web.Close()) // requests that would not end are cut
		}
		<-served
		err = errors.Join(err, accept.Shutdown(ctx))
		<-ended
		return err
	})
	return nil
}

// listenerStates reads what /health shows of each listener.
func (s *Server) listenerStates() []admin.Listener {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]admin.Listener, 0, len(s.listeners))
	for _, l := range s.listeners {
		list = append(list, admin.Listener{Name: l.name, Address: l.addr.String(), Up: l.up, TLS: l.tls, Connections: l.accept.Open()})
	}
	return list
}

// listenerFigures are what /metrics shows of each listener.
func (s *Server) listenerFigures() []metrics.Listener {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]metrics.Listener, 0, len(s.listeners))
	for _, l := range s.listeners {
		m := metrics.Listener{Name: l.name, Connections: l.accept.Open(), TLS: l.tls}
		m.Handshakes, m.HandshakesFailed = l.accept.Handshakes()
		list = append(list, m)
	}
	return list
}

// certificateEnd reads when the certificate expires; nil without one.
func (s *Server) certificateEnd() func() time.Time {
	if s.tls == nil {
		return nil
	}
	return s.tls.NotAfter
}

// probeStore writes a small entry and waits until it is as durable as the mode
// says: a disk that is full, read-only or stuck can't answer that.
func (s *Server) probeStore() error {
	if err := s.store.Err(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), probeTimeout)
	defer cancel()
	table, err := s.store.Table(ctx, "health")
	if err != nil {
		return fmt.Errorf("open the probe's table: %w", err)
	}
	if err := table.Put(ctx, store.Entry{Key: "probe", Value: []byte(time.Now().UTC().Format(time.RFC3339))}); err != nil {
		return fmt.Errorf("write the probe: %w", err)
	}
	return nil
}

// probeTimeout bounds the probe of a store that asks another machine.
const probeTimeout = 10 * time.Second

// minFreeBytes is the free space below which the disk counts as full: a log can
// hardly get its next segment then, though the store's probe, an entry of a few
// bytes in a file that exists, may well succeed.
const minFreeBytes = 1 << 20

// probeDisk fails while the disk is so full that publishes are refused.
func (s *Server) probeDisk() error {
	free, total, err := s.disk()
	if err != nil {
		return fmt.Errorf("read the free space: %w", err)
	}
	if reason, _ := s.broker.Alarms(); reason != "" {
		return errors.New(reason)
	}
	return diskFull(free, total)
}

// probeMemory fails while publishers wait for memory.
func (s *Server) probeMemory() error {
	if _, reason := s.broker.Alarms(); reason != "" {
		return errors.New(reason)
	}
	return nil
}

// ready is nil while every listener that is not off accepts.
func (s *Server) ready() error {
	switch s.phase.Load() {
	case starting:
		return errors.New("the broker is starting: not every listener accepts yet")
	case stopping:
		return errors.New("the broker is stopping")
	}
	return nil
}

// diskFull is the error of a file system that is full.
func diskFull(free, total uint64) error {
	if free < minFreeBytes {
		return fmt.Errorf("the disk is full: %d of %d bytes are free; publishes are refused until messages are consumed or deleted", free, total)
	}
	return nil
}

// disk reads how full the file system with the data is.
func (s *Server) disk() (free, total uint64, err error) {
	dir, err := filepath.Abs(s.config.DataDir)
	if err != nil {
		return 0, 0, err
	}
	return fs.Real().Usage(dir)
}
