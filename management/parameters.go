package management

import (
	"encoding/json"
	"net/http"
	"slices"

	"github.com/leveret-mq/leveret/broker"
)

// parameterRows are about RabbitMQ's runtime parameters.
var parameterRows = []row{
	{path: "parameters", method: get, who: policymaker, do: (*call).listParameters, about: "The parameters of all components in the virtual hosts that the user may enter"},
	{path: "parameters/{component}", method: get, who: policymaker, do: (*call).listComponent, about: "The parameters of a component"},
	{path: "parameters/{component}/{vhost}", method: get, who: policymaker, do: (*call).listComponentIn, about: "The parameters of a component in a virtual host"},
	{path: "parameters/{component}/{vhost}/{name}", method: get, who: policymaker, do: (*call).getParameter, about: "A parameter"},
	{path: "parameters/{component}/{vhost}/{name}", method: put, who: policymaker, scope: seen, do: (*call).putParameter, body: valueBody{},
		about: "Sets a parameter of a component that is here: operator_policy, or vhost-limits with the name limits"},
	{path: "parameters/{component}/{vhost}/{name}", method: del, who: policymaker, scope: seen, do: (*call).deleteParameter, gives: http.StatusNoContent,
		about: "Deletes a parameter"},
	{path: "global-parameters", method: get, who: policymaker, do: (*call).listGlobalParameters, about: "The parameters of no virtual host"},
	{path: "global-parameters/{name}", method: get, who: policymaker, do: (*call).getGlobalParameter, about: "A parameter of no virtual host"},
	{path: "global-parameters/{name}", method: put, who: policymaker, do: (*call).putGlobalParameter, body: valueBody{}, about: "Sets a parameter of no virtual host"},
	{path: "global-parameters/{name}", method: del, who: policymaker, do: (*call).deleteGlobalParameter, gives: http.StatusNoContent, about: "Deletes a parameter of no virtual host"},
}

type valueBody struct {
	Value json.RawMessage `json:"value" needed:"true"`
}

// Components whose parameters are more than kept. They are administrators'.
const (
	operatorPolicies = "operator_policy"
	vhostLimits      = "vhost-limits"
	limitsName       = "limits"
)

// parametersIn are the parameters of a virtual host, in the order of their components.
func parametersIn(v *broker.VHost) []broker.Parameter {
	out := v.Parameters()
	for _, p := range v.Policies() {
		if p.Operator {
			value := object{{"pattern", p.Pattern}, {"apply-to", p.ApplyTo}, {"definition", p.Definition}, {"priority", p.Priority}}.append(nil)
			out = append(out, broker.Parameter{Component: operatorPolicies, Name: p.Name, Value: value})
		}
	}
	if limits := v.Limits(); len(limits) > 0 {
		out = append(out, broker.Parameter{Component: vhostLimits, Name: limitsName, Value: limitsObject(limits).append(nil)})
	}
	return out
}

func parameterObject(vhost string, p *broker.Parameter) object {
	return object{{"value", p.Value}, {"vhost", vhost}, {"component", p.Component}, {"name", p.Name}}
}

// parameters answers with those of virtual hosts, of one component if it is named: of one that nobody knows there are none, as on RabbitMQ.
func (c *call) parameters(component string, hosts ...*broker.VHost) error {
	out := []object{}
	for _, v := range hosts {
		for _, p := range parametersIn(v) {
			if component == "" || component == p.Component {
				out = append(out, parameterObject(v.Name, &p))
			}
		}
	}
	return c.list(out)
}

func (c *call) listParameters() error  { return c.parameters("", c.vhosts(false)...) }
func (c *call) listComponent() error   { return c.parameters(c.arg("component"), c.vhosts(false)...) }
func (c *call) listComponentIn() error { return c.parameters(c.arg("component"), c.vhost) }

// findParameter is the parameter of the path, false if there is none.
func (c *call) findParameter() (broker.Parameter, bool) {
	for _, p := range parametersIn(c.vhost) {
		if p.Component == c.arg("component") && p.Name == c.arg("name") {
			return p, true
		}
	}
	return broker.Parameter{}, false
}

