package kafka

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/kafka/wire"
)

// Keys 38 to 41, delegation tokens: they are off, and answered as by a Kafka to which nobody gave a secret for them. Users log in
// with passwords and certificates.

const userPrincipal = "User"

func (c *conn) createToken(r *kmsg.CreateDelegationTokenRequest) kmsg.Response {
	res := kmsg.NewPtrCreateDelegationTokenResponse()
	res.ErrorCode = int16(wire.TokensDisabled)
	res.PrincipalType, res.PrincipalName = userPrincipal, c.who.Name
	res.TokenRequesterPrincipalType, res.TokenRequesterPrincipalName = userPrincipal, c.who.Name
	if owner := deref(r.OwnerPrincipalName); r.Version >= 3 && owner != "" {
		res.PrincipalType, res.PrincipalName = deref(r.OwnerPrincipalType), owner
		if owner != c.who.Name && c.session.May(broker.Alter, broker.OnCluster, "") != nil {
			res.ErrorCode = int16(wire.TokenAuthFailed)
			res.IssueTimestamp, res.ExpiryTimestamp, res.MaxTimestamp = -1, -1, -1
			return res
		}
	}
	for i := range r.Renewers {
		if r.Renewers[i].PrincipalType != userPrincipal {
			res.ErrorCode = int16(wire.InvalidPrincipalType)
			res.IssueTimestamp, res.ExpiryTimestamp, res.MaxTimestamp = -1, -1, -1
		}
	}
	return res
}

func (c *conn) renewToken(*kmsg.RenewDelegationTokenRequest) kmsg.Response {
	res := kmsg.NewPtrRenewDelegationTokenResponse()
	res.ErrorCode = int16(wire.TokensDisabled)
	return res
}

func (c *conn) expireToken(*kmsg.ExpireDelegationTokenRequest) kmsg.Response {
	res := kmsg.NewPtrExpireDelegationTokenResponse()
	res.ErrorCode = int16(wire.TokensDisabled)
	return res
}

func (c *conn) describeTokens(*kmsg.DescribeDelegationTokenRequest) kmsg.Response {
	res := kmsg.NewPtrDescribeDelegationTokenResponse()
	res.ErrorCode = int16(wire.TokensDisabled)
	return res
}
