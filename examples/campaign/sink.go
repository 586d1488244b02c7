package main

import (
	"fmt"
	"io"
	"net"
	"net/mail"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-smtp"
)

// Sink is a mail server on this machine that keeps nothing but counts, and plays the
// mail servers of all recipients: most take everything, some are busy, some know
// nobody, one is down until somebody repairs it.
type Sink struct {
	Addr   string
	server *smtp.Server

	mu       sync.Mutex // guards the rest
	repaired bool
	Accepted map[string]int // mails by recipient
	Greyed   map[string]bool
	Refused  map[int]int // answers by SMTP code
	Bad      []string    // what was wrong with a mail; must stay empty
	seconds  map[int64]int
}

func startSink() (*Sink, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for mail: %w", err)
	}
	s := &Sink{Addr: l.Addr().String(), Accepted: map[string]int{}, Greyed: map[string]bool{}, Refused: map[int]int{}, seconds: map[int64]int{}}
	s.server = smtp.NewServer(s)
	s.server.Domain, s.server.MaxRecipients, s.server.MaxMessageBytes = "localhost", 1, 1<<20
	s.server.ReadTimeout, s.server.WriteTimeout = time.Minute, time.Minute
	go func() { _ = s.server.Serve(l) }()
	return s, nil
}

func (s *Sink) close() { _ = s.server.Close() }

// repair brings the server of down.example back.
func (s *Sink) repair() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.repaired = true
}

// NewSession begins a client's connection.
func (s *Sink) NewSession(*smtp.Conn) (smtp.Session, error) { return &sinkSession{sink: s}, nil }

type sinkSession struct {
	sink *Sink
	to   string
}

// Mail takes any sender.
func (*sinkSession) Mail(string, *smtp.MailOptions) error { return nil }

// Rcpt answers as the recipient's own mail server would.
func (c *sinkSession) Rcpt(to string, _ *smtp.RcptOptions) error {
	s := c.sink
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seconds[time.Now().Unix()]++
	_, domain, _ := strings.Cut(to, "@")
	var no *smtp.SMTPError
	switch {
	case domain == domainGone:
		no = &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no such user"}
	case domain == domainDown && !s.repaired:
		no = &smtp.SMTPError{Code: 450, EnhancedCode: smtp.EnhancedCode{4, 3, 0}, Message: "mailbox unavailable"}
	case domain == domainBusy && !s.Greyed[to]:
		s.Greyed[to] = true
		no = &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 7, 1}, Message: "come back later"}
	}
	if no != nil {
		s.Refused[no.Code]++
		return no
	}
	c.to = to
	return nil
}

// Data reads the mail and counts it if it is the recipient's own.
func (c *sinkSession) Data(r io.Reader) error {
	m, err := mail.ReadMessage(r)
	if err != nil {
		return &smtp.SMTPError{Code: 554, Message: "this is no mail"}
	}
	text, err := io.ReadAll(m.Body)
	if err != nil {
		return err
	}
	to, err := mail.ParseAddress(m.Header.Get("To"))
	s := c.sink
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err != nil || to.Address != c.to:
		s.Bad = append(s.Bad, fmt.Sprintf("%s got a mail to %q", c.to, m.Header.Get("To")))
	case !strings.HasPrefix(string(text), "Dear "+to.Name+","):
		s.Bad = append(s.Bad, fmt.Sprintf("%s is called %.40q", c.to, text))
	}
	s.Accepted[c.to]++
	return nil
}

// Reset forgets the mail that was begun.
func (c *sinkSession) Reset() { c.to = "" }

// Logout ends the connection.
func (*sinkSession) Logout() error { return nil }

// busiest is how many mails were tried in the busiest second.
func (s *Sink) busiest() int {
	most := 0
	for _, n := range s.seconds {
		most = max(most, n)
	}
	return most
}
