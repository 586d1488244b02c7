package server

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/plain"

	"github.com/leveret-mq/leveret/access"
	"github.com/leveret-mq/leveret/internal/audit"
)

// Kafka's tools give a user rights, which hold at once, and take them away.
func TestAccessListsAreMadeByKafkasTools(t *testing.T) {
	s, err := start(t, settings(t))
	if err != nil {
		t.Fatal(err)
	}
	password := "s3cret"
	if err := s.access.PutUser(audit.Process("test"), access.NewUser{Name: "ann", Password: &password}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	dial := func(user, password string, more ...kgo.Opt) *kgo.Client {
		client, err := kgo.NewClient(append(more, kgo.SeedBrokers(s.Addr("kafka")), kgo.SASL(plain.Auth{User: user, Pass: password}.AsMechanism()))...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(client.Close)
		return client
	}
	admin := kadm.NewClient(dial("guest", "guest"))
	if _, err := admin.CreateTopic(ctx, 1, 1, nil, "orders"); err != nil {
		t.Fatal(err)
	}
	if err := dial("ann", password).Ping(ctx); err == nil {
		t.Fatal("in, without a permission in the virtual host")
	}
	producer := kadm.NewACLs().Allow("User:ann").AllowHosts("*").Topics("orders").Operations(kadm.OpWrite, kadm.OpDescribe, kadm.OpCreate)
	if res, err := admin.CreateACLs(ctx, producer); err != nil || len(res) != 3 || res[0].Err != nil || res[1].Err != nil || res[2].Err != nil {
		t.Fatal(res, err)
	}
	ann := dial("ann", password, kgo.RequestRetries(0), kgo.UnknownTopicRetries(0))
	send := func(topic string) error {
		return ann.ProduceSync(ctx, &kgo.Record{Topic: topic, Value: []byte("v")}).FirstErr()
	}
	if err := send("orders"); err != nil {
		t.Error(err)
	}
	if err := send("other"); !errors.Is(err, kerr.TopicAuthorizationFailed) {
		t.Errorf("another topic: %v", err)
	}
	seen, err := admin.DescribeACLs(ctx, kadm.NewACLs().Allow("User:ann").AllowHosts("*").Topics("orders").Operations(kadm.OpWrite).ResourcePatternType(kadm.ACLPatternLiteral))
	if err != nil || len(seen) != 1 || len(seen[0].Described) != 1 || seen[0].Described[0].Principal != "User:ann" {
		t.Errorf("%+v %v", seen, err)
	}
	deny := kadm.NewACLs().Deny("User:ann").DenyHosts("*").Topics("orders").Operations(kadm.OpWrite)
	if res, err := admin.CreateACLs(ctx, deny); err != nil || len(res) != 1 || !errors.Is(res[0].Err, kerr.InvalidRequest) || !strings.Contains(res[0].ErrMessage, "no rules that deny") {
		t.Errorf("%+v %v", res, err)
	}
	if res, err := kadm.NewClient(ann).CreateACLs(ctx, producer); err != nil || !errors.Is(res[0].Err, kerr.ClusterAuthorizationFailed) {
		t.Errorf("by one who may not: %+v %v", res, err)
	}
	all := kadm.NewACLs().AnyResource().Allow().AllowHosts().Operations().ResourcePatternType(kadm.ACLPatternAny)
	if res, err := kadm.NewClient(ann).DescribeACLs(ctx, all); err != nil || len(res) == 0 || !errors.Is(res[0].Err, kerr.ClusterAuthorizationFailed) || len(res[0].Described) != 0 {
		t.Errorf("shown to one who may not look: %+v %v", res, err)
	}
	if res, err := admin.DeleteACLs(ctx, producer.ResourcePatternType(kadm.ACLPatternLiteral)); err != nil || res[0].Err != nil || len(res[0].Deleted) == 0 {
		t.Errorf("%+v %v", res, err)
	}
	if err := send("orders"); !errors.Is(err, kerr.TopicAuthorizationFailed) {
		t.Errorf("after the right was taken away: %v", err)
	}
	if p, _ := s.access.Permission("/", "ann"); p.Write != "^$" || p.Configure != "^$" {
		t.Errorf("left: %+v", p)
	}
}
