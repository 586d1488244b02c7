package broker

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/leveret-mq/leveret/internal/audit"
	"github.com/leveret-mq/leveret/store"
)

// Parameter is what RabbitMQ calls a runtime parameter: a value that belongs to a component. Those of
// components that are not here (shovels, federation) are kept and have no effect, so that who exports
// definitions gets what was imported.
type Parameter struct {
	Component string // "" of a global one
	Name      string
	Value     json.RawMessage
}

const (
	maxParameterName  = 1 << 10
	maxParameterBytes = 1 << 20
	maxParameterDepth = 100 // what is deeper could stand in no file of definitions in the end
)

// Check says what is wrong with a parameter.
func (p *Parameter) Check() error {
	switch {
	case p.Name == "" || len(p.Component)+len(p.Name) > maxParameterName:
		return fail(BadSetting, "component and name of a parameter must have 1 to %d bytes", maxParameterName)
	case len(p.Value) > maxParameterBytes:
		return fail(BadSetting, "the value of parameter '%s' has %d bytes, more than %d", p.Name, len(p.Value), maxParameterBytes)
	case !json.Valid(p.Value):
		return fail(BadSetting, "the value of parameter '%s' is no JSON", p.Name)
	case deeper(p.Value, maxParameterDepth):
		return fail(BadSetting, "the value of parameter '%s' is nested deeper than %d", p.Name, maxParameterDepth)
	}
	return nil
}

// deeper says whether JSON is nested deeper than that.
func deeper(text json.RawMessage, most int) bool {
	depth, quoted := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '[' || c == '{':
			if depth++; depth > most {
				return true
			}
		case c == ']' || c == '}':
			depth--
		}
	}
	return false
}

// parameterDef is a parameter in the definitions.
type parameterDef struct {
	VHost     string          `json:"vhost,omitempty"`
	Component string          `json:"component,omitempty"`
	Name      string          `json:"name"`
	Value     json.RawMessage `json:"value"`
}

// parameters are those of one virtual host, or the global ones. Who has them guards them.
type parameters map[parameterName]json.RawMessage

type parameterName struct{ component, name string }

// put notes a parameter, or with no value that it is gone.
func (l *parameters) put(p Parameter) {
	name := parameterName{p.Component, p.Name}
	switch {
	case p.Value == nil:
		delete(*l, name)
	case *l == nil:
		*l = parameters{name: p.Value}
	default:
		(*l)[name] = p.Value
	}
}

// all are the parameters in their order.
func (l parameters) all() []Parameter {
	var out []Parameter
	for _, name := range slices.SortedFunc(maps.Keys(l), func(a, b parameterName) int {
		return cmp.Or(strings.Compare(a.component, b.component), strings.Compare(a.name, b.name))
	}) {
		out = append(out, Parameter{name.component, name.name, l[name]})
	}
	return out
}

// changed are the entries of those that are others than before.
func (l parameters) changed(vhost string, list []Parameter) ([]Parameter, []store.Entry, error) {
	var put []Parameter
	var entries []store.Entry
	for _, p := range list {
		if err := p.Check(); err != nil {
			return nil, nil, err
		}
		var err error
		if p.Value, err = sameJSON(p.Value); err != nil {
			return nil, nil, err
		}
		if bytes.Equal(l[parameterName{p.Component, p.Name}], p.Value) {
			continue
		}
		key := prefixGlobal + p.Name
		if vhost != "" {
			key = store.Key(prefixParameter, vhost, p.Component, p.Name)
		}
		var value bytes.Buffer
		e := json.NewEncoder(&value)
		e.SetEscapeHTML(false) // the value stays as it is
		if err := e.Encode(parameterDef{VHost: vhost, Component: p.Component, Name: p.Name, Value: p.Value}); err != nil {
			return nil, nil, fmt.Errorf("encode definition %s: %w", key, err)
		}
		put, entries = append(put, p), append(entries, store.Entry{Key: key, Value: value.Bytes()})
	}
	return put, entries, nil
}

// sameJSON brings a value into the one form of all that say the same.
func sameJSON(text json.RawMessage) (json.RawMessage, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, fmt.Errorf("decode JSON: %w", err)
	}
	return compactJSON(v)
}

// Parameters lists what is kept for components that are not here.
func (v *VHost) Parameters() []Parameter {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.parameters.all()
}

