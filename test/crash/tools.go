package main

import (
	"fmt"
	"math/rand/v2"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leveret-mq/leveret/test/process"
)

// tools does what administrators do over Kafka's protocol: topics come, are set, grow and go, users get credentials for SCRAM, access
// lists and quotas, and lose them. What was answered holds after a kill; of the one thing that was not, all or nothing.
type tools struct {
	watched
	topics, sizes         [toolNames]fact // retention.ms; partitions
	scrams, lists, quotas [toolNames]fact // iterations; an operation; bytes a second
	serial, asked         int
}

const (
	toolNames = 3
	toolTopic = "crash.tool.list" // that access lists are about
)

func newTools() *tools { return new(tools) }

func (t *tools) summary() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return fmt.Sprintf("%d acts of Kafka's tools", t.asked)
}

func toolName(k int) string { return fmt.Sprint("crash.tool.", k) }

func (t *tools) next() string {
	t.serial++
	return fmt.Sprint(1_000_000 + t.serial)
}

// declare makes the users: who has no credentials any more is there still.
func (t *tools) declare(a *asker) error {
	for k := range toolNames {
		if err := t.act(t.scram(a, k, "5000")); err != nil {
			return err
		}
	}
	return nil
}

func (t *tools) load(l *life) error {
	rng := l.h.fork()
	return l.work(&t.watched, "Kafka's tools", func(a *asker) error {
		for {
			if err := t.act(t.draw(a, rng)); err != nil {
				return err
			}
		}
	})
}

// wish is one act: what it makes of facts, and how it is asked for.
type wish struct {
	what string
	of   map[*fact]string
	ask  func() (int16, error)
}

