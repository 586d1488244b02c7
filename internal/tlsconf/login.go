package tlsconf

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"strings"
)

// What of a certificate is the name of a user.
const (
	CommonName        = "common_name"
	DistinguishedName = "distinguished_name"
	AlternativeName   = "subject_alternative_name"
)

// maxNameBytes bounds the name of a user.
const maxNameBytes = 255

// Login says what of a client's certificate is the name of the user that it logs in.
type Login struct {
	// From is CommonName, DistinguishedName or AlternativeName.
	From string
	// Type is the kind of AlternativeName: dns, ip, email or uri.
	Type string
	// Index is which of these.
	Index int
}

// commonName is the attribute's number.
var commonName = asn1.ObjectIdentifier{2, 5, 4, 3}

// Name reads the user's name. Of a certificate that was verified only: anybody can write one. The distinguished name is
// written as RFC 4514 has it, its most special part first.
func (l Login) Name(c *x509.Certificate) (string, error) {
	name := ""
	switch l.From {
	case DistinguishedName:
		var seq pkix.RDNSequence
		if _, err := asn1.Unmarshal(c.RawSubject, &seq); err != nil {
			return "", fmt.Errorf("the subject of the client's certificate: %w", err)
		}
		name = seq.String()
	case AlternativeName:
		names := l.alternatives(c)
		if l.Index >= len(names) {
			return "", fmt.Errorf("the client's certificate has %d alternative names of type %s, and number %d is the user's", len(names), l.Type, l.Index)
		}
		name = names[l.Index]
	default:
		var names []string
		for _, attribute := range c.Subject.Names {
			if text, ok := attribute.Value.(string); ok && attribute.Type.Equal(commonName) {
				names = append(names, text)
			}
		}
		name = strings.Join(names, ",")
	}
	switch {
	case name == "":
		return "", errors.New("the client's certificate has an empty " + strings.ReplaceAll(l.From, "_", " "))
	case len(name) > maxNameBytes:
		return "", fmt.Errorf("the name in the client's certificate has %d bytes, more than %d", len(name), maxNameBytes)
	}
	return name, nil
}

// alternatives are the names of the type that is meant.
func (l Login) alternatives(c *x509.Certificate) []string {
	var names []string
	switch l.Type {
	case "ip":
		for _, ip := range c.IPAddresses {
			names = append(names, ip.String())
		}
	case "email":
		names = c.EmailAddresses
	case "uri":
		for _, u := range c.URIs {
			names = append(names, u.String())
		}
	default:
		names = c.DNSNames
	}
	return names
}