// PutParameters keeps parameters, all of them or none.
func (v *VHost) PutParameters(by audit.Actor, list ...Parameter) error {
	var put []Parameter
	err := v.change(func(c *change) (err error) {
		if err := c.alone(prefixParameter); err != nil {
			return err
		}
		if put, c.entries, err = v.parameters.changed(v.Name, list); err != nil || len(put) == 0 {
			return err
		}
		c.show = func() error {
			for _, p := range put {
				v.parameters.put(p)
			}
			return nil
		}
		return nil
	})
	v.b.auditParameters(by, v.Name, put, err)
	return err
}

// DeleteParameter forgets a parameter.
func (v *VHost) DeleteParameter(by audit.Actor, component, name string) error {
	err := v.change(func(c *change) error {
		if err := c.alone(prefixParameter); err != nil {
			return err
		}
		if _, there := v.parameters[parameterName{component, name}]; !there {
			return fail(NotFound, "no %s parameter '%s' in vhost '%s'", component, name, v.Name)
		}
		c.drop(store.Key(prefixParameter, v.Name, component, name))
		c.show = func() error {
			v.parameters.put(Parameter{Component: component, Name: name})
			return nil
		}
		return nil
	})
	v.b.auditParameter(by, audit.DeleteParameter, v.Name, Parameter{Component: component, Name: name}, err)
	return err
}

// GlobalParameters lists those of no virtual host.
func (b *Broker) GlobalParameters() []Parameter {
	b.globalMu.Lock()
	defer b.globalMu.Unlock()
	return b.global.all()
}

// PutGlobalParameters keeps parameters of no virtual host, all of them or none.
func (b *Broker) PutGlobalParameters(by audit.Actor, list ...Parameter) error {
	b.globalMu.Lock()
	put, entries, err := b.global.changed("", list)
	if err == nil && len(put) > 0 {
		if err = b.putDef(entries...); err == nil {
			for _, p := range put {
				b.global.put(p)
			}
		}
	}
	b.globalMu.Unlock()
	b.auditParameters(by, "", put, err)
	return err
}

// GlobalParameter finds one of no virtual host.
func (b *Broker) GlobalParameter(name string) (Parameter, error) {
	b.globalMu.Lock()
	defer b.globalMu.Unlock()
	value, there := b.global[parameterName{name: name}]
	if !there {
		return Parameter{}, fail(NotFound, "no global parameter '%s'", name)
	}
	return Parameter{Name: name, Value: value}, nil
}

// DeleteGlobalParameter forgets a parameter of no virtual host.
func (b *Broker) DeleteGlobalParameter(by audit.Actor, name string) error {
	err := b.deleteGlobalParameter(name)
	b.auditParameter(by, audit.DeleteParameter, "", Parameter{Name: name}, err)
	return err
}

func (b *Broker) deleteGlobalParameter(name string) error {
	b.globalMu.Lock()
	defer b.globalMu.Unlock()
	if _, there := b.global[parameterName{name: name}]; !there {
		return fail(NotFound, "no global parameter '%s'", name)
	}
	if err := b.putDef(store.Entry{Key: prefixGlobal + name}); err != nil {
		return err
	}
	b.global.put(Parameter{Name: name})
	return nil
}

func (b *Broker) auditParameter(by audit.Actor, act audit.Act, vhost string, p Parameter, err error) {
	audit.Acted(b.opts.Log, by, act, strings.TrimSpace(p.Component+" parameter '"+p.Name+"'"), vhost, err)
}

func (b *Broker) auditParameters(by audit.Actor, vhost string, put []Parameter, err error) {
	for _, p := range put {
		b.auditParameter(by, audit.PutParameter, vhost, p, err)
	}
	if len(put) == 0 && err != nil {
		audit.Acted(b.opts.Log, by, audit.PutParameter, "parameters", vhost, err)
	}
}

// decodeParameter reads a parameter's definition.
func decodeParameter(e store.Entry) (d parameterDef, err error) { return d, decodeDef(e, &d) }

// restoreParameter takes a parameter up at the start.
func (b *Broker) restoreParameter(e store.Entry) error {
	d, err := decodeParameter(e)
	if err != nil {
		return err
	}
	if d.VHost == "" {
		b.global.put(Parameter{Name: d.Name, Value: d.Value})
		return nil
	}
	v, err := b.home(d.VHost, nil, "parameter", d.Name)
	if v != nil {
		v.parameters.put(Parameter{d.Component, d.Name, d.Value})
	}
	return err
}

// takeParameter takes over what another process has written.
func (v *VHost) takeParameter(component, name string, e store.Entry) error {
	var d parameterDef
	if e.Value != nil {
		var err error
		if d, err = decodeParameter(e); err != nil {
			return err
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.parameters.put(Parameter{component, name, d.Value})
	return nil
}
