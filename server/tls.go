package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"path/filepath"
	"strings"

	"github.com/leveret-mq/leveret/config"
	"github.com/leveret-mq/leveret/internal/devcert"
	"github.com/leveret-mq/leveret/internal/netx"
	"github.com/leveret-mq/leveret/internal/tlsconf"
)

// openTLS reads the certificate, if there is one, and looks from then on whether it was replaced.
func (s *Server) openTLS() error {
	s.handshakes = netx.NewHandshakes()
	if s.config.TLSCert == "" {
		return nil
	}
	source, err := tlsconf.Load(s.certificateFiles(s.config))
	if err != nil {
		return err
	}
	s.tls = source
	s.rereadBy("certificates", func(c *config.Config) (func(), error) { return source.Prepare(s.certificateFiles(c)) })
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		source.Watch(ctx)
	}()
	s.push("watch over the certificate", func(context.Context) error {
		cancel()
		<-ended
		return nil
	})
	return nil
}

// domainTLS is how listeners speak TLS whose clients look for certificates of these domains: with that of --tls-cert, and
// without one with certificates that are made at the first start, of which each client gets its domain's.
func (s *Server) domainTLS(domains []config.XMPPDomain) (func() *tls.Config, error) {
	if s.tls != nil {
		return s.tls.Config, nil
	}
	own := map[string]*tlsconf.Source{}
	for _, d := range domains {
		pair, made, err := devcert.ForDomain(filepath.Join(s.config.DataDir, "tls"), d.Name)
		if err != nil {
			return nil, err
		}
		if made {
			s.logger.Warn("a certificate was made for the domain: clients have to trust who signed it", "domain", d.Name, "certificate", pair.Cert, "signed_by", filepath.Join(filepath.Dir(pair.Cert), "ca.pem"))
		}
		if own[d.Name], err = tlsconf.Load(tlsconf.Options{CertFile: pair.Cert, KeyFile: pair.Key, Logger: s.logger}); err != nil {
			return nil, err
		}
	}
	first := own[domains[0].Name]
	if len(own) == 1 {
		return first.Config, nil
	}
	choose := &tls.Config{MinVersion: tls.VersionTLS12, GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if source := own[strings.ToLower(hello.ServerName)]; source != nil {
			return source.Config(), nil
		}
		return first.Config(), nil
	}}
	return func() *tls.Config { return choose }, nil
}

// certificateFiles is where the settings say that certificates are.
func (s *Server) certificateFiles(c *config.Config) tlsconf.Options {
	return tlsconf.Options{CertFile: c.TLSCert, KeyFile: c.TLSKey, CAFile: c.TLSCA, Verify: c.TLSVerify, Logger: s.logger}
}

// certifiedName reads a user's name from a certificate as the settings say; nil when that is off.
func (s *Server) certifiedName() func(*x509.Certificate) (string, error) {
	if s.config.TLSLoginFrom == config.Off {
		return nil
	}
	return tlsconf.Login{From: s.config.TLSLoginFrom, Type: s.config.TLSLoginSANType, Index: s.config.TLSLoginSANIndex}.Name
}
