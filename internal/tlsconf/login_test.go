package tlsconf

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"net"
	"net/url"
	"strings"
	"testing"
)

func TestTheNameOfACertificate(t *testing.T) {
	f := newFiles(t)
	made := func(change func(*x509.Certificate)) *x509.Certificate {
		block, _ := pem.Decode(f.certificate(t, change))
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	uri, _ := url.Parse("spiffe://example.org/alice")
	alice := made(func(c *x509.Certificate) {
		c.Subject = pkix.Name{CommonName: "alice", Organization: []string{"Example, Inc"}, Country: []string{"DE"}}
		c.DNSNames, c.EmailAddresses = []string{"one", "two"}, []string{"alice@example.org"}
		c.IPAddresses, c.URIs = []net.IP{net.IPv4(10, 0, 0, 1), net.ParseIP("2001:db8::1")}, []*url.URL{uri}
	})
	two := made(func(c *x509.Certificate) {
		c.Subject = pkix.Name{ExtraNames: []pkix.AttributeTypeAndValue{{Type: asn1.ObjectIdentifier{2, 5, 4, 3}, Value: "one"}, {Type: asn1.ObjectIdentifier{2, 5, 4, 3}, Value: "two"}}}
	})
	nobody := made(func(c *x509.Certificate) { c.Subject, c.DNSNames = pkix.Name{}, nil })
	for _, c := range []struct {
		name  string
		login Login
		cert  *x509.Certificate
		want  string // "" is an error
	}{
		{"common name", Login{From: CommonName}, alice, "alice"},
		{"two common names", Login{From: CommonName}, two, "one,two"},
		{"no common name", Login{From: CommonName}, nobody, ""},
		{"a long one", Login{From: CommonName}, made(func(c *x509.Certificate) { c.Subject.CommonName = strings.Repeat("a", maxNameBytes+1) }), ""},
		{"distinguished name", Login{From: DistinguishedName}, alice, `CN=alice,O=Example\, Inc,C=DE`},
		{"no distinguished name", Login{From: DistinguishedName}, nobody, ""},
		{"first of DNS", Login{From: AlternativeName, Type: "dns"}, alice, "one"},
		{"second of DNS", Login{From: AlternativeName, Type: "dns", Index: 1}, alice, "two"},
		{"third of DNS", Login{From: AlternativeName, Type: "dns", Index: 2}, alice, ""},
		{"address", Login{From: AlternativeName, Type: "ip"}, alice, "10.0.0.1"},
		{"second address", Login{From: AlternativeName, Type: "ip", Index: 1}, alice, "2001:db8::1"},
		{"e-mail", Login{From: AlternativeName, Type: "email"}, alice, "alice@example.org"},
		{"URI", Login{From: AlternativeName, Type: "uri"}, alice, "spiffe://example.org/alice"},
		{"none of that", Login{From: AlternativeName, Type: "dns"}, nobody, ""},
	} {
		got, err := c.login.Name(c.cert)
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%s: %q, %v", c.name, got, err)
		}
	}
}