func (c *call) getParameter() error {
	p, ok := c.findParameter()
	if !ok {
		return missing()
	}
	return c.one(parameterObject(c.vhost.Name, &p))
}

func (c *call) putParameter() error {
	component, name := c.arg("component"), c.arg("name")
	var b valueBody
	if err := c.body(&b); err != nil {
		return err
	}
	if component != operatorPolicies && component != vhostLimits {
		return invalid("component %s not found", component)
	}
	if !c.is(administrator) {
		return notAuthorised("%s", administrator.refusal())
	}
	fields := map[string]json.RawMessage{}
	if json.Unmarshal(b.Value, &fields) != nil || fields == nil {
		return invalid("the value of a parameter of %s should be an object, actually was %s", component, term(b.Value))
	}
	if component == operatorPolicies {
		var p policyBody
		if err := fill(&p, fields); err != nil {
			return err
		}
		return c.storePolicy(&p, name, true)
	}
	if name != limitsName {
		return invalid("the parameter of %s is called %s", vhostLimits, limitsName)
	}
	limits := map[string]int64{}
	for kind, text := range fields {
		n, err := readLimit(kind, text)
		if err != nil {
			return err
		}
		limits[kind] = n
	}
	created := len(c.vhost.Limits()) == 0
	if err := c.s.opts.Broker.SetVHostLimits(c.actor(), c.vhost.Name, limits); err != nil {
		return asInvalid(err)
	}
	return c.put(created)
}

func (c *call) deleteParameter() error {
	p, ok := c.findParameter()
	if !ok {
		return missing()
	}
	here := p.Component == operatorPolicies || p.Component == vhostLimits
	if here && !c.is(administrator) {
		return notAuthorised("%s", administrator.refusal())
	}
	var err error
	switch p.Component {
	case operatorPolicies:
		return c.dropPolicy(p.Name, true)
	case vhostLimits:
		err = c.s.opts.Broker.SetVHostLimits(c.actor(), c.vhost.Name, nil)
	default:
		err = c.vhost.DeleteParameter(c.actor(), p.Component, p.Name)
	}
	if err != nil {
		return err
	}
	return c.none()
}

// globalParameters are those that were set, and the name that the broker has without.
func (c *call) globalParameters() []broker.Parameter {
	list := c.s.opts.Broker.GlobalParameters()
	if slices.ContainsFunc(list, func(p broker.Parameter) bool { return p.Name == clusterParameter }) {
		return list
	}
	return append(list, broker.Parameter{Name: clusterParameter, Value: appendJSON(nil, c.s.nameOfCluster())})
}

func globalObject(p *broker.Parameter) object { return object{{"name", p.Name}, {"value", p.Value}} }

func (c *call) listGlobalParameters() error {
	out := []object{}
	for _, p := range c.globalParameters() {
		out = append(out, globalObject(&p))
	}
	return c.list(out)
}

func (c *call) getGlobalParameter() error {
	for _, p := range c.globalParameters() {
		if p.Name == c.arg("name") {
			return c.one(globalObject(&p))
		}
	}
	return missing()
}

func (c *call) putGlobalParameter() error {
	var b valueBody
	if err := c.body(&b); err != nil {
		return err
	}
	name := c.arg("name")
	_, missing := c.s.opts.Broker.GlobalParameter(name)
	if err := c.s.opts.Broker.PutGlobalParameters(c.actor(), broker.Parameter{Name: name, Value: b.Value}); err != nil {
		return asInvalid(err)
	}
	return c.put(missing != nil)
}

func (c *call) deleteGlobalParameter() error {
	err := c.s.opts.Broker.DeleteGlobalParameter(c.actor(), c.arg("name"))
	switch {
	case broker.KindOf(err) == broker.NotFound:
		return missing()
	case err != nil:
		return err
	}
	return c.none()
}
