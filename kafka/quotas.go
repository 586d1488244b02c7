package kafka

import (
	"math"
	"net"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leveret-mq/leveret/auth"
	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/kafka/wire"
)

// Quotas are the stored limits of users.
type Quotas interface {
	// Limited lists the users who have limits, by name.
	Limited() []string
	// Limits are those of a user. The map is not changed.
	Limits(user string) map[string]int64
	// AlterLimits sets some of a user, and takes some away: all of it or nothing. A dry
	// one says only what is wrong with it.
	AlterLimits(by auth.Identity, from net.Addr, user string, set map[string]int64, clear []string, dry bool) error
}

// quotaKeys are the limits that Kafka has quotas for, of the same names.
var quotaKeys = []string{broker.ConsumerByteRate, broker.ProducerByteRate}

// quotaBytes is about what one takes in an answer.
const quotaBytes = 128

const userEntity = "user"

// Key 48, DescribeClientQuotas, versions 0 and 1. There are quotas of users by name only.
func (c *conn) describeQuotas(r *kmsg.DescribeClientQuotasRequest) kmsg.Response {
	res := kmsg.NewPtrDescribeClientQuotasResponse()
	fail := func(code wire.Code, text string) kmsg.Response {
		res.ErrorCode, res.ErrorMessage, res.Entries = int16(code), kmsg.StringPtr(text), nil
		return res
	}
	if code, text := c.mayQuotas(broker.Look); code != wire.None {
		return fail(code, text)
	}
	wanted, code, text := quotaFilter(r)
	if code != wire.None {
		return fail(code, text)
	}
	for _, user := range c.s.opts.Quotas.Limited() {
		if !wanted(user) {
			continue
		}
		var values []kmsg.DescribeClientQuotasResponseEntryValue
		limits := c.s.opts.Quotas.Limits(user)
		for _, key := range quotaKeys {
			if n, ok := limits[key]; ok && n >= 0 {
				values = append(values, kmsg.DescribeClientQuotasResponseEntryValue{Key: key, Value: float64(n)})
			}
		}
		if len(values) == 0 {
			continue
		}
		if err := c.charge(quotaBytes + len(user)); err != nil {
			return fail(codeOf(err), wire.Text(err.Error()))
		}
		one := kmsg.NewDescribeClientQuotasResponseEntry()
		one.Entity = []kmsg.DescribeClientQuotasResponseEntryEntity{{Type: userEntity, Name: &user}}
		one.Values = values
		res.Entries = append(res.Entries, one)
	}
	if res.Entries == nil {
		res.Entries = []kmsg.DescribeClientQuotasResponseEntry{} // null is an error to clients
	}
	return res
}

// quotaFilter says of which users the quotas are asked for.
func quotaFilter(r *kmsg.DescribeClientQuotasRequest) (wanted func(user string) bool, code wire.Code, text string) {
	nobody := r.Strict && len(r.Components) == 0 // of an entity without a name
	var name *string
	seen := map[string]bool{}
	for i := range r.Components {
		f := &r.Components[i]
		switch {
		case f.EntityType == "":
			return nil, wire.InvalidRequest, "Unexpected empty filter component entity type"
		case seen[f.EntityType]:
			return nil, wire.InvalidRequest, "Duplicate filter component entity type '" + wire.Text(f.EntityType) + "'"
		case f.EntityType != userEntity && f.EntityType != "client-id" && f.EntityType != "ip":
			return nil, wire.UnsupportedVersion, "Custom entity type '" + wire.Text(f.EntityType) + "' not supported"
		case f.MatchType < 0 || f.MatchType > 2 || (f.MatchType == kmsg.QuotasMatchTypeExact) != (f.Match != nil):
			return nil, wire.InvalidRequest, "Unexpected match type or name"
		case f.EntityType == "ip" && len(r.Components) > 1:
			return nil, wire.InvalidRequest, "Invalid entity filter component combination"
		}
		seen[f.EntityType] = true
		if f.EntityType != userEntity || f.MatchType == kmsg.QuotasMatchTypeDefault {
			nobody = true // has any
		} else if f.MatchType == kmsg.QuotasMatchTypeExact {
			name = f.Match
		}
	}
	return func(user string) bool { return !nobody && (name == nil || *name == user) }, wire.None, ""
}

