package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/leveret-mq/leveret/internal/devcert"
)

// localHosts are the names of this machine that every certificate of a broker has.
var localHosts = []string{"localhost", "127.0.0.1", "::1"}

func certCommand() *cobra.Command {
	var w certWish
	c := &cobra.Command{
		Use: "cert [NAME…]", Short: "Make certificates for development",
		Long: `Makes a small authority of its own and a certificate for a broker that is called localhost,
127.0.0.1, ::1 and by the names and addresses that are given; with --client also one for a client
that is that user. It prints how to use them.

An authority that is there in the directory signs again, so that clients need not be given
another one. Nothing that exists is replaced without --force, and the authority never.`,
		RunE: func(c *cobra.Command, hosts []string) error { return w.fulfil(c.OutOrStdout(), hosts) },
	}
	c.Flags().StringVar(&w.dir, "dir", "certs", "directory for the files; made when missing")
	c.Flags().StringArrayVar(&w.clients, "client", nil, "user for whom a client's certificate is made; may be given several times")
	c.Flags().IntVar(&w.days, "days", int(devcert.DefaultTime/(24*time.Hour)), "days for which the certificates are good")
	c.Flags().BoolVar(&w.force, "force", false, "replace certificates that exist")
	return c
}

// certWish is what leveret cert was asked for.
type certWish struct {
	dir     string
	clients []string
	days    int
	force   bool
}

// fulfil makes the certificates and says what to do with them.
func (w *certWish) fulfil(out io.Writer, hosts []string) error {
	if w.days < 1 || w.days > 3650 {
		return fmt.Errorf("--days: %d is not between 1 and 3650", w.days)
	}
	dir, err := filepath.Abs(w.dir)
	if err != nil {
		return err
	}
	a, made, err := devcert.Open(dir)
	if err != nil {
		return err
	}
	if made {
		fmt.Fprintf(out, "%-12s %s (clients trust the broker by it; keep ca-key.pem to yourself)\n", "authority", a.CA())
	}
	good := time.Duration(w.days) * 24 * time.Hour
	all := append(append([]string{}, localHosts...), hosts...)
	server, err := a.Server("server", all, good, w.force)
	switch {
	case err == nil:
		fmt.Fprintf(out, "%-12s %s for %v\n", "broker", server.Cert, all)
	case errors.Is(err, fs.ErrExist) && len(w.clients) > 0 && len(hosts) == 0: // it is about the clients
		fmt.Fprintf(out, "%-12s %s, as it was\n", "broker", server.Cert)
	case errors.Is(err, fs.ErrExist):
		return fmt.Errorf("%w; --force replaces it", err)
	default:
		return err
	}
	var last devcert.Pair
	for _, user := range w.clients {
		if last, err = a.Client(user, good, w.force); errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("%w; --force replaces it", err)
		} else if err != nil {
			return err
		}
		fmt.Fprintf(out, "%-12s %s for user %s\n", "client", last.Cert, user)
	}
	usage(out, a.CA(), server, last)
	return nil
}

// usage prints lines to paste.
func usage(out io.Writer, ca string, server, client devcert.Pair) {
	more, pika, kcat, openssl := "", "", "", ""
	if client.Cert != "" {
		more = " --tls-ca " + ca
		pika = fmt.Sprintf("; s.load_cert_chain(%q, %q)", client.Cert, client.Key)
		kcat = fmt.Sprintf(" -X ssl.certificate.location=%s -X ssl.key.location=%s", client.Cert, client.Key)
		openssl = fmt.Sprintf(" -cert %s -key %s", client.Cert, client.Key)
	}
	fmt.Fprintf(out, `
Start the broker with it:
  leveret serve --tls-cert %s --tls-key %s%s

AMQP (pip install pika):
  python3 -c 'import pika, ssl; s = ssl.create_default_context(cafile=%q)%s; c = pika.BlockingConnection(pika.ConnectionParameters("localhost", 5671, ssl_options=pika.SSLOptions(s, "localhost"))); print("connected"); c.close()'
`, server.Cert, server.Key, more, ca, pika)
	if client.Cert != "" {
		fmt.Fprintf(out, `  the same as the user of the certificate, without a password: credentials=pika.credentials.ExternalCredentials()
`)
	}
	fmt.Fprintf(out, `
Kafka (apt install kcat):
  kcat -b localhost:9093 -X security.protocol=ssl -X ssl.ca.location=%s%s -L

Look at it:
  openssl s_client -connect localhost:5671 -CAfile %s%s -verify_return_error </dev/null
`, ca, kcat, ca, openssl)
}
