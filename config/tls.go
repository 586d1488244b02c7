package config

import (
	"errors"
	"fmt"
)

// validateTLS checks the settings of TLS; of files, only that those are named which belong together.
func (c *Config) validateTLS(check func(flag string, err error)) {
	for _, a := range []struct {
		flag, address string
		check         func(string) error
	}{
		{"amqps-addr", c.AMQPSAddr, address}, {"metrics-tls-addr", c.MetricsTLSAddr, address}, {"http-tls-addr", c.HTTPTLSAddr, address}, {"stomp-tls-addr", c.STOMPTLSAddr, address},
		{"stomp-wss-addr", c.STOMPWSSAddr, address},
		{"kafka-tls-addr", c.KafkaTLSAddr, func(string) error { return nil }}, // by validateKafkaListeners
	} {
		if a.address == Auto {
			continue
		}
		if err := a.check(a.address); err != nil {
			check(a.flag, fmt.Errorf("%w, or auto", err))
		} else if a.address != Off && c.TLSCert == "" {
			check(a.flag, errors.New("needs a certificate: give --tls-cert and --tls-key"))
		}
	}
	if c.TLSCert == "" && c.TLSKey != "" {
		check("tls-cert", errors.New("is missing: --tls-key is the key of a certificate"))
	}
	if c.TLSCert != "" && c.TLSKey == "" {
		check("tls-key", errors.New("is missing: the certificate of --tls-cert is of no use without its key"))
	}
	check("tls-verify", oneOf(c.TLSVerify, VerifyNone, VerifyRequest, VerifyRequire))
	switch {
	case c.TLSVerify == VerifyRequire && c.TLSCA == "":
		check("tls-ca", errors.New("is missing: it says who may sign the certificates that --tls-verify require asks for"))
	case c.TLSCA != "" && c.TLSCert == "":
		check("tls-cert", errors.New("is missing: --tls-ca is for listeners with TLS, which need a certificate of their own"))
	}
	check("tls-login-from", oneOf(c.TLSLoginFrom, LoginCommonName, LoginDistinguishedName, LoginAlternativeName, Off))
	check("tls-login-san-type", oneOf(c.TLSLoginSANType, "dns", "ip", "email", "uri"))
	check("tls-login-san-index", between(int64(c.TLSLoginSANIndex), 0, 100))
}

// tlsAddress is where a listener with TLS listens: its setting, or for Auto the port when there is a certificate.
func (c *Config) tlsAddress(setting, port string) string {
	switch {
	case setting != Auto:
		return setting
	case c.TLSCert == "":
		return Off
	}
	return ":" + port
}
