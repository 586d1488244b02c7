package server

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/leveret-mq/leveret/access"
	"github.com/leveret-mq/leveret/internal/audit"
)

func kafkaAdmin(t *testing.T, s *Server, opts ...kgo.Opt) *kadm.Client {
	t.Helper()
	c, err := kgo.NewClient(append(opts, kgo.SeedBrokers(s.Addr("kafka")), kgo.RequestRetries(0))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return kadm.NewClient(c)
}

// Kafka's tools make users, who log in by every mechanism of every protocol once they may.
func TestKafkasToolsMakeUsers(t *testing.T) {
	s, err := start(t, settings(t))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	root := kafkaAdmin(t, s)
	done, err := root.AlterUserSCRAMs(ctx, nil, []kadm.UpsertSCRAM{
		{User: "joe", Mechanism: kadm.ScramSha256, Iterations: 8192, Password: "s3cret"},
		{User: "joe", Mechanism: kadm.ScramSha512, Iterations: 4096, Password: "s3cret"},
	})
	if err != nil || !done.Ok() {
		t.Fatalf("%+v, %v", done, err)
	}
	shown, err := root.DescribeUserSCRAMs(ctx, "joe")
	if infos := shown["joe"].CredInfos; err != nil || len(infos) != 2 || infos[0].Iterations+infos[1].Iterations != 8192+4096 {
		t.Errorf("%+v, %v", shown, err)
	}
	if err := s.access.SetPermission(audit.Process("test"), access.Permission{VHost: "/", User: "joe", Configure: ".*", Write: ".*", Read: ".*"}); err != nil {
		t.Fatal(err)
	}
	try := func(password string) (refused int) {
		t.Helper()
		a := scram.Auth{User: "joe", Pass: password}
		for _, m := range []kgo.Opt{kgo.SASL(a.AsSha256Mechanism()), kgo.SASL(a.AsSha512Mechanism())} {
			if _, err := kafkaAdmin(t, s, m).ListTopics(ctx); errors.Is(err, kerr.SaslAuthenticationFailed) {
				refused++
			} else if err != nil {
				t.Error(err)
			}
		}
		c, err := amqp.Dial("amqp://joe:" + password + "@" + s.Addr("amqp") + "/")
		if err == nil {
			_ = c.Close()
		} else if errors.Is(err, amqp.ErrCredentials) {
			refused++
		} else {
			t.Error(err)
		}
		return refused
	}
	if n := try("s3cret"); n != 0 {
		t.Errorf("%d of three logins are refused", n)
	}
	if _, err := kafkaAdmin(t, s, kgo.SASL(scram.Auth{User: "joe", Pass: "s3cret"}.AsSha256Mechanism())).DescribeUserSCRAMs(ctx); !errors.Is(err, kerr.ClusterAuthorizationFailed) {
		t.Errorf("who is no administrator sees users: %v", err)
	}
	// A new password ends the old one, for all mechanisms.
	if _, err := root.AlterUserSCRAMs(ctx, nil, []kadm.UpsertSCRAM{{User: "joe", Mechanism: kadm.ScramSha512, Iterations: 4096, Password: "other"}}); err != nil {
		t.Fatal(err)
	}
	if n := try("s3cret"); n != 3 {
		t.Errorf("%d of three logins with the old password are refused", n)
	}
	if n := try("other"); n != 1 { // by SCRAM-SHA-256, until the login over AMQP behind it
		t.Errorf("%d of three logins with the new password are refused", n)
	}
	for n := 3; n > 0; time.Sleep(20 * time.Millisecond) {
		if n = len(s.access.ScramCredentials("joe")); ctx.Err() != nil {
			t.Fatal("it is not known in every form after a login")
		} else if n == 3 {
			break
		}
	}
	if n := try("other"); n != 0 {
		t.Errorf("then %d are refused", n)
	}
	if _, err := root.AlterUserSCRAMs(ctx, []kadm.DeleteSCRAM{{User: "joe", Mechanism: kadm.ScramSha256}}, nil); err != nil {
		t.Fatal(err)
	}
	if n := try("other"); n != 1 {
		t.Errorf("without SCRAM-SHA-256 %d are refused", n)
	}
}

func TestKafkasToolsAreToldWhatIsWrongWithCredentials(t *testing.T) {
	s, err := start(t, settings(t))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	c, err := kgo.NewClient(kgo.SeedBrokers(s.Addr("kafka")))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	type (
		put  = kmsg.AlterUserSCRAMCredentialsRequestUpsertion
		drop = kmsg.AlterUserSCRAMCredentialsRequestDeletion
	)
	good := put{Name: "joe", Mechanism: 1, Iterations: 4096, Salt: []byte("0123456789abcdef"), SaltedPassword: make([]byte, 32)}
	with := func(change func(*put)) put {
		p := good
		change(&p)
		return p
	}
	for name, q := range map[string]struct {
		put  []put
		drop []drop
		code int16
	}{
		"few iterations":       {put: []put{with(func(p *put) { p.Iterations = 4095 })}, code: 93},
		"many iterations":      {put: []put{with(func(p *put) { p.Iterations = 16385 })}, code: 93},
		"no name":              {put: []put{with(func(p *put) { p.Name = "" })}, code: 93},
		"a long name":          {put: []put{with(func(p *put) { p.Name = strings.Repeat("x", 256) })}, code: 93},
		"no salt":              {put: []put{with(func(p *put) { p.Salt = nil })}, code: 93},
		"no key":               {put: []put{with(func(p *put) { p.SaltedPassword = nil })}, code: 93},
		"an unknown mechanism": {put: []put{with(func(p *put) { p.Mechanism = 3 })}, code: 33},
		"twice":                {put: []put{good, good}, code: 92},
		"put and dropped":      {put: []put{good}, drop: []drop{{Name: "joe", Mechanism: 1}}, code: 92},
		"none to drop":         {drop: []drop{{Name: "nobody", Mechanism: 1}}, code: 91},
		"one of two is wrong":  {put: []put{good, with(func(p *put) { p.Mechanism, p.Iterations = 2, 1 })}, code: 93},
	} {
		req := kmsg.NewPtrAlterUserSCRAMCredentialsRequest()
		req.Upsertions, req.Deletions = q.put, q.drop
		res, err := req.RequestWith(ctx, c)
		if err != nil || len(res.Results) != 1 || res.Results[0].ErrorCode != q.code || res.Results[0].ErrorMessage == nil {
			t.Errorf("%s: %+v, %v", name, res, err)
		}
		if len(s.access.Users()) != 1 {
			t.Fatalf("%s made %+v", name, s.access.Users())
		}
	}
	for len(s.access.ScramUsers()) == 0 { // the default user is stored behind the start
		if time.Sleep(10 * time.Millisecond); ctx.Err() != nil {
			t.Fatal("the default user is not stored")
		}
	}
	req := kmsg.NewPtrDescribeUserSCRAMCredentialsRequest()
	for _, name := range []string{"nobody", "guest", "twice", "twice"} {
		req.Users = append(req.Users, kmsg.DescribeUserSCRAMCredentialsRequestUser{Name: name})
	}
	res, err := req.RequestWith(ctx, c)
	if err != nil || len(res.Results) != 3 || res.Results[0].ErrorCode != 91 || res.Results[1].ErrorCode != 0 || len(res.Results[1].CredentialInfos) != 2 || res.Results[2].ErrorCode != 92 {
		t.Errorf("%+v, %v", res, err)
	}
	all, err := kmsg.NewPtrDescribeUserSCRAMCredentialsRequest().RequestWith(ctx, c)
	if err != nil || len(all.Results) != 1 || all.Results[0].User != "guest" {
		t.Errorf("%+v, %v", all, err)
	}
}
