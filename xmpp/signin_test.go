package xmpp

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/leveret-mq/leveret/internal/devcert"
	"github.com/leveret-mq/leveret/xmpp/stanza"
)

func TestAClientSignsInAndIsAnswered(t *testing.T) {
	r := newRig(t)
	p := r.client("one", "phone", "<presence/>")
	for _, to := range []string{"", "localhost", "one@localhost"} {
		if e := p.ask("get", to, "<ping xmlns='urn:xmpp:ping'/>"); e.Attr("type") != "result" {
			t.Error(e)
		}
	}
	items := p.ask("get", "localhost", "<query xmlns='"+nsItems+"'/>").String()
	contains(t, items, "queues.localhost")
	p.send("</stream:stream>")
	p.ends("")
}

func TestTLSMayBeginWithTheFirstByte(t *testing.T) {
	r := newRig(t)
	p := r.dial()
	p.tls()
	f := p.open()
	if f.Child(nsTLS, "starttls") != nil || f.Child(nsSASL, "mechanisms") == nil {
		t.Fatal(f)
	}
}

func TestWhatIsSentAheadOfTLSIsDropped(t *testing.T) {
	r := newRig(t)
	p := r.dial()
	p.open()
	p.send("<starttls xmlns='" + nsTLS + "'/><auth xmlns='" + nsSASL + "' mechanism='PLAIN'>" + plainToken("one", "one") + "</auth>" + header)
	if e := p.next(); !e.Is(nsTLS, "proceed") {
		t.Fatal(e)
	}
	p.tls()
	if f := p.open(); f.Child(nsSASL, "mechanisms") == nil {
		t.Fatal(f) // signed in
	}

	p = r.dial()
	p.open()
	p.send("<starttls xmlns='" + nsTLS + "'/>" + strings.Repeat("<auth xmlns='"+nsSASL+"' mechanism='PLAIN'>"+plainToken("one", "one")+"</auth>", 50))
	if e := p.next(); !e.Is(nsTLS, "proceed") {
		t.Fatal(e)
	}
	if e, err := p.reader.Next(); err == nil { // what was not read yet is no handshake
		t.Error(e)
	}
}

func TestNobodySignsInWithoutTLS(t *testing.T) {
	r := newRig(t)
	for _, text := range []string{
		"<auth xmlns='" + nsSASL + "' mechanism='PLAIN'>" + plainToken("one", "one") + "</auth>",
		"<message to='one@localhost'><body>x</body></message>",
		"<iq type='set' id='a'><bind xmlns='" + nsBind + "'/></iq>",
	} {
		p := r.dial()
		p.open()
		p.send(text)
		p.ends("not-authorized")
	}
}

