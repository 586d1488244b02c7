package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/emersion/go-smtp"
	amqp "github.com/rabbitmq/amqp091-go"
	"golang.org/x/time/rate"

	"github.com/leveret-mq/leveret/examples/internal/demo"
)

// startSenders starts n senders, who take mails from the queue and hand them to the
// mail server, all together not more than the rate. They take one mail at a time: what
// waits in a sender for its turn is out of the broker's hands, and would be sent
// although its time is over.
func startSenders(ctx context.Context, b *demo.Broker, n int, perSecond float64, mailServer string) (*demo.Consumers, error) {
	limit := rate.NewLimiter(rate.Limit(perSecond), 1)
	return b.Consume(ctx, mailQueue, "sender", n, func(p *demo.Publisher, _ string) (func(context.Context, amqp.Delivery) error, func()) {
		client := &mailClient{server: mailServer}
		return func(ctx context.Context, m amqp.Delivery) error {
			if err := limit.Wait(ctx); err != nil {
				return err
			}
			return send(ctx, p, client, m)
		}, client.close
	})
}

// send hands one mail over and tells the broker what came of it.
func send(ctx context.Context, p *demo.Publisher, client *mailClient, m amqp.Delivery) error {
	to, _ := m.Headers[recipientHeader].(string)
	err := client.send(to, m.Body)
	var answer *smtp.SMTPError
	switch {
	case err == nil:
		h := amqp.Table{recipientHeader: to, segmentHeader: m.Headers[segmentHeader], attemptHeader: 1 + count(m.Headers[countHeader])}
		// First on the record, then off the queue. Who dies in between sends a mail twice:
		// SMTP has no way to take a mail back, and a lost one would be worse.
		if err := p.Send(ctx, "", sentQueue, amqp.Publishing{Headers: h}); err != nil {
			return fmt.Errorf("record that a mail is sent: %w", err)
		}
		return m.Ack(false)
	case errors.As(err, &answer) && !answer.Temporary():
		return m.Reject(false) // never: to the dead letters
	default:
		return m.Reject(true) // not now: the broker gives it back, later each time
	}
}

// count is a number of a header, whichever of AMQP's types it has.
func count(v any) int64 {
	switch n := v.(type) {
	case int64:
		return n
	case int32:
		return int64(n)
	case int16:
		return int64(n)
	case int8:
		return int64(n)
	}
	return 0
}

// mailClient keeps a connection to the mail server for many mails.
type mailClient struct {
	server string
	client *smtp.Client
}

func (c *mailClient) send(to string, body []byte) error {
	if c.client == nil {
		client, err := smtp.Dial(c.server)
		if err != nil {
			return err
		}
		client.CommandTimeout, client.SubmissionTimeout = 30*time.Second, 30*time.Second
		c.client = client
	}
	err := c.try(to, body)
	var answer *smtp.SMTPError
	switch {
	case err == nil:
	case errors.As(err, &answer):
		c.reset() // the server said no; the connection is as good as before
	default:
		c.close()
	}
	return err
}

func (c *mailClient) try(to string, body []byte) error {
	if err := c.client.Mail(sender, nil); err != nil {
		return err
	}
	if err := c.client.Rcpt(to, nil); err != nil {
		return err
	}
	w, err := c.client.Data()
	if err != nil {
		return err
	}
	if _, err := w.Write(body); err != nil {
		return err
	}
	return w.Close()
}

// reset makes the connection ready for the next mail, or drops it.
func (c *mailClient) reset() {
	if c.client.Reset() != nil {
		c.close()
	}
}

func (c *mailClient) close() {
	if c.client != nil {
		_ = c.client.Close()
		c.client = nil
	}
}
