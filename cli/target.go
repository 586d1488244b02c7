package cli

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// The environment of the command line.
const (
	envHTTP     = "LEVERET_HTTP"
	envUser     = "LEVERET_USER"
	envPassword = "LEVERET_PASSWORD"
	envVHost    = "LEVERET_VHOST"
	envCA       = "LEVERET_CA"
)

// defaultHTTP is where a broker without settings answers.
const defaultHTTP = "http://127.0.0.1:15672"

// target is which broker is meant, and as whom.
type target struct {
	http, user, password  string
	ca, cert, key, netrc  string
	insecure              bool
	timeout               time.Duration
	vhost                 string
	vhostGiven, userGiven bool
}

// connection marks the flags that say where the broker is: help lists them by themselves.
const connection = "leveret_connection"

// reach gives a command the flags that say where the broker is, but for some.
func reach(c *cobra.Command, but ...string) *target {
	t := &target{}
	f := pflag.NewFlagSet("", pflag.ContinueOnError)
	f.StringVar(&t.http, "http", "", "address of the broker's HTTP API, default "+defaultHTTP+" ["+envHTTP+"]")
	f.StringVar(&t.user, "user", "", "user to log in as, default guest ["+envUser+"]")
	f.StringVar(&t.password, "password", "", "the user's password; better in the environment or ~/.netrc, where others don't see it ["+envPassword+"]")
	f.StringVar(&t.ca, "ca", "", "file of the authority that signed the broker's certificate, PEM ["+envCA+"]")
	f.StringVar(&t.cert, "cert", "", "file of a certificate of one's own, PEM, where the broker asks for one")
	f.StringVar(&t.key, "cert-key", "", "file of its key, PEM")
	f.BoolVar(&t.insecure, "insecure", false, "talk to a broker whose certificate can't be checked")
	f.StringVar(&t.netrc, "netrc", "", "file of names and passwords, default ~/.netrc [NETRC]")
	f.DurationVar(&t.timeout, "timeout", time.Minute, "how long to wait for an answer")
	f.VisitAll(func(flag *pflag.Flag) {
		if slices.Contains(but, flag.Name) {
			return
		}
		flag.Annotations = map[string][]string{connection: nil}
		c.Flags().AddFlag(flag)
	})
	for _, name := range []string{"ca", "cert", "cert-key", "netrc"} {
		_ = c.MarkFlagFilename(name) // it is there
	}
	return t
}

// inVHost gives a command the flag for a virtual host, too.
func (t *target) inVHost(c *cobra.Command, usage string) {
	c.Flags().StringVar(&t.vhost, "vhost", "", usage+" ["+envVHost+"]")
	_ = c.RegisterFlagCompletionFunc("vhost", completeNames("vhosts", "name"))
}

// inOne is the usage of --vhost where one must be meant.
const inOne = "virtual host, default /"

// settleFor is settle for a command with --output, of which it says whether a program reads what comes out.
func (t *target) settleFor(c *cobra.Command, o *output) (cl *client, asJSON bool, err error) {
	if asJSON, err = o.json(); err == nil {
		cl, err = t.settle(c)
	}
	return cl, asJSON, err
}