func (t *tools) act(w wish) error {
	for f, next := range w.of {
		f.ask(next)
	}
	code, err := w.ask()
	if err == nil {
		err = must(w.what, code)
	}
	if err != nil {
		return err
	}
	for f := range w.of {
		f.answered()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.asked++
	t.heard = true
	return nil
}

func (t *tools) draw(a *asker, rng *rand.Rand) wish {
	k := rng.IntN(toolNames)
	switch dice := rng.IntN(8); {
	case dice < 4 && t.topics[k].now == "":
		return t.create(a, k)
	case dice == 0:
		return t.remove(a, k)
	case dice < 3:
		next := t.next()
		return wish{"set a topic", map[*fact]string{&t.topics[k]: next}, func() (int16, error) {
			return setConfig(a, kmsg.ConfigResourceTypeTopic, toolName(k), "retention.ms", next)
		}}
	case dice == 3:
		return t.grow(a, k)
	case dice < 6:
		if t.scrams[k].now != "" && rng.IntN(3) == 0 {
			return t.scram(a, k, "")
		}
		return t.scram(a, k, fmt.Sprint(4096+rng.IntN(10_000)))
	case dice == 6:
		return t.list(a, k)
	default:
		return t.quota(a, k, rng.IntN(3) == 0)
	}
}

func (t *tools) create(a *asker, k int) wish {
	next := t.next()
	return wish{"create a topic", map[*fact]string{&t.topics[k]: next, &t.sizes[k]: "1"}, func() (int16, error) {
		_, code, err := newTopic(a, toolName(k), 1, map[string]string{"retention.ms": next})
		return code, err
	}}
}

func (t *tools) remove(a *asker, k int) wish {
	return wish{"delete a topic", map[*fact]string{&t.topics[k]: "", &t.sizes[k]: ""}, func() (int16, error) {
		q := kmsg.NewPtrDeleteTopicsRequest()
		one := kmsg.NewDeleteTopicsRequestTopic()
		one.Topic = kmsg.StringPtr(toolName(k))
		q.Topics, q.TimeoutMillis = append(q.Topics, one), int32(kafkaDeadline.Milliseconds())
		res, err := process.Ask[*kmsg.DeleteTopicsResponse](a, q, 6)
		if err != nil {
			return 0, err
		}
		return res.Topics[0].ErrorCode, nil
	}}
}

func (t *tools) grow(a *asker, k int) wish {
	var n int32
	_, _ = fmt.Sscan(t.sizes[k].now, &n)
	n++
	return wish{"add a partition", map[*fact]string{&t.sizes[k]: fmt.Sprint(n)}, func() (int16, error) {
		q := kmsg.NewPtrCreatePartitionsRequest()
		one := kmsg.NewCreatePartitionsRequestTopic()
		one.Topic, one.Count = toolName(k), n
		q.Topics, q.TimeoutMillis = append(q.Topics, one), int32(kafkaDeadline.Milliseconds())
		res, err := process.Ask[*kmsg.CreatePartitionsResponse](a, q, 3)
		if err != nil {
			return 0, err
		}
		return res.Topics[0].ErrorCode, nil
	}}
}

// scramSHA256 is the mechanism's number.
const scramSHA256 = 1

// scram gives a user credentials, or takes them away.
func (t *tools) scram(a *asker, k int, iterations string) wish {
	return wish{"alter credentials", map[*fact]string{&t.scrams[k]: iterations}, func() (int16, error) {
		q := kmsg.NewPtrAlterUserSCRAMCredentialsRequest()
		if iterations == "" {
			q.Deletions = append(q.Deletions, kmsg.AlterUserSCRAMCredentialsRequestDeletion{Name: toolName(k), Mechanism: scramSHA256})
		} else {
			u := kmsg.NewAlterUserSCRAMCredentialsRequestUpsertion()
			u.Name, u.Mechanism, u.Salt, u.SaltedPassword = toolName(k), scramSHA256, []byte("sixteen of salt!"), []byte("thirty-two bytes of salted words")
			if _, err := fmt.Sscan(iterations, &u.Iterations); err != nil {
				return 0, err
			}
			q.Upsertions = append(q.Upsertions, u)
		}
		res, err := process.Ask[*kmsg.AlterUserSCRAMCredentialsResponse](a, q, 0)
		if err != nil {
			return 0, err
		}
		return res.Results[0].ErrorCode, nil
	}}
}

// list gives a user an entry, or takes it away.
func (t *tools) list(a *asker, k int) wish {
	principal := "User:" + toolName(k)
	if t.lists[k].now != "" {
		return wish{"delete an entry of an access list", map[*fact]string{&t.lists[k]: ""}, func() (int16, error) {
			q := kmsg.NewPtrDeleteACLsRequest()
			f := kmsg.NewDeleteACLsRequestFilter()
			f.ResourceType, f.ResourceName, f.ResourcePatternType = kmsg.ACLResourceTypeTopic, kmsg.StringPtr(toolTopic), kmsg.ACLResourcePatternTypeLiteral
			f.Principal, f.Operation, f.PermissionType = &principal, kmsg.ACLOperationAny, kmsg.ACLPermissionTypeAny
			q.Filters = append(q.Filters, f)
			res, err := process.Ask[*kmsg.DeleteACLsResponse](a, q, 3)
			if err != nil {
				return 0, err
			}
			return res.Results[0].ErrorCode, nil
		}}
	}
	return wish{"add an entry to an access list", map[*fact]string{&t.lists[k]: "READ"}, func() (int16, error) {
		q := kmsg.NewPtrCreateACLsRequest()
		c := kmsg.NewCreateACLsRequestCreation()
		c.ResourceType, c.ResourceName, c.ResourcePatternType = kmsg.ACLResourceTypeTopic, toolTopic, kmsg.ACLResourcePatternTypeLiteral
		c.Principal, c.Host, c.Operation, c.PermissionType = principal, "*", kmsg.ACLOperationRead, kmsg.ACLPermissionTypeAllow
		q.Creations = append(q.Creations, c)
		res, err := process.Ask[*kmsg.CreateACLsResponse](a, q, 3)
		if err != nil {
			return 0, err
		}
		return res.Results[0].ErrorCode, nil
	}}
}

func (t *tools) quota(a *asker, k int, remove bool) wish {
	next := ""
	if !remove {
		next = t.next()
	}
	return wish{"alter a quota", map[*fact]string{&t.quotas[k]: next}, func() (int16, error) {
		q := kmsg.NewPtrAlterClientQuotasRequest()
		e := kmsg.NewAlterClientQuotasRequestEntry()
		e.Entity = append(e.Entity, kmsg.AlterClientQuotasRequestEntryEntity{Type: "user", Name: kmsg.StringPtr(toolName(k))})
		op := kmsg.NewAlterClientQuotasRequestEntryOp()
		op.Key, op.Remove = "producer_byte_rate", remove
		_, _ = fmt.Sscan(next, &op.Value) // of none there is none
		e.Ops = append(e.Ops, op)
		q.Entries = append(q.Entries, e)
		res, err := process.Ask[*kmsg.AlterClientQuotasResponse](a, q, 1)
		if err != nil {
			return 0, err
		}
		return res.Entries[0].ErrorCode, nil
	}}
}

func (t *tools) verify(a *asker) error {
	seen := map[*fact]string{}
	if err := t.seeTopics(a, seen); err != nil {
		return err
	}
	if err := t.seeUsers(a, seen); err != nil {
		return err
	}
	for k := range toolNames {
		if there := seen[&t.topics[k]] != ""; there != (seen[&t.sizes[k]] != "") {
			return wrongf("topic %s has %q partitions and a retention of %q", toolName(k), seen[&t.sizes[k]], seen[&t.topics[k]])
		}
		for what, f := range map[string]*fact{"the retention of topic ": &t.topics[k], "the number of partitions of topic ": &t.sizes[k],
			"the credential of user ": &t.scrams[k], "the access list of user ": &t.lists[k], "the quota of user ": &t.quotas[k]} {
			if err := f.settle(seen[f], what+toolName(k)); err != nil {
				return fmt.Errorf("%w: %w", errWrong, err)
			}
		}
	}
	return nil
}

func (t *tools) seeTopics(a *asker, seen map[*fact]string) error {
	m, d := kmsg.NewPtrMetadataRequest(), kmsg.NewPtrDescribeConfigsRequest()
	m.AllowAutoTopicCreation = false
	for k := range toolNames {
		one := kmsg.NewMetadataRequestTopic()
		one.Topic = kmsg.StringPtr(toolName(k))
		m.Topics = append(m.Topics, one)
		r := kmsg.NewDescribeConfigsRequestResource()
		r.ResourceType, r.ResourceName, r.ConfigNames = kmsg.ConfigResourceTypeTopic, toolName(k), []string{"retention.ms"}
		d.Resources = append(d.Resources, r)
	}
	meta, err := process.Ask[*kmsg.MetadataResponse](a, m, 9)
	if err != nil {
		return err
	}
	configs, err := process.Ask[*kmsg.DescribeConfigsResponse](a, d, 4)
	if err != nil {
		return err
	}
	for k := range toolNames {
		for _, one := range meta.Topics {
			if *one.Topic == toolName(k) && one.ErrorCode == 0 {
				seen[&t.sizes[k]] = fmt.Sprint(len(one.Partitions))
			}
		}
		for _, r := range configs.Resources {
			if r.ResourceName == toolName(k) && r.ErrorCode == 0 {
				seen[&t.topics[k]] = kmsgText(r.Configs[0].Value)
			}
		}
	}
	return nil
}

func (t *tools) seeUsers(a *asker, seen map[*fact]string) error {
	of := map[string]int{}
	for k := range toolNames {
		of[toolName(k)] = k
	}
	scrams, err := process.Ask[*kmsg.DescribeUserSCRAMCredentialsResponse](a, kmsg.NewPtrDescribeUserSCRAMCredentialsRequest(), 0)
	if err != nil {
		return err
	}
	for _, u := range scrams.Results {
		for _, c := range u.CredentialInfos {
			if k, mine := of[u.User]; mine && c.Mechanism == scramSHA256 {
				seen[&t.scrams[k]] = fmt.Sprint(c.Iterations)
			}
		}
	}
	l := kmsg.NewPtrDescribeACLsRequest()
	l.ResourceType, l.ResourcePatternType, l.ResourceName = kmsg.ACLResourceTypeTopic, kmsg.ACLResourcePatternTypeLiteral, kmsg.StringPtr(toolTopic)
	l.Operation, l.PermissionType = kmsg.ACLOperationAny, kmsg.ACLPermissionTypeAny
	lists, err := process.Ask[*kmsg.DescribeACLsResponse](a, l, 3)
	if err != nil {
		return err
	}
	for _, r := range lists.Resources {
		for _, e := range r.ACLs {
			for name, k := range of {
				if e.Principal == "User:"+name && e.Operation == kmsg.ACLOperationRead { // others come with it
					seen[&t.lists[k]] = e.Operation.String()
				}
			}
		}
	}
	q := kmsg.NewPtrDescribeClientQuotasRequest()
	q.Components = append(q.Components, kmsg.DescribeClientQuotasRequestComponent{EntityType: "user", MatchType: 2})
	quotas, err := process.Ask[*kmsg.DescribeClientQuotasResponse](a, q, 1)
	if err != nil {
		return err
	}
	for _, e := range quotas.Entries {
		if k, mine := of[kmsgText(e.Entity[0].Name)]; mine && len(e.Values) > 0 {
			seen[&t.quotas[k]] = fmt.Sprint(int64(e.Values[0].Value))
		}
	}
	return nil
}
