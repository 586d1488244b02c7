package server

import (
	"context"
	"crypto/x509"

	"github.com/leveret-mq/leveret/config"
	"github.com/leveret-mq/leveret/internal/netx"
	"github.com/leveret-mq/leveret/internal/tlsconf"
)

// openTLS reads the certificate, if there is one, and looks from then on whether it was replaced.
func (s *Server) openTLS() error {
	if s.config.TLSCert == "" {
		return nil
	}
	source, err := tlsconf.Load(s.certificateFiles(s.config))
	if err != nil {
		return err
	}
	s.tls, s.handshakes = source, netx.NewHandshakes()
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
