package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"mime"
	"net/mail"
	"text/template"
	"time"
)

// Segments of the recipients: when they are written, and until when it makes sense.
const (
	segmentNow   = "now"   // half of them: at once
	segmentFlash = "flash" // a fifth: an offer that begins soon and is over soon after
	segmentLater = "later" // the others: in their own time zone it is night yet
)

// Domains of the recipients. What their mail servers are like is in sink.go.
const (
	domainGood = "shop.example"
	domainBusy = "busy.example" // turns everybody away once
	domainGone = "gone.example" // knows nobody
	domainDown = "down.example" // takes nothing until it is repaired
)

// Recipient is one of those who get a mail.
type Recipient struct {
	ID      int
	Name    string
	Address string
	Segment string
}

// Schedule says when the segments are due, counted from the start of the campaign.
type Schedule struct {
	Flash, FlashLife, Later time.Duration
}

// recipients makes up n of them, the same for the same seed.
func recipients(seed uint64, n int) []Recipient {
	r := rand.New(rand.NewPCG(seed, 20))
	first := []string{"Ada", "Björn", "Chloé", "Dmitri", "Elif", "Fatima", "Grace", "Hiroshi", "Ingrid", "José", "Kofi", "Lucía", "Mehmet", "Ngọc", "Olena", "Priya"}
	last := []string{"Adeyemi", "Brown", "Çelik", "Díaz", "Eriksson", "Fischer", "García", "Haddad", "Ito", "Jensen", "Kowalski", "Lindqvist", "Müller", "Novák", "O’Brien", "Petrov"}
	list := make([]Recipient, n)
	for i := range list {
		x := Recipient{ID: i + 1, Name: first[r.IntN(len(first))] + " " + last[r.IntN(len(last))]}
		switch d := r.Float64(); {
		case d < 0.05:
			x.Address = domainBusy
		case d < 0.065:
			x.Address = domainGone
		case d < 0.075:
			x.Address = domainDown
		default:
			x.Address = domainGood
		}
		x.Address = fmt.Sprintf("customer-%d@%s", x.ID, x.Address)
		switch s := r.Float64(); {
		case s < 0.5:
			x.Segment = segmentNow
		case s < 0.7:
			x.Segment = segmentFlash
		default:
			x.Segment = segmentLater
		}
		list[i] = x
	}
	return list
}

const sender = "news@leveret.example"

// campaignTemplate is what the campaign begins with: a subject and a text.
const campaignTemplate = `{{define "subject"}}{{if eq .Segment "flash"}}Only now, {{.Name}}: half the price{{else}}News for {{.Name}}{{end}}{{end}}Dear {{.Name}},

{{if eq .Segment "flash"}}for a few moments everything costs half.{{else}}there are new things in our shop.{{end}}

You get this as customer {{.ID}}.
`

// render writes a recipient's mail.
func render(t *template.Template, r *Recipient, now time.Time) ([]byte, error) {
	var subject, text bytes.Buffer
	if err := t.ExecuteTemplate(&subject, "subject", r); err != nil {
		return nil, err
	}
	if err := t.Execute(&text, r); err != nil {
		return nil, err
	}
	var m bytes.Buffer
	// What comes from a list of names must not begin a header line of its own: each is encoded.
	fmt.Fprintf(&m, "From: News <%s>\r\nTo: %s\r\nSubject: %s\r\nDate: %s\r\nMessage-ID: <%d.%d@leveret.example>\r\n", sender,
		(&mail.Address{Name: r.Name, Address: r.Address}).String(), mime.QEncoding.Encode("utf-8", subject.String()),
		now.Format(time.RFC1123Z), now.UnixNano(), r.ID)
	m.WriteString("MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n")
	m.Write(bytes.ReplaceAll(text.Bytes(), []byte("\n"), []byte("\r\n")))
	return m.Bytes(), nil
}
