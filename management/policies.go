package management

import (
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/leveret-mq/leveret/broker"
)

// policyRows are about policies, and operators' policies.
var policyRows = []row{
	{path: "policies", method: get, who: management, do: (*call).listPolicies, about: "All policies of the virtual hosts that the user may enter"},
	{path: "policies/{vhost}", method: get, who: management, do: (*call).listVHostPolicies, about: "The policies of a virtual host"},
	{path: "policies/{vhost}/{name}", method: get, who: management, do: (*call).getPolicy, about: "A policy"},
	{path: "policies/{vhost}/{name}", method: put, who: policymaker, scope: seen, do: (*call).putPolicy, body: policyBody{},
		about: "Makes a policy or changes it; it holds at once, for what is there too"},
	{path: "policies/{vhost}/{name}", method: del, who: policymaker, scope: seen, do: (*call).deletePolicy, gives: http.StatusNoContent,
		about: "Deletes a policy; what it changed is as it was before"},
	{path: "operator-policies", method: get, who: management, do: (*call).listOperatorPolicies, about: "All operators' policies of the virtual hosts that the user may enter"},
	{path: "operator-policies/{vhost}", method: get, who: management, do: (*call).listVHostOperatorPolicies, about: "The operators' policies of a virtual host"},
	{path: "operator-policies/{vhost}/{name}", method: get, who: management, do: (*call).getOperatorPolicy, about: "An operators' policy"},
	{path: "operator-policies/{vhost}/{name}", method: put, who: administrator, scope: seen, do: (*call).putOperatorPolicy, body: policyBody{},
		about: "Makes an operators' policy or changes it: limits over those that others set"},
	{path: "operator-policies/{vhost}/{name}", method: del, who: administrator, scope: seen, do: (*call).deleteOperatorPolicy, gives: http.StatusNoContent,
		about: "Deletes an operators' policy"},
}

// policyBody is what is said of a policy. Its values are looked at one by one, so that the words are RabbitMQ's.
type policyBody struct {
	Pattern    json.RawMessage `json:"pattern" needed:"true" schema:"string"`
	Definition json.RawMessage `json:"definition" needed:"true" schema:"object"`
	Priority   json.RawMessage `json:"priority" schema:"integer"`
	ApplyTo    json.RawMessage `json:"apply-to" schema:"string"`
}

// invalid is what is wrong with a policy or a parameter.
func invalid(format string, args ...any) *failure {
	f := badRequest(format, args...)
	f.reason = "Validation failed\n\n" + f.reason + "\n"
	return f
}

// asInvalid has what the broker finds wrong with a setting be answered as invalid.
func asInvalid(err error) error {
	switch broker.KindOf(err) {
	case broker.BadSetting, broker.Precondition:
		return invalid("%s", err.Error())
	}
	return err
}

// term writes a value as RabbitMQ's errors do.
func term(text json.RawMessage) string {
	var v any
	if json.Unmarshal(text, &v) != nil {
		return short(text)
	}
	if n, ok := v.(float64); ok {
		return strconv.FormatFloat(n, 'f', -1, 64)
	}
	return short(json.RawMessage(broker.ErlangTerm(v)))
}

// policy reads a policy of that name.
func (b *policyBody) policy(name string, operator bool) (p broker.SettingPolicy, err error) {
	p = broker.SettingPolicy{Name: name, Operator: operator, Definition: b.Definition}
	if json.Unmarshal(b.Pattern, &p.Pattern) != nil || string(b.Pattern) == "null" {
		return p, invalid("pattern should be a regular expression in a string, actually was %s", term(b.Pattern))
	}
	if given(b.ApplyTo) && json.Unmarshal(b.ApplyTo, &p.ApplyTo) != nil {
		return p, invalid("apply-to '%s' unrecognised; should be one of: 'queues', 'classic_queues',  'quorum_queues', 'streams', 'exchanges', or 'all'", term(b.ApplyTo))
	}
	if !given(b.Priority) {
		return p, nil
	}
	n, ok := readInt(b.Priority)
	if !ok || b.Priority[0] == '"' {
		return p, invalid("priority should be a number, actually was %s", term(b.Priority))
	}
	p.Priority = n
	return p, nil
}

// given says whether a field is there.
func given(text json.RawMessage) bool { return len(text) > 0 && string(text) != "null" }

func policyObject(vhost string, p *broker.SettingPolicy) object {
	return object{{"vhost", vhost}, {"name", p.Name}, {"pattern", p.Pattern}, {"apply-to", p.ApplyTo}, {"definition", p.Definition}, {"priority", p.Priority}}
}

// policiesOf are those of virtual hosts, of either kind.
func policiesOf(operator bool, hosts ...*broker.VHost) []object {
	out := []object{}
	for _, v := range hosts {
		for _, p := range v.Policies() {
			if p.Operator == operator {
				out = append(out, policyObject(v.Name, &p))
			}
		}
	}
	return out
}

func (c *call) listPolicies() error              { return c.list(policiesOf(false, c.vhosts(false)...)) }
func (c *call) listOperatorPolicies() error      { return c.list(policiesOf(true, c.vhosts(false)...)) }
func (c *call) listVHostPolicies() error         { return c.list(policiesOf(false, c.vhost)) }
func (c *call) listVHostOperatorPolicies() error { return c.list(policiesOf(true, c.vhost)) }
func (c *call) getPolicy() error                 { return c.showPolicy(false) }
func (c *call) getOperatorPolicy() error         { return c.showPolicy(true) }
func (c *call) putPolicy() error                 { return c.setPolicy(false) }
func (c *call) putOperatorPolicy() error         { return c.setPolicy(true) }
func (c *call) deletePolicy() error              { return c.dropPolicy(c.arg("name"), false) }
func (c *call) deleteOperatorPolicy() error      { return c.dropPolicy(c.arg("name"), true) }

// findPolicy is the policy of that name in the virtual host of the path, nil if there is none.
func (c *call) findPolicy(name string, operator bool) *broker.SettingPolicy {
	for _, p := range c.vhost.Policies() {
		if p.Operator == operator && p.Name == name {
			return &p
		}
	}
	return nil
}

func (c *call) showPolicy(operator bool) error {
	p := c.findPolicy(c.arg("name"), operator)
	if p == nil {
		return missing()
	}
	return c.one(policyObject(c.vhost.Name, p))
}

func (c *call) setPolicy(operator bool) error {
	var b policyBody
	if err := c.body(&b); err != nil {
		return err
	}
	return c.storePolicy(&b, c.arg("name"), operator)
}

func (c *call) storePolicy(b *policyBody, name string, operator bool) error {
	p, err := b.policy(name, operator)
	if err != nil {
		return err
	}
	created := c.findPolicy(name, operator) == nil
	if err := c.vhost.PutPolicies(c.actor(), p); err != nil {
		return asInvalid(err)
	}
	return c.put(created)
}

func (c *call) dropPolicy(name string, operator bool) error {
	err := c.vhost.DeletePolicy(c.actor(), name, operator)
	switch {
	case broker.KindOf(err) == broker.NotFound:
		return missing()
	case err != nil:
		return err
	}
	return c.none()
}
