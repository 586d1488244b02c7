package tlsconf

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// watchEvery is how often Watch looks whether the files are others.
	watchEvery = 5 * time.Second
	// soon is how long before its end a certificate is warned of, every warnEvery.
	soon      = 30 * 24 * time.Hour
	warnEvery = 24 * time.Hour
)

// What is asked of clients' certificates, when there is somebody who may sign them.
const (
	None    = "none"    // they are not asked for one
	Request = "request" // they need none; one that is given has to be good
	Require = "require" // nobody gets in without a good one
)

// Options say where the files are.
type Options struct {
	// CertFile is the certificate with its chain, its own first, and KeyFile its key. Both are PEM.
	CertFile, KeyFile string
	// CAFile is who may sign the certificates of clients, PEM; "" is nobody: none is asked for.
	CAFile string
	// Verify is None, Request or Require.
	Verify string
	// Logger takes warnings; nil is slog.Default().
	Logger *slog.Logger
}

// Source is how to speak TLS, as the files say. All methods may be called from any goroutine.
type Source struct {
	logger  *slog.Logger
	current atomic.Pointer[state]

	mu     sync.Mutex // guards the rest
	opts   Options
	stamps []stamp // of the files that were read last, well or not
}

// state is what was read.
type state struct {
	config   *tls.Config
	leaf     *x509.Certificate
	file     string
	warnings []string
}

// ciphers are those of TLS 1.2; those of 1.3 are all good.
var ciphers = []uint16{
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
}

// Load reads the files for the first time.
func Load(o Options) (*Source, error) {
	s := &Source{opts: o, logger: o.Logger}
	if s.logger == nil {
		s.logger = slog.Default()
	}
	s.stamps = o.stamp()
	next, err := o.read(time.Now())
	if err != nil {
		return nil, err
	}
	s.use(next)
	return s, nil
}

// use has a state in use from now on.
func (s *Source) use(next *state) {
	s.current.Store(next)
	for _, w := range next.warnings {
		s.logger.Warn(w)
	}
}

// read makes a state of what the files hold now.
func (o *Options) read(now time.Time) (*state, error) {
	pair, err := readPair(o.CertFile, o.KeyFile)
	if err != nil {
		return nil, err
	}
	// Records are of the largest size: what is written is gathered before.
	c := &tls.Config{
		Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12, CipherSuites: ciphers, DynamicRecordSizingDisabled: true,
	}
	s := &state{config: c, leaf: pair.Leaf, file: o.CertFile, warnings: append(aboutKey(o.KeyFile), aboutLeaf(pair.Leaf, o.CertFile, now)...)}
	if o.CAFile == "" {
		return s, nil
	}
	pool, list, err := readCAs(o.CAFile)
	if err != nil {
		return nil, err
	}
	for _, ca := range list {
		if now.After(ca.NotAfter) {
			s.warnings = append(s.warnings, fmt.Sprintf("%s: %q in %s expired on %s; what it signed is refused", caFlag, ca.Subject, o.CAFile, date(ca.NotAfter)))
		}
	}
	c.ClientCAs = pool
	switch o.Verify {
	case Request:
		c.ClientAuth = tls.VerifyClientCertIfGiven
	case Require:
		c.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return s, nil
}

// Config is how to speak TLS with a connection that comes now. It must not be changed. After a reload it is
// another one, so that no session goes on that began with the old files.
func (s *Source) Config() *tls.Config { return s.current.Load().config }

// NotAfter is when the certificate expires.
func (s *Source) NotAfter() time.Time { return s.current.Load().leaf.NotAfter }

// Prepare reads the files, which may be others now, and changes nothing; what it returns has them used. When something is
// wrong with them, what was read before stays in use, and the error says what. Of the options the logger counts for nothing.
func (s *Source) Prepare(o Options) (use func(), err error) {
	stamps := o.stamp()
	next, err := s.replacement(&o, time.Now())
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stamps = stamps // Watch need not say the same once more
	if err != nil {
		return nil, err
	}
	return func() {
		s.mu.Lock()
		s.opts = o
		s.mu.Unlock()
		s.replace(next)
	}, nil
}

// replacement reads what may take the place of what is in use.
func (s *Source) replacement(o *Options, now time.Time) (*state, error) {
	next, err := o.read(now)
	old := s.current.Load()
	if err == nil && !valid(next.leaf, now) && valid(old.leaf, now) {
		err = fmt.Errorf("%s: the certificate in %s is good from %s to %s only", certFlag, o.CertFile, date(next.leaf.NotBefore), date(next.leaf.NotAfter))
	}
	if err != nil {
		return nil, fmt.Errorf("%w; the certificate that was read before stays in use, until %s", err, date(old.leaf.NotAfter))
	}
	return next, nil
}

// replace has a state used instead of the one that is.
func (s *Source) replace(next *state) {
	old := s.current.Load()
	s.use(next)
	if !next.leaf.Equal(old.leaf) {
		s.logger.Info("the certificate was replaced", "file", next.file, "subject", next.leaf.Subject.String(), "until", date(next.leaf.NotAfter))
	}
}

// Watch reads the files when they are others, and warns day by day of a certificate that expires soon, until ctx ends.
// Files are read when they did not change from one look to the next: somebody may be about to write them.
func (s *Source) Watch(ctx context.Context) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	var last []stamp
	warned := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		last = s.look(last)
		if now := time.Now(); now.Sub(warned) >= warnEvery {
			warned = now
			current := s.current.Load()
			for _, w := range aboutTime(current.leaf, current.file, now) {
				s.logger.Warn(w)
			}
		}
	}
}

