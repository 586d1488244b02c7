package server

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/leveret-mq/leveret/access"
	"github.com/leveret-mq/leveret/internal/audit"
)

// withUser starts a broker with a user more, who may do everything.
func withUser(t *testing.T, name, password string) *Server {
	t.Helper()
	s, err := start(t, settings(t))
	if err != nil {
		t.Fatal(err)
	}
	by := audit.Process("test")
	if err := s.access.PutUser(by, access.NewUser{Name: name, Password: &password}); err != nil {
		t.Fatal(err)
	}
	if err := s.access.SetPermission(by, access.Permission{VHost: "/", User: name, Configure: ".*", Write: ".*", Read: ".*"}); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestConnectionsOfADeletedUserEndAtOnce(t *testing.T) {
	s := withUser(t, "ann", "s3cret")
	dial := func(user, password string) (*amqp.Connection, chan *amqp.Error) {
		c, err := amqp.Dial("amqp://" + user + ":" + password + "@" + s.Addr("amqp") + "/")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c, c.NotifyClose(make(chan *amqp.Error, 1))
	}
	_, gone := dial("ann", "s3cret")
	other, stays := dial("guest", "guest")
	client, err := kgo.NewClient(kgo.SeedBrokers(s.Addr("kafka")), kgo.SASL(scram.Auth{User: "ann", Pass: "s3cret"}.AsSha256Mechanism()), kgo.RequestRetries(0))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), longEnough)
	defer cancel()
	if err := client.Ping(ctx); err != nil {
		t.Fatal(err)
	}
	idle, err := net.Dial("tcp", s.Addr("amqp"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = idle.Close() }()
	if err := s.access.DeleteUser(audit.Process("test"), "ann"); err != nil {
		t.Fatal(err)
	}
	select {
	case e := <-gone:
		if e == nil || e.Code != amqp.ConnectionForced || !strings.Contains(e.Reason, "user 'ann' is deleted") {
			t.Errorf("the client hears %v", e)
		}
	case <-time.After(longEnough):
		t.Fatal("the connection is open")
	}
	if err := client.Ping(ctx); err == nil {
		t.Error("Kafka's client is in")
	}
	for begun := time.Now(); ; { // the broker forgets them
		of := map[string]int{}
		for _, c := range s.broker.Connections() {
			of[c.User]++
		}
		if of["ann"] == 0 && of["guest"] == 1 {
			break
		}
		if time.Since(begun) > longEnough {
			t.Fatalf("connections are %v", of)
		}
		time.Sleep(10 * time.Millisecond)
	}
	select {
	case e := <-stays:
		t.Errorf("another user's connection ended: %v", e)
	default:
	}
	if other.IsClosed() {
		t.Error("another user's connection is closed")
	}
	if _, err := amqp.Dial("amqp://ann:s3cret@" + s.Addr("amqp") + "/"); !errors.Is(err, amqp.ErrCredentials) {
		t.Errorf("ann logs in again: %v", err)
	}
}

func TestWhoHasNoPermissionDoesNotEnter(t *testing.T) {
	s := withUser(t, "ann", "s3cret")
	if err := s.access.ClearPermission(audit.Process("test"), "/", "ann"); err != nil {
		t.Fatal(err)
	}
	_, err := amqp.Dial("amqp://ann:s3cret@" + s.Addr("amqp") + "/")
	var e *amqp.Error
	if !errors.As(err, &e) || e.Code != amqp.NotAllowed || !strings.Contains(e.Reason, "access to vhost '/' refused for user 'ann'") {
		t.Errorf("%v", err)
	}
}

func TestTheBannerSaysWhoGetsIn(t *testing.T) {
	for name, c := range map[string]struct {
		user, password string
		remote         bool
		address        string
		want, not      []string
	}{
		"as it comes":           {"guest", "guest", false, "127.0.0.1:0", []string{"guest/guest, from this machine only", "basic_publish"}, []string{"nobody from elsewhere"}},
		"to everybody":          {"guest", "guest", false, ":0", []string{"guest/guest, from this machine only", "nobody from elsewhere gets in", "LEVERET_DEFAULT_PASSWORD"}, nil},
		"let in":                {"guest", "guest", true, ":0", []string{"ANYWHERE"}, []string{"nobody from elsewhere"}},
		"a password":            {"ann", "s3cret", false, ":0", []string{"ann, from anywhere"}, []string{"s3cret", "basic_publish"}},
		"guest with a password": {"guest", "s3cret", false, ":0", []string{"guest, from anywhere"}, []string{"s3cret", "basic_publish"}},
	} {
		t.Run(name, func(t *testing.T) {
			conf := settings(t)
			conf.DefaultUser, conf.DefaultPassword, conf.DefaultUserRemote, conf.AMQPAddr = c.user, c.password, c.remote, c.address
			s, err := start(t, conf)
			if err != nil {
				t.Fatal(err)
			}
			banner := s.Banner()
			for _, want := range c.want {
				if !strings.Contains(banner, want) {
					t.Errorf("the banner lacks %q:\n%s", want, banner)
				}
			}
			for _, not := range c.not {
				if strings.Contains(banner, not) {
					t.Errorf("the banner has %q:\n%s", not, banner)
				}
			}
		})
	}
}

// What the configuration says of the default user is not what is stored.
func TestTheBannerShowsStoredUsers(t *testing.T) {
	conf := settings(t)
	s, err := start(t, conf)
	if err != nil {
		t.Fatal(err)
	}
	pw := "s3cret"
	if err := s.access.PutUser(audit.Process("test"), access.NewUser{Name: "guest", Password: &pw}); err != nil {
		t.Fatal(err)
	}
	if banner := s.Banner(); strings.Contains(banner, "guest/guest") || strings.Contains(banner, "basic_publish") || !strings.Contains(banner, "guest, from this machine only") {
		t.Error(banner)
	}
	if err := s.access.DeleteUser(audit.Process("test"), "guest"); err != nil {
		t.Fatal(err)
	}
	if banner := s.Banner(); !strings.Contains(banner, "0 users are stored") || strings.Contains(banner, "guest/guest") {
		t.Error(banner)
	}
}
