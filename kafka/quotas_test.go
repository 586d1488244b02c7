package kafka

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leveret-mq/leveret/auth"
	"github.com/leveret-mq/leveret/broker"
)

// quotaOf asks for one quota of a user.
func quotaOf(user, key string, value float64) kmsg.AlterClientQuotasRequestEntry {
	e := kmsg.NewAlterClientQuotasRequestEntry()
	e.Entity = []kmsg.AlterClientQuotasRequestEntryEntity{{Type: "user", Name: &user}}
	e.Ops = []kmsg.AlterClientQuotasRequestEntryOp{{Key: key, Value: value}}
	return e
}

// someQuotas are those of the users ann and ben.
type someQuotas map[string]map[string]int64

func (q someQuotas) Limited() []string                   { return slices.Sorted(maps.Keys(q)) }
func (q someQuotas) Limits(user string) map[string]int64 { return q[user] }
func (q someQuotas) AlterLimits(by auth.Identity, _ net.Addr, user string, set map[string]int64, clear []string, dry bool) error {
	if q[user] == nil {
		return &broker.Error{Kind: broker.NotFound, Text: "no such user"}
	}
	if dry {
		return nil
	}
	maps.Copy(q[user], set)
	for _, name := range clear {
		delete(q[user], name)
	}
	return nil
}

func TestQuotasOfUsersAreShownAndChanged(t *testing.T) {
	quotas := someQuotas{"ann": {broker.MaxQueues: 3}, "ben": {broker.ProducerByteRate: 1000, broker.ConsumerByteRate: -1}}
	r := newRig(t, func(o *Options) { o.Quotas = quotas })
	admin, ctx := r.admin(), testContext(t)
	show := func(want string, strict bool, filter ...kadm.DescribeClientQuotaComponent) {
		t.Helper()
		list, err := admin.DescribeClientQuotas(ctx, strict, filter)
		if err != nil {
			t.Error(err)
		}
		var got []string
		for _, q := range list {
			got = append(got, fmt.Sprint(q.Entity, q.Values))
		}
		if s := strings.Join(got, " "); s != want {
			t.Errorf("%v: got %s, want %s", filter, s, want)
		}
	}
	name := func(s string) *string { return &s }
	ben := "{user=ben} [producer_byte_rate=1000.000000]"
	show(ben, false)
	show("", true)
	show(ben, true, kadm.DescribeClientQuotaComponent{Type: "user", MatchType: kmsg.QuotasMatchTypeAny})
	show(ben, false, kadm.DescribeClientQuotaComponent{Type: "user", MatchName: name("ben")})
	show("", false, kadm.DescribeClientQuotaComponent{Type: "user", MatchName: name("ann")})
	show("", false, kadm.DescribeClientQuotaComponent{Type: "user", MatchType: kmsg.QuotasMatchTypeDefault})
	show("", false, kadm.DescribeClientQuotaComponent{Type: "user", MatchName: name("ben")}, kadm.DescribeClientQuotaComponent{Type: "client-id", MatchType: kmsg.QuotasMatchTypeAny})
	for _, wrong := range [][]kadm.DescribeClientQuotaComponent{
		{{Type: ""}}, {{Type: "user"}}, {{Type: "user", MatchType: 7}}, {{Type: "moon", MatchType: 2}}, {{Type: "user", MatchType: 2}, {Type: "user", MatchType: 2}},
	} {
		if list, err := admin.DescribeClientQuotas(ctx, false, wrong); err == nil || len(list) > 0 {
			t.Errorf("%+v: %v, %v", wrong, list, err)
		}
	}

	entity := func(typ, name string) kadm.ClientQuotaEntity {
		return kadm.ClientQuotaEntity{{Type: typ, Name: &name}}
	}
	alter := func(entity kadm.ClientQuotaEntity, dry bool, ops ...kadm.AlterClientQuotaOp) error {
		t.Helper()
		do := admin.AlterClientQuotas
		if dry {
			do = admin.ValidateAlterClientQuotas
		}
		list, err := do(ctx, []kadm.AlterClientQuotaEntry{{Entity: entity, Ops: ops}})
		if err != nil || len(list) != 1 {
			t.Fatal(list, err)
		}
		if list[0].Err != nil && list[0].ErrMessage == "" {
			t.Error("without a reason:", list[0].Err)
		}
		return list[0].Err
	}
	op := func(key string, value float64) kadm.AlterClientQuotaOp {
		return kadm.AlterClientQuotaOp{Key: key, Value: value}
	}
	if err := alter(entity("user", "ann"), true, op("consumer_byte_rate", 5)); err != nil || len(quotas["ann"]) != 1 {
		t.Error(err, quotas)
	}
	if err := alter(entity("user", "ann"), false, op("consumer_byte_rate", 5), op("producer_byte_rate", 1e30)); err != nil {
		t.Error(err)
	}
	if err := alter(entity("user", "ben"), false, kadm.AlterClientQuotaOp{Key: "producer_byte_rate", Remove: true}); err != nil {
		t.Error(err)
	}
	show("{user=ann} [consumer_byte_rate=5.000000 producer_byte_rate=1125899906842624.000000]", false)
	for what, err := range map[string]error{
		"a client":          alter(entity("client-id", "x"), false, op("consumer_byte_rate", 5)),
		"the default":       alter(kadm.ClientQuotaEntity{{Type: "user"}}, false, op("consumer_byte_rate", 5)),
		"a user's client":   alter(append(entity("user", "ann"), entity("client-id", "x")...), false, op("consumer_byte_rate", 5)),
		"nobody":            alter(entity("user", "none"), false, op("consumer_byte_rate", 5)),
		"another key":       alter(entity("user", "ann"), false, op("request_percentage", 5)),
		"a RabbitMQ limit":  alter(entity("user", "ann"), false, op("max-queues", 5)),
		"twice":             alter(entity("user", "ann"), false, op("consumer_byte_rate", 5), op("consumer_byte_rate", 6)),
		"none":              alter(entity("user", "ann"), false, op("consumer_byte_rate", 0)),
		"a part":            alter(entity("user", "ann"), false, op("consumer_byte_rate", 1.5)),
		"no number":         alter(entity("user", "ann"), false, op("consumer_byte_rate", math.NaN())),
		"half of it is bad": alter(entity("user", "ann"), false, op("producer_byte_rate", 9), op("x", 1)),
	} {
		if codeIn(err) != 42 {
			t.Errorf("%s: %v", what, err)
		}
	}
	if q := quotas["ann"]; len(q) != 3 || q[broker.ConsumerByteRate] != 5 || q[broker.ProducerByteRate] == 9 {
		t.Error(q)
	}
}

func TestQuotasNeedUsersThatAreStored(t *testing.T) {
	r := newRig(t, nil)
	if _, err := r.admin().DescribeClientQuotas(testContext(t), false, nil); err == nil || errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}