// look reads files that are not those that were read last, and are as they were at the last look.
func (s *Source) look(last []stamp) []stamp {
	s.mu.Lock()
	defer s.mu.Unlock()
	stamps := s.opts.stamp()
	if !slices.Equal(stamps, last) || slices.Equal(stamps, s.stamps) {
		return stamps
	}
	s.stamps = stamps
	next, err := s.replacement(&s.opts, time.Now())
	if err != nil {
		s.logger.Error("the new certificate is not taken", "error", err)
		return stamps
	}
	s.replace(next)
	return stamps
}

// stamp is by what a file is known to be another.
type stamp struct {
	at   int64
	size int64
	none bool
}

func (o *Options) stamp() []stamp {
	list := make([]stamp, 0, 3)
	for _, name := range []string{o.CertFile, o.KeyFile, o.CAFile} {
		info, err := os.Stat(name)
		if err != nil {
			list = append(list, stamp{none: true})
			continue
		}
		list = append(list, stamp{at: info.ModTime().UnixNano(), size: info.Size()})
	}
	return list
}

// aboutKey warns of a key that everybody may read.
func aboutKey(name string) []string {
	info, err := os.Stat(name)
	if err != nil || info.Mode().Perm()&0o004 == 0 {
		return nil
	}
	return []string{fmt.Sprintf("%s: everybody on this machine may read %s (mode %#o); chmod 600 it", keyFlag, name, info.Mode().Perm())}
}

// aboutLeaf warns of what clients will not like.
func aboutLeaf(leaf *x509.Certificate, name string, now time.Time) []string {
	warnings := aboutTime(leaf, name, now)
	if len(leaf.DNSNames)+len(leaf.IPAddresses) == 0 {
		warnings = append(warnings, fmt.Sprintf("%s: the certificate in %s has no subject alternative name; clients of today do not look at its common name and refuse it", certFlag, name))
	}
	if len(leaf.ExtKeyUsage) > 0 && !slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageServerAuth) && !slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageAny) {
		warnings = append(warnings, fmt.Sprintf("%s: the certificate in %s is not for servers (extended key usage); clients refuse it", certFlag, name))
	}
	return warnings
}

// aboutTime warns of a certificate that is not valid, or not for long.
func aboutTime(leaf *x509.Certificate, name string, now time.Time) []string {
	switch left := leaf.NotAfter.Sub(now); {
	case left <= 0:
		return []string{fmt.Sprintf("%s: the certificate in %s expired on %s; clients refuse it", certFlag, name, date(leaf.NotAfter))}
	case now.Before(leaf.NotBefore):
		return []string{fmt.Sprintf("%s: the certificate in %s is not valid before %s; clients refuse it until then", certFlag, name, date(leaf.NotBefore))}
	case left < soon:
		return []string{fmt.Sprintf("%s: the certificate in %s expires on %s, in %d days", certFlag, name, date(leaf.NotAfter), int(left.Hours()/24))}
	}
	return nil
}

func valid(leaf *x509.Certificate, now time.Time) bool {
	return !now.Before(leaf.NotBefore) && !now.After(leaf.NotAfter)
}

func date(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 MST") }
