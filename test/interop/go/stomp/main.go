// The stomp program does with go-stomp what its makers show, in each version of the protocol.
package main

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/go-stomp/stomp/v3"
	"github.com/go-stomp/stomp/v3/frame"

	"github.com/leveret-mq/leveret/test/interop/go/check"
)

const limit = 30 * time.Second

func main() {
	for _, version := range []stomp.Version{stomp.V10, stomp.V11, stomp.V12} {
		check.Add(fmt.Sprintf("send, subscribe, ack, nack, STOMP %s", version), limit, func(context.Context) { workQueue(version) })
		check.Add(fmt.Sprintf("transactions, STOMP %s", version), limit, func(context.Context) { transaction(version) })
	}
	check.Add("heart-beats of a tenth of a second", limit, func(context.Context) { heartBeats() })
	check.Add("bodies of any size", limit, func(context.Context) { bodies() })
	check.Add("an error says what was wrong", limit, func(context.Context) { refused() })
	check.Main()
}

func connect(options ...func(*stomp.Conn) error) *stomp.Conn {
	c, err := stomp.Dial("tcp", check.STOMP, append([]func(*stomp.Conn) error{stomp.ConnOpt.Login("guest", "guest")}, options...)...)
	check.OK(err, "connect")
	return c
}

func receive(s *stomp.Subscription) *stomp.Message {
	select {
	case m := <-s.C:
		if m == nil {
			check.Fail("the subscription has ended")
		}
		check.OK(m.Err, "message")
		return m
	case <-time.After(time.Minute):
		check.Fail("no message")
	}
	return nil
}

func workQueue(version stomp.Version) {
	queue := "/queue/" + check.Name("work"+version.String())
	c := connect(stomp.ConnOpt.AcceptVersion(version))
	check.Equal(c.Version(), version, "version")
	check.OK(c.Send(queue, "text/plain", []byte("one"), stomp.SendOpt.Receipt, stomp.SendOpt.Header("persistent", "true"), stomp.SendOpt.Header("kind", "a b")), "send")
	s, err := c.Subscribe(queue, stomp.AckClientIndividual)
	check.OK(err, "subscribe")
	m := receive(s)
	check.Equal(string(m.Body)+" "+m.ContentType+" "+m.Header.Get("kind")+" "+m.Header.Get("redelivered"), "one text/plain a b false", "message")
	if version != stomp.V10 {
		check.OK(c.Nack(m), "nack")
		m = receive(s)
		check.Equal(m.Header.Get("redelivered"), "true", "redelivered")
	}
	check.OK(c.Ack(m), "ack")
	check.OK(s.Unsubscribe(), "unsubscribe")
	check.OK(c.Disconnect(), "disconnect")
}

func transaction(version stomp.Version) {
	queue := "/queue/" + check.Name("tx"+version.String())
	c := connect(stomp.ConnOpt.AcceptVersion(version))
	s, err := c.Subscribe(queue, stomp.AckAuto)
	check.OK(err, "subscribe")
	lost := c.Begin()
	check.OK(lost.Send(queue, "text/plain", []byte("aborted")), "send")
	check.OK(lost.Abort(), "abort")
	kept := c.Begin()
	check.OK(kept.Send(queue, "text/plain", []byte("committed")), "send")
	check.OK(kept.Commit(), "commit")
	check.Equal(string(receive(s).Body), "committed", "message")
	check.OK(c.Disconnect(), "disconnect")
}

func heartBeats() {
	c := connect(stomp.ConnOpt.HeartBeat(100*time.Millisecond, 100*time.Millisecond))
	time.Sleep(2 * time.Second)
	check.OK(c.Send("/queue/"+check.Name("beats"), "text/plain", []byte("x"), stomp.SendOpt.Receipt), "send after two seconds")
	check.OK(c.Disconnect(), "disconnect")
}

func bodies() {
	queue := "/queue/" + check.Name("bodies")
	c := connect()
	s, err := c.Subscribe(queue, stomp.AckAuto)
	check.OK(err, "subscribe")
	for _, size := range []int{0, 1, 100_000, 5 << 20} {
		body := bytes.Repeat([]byte{0, 1, '\n'}, size/3+1)[:size]
		check.OK(c.Send(queue, "", body, stomp.SendOpt.Receipt), "send")
		if !bytes.Equal(receive(s).Body, body) {
			check.Fail("%d bytes came back as others", size)
		}
	}
	check.OK(c.Disconnect(), "disconnect")
}

func refused() {
	c := connect()
	err := c.Send("/exchange/"+check.Name("none"), "", nil, stomp.SendOpt.Receipt)
	e, ok := err.(stomp.Error)
	if !ok || e.Message != "not_found" || e.Frame == nil || e.Frame.Header.Get(frame.ReceiptId) == "" {
		check.Fail("got %v", err)
	}
}
