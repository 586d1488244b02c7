package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strconv"
	"text/template"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/leveret-mq/leveret/examples/internal/demo"
)

// Start is the one message that a campaign begins with.
type Start struct {
	Campaign string
	Template string
	At       time.Time // what the schedule counts from
	Schedule Schedule
}

// start publishes it.
func start(ctx context.Context, b *demo.Broker, s *Start) error {
	conn, err := b.Dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	p, err := demo.NewPublisher(conn)
	if err != nil {
		return err
	}
	body, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return p.Send(ctx, "", startQueue, amqp.Publishing{ContentType: "application/json", Body: body})
}

// errPlannerDied is what a planner ends with that was told to die.
var errPlannerDied = errors.New("the planner's connection was cut")

// Planned is what one planner did.
type Planned struct {
	Published   int
	Redelivered bool // another had begun with the template
}

// plan takes a template and publishes a mail for each recipient. The template is
// acked when all of them are confirmed: if the planner dies, another begins anew, and
// the exchange drops what was there already. After dieAfter mails, if that is not 0,
// its connection is cut, as when the machine goes.
func plan(ctx context.Context, b *demo.Broker, to []Recipient, dieAfter int, bar *demo.Bar) (*Planned, error) {
	var wire net.Conn
	conn, err := amqp.DialConfig("amqp://guest:guest@"+b.AMQP+"/", amqp.Config{Dial: func(network, addr string) (net.Conn, error) {
		var err error
		wire, err = amqp.DefaultDial(10*time.Second)(network, addr)
		return wire, err
	}})
	if err != nil {
		return nil, fmt.Errorf("connect to AMQP at %s: %w", b.AMQP, err)
	}
	defer conn.Close()
	p, err := demo.NewPublisher(conn)
	if err != nil {
		return nil, err
	}
	starts, err := p.Consume(startQueue, "planner", false, false, false, false, nil)
	if err != nil {
		return nil, fmt.Errorf("consume %s: %w", startQueue, err)
	}
	var d amqp.Delivery
	var ok bool
	select {
	case d, ok = <-starts:
	case <-ctx.Done():
	}
	if !ok {
		return nil, fmt.Errorf("no template in %s: %w", startQueue, context.Cause(ctx))
	}
	var s Start
	if err := json.Unmarshal(d.Body, &s); err != nil {
		return nil, errors.Join(fmt.Errorf("a template that can't be read: %w", err), d.Reject(false))
	}
	text, err := template.New("").Parse(s.Template)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("a template that can't be read: %w", err), d.Reject(false))
	}
	done := &Planned{Redelivered: d.Redelivered}
	var waiting []*amqp.DeferredConfirmation
	settle := func(keep int) error {
		for len(waiting) > keep {
			if err := demo.Confirmed(ctx, waiting[0]); err != nil {
				return err
			}
			waiting = waiting[1:]
		}
		return nil
	}
	for i := range to {
		if dieAfter > 0 && i == dieAfter {
			if err := settle(0); err != nil {
				return nil, err
			}
			_ = wire.Close()
			return done, errPlannerDied
		}
		m, err := s.mail(text, &to[i], time.Now())
		if err != nil {
			return nil, err
		}
		c, err := p.Begin(ctx, onceExchange, "", m)
		if err != nil {
			return nil, fmt.Errorf("publish a mail: %w", err)
		}
		waiting = append(waiting, c)
		if err := settle(1000); err != nil {
			return nil, err
		}
		done.Published++
		bar.Set(uint64(done.Published))
	}
	if err := settle(0); err != nil {
		return nil, err
	}
	return done, d.Ack(false)
}

// mail is a recipient's message, with what the broker needs to know of its time.
func (s *Start) mail(text *template.Template, r *Recipient, now time.Time) (amqp.Publishing, error) {
	body, err := render(text, r, now)
	if err != nil {
		return amqp.Publishing{}, err
	}
	id := strconv.Itoa(r.ID)
	m := amqp.Publishing{ContentType: "message/rfc822", MessageId: s.Campaign + "/" + id, Body: body,
		Headers: amqp.Table{recipientHeader: r.Address, segmentHeader: r.Segment, onceHeader: s.Campaign + "/" + id}}
	delay := func(due time.Duration) {
		if wait := s.At.Add(due).Sub(now).Milliseconds(); wait > 0 {
			m.Headers[delayHeader] = wait
		}
	}
	switch r.Segment {
	case segmentLater:
		delay(s.Schedule.Later)
	case segmentFlash:
		delay(s.Schedule.Flash)
		// Counted by the broker from when the mail is due.
		m.Expiration = strconv.FormatInt(s.Schedule.FlashLife.Milliseconds(), 10)
	}
	return m, nil
}