// mayQuotas tells whether the client may see or change quotas.
func (c *conn) mayQuotas(verb broker.Verb) (wire.Code, string) {
	if err := c.session.May(verb, broker.OnCluster, ""); err != nil {
		return codeOf(err), wire.Text(err.Error())
	}
	if c.s.opts.Quotas == nil {
		return wire.UnsupportedVersion, "no users are stored here"
	}
	return wire.None, ""
}

// Key 49, AlterClientQuotas, versions 0 and 1. What is asked for an entity is done as a whole.
func (c *conn) alterQuotas(r *kmsg.AlterClientQuotasRequest) kmsg.Response {
	res := kmsg.NewPtrAlterClientQuotasResponse()
	res.Entries = []kmsg.AlterClientQuotasResponseEntry{}
	code, text := c.mayQuotas(broker.Alter)
	for i := range r.Entries {
		e := &r.Entries[i]
		one := kmsg.NewAlterClientQuotasResponseEntry()
		size := quotaBytes
		for k := range e.Entity {
			one.Entity = append(one.Entity, kmsg.AlterClientQuotasResponseEntryEntity{Type: e.Entity[k].Type, Name: e.Entity[k].Name})
			size += quotaBytes + len(e.Entity[k].Type)
		}
		why, what := code, text
		if err := c.charge(size); err != nil {
			why, what = codeOf(err), wire.Text(err.Error())
		}
		if why == wire.None {
			why, what = c.alterQuota(e, r.ValidateOnly)
		}
		if one.ErrorCode = int16(why); why != wire.None {
			one.ErrorMessage = &what
		}
		res.Entries = append(res.Entries, one)
	}
	return res
}

// alterQuota does what is asked for one entity.
func (c *conn) alterQuota(e *kmsg.AlterClientQuotasRequestEntry, dry bool) (wire.Code, string) {
	if len(e.Entity) != 1 || e.Entity[0].Type != userEntity || e.Entity[0].Name == nil || *e.Entity[0].Name == "" {
		return wire.InvalidRequest, "quotas are kept here of users by name, not of clients, addresses or defaults"
	}
	set, clear := map[string]int64{}, []string(nil)
	for i := range e.Ops {
		op := &e.Ops[i]
		_, twice := set[op.Key]
		switch {
		case op.Remove && (op.Key == "request_percentage" || op.Key == "controller_mutation_rate"):
			continue // Kafka's others, of which there are none
		case !slices.Contains(quotaKeys, op.Key):
			return wire.InvalidRequest, "Invalid configuration key " + wire.Text(op.Key)
		case twice || slices.Contains(clear, op.Key):
			return wire.InvalidRequest, "Duplicate configuration key " + op.Key
		case op.Remove:
			clear = append(clear, op.Key)
			continue
		case math.IsNaN(op.Value) || op.Value < 1 || op.Value != math.Trunc(op.Value):
			return wire.InvalidRequest, "Configuration " + op.Key + " must be a whole number from 1 on"
		}
		set[op.Key] = int64(min(op.Value, broker.MaxByteRate))
	}
	user := *e.Entity[0].Name
	if len(set)+len(clear) == 0 {
		return wire.None, ""
	}
	if err := c.s.opts.Quotas.AlterLimits(c.who, c.nc.RemoteAddr(), user, set, clear, dry); err != nil {
		switch broker.KindOf(err) {
		case broker.NotFound, broker.Precondition:
			return wire.InvalidRequest, wire.Text(err.Error())
		}
		return codeOf(err), wire.Text(err.Error())
	}
	return wire.None, ""
}
