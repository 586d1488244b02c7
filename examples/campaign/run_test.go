package main

import (
	"bytes"
	"io"
	"mime"
	"net/mail"
	"strings"
	"testing"
	"text/template"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leveret-mq/leveret/examples/internal/demo"
	"github.com/leveret-mq/leveret/examples/internal/demotest"
)

func small() *settings {
	return &settings{count: 400, rate: 250, senders: 4, seed: 1,
		schedule: Schedule{Flash: 150 * time.Millisecond, FlashLife: 100 * time.Millisecond, Later: time.Second}}
}

func TestTheWholeCampaignOnTheRealBroker(t *testing.T) {
	ctx, b := demotest.Start(t)
	r, err := campaign(ctx, b, small())
	if err != nil {
		t.Fatal(err)
	}
	if faults := r.Faults(); len(faults) > 0 {
		t.Errorf("faults: %q", faults)
	}
	var gone, down, flash int
	for _, x := range r.To {
		switch {
		case x.Segment == segmentFlash:
			flash++
		case strings.HasSuffix(x.Address, "@"+domainGone):
			gone++
		case strings.HasSuffix(x.Address, "@"+domainDown):
			down++
		}
	}
	o := r.Ledger.outcome()
	// Those of the flash segment may have expired before anything else happened to them.
	if gone == 0 || down == 0 || o.Dead < gone || r.Redriven < down || o.Revived != r.Redriven {
		t.Errorf("%d dead of %d and more, %d redriven of %d and more, %d of them sent", o.Dead, gone, r.Redriven, down, o.Revived)
	}
	if o.Expired == 0 || o.Expired > flash {
		t.Errorf("%d expired of at most %d", o.Expired, flash)
	}
	if r.First.Published != 160 || r.Planned.Published != 400 || !r.Planned.Redelivered {
		t.Errorf("first %+v, then %+v", r.First, r.Planned)
	}
	if r.Sink.Refused[550] == 0 || r.Sink.Refused[451] == 0 || r.Sink.Refused[450] < (returns+1)*down || r.Ledger.Attempts[2] == 0 {
		t.Errorf("refused %v, sent at attempt %v", r.Sink.Refused, r.Ledger.Attempts)
	}
	var out strings.Builder
	r.write(&out)
	for _, want := range []string{"together", "400   of 400", "redriven", "Nobody got two mails"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the report does not say %q:\n%s", want, &out)
		}
	}
}

func record(topic, to string, headers ...string) *kgo.Record {
	r := &kgo.Record{Topic: topic, Headers: []kgo.RecordHeader{{Key: recipientHeader, Value: []byte(to)}}, Timestamp: time.Now()}
	for i := 0; i < len(headers); i += 2 {
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: headers[i], Value: []byte(headers[i+1])})
	}
	return r
}

func TestAMailHasOneOutcome(t *testing.T) {
	l := newLedger()
	for _, r := range []*kgo.Record{
		record(sentQueue, "a", attemptHeader, "1"),
		record(deadQueue, "b", reasonHeader, reasonExpired),
		record(deadQueue, "c", reasonHeader, reasonRejected),
		record(deadQueue, "d", reasonHeader, reasonTooOften),
		record(sentQueue, "d", attemptHeader, "1"),
		record(sentQueue, "a", attemptHeader, "2"),
	} {
		l.add(r)
	}
	if got, want := l.outcome(), (Outcome{Sent: 2, Expired: 1, Dead: 1, Revived: 1}); got != want || l.Twice != 1 {
		t.Errorf("%+v, twice %d", got, l.Twice)
	}
}

func TestWhatIsWrongIsAFault(t *testing.T) {
	at := time.Now()
	l := newLedger()
	l.add(record(sentQueue, "ghost@shop.example", segmentHeader, segmentNow))
	l.add(record(deadQueue, "two@shop.example", reasonHeader, reasonRejected))
	l.add(record(deadQueue, "three@shop.example", reasonHeader, reasonExpired))
	l.add(record(sentQueue, "four@shop.example", segmentHeader, segmentLater))
	l.add(record(sentQueue, "four@shop.example", segmentHeader, segmentLater))
	r := &Run{Start: &Start{At: at, Schedule: Schedule{Later: time.Hour}}, First: &Planned{}, Planned: &Planned{}, Rate: 1, Senders: 1, Redriven: 1, Ledger: l,
		To:   []Recipient{{Address: "one@shop.example"}, {Address: "two@shop.example"}, {Address: "three@shop.example"}, {Address: "four@shop.example"}, {Address: "five@shop.example"}},
		Sink: &Sink{Accepted: map[string]int{"one@shop.example": 2}, Bad: []string{"upside down"}, Refused: map[int]int{}, seconds: map[int64]int{1: 9}}}
	faults := strings.Join(r.Faults(), "\n")
	for _, want := range []string{"sent + expired + dead is 4, want 5", "one@shop.example got 2 mails", "took 1 mails, the log says 2", "9 mails were tried",
		"upside down", "on the record twice", "two@shop.example died", "three@shop.example expired", "four@shop.example got its mail", "too early", "1 mails were redriven and 0 announced"} {
		if !strings.Contains(faults, want) {
			t.Errorf("not told: %q in\n%s", want, faults)
		}
	}
	var out strings.Builder
	r.write(&out)
	if !strings.Contains(out.String(), "WRONG") || strings.Contains(out.String(), "Nobody got two mails") {
		t.Errorf("the report says:\n%s", &out)
	}
}

func TestANameCanNotWriteAHeader(t *testing.T) {
	text := template.Must(template.New("").Parse(campaignTemplate))
	r := &Recipient{ID: 7, Name: "Eve\r\nBcc: all@shop.example", Address: "eve@shop.example", Segment: segmentFlash}
	body, err := render(text, r, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	m, err := mail.ReadMessage(bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if m.Header.Get("Bcc") != "" {
		t.Errorf("the mail goes to %s, too", m.Header.Get("Bcc"))
	}
	to, err := mail.ParseAddress(m.Header.Get("To"))
	if err != nil || to.Address != r.Address {
		t.Errorf("%v, %v", to, err)
	}
	subject, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
	if err != nil || !strings.HasPrefix(subject, "Only now, Eve") {
		t.Errorf("%q, %v", subject, err)
	}
	if text, _ := io.ReadAll(m.Body); !bytes.Contains(text, []byte("everything costs half")) {
		t.Errorf("%s", text)
	}
}

func TestBadSettingsAreRefused(t *testing.T) {
	for name, change := range map[string]func(*settings){
		"few":         func(s *settings) { s.count = 1 },
		"no rate":     func(s *settings) { s.rate = 0 },
		"no senders":  func(s *settings) { s.senders = 0 },
		"early":       func(s *settings) { s.schedule.Flash = -1 },
		"no life":     func(s *settings) { s.schedule.FlashLife = 0 },
		"one address": func(s *settings) { s.Flags = demo.Flags{AMQP: "x:1"} },
	} {
		s := small()
		change(s)
		if err := s.check(); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if err := small().check(); err != nil {
		t.Error(err)
	}
}
