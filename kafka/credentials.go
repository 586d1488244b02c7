package kafka

import (
	"net"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leveret-mq/leveret/auth"
	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/kafka/wire"
)

// Credentials are what is stored of users for SCRAM.
type Credentials interface {
	// ScramUsers lists the users who have some, by name.
	ScramUsers() []string
	// ScramCredentials are those of a user, none of one who is not there.
	ScramCredentials(user string) []auth.Credential
	// AlterScram puts some of a user, who is made when there is none, and takes some
	// away: all of it or nothing. A mechanism of which there is none to take away is
	// an error of the kind NotFound.
	AlterScram(by auth.Identity, from net.Addr, user string, put []auth.Credential, drop []auth.Mechanism) error
}

// scramCodes are the mechanisms that Kafka's tools know, by their numbers.
var scramCodes = map[int8]auth.Mechanism{1: auth.ScramSHA256, 2: auth.ScramSHA512}

// maxKafkaIterations is the most that Kafka takes; its clients refuse no more than that.
const maxKafkaIterations = 16384

// credentialBytes is about what one takes in an answer.
const credentialBytes = 128

// Key 50, DescribeUserScramCredentials, version 0. Salts and keys do not leave.
func (c *conn) describeCredentials(r *kmsg.DescribeUserSCRAMCredentialsRequest) kmsg.Response {
	res := kmsg.NewPtrDescribeUserSCRAMCredentialsResponse()
	if code, text := c.mayCredentials(broker.Look); code != wire.None {
		res.ErrorCode, res.ErrorMessage = int16(code), &text
		return res
	}
	names := c.s.opts.Credentials.ScramUsers()
	if len(r.Users) > 0 { // none, or null, are all
		names = names[:0:0]
		for i := range r.Users {
			names = append(names, r.Users[i].Name)
		}
	}
	times := map[string]int{}
	for _, name := range names {
		times[name]++
	}
	for _, name := range names {
		one := kmsg.NewDescribeUserSCRAMCredentialsResponseResult()
		one.User = name
		if times[name] == 0 {
			continue // answered
		}
		if err := c.charge(credentialBytes*3 + len(name)); err != nil {
			res.ErrorCode, res.Results = int16(codeOf(err)), nil
			return res
		}
		for _, known := range c.s.opts.Credentials.ScramCredentials(name) {
			for number, m := range scramCodes {
				if m == known.Mechanism {
					one.CredentialInfos = append(one.CredentialInfos, kmsg.DescribeUserSCRAMCredentialsResponseResultCredentialInfo{
						Mechanism: number, Iterations: int32(known.Iterations)})
				}
			}
		}
		switch {
		case times[name] > 1:
			one.CredentialInfos = nil
			one.ErrorCode, one.ErrorMessage = int16(wire.DuplicateResource), kmsg.StringPtr("the user is asked for twice")
		case len(one.CredentialInfos) == 0:
			one.ErrorCode, one.ErrorMessage = int16(wire.ResourceNotFound), kmsg.StringPtr("the user has no SCRAM credentials")
		}
		times[name] = 0
		res.Results = append(res.Results, one)
	}
	return res
}

// mayCredentials tells whether the client may see or change credentials.
func (c *conn) mayCredentials(verb broker.Verb) (wire.Code, string) {
	if err := c.session.May(verb, broker.OnCluster, ""); err != nil {
		return codeOf(err), wire.Text(err.Error())
	}
	if c.s.opts.Credentials == nil {
		return wire.UnsupportedVersion, "no users are stored here"
	}
	return wire.None, ""
}

// alteration is what one request asks for one user.
type alteration struct {
	put  []auth.Credential
	drop []auth.Mechanism
	seen map[int8]bool
	code wire.Code // of what is wrong with it
	text string
}

func (a *alteration) fail(code wire.Code, text string) {
	if a.code == wire.None {
		a.code, a.text = code, text
	}
}

// mechanism takes note of a mechanism that is asked for.
func (a *alteration) mechanism(user string, number int8) auth.Mechanism {
	m, known := scramCodes[number]
	switch {
	case user == "":
		a.fail(wire.UnacceptableCredential, "the user's name is empty")
	case !known:
		a.fail(wire.UnsupportedSASLMechanism, "the SCRAM mechanism is not known")
	case a.seen[number]:
		a.fail(wire.DuplicateResource, "a credential is altered twice in one request")
	}
	a.seen[number] = true
	return m
}

// Key 51, AlterUserScramCredentials, version 0. What is asked for a user is done as a whole.
func (c *conn) alterCredentials(r *kmsg.AlterUserSCRAMCredentialsRequest) kmsg.Response {
	var names []string
	asked := map[string]*alteration{}
	of := func(name string) *alteration {
		if asked[name] == nil {
			asked[name] = &alteration{seen: map[int8]bool{}}
			names = append(names, name)
		}
		return asked[name]
	}
	for i := range r.Deletions {
		d := &r.Deletions[i]
		a := of(d.Name)
		a.drop = append(a.drop, a.mechanism(d.Name, d.Mechanism))
	}
	for i := range r.Upsertions {
		u := &r.Upsertions[i]
		a := of(u.Name)
		m := a.mechanism(u.Name, u.Mechanism)
		if a.code != wire.None {
			continue
		}
		if u.Iterations < auth.MinIterations || u.Iterations > maxKafkaIterations {
			a.fail(wire.UnacceptableCredential, "the iterations are not 4096 to 16384")
			continue
		}
		made, err := auth.SaltedCredential(m, u.Salt, int(u.Iterations), u.SaltedPassword)
		if err != nil {
			a.fail(wire.UnacceptableCredential, err.Error())
			continue
		}
		a.put = append(a.put, made)
	}
	code, text := c.mayCredentials(broker.Alter)
	res := kmsg.NewPtrAlterUserSCRAMCredentialsResponse()
	for _, name := range names {
		one := kmsg.NewAlterUserSCRAMCredentialsResponseResult()
		one.User = name
		if err := c.charge(credentialBytes + len(name)); err != nil {
			code, text = codeOf(err), wire.Text(err.Error())
		}
		a := asked[name]
		switch {
		case code != wire.None:
			a.code, a.text = code, text
		case a.code == wire.None:
			if err := c.s.opts.Credentials.AlterScram(c.who, c.nc.RemoteAddr(), name, a.put, a.drop); err != nil {
				a.code, a.text = credentialCode(err), wire.Text(err.Error())
			}
		}
		if one.ErrorCode = int16(a.code); a.code != wire.None {
			one.ErrorMessage = &a.text
		}
		res.Results = append(res.Results, one)
	}
	return res
}

// credentialCode is codeOf for what is asked of credentials.
func credentialCode(err error) wire.Code {
	switch broker.KindOf(err) {
	case broker.NotFound:
		return wire.ResourceNotFound
	case broker.Precondition:
		return wire.UnacceptableCredential
	}
	return codeOf(err)
}