// settle fills in what flags did not say, and makes the client.
func (t *target) settle(c *cobra.Command) (*client, error) {
	if f := c.Flags().Lookup("vhost"); f != nil {
		given, there := os.LookupEnv(envVHost)
		t.vhostGiven = f.Changed || there && given != ""
		t.vhost = cmp.Or(t.vhost, given, "/")
	}
	base, err := parseBase(cmp.Or(t.http, os.Getenv(envHTTP), besideBroker(), defaultHTTP))
	if err != nil {
		return nil, err
	}
	if err := t.identify(c, base); err != nil {
		return nil, err
	}
	conf, err := t.tls()
	if err != nil {
		return nil, err
	}
	return &client{
		base: base, user: t.user, password: t.password, userGiven: t.userGiven,
		http: &http.Client{
			Transport: &http.Transport{
				Proxy: http.ProxyFromEnvironment, TLSClientConfig: conf, TLSHandshakeTimeout: t.timeout, ResponseHeaderTimeout: t.timeout,
				DialContext: (&net.Dialer{Timeout: min(t.timeout, 10*time.Second)}).DialContext, MaxIdleConnsPerHost: maxAtOnce, MaxConnsPerHost: maxAtOnce,
			},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// parseBase reads the address of an API: a URL, or what is missing of one is added.
func parseBase(text string) (*url.URL, error) {
	full := text
	if !strings.Contains(full, "://") {
		full = "http://" + full
	}
	u, err := url.Parse(full)
	if err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, usagef("--http: %q is no address of a broker's HTTP API; one is written %s or https://HOST:15671", text, defaultHTTP)
	}
	if u.Port() == "" {
		u.Host = net.JoinHostPort(u.Hostname(), map[string]string{"http": "15672", "https": "15671"}[u.Scheme])
	}
	u.Path = strings.TrimSuffix(strings.TrimSuffix(u.Path, "/"), "/api")
	u.RawPath, u.RawQuery, u.Fragment = "", "", ""
	return u, nil
}

// besideBroker is where a broker listens that is started with this environment, as in its container.
func besideBroker() string {
	host, port, err := net.SplitHostPort(os.Getenv("LEVERET_HTTP_ADDR"))
	if err != nil || port == "0" {
		return ""
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(host, port)
}

// firstUser is whom a broker makes that is started with this environment, as in its container. Other machines are not told.
func firstUser(host string) (name, password string) {
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return "", ""
	}
	name = cmp.Or(os.Getenv("LEVERET_DEFAULT_USER"), os.Getenv("RABBITMQ_DEFAULT_USER"))
	password = cmp.Or(os.Getenv("LEVERET_DEFAULT_PASSWORD"), os.Getenv("RABBITMQ_DEFAULT_PASS"))
	if file := os.Getenv("LEVERET_DEFAULT_PASSWORD_FILE"); password == "" && file != "" {
		if text, err := os.ReadFile(file); err == nil {
			password, _, _ = strings.Cut(string(text), "\n")
		}
	}
	return name, password
}

// identify finds the user and the password: flags, the address, the environment, ~/.netrc, the first user of a broker beside it, guest.
func (t *target) identify(c *cobra.Command, base *url.URL) error {
	t.userGiven = true
	inURL := base.User
	base.User = nil
	switch {
	case t.user != "" && t.password != "":
		return nil
	case t.user == "" && inURL != nil:
		t.user = inURL.Username()
		if password, there := inURL.Password(); there {
			t.password = cmp.Or(t.password, password)
		}
	}
	t.user = cmp.Or(t.user, os.Getenv(envUser))
	if t.password == "" && (t.user == os.Getenv(envUser) || os.Getenv(envUser) == "") {
		t.password = os.Getenv(envPassword)
	}
	if t.password != "" {
		t.user = cmp.Or(t.user, "guest")
		return nil
	}
	found, err := t.lookUp(base.Hostname())
	if err != nil {
		return err
	}
	if name, password := firstUser(base.Hostname()); found.login == "" && name != "" && password != "" {
		found = netrcEntry{name, password}
	}
	switch {
	case found.login != "" && (t.user == "" || t.user == found.login):
		t.user, t.password = found.login, found.password
	case t.user == "":
		t.user, t.password, t.userGiven = "guest", "guest", false
	case t.user == "guest":
		t.password = "guest"
	default:
		t.password, err = askPassword(c, fmt.Sprintf("Password of %s: ", clean(t.user)))
		if err != nil {
			return usagef("the password of user %s is missing: give it with --password, %s or in ~/.netrc", t.user, envPassword)
		}
	}
	return nil
}

// lookUp looks into the file of names and passwords.
func (t *target) lookUp(host string) (netrcEntry, error) {
	name := cmp.Or(t.netrc, os.Getenv("NETRC"))
	named := name != ""
	if !named {
		home, err := os.UserHomeDir()
		if err != nil {
			return netrcEntry{}, nil
		}
		name = filepath.Join(home, ".netrc")
	}
	text, err := os.ReadFile(name)
	if err != nil {
		if !named && errors.Is(err, fs.ErrNotExist) {
			return netrcEntry{}, nil
		}
		return netrcEntry{}, fmt.Errorf("the file of names and passwords: %w", err)
	}
	return parseNetrc(text, host), nil
}

// tls is what the flags say of certificates; nil is nothing.
func (t *target) tls() (*tls.Config, error) {
	conf := &tls.Config{InsecureSkipVerify: t.insecure} //nolint:gosec // who asks for it
	if name := cmp.Or(t.ca, os.Getenv(envCA)); name != "" {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("--ca: %w", err)
		}
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("--ca: there is no certificate in %s; it should begin with -----BEGIN CERTIFICATE-----", name)
		}
	}
	if (t.cert == "") != (t.key == "") {
		return nil, usagef("--cert and --cert-key go together")
	}
	if t.cert != "" {
		pair, err := tls.LoadX509KeyPair(t.cert, t.key)
		if err != nil {
			return nil, fmt.Errorf("--cert, --cert-key: %w", err)
		}
		conf.Certificates = []tls.Certificate{pair}
	}
	return conf, nil
}