func TestStreamsThatAreNoneOfOursEndWithTheirCondition(t *testing.T) {
	r := newRig(t)
	for text, condition := range map[string]string{
		strings.Replace(header, "localhost", "example.org", 1):         "host-unknown",
		strings.Replace(header, " to='localhost'", "", 1):              "host-unknown",
		strings.Replace(header, "1.0", "2.0", 1):                       "unsupported-version",
		strings.Replace(header, " version='1.0'", "", 1):               "unsupported-version",
		strings.Replace(header, "jabber:client", "jabber:server", 1):   "invalid-namespace",
		strings.Replace(header, "etherx.jabber.org", "example.org", 1): "invalid-namespace",
		"<stream to='localhost'>":                                      "invalid-namespace",
		"<hello/>":                                                     "bad-format",
		"GET / HTTP/1.1\r\n\r\n":                                       "bad-format",
		"<!DOCTYPE a>":                                                 "restricted-xml",
		"<?xml version='1.0' encoding='latin1'?>" + header:             "unsupported-encoding",
		header + "<presence/>":                                         "not-authorized",
		header + "<a xmlns='urn:b'/>":                                  "unsupported-stanza-type",
		header + "<a>" + strings.Repeat("x", 20000):                    "policy-violation",
		header + "<a></b>":                                             "not-well-formed",
	} {
		p := r.dial()
		p.send(text)
		p.opened()
		p.ends(condition)
		if _, err := p.nc.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestSigningInFailsAsItShould(t *testing.T) {
	r := newRig(t)
	auth := func(mechanism, text string) string {
		return "<auth xmlns='" + nsSASL + "' mechanism='" + mechanism + "'>" + text + "</auth>"
	}
	p := r.dial()
	p.secure()
	p.open()
	fails := func(text, condition string) {
		t.Helper()
		p.send(text)
		if e := p.next(); !e.Is(nsSASL, "failure") || e.Child(nsSASL, condition) == nil {
			t.Fatalf("%s, not %s", e, condition)
		}
	}
	fails(auth("DIGEST-MD5", ""), "invalid-mechanism")
	fails(auth("PLAIN", "!!!"), "incorrect-encoding")
	p.send(auth("PLAIN", plainToken("one", "one")))
	if e := p.next(); !e.Is(nsSASL, "success") {
		t.Fatal(e)
	}

	p = r.dial()
	p.secure()
	p.open()
	p.send(auth("SCRAM-SHA-1", base64.StdEncoding.EncodeToString([]byte("n,,n=nobody,r=abcdef"))))
	if e := p.next(); !e.Is(nsSASL, "challenge") {
		t.Fatal(e)
	}
	fails("<abort xmlns='"+nsSASL+"'/>", "aborted")
	fails(auth("PLAIN", plainToken("one", "two")), "not-authorized")
	p.send(auth("PLAIN", ""))
	if e := p.next(); !e.Is(nsSASL, "challenge") {
		t.Fatal(e)
	}
	fails("<response xmlns='"+nsSASL+"'>"+base64.StdEncoding.EncodeToString([]byte("no"))+"</response>", "malformed-request")
	p.ends("policy-violation")
	r.wait(func() bool { return strings.Contains(r.log.String(), "too many tries") }, func() any { return r.log.String() })
	if text := r.log.String(); strings.Contains(text, "--xmpp-max-stanza-bytes") {
		t.Errorf("a limit of stanzas is blamed for what is wrong with passwords: %s", text)
	}
}

func TestNothingIsCarriedOutBeforeAResourceIsBound(t *testing.T) {
	r := newRig(t)
	q := r.declare("q")
	p := r.dial()
	f := p.signIn("one")
	if f.Child(nsSASL, "mechanisms") != nil || f.Child(nsTLS, "starttls") != nil || f.Child(nsBind, "bind") == nil || f.Child(nsSM, "sm") == nil || f.Child(nsCaps, "c") == nil {
		t.Fatal(f)
	}
	p.send("<message to='q@queues.localhost'><body>x</body></message>")
	p.ends("not-authorized")
	if n := q.Ready(); n != 0 {
		t.Error(n)
	}
}

func TestAResourceThatIsBoundAgainEndsTheOlderStream(t *testing.T) {
	r := newRig(t)
	old := r.client("one", "phone", "<presence/>")
	p := r.client("one", "phone", "<presence/>")
	old.ends("conflict")
	if e := p.ask("get", "", "<ping xmlns='urn:xmpp:ping'/>"); e.Attr("type") != "result" {
		t.Error(e)
	}
	other := r.client("one", "laptop", "<presence/>")
	p.send("<message to='" + other.jid + "' type='chat'><body>a</body></message>")
	if m := other.message(); body(m) != "a" || m.Attr("from") != p.jid {
		t.Error(m)
	}
}

func TestABadResourceIsRefusedAndAnotherMayBeAskedFor(t *testing.T) {
	r := newRig(t)
	p := r.dial()
	p.signIn("one")
	p.send("<iq type='set' id='a'><bind xmlns='" + nsBind + "'><resource>" + strings.Repeat("x", 1024) + "</resource></bind></iq>")
	p.refused(p.next(), "bad-request")
	p.send("<iq type='set' id='b'><bind xmlns='" + nsBind + "'/></iq>")
	if e := p.next(); e.Attr("type") != "result" || !strings.HasPrefix(e.Child(nsBind, "bind").ChildText(nsBind, "jid"), "one@localhost/") {
		t.Fatal(e)
	}
	p.send("<x xmlns='urn:x'/>")
	if e := p.ends("unsupported-stanza-type"); e.Child(stanza.NSStreams, "text") == nil {
		t.Error(e)
	}
}

// Who shows a certificate that was verified may sign in by it, as the user for whom it stands and nobody else.
func TestACertificateSignsIn(t *testing.T) {
	authority, _, err := devcert.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	ca, err := os.ReadFile(authority.CA())
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	shown := func(user string) []tls.Certificate {
		pair, err := authority.Client(user, devcert.DefaultTime, true)
		if err != nil {
			t.Fatal(err)
		}
		cert, err := tls.LoadX509KeyPair(pair.Cert, pair.Key)
		if err != nil {
			t.Fatal(err)
		}
		return []tls.Certificate{cert}
	}
	r := newRig(t, func(o *Options) {
		config := o.TLS().Clone()
		config.ClientAuth, config.ClientCAs = tls.VerifyClientCertIfGiven, pool
		o.TLS = func() *tls.Config { return config }
		o.CertifiedName = func(c *x509.Certificate) (string, error) { return c.Subject.CommonName, nil }
	})
	for _, c := range []struct{ user, asked, want string }{
		{"one", "=", "one@localhost"},
		{"one", base64.StdEncoding.EncodeToString([]byte("one@localhost")), "one@localhost"},
		{"one", base64.StdEncoding.EncodeToString([]byte("two@localhost")), "invalid-authzid"},
		{"one", "*", "incorrect-encoding"},
		{"nobody", "=", "not-authorized"},
		{"", "=", "invalid-mechanism"},
	} {
		p := r.dial()
		p.open()
		p.send("<starttls xmlns='" + nsTLS + "'/>")
		p.next()
		config := &tls.Config{InsecureSkipVerify: true}
		if c.user != "" {
			config.Certificates = shown(c.user)
		}
		p.nc = tls.Client(p.nc, config)
		offered := strings.Contains(p.open().String(), "EXTERNAL")
		if offered != (c.user != "") {
			t.Errorf("%s: EXTERNAL is offered: %v", c.user, offered)
		}
		p.send("<auth xmlns='" + nsSASL + "' mechanism='EXTERNAL'>" + c.asked + "</auth>")
		e := p.next()
		if !strings.Contains(c.want, "@") {
			if e.Child(nsSASL, c.want) == nil {
				t.Errorf("%s %s: %s", c.user, c.asked, e)
			}
			continue
		}
		if !e.Is(nsSASL, "success") {
			t.Errorf("%s %s: %s", c.user, c.asked, e)
			continue
		}
		p.open()
		p.send("<iq type='set' id='bind'><bind xmlns='" + nsBind + "'><resource>x</resource></bind></iq>")
		if jid := p.next().Child(nsBind, "bind").ChildText(nsBind, "jid"); jid != c.want+"/x" {
			t.Error(jid)
		}
	}
}
