package management

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/leveret-mq/leveret/broker"
)

// bindingRows are about bindings. One is known by where it comes from, where it leads, and a key of its properties.
var bindingRows = []row{
	{path: "bindings", method: get, who: management, do: (*call).allBindings, about: "All bindings of the virtual hosts that the user may enter"},
	{path: "bindings/{vhost}", method: get, who: management, do: (*call).bindingsOf, about: "The bindings of one virtual host"},
	{path: "queues/{vhost}/{name}/bindings", method: get, who: management, do: (*call).bindingsToQueue, about: "The bindings that lead to a queue"},
	{path: "bindings/{vhost}/e/{source}/q/{destination}", method: get, who: management, do: (*call).bindingsBetween, about: "The bindings from an exchange to a queue"},
	{path: "bindings/{vhost}/e/{source}/q/{destination}", method: post, who: management, do: (*call).postBinding, body: bindingBody{}, gives: http.StatusCreated, about: "Binds a queue to an exchange"},
	{path: "bindings/{vhost}/e/{source}/q/{destination}/{properties}", method: get, who: management, do: (*call).oneBinding, about: "One binding of a queue"},
	{path: "bindings/{vhost}/e/{source}/q/{destination}/{properties}", method: del, who: management, do: (*call).deleteBinding, about: "Unbinds a queue"},
	{path: "bindings/{vhost}/e/{source}/e/{destination}", method: get, who: management, do: (*call).bindingsBetween, about: "The bindings from an exchange to another"},
	{path: "bindings/{vhost}/e/{source}/e/{destination}", method: post, who: management, do: (*call).postBinding, body: bindingBody{}, gives: http.StatusCreated, about: "Binds an exchange to another"},
	{path: "bindings/{vhost}/e/{source}/e/{destination}/{properties}", method: get, who: management, do: (*call).oneBinding, about: "One binding of an exchange"},
	{path: "bindings/{vhost}/e/{source}/e/{destination}/{properties}", method: del, who: management, do: (*call).deleteBinding, about: "Unbinds an exchange"},
}

// bindingBody is what a binding is made with.
type bindingBody struct {
	RoutingKey string          `json:"routing_key"`
	Arguments  json.RawMessage `json:"arguments"`
}

// propertiesKey tells a binding from the others between the same two: RabbitMQ's form, a routing key as it stands in a URL, and
// behind a tilde a digest of the arguments.
func propertiesKey(b *broker.Binding) string {
	key := strings.ReplaceAll(url.QueryEscape(b.Key), "~", "%7E")
	if len(b.Args) == 0 {
		return cmp.Or(key, "~")
	}
	sum := sha256.Sum256(b.Args)
	return key + "~" + base64.RawURLEncoding.EncodeToString(sum[:])[:6]
}

func bindingObject(vhost string, b *broker.Binding) object {
	kind := "queue"
	if b.ToExchange {
		kind = "exchange"
	}
	return object{
		{"source", b.Source}, {"vhost", vhost}, {"destination", b.Dest}, {"destination_type", kind}, {"routing_key", readable([]byte(b.Key))},
		{"arguments", tableObject(b.Args)}, {"properties_key", propertiesKey(b)},
	}
}

// defaultBinding is the one that every queue has.
func defaultBinding(queue string) broker.Binding {
	return broker.Binding{Dest: queue, Key: queue}
}

// bindingList is a listing of bindings.
type bindingList []bindingIn

type bindingIn struct {
	vhost string
	broker.Binding
}

func (l bindingList) length() int                    { return len(l) }
func (l bindingList) name(i int) string              { return l[i].Source }
func (l bindingList) value(i int, path []string) any { return lookup(l.object(i, nil), path) }
func (l bindingList) object(i int, _ *wanted) object { return bindingObject(l[i].vhost, &l[i].Binding) }

// bindingFigures is how much a binding takes while a list is made, in bytes.
const bindingFigures = 160

func (c *call) allBindings() error { return c.listBindings(c.vhosts(false)) }
func (c *call) bindingsOf() error  { return c.listBindings([]*broker.VHost{c.vhost}) }

func (c *call) listBindings(vhosts []*broker.VHost) error {
	var l bindingList
	for _, v := range vhosts {
		var list []broker.Binding
		for _, q := range v.Queues() {
			list = append(list, defaultBinding(q.Name))
		}
		for _, x := range v.Exchanges() {
			list = append(list, v.Bindings(x)...)
		}
		if err := c.take(int64(len(list)) * bindingFigures); err != nil {
			return err
		}
		l = l.with(v, list)
	}
	return c.listOf(l)
}

// with adds the bindings of a virtual host, in order.
func (l bindingList) with(v *broker.VHost, list []broker.Binding) bindingList {
	slices.SortFunc(list, compareBindings)
	for _, b := range list {
		l = append(l, bindingIn{v.Name, b})
	}
	return l
}

func compareBindings(a, b broker.Binding) int {
	return cmp.Or(strings.Compare(a.Source, b.Source), strings.Compare(a.Dest, b.Dest), strings.Compare(a.Key, b.Key), strings.Compare(string(a.Args), string(b.Args)))
}

func (c *call) bindingsToQueue() error {
	q, err := c.queue()
	switch {
	case isMissing(err):
		return c.list(nil) // as on RabbitMQ: tools ask so before they unbind
	case err != nil:
		return err
	}
	return c.listOf(bindingList(nil).with(c.vhost, append(c.vhost.BindingsTo(q), defaultBinding(q.Name))))
}

func (c *call) bindingsFrom() error {
	x, err := c.exchange()
	if err != nil {
		return err
	}
	list := c.vhost.Bindings(x)
	if x.Name == "" {
		for _, q := range c.vhost.Queues() {
			list = append(list, defaultBinding(q.Name))
		}
	}
	return c.listOf(bindingList(nil).with(c.vhost, list))
}

func (c *call) bindingsToExchange() error {
	x, err := c.exchange()
	if err != nil {
		return err
	}
	return c.listOf(bindingList(nil).with(c.vhost, c.vhost.BindingsToExchange(x)))
}

// between is the binding that a path is about, without its key, once both of its ends are there.
func (c *call) between() (broker.Binding, error) {
	b := broker.Binding{Source: exchangeName(c.arg("source")), Dest: c.arg("destination"), ToExchange: strings.Contains(c.row.path, "/e/{destination}")}
	if _, err := c.vhost.Exchange(b.Source); err != nil {
		return b, &failure{status: http.StatusNotFound, err: "not_found", reason: "exchange_not_found"}
	}
	if b.ToExchange {
		b.Dest = exchangeName(b.Dest)
		if _, err := c.vhost.Exchange(b.Dest); err != nil {
			return b, &failure{status: http.StatusNotFound, err: "not_found", reason: "exchange_not_found"}
		}
		return b, nil
	}
	if _, err := c.vhost.Queue(b.Dest); err != nil {
		return b, &failure{status: http.StatusNotFound, err: "not_found", reason: "queue_not_found"}
	}
	return b, nil
}

// listBetween are the bindings that there are between the two of the path.
func (c *call) listBetween() ([]broker.Binding, error) {
	b, err := c.between()
	if err != nil {
		return nil, nil // between what is not there, there are none: tools ask so before they unbind
	}
	if b.Source == "" {
		if b.ToExchange {
			return nil, nil
		}
		return []broker.Binding{defaultBinding(b.Dest)}, nil
	}
	x, err := c.vhost.Exchange(b.Source)
	if err != nil {
		return nil, missing()
	}
	var list []broker.Binding
	for _, have := range c.vhost.Bindings(x) {
		if have.Dest == b.Dest && have.ToExchange == b.ToExchange {
			list = append(list, have)
		}
	}
	return list, nil
}

func (c *call) bindingsBetween() error {
	list, err := c.listBetween()
	if err != nil {
		return err
	}
	return c.listOf(bindingList(nil).with(c.vhost, list))
}

func (c *call) postBinding() error {
	var body bindingBody
	if err := c.body(&body); err != nil {
		return err
	}
	args, err := arguments(body.Arguments)
	if err != nil {
		return err
	}
	s, err := c.session()
	if err != nil {
		return err
	}
	b, err := c.between()
	if err != nil {
		return err
	}
	b.Key, b.Args = body.RoutingKey, args
	if err := s.Bind(b); err != nil {
		return err
	}
	b = c.stored(b)
	c.w.Header().Set("Location", url.PathEscape(c.arg("destination"))+"/"+url.PathEscape(propertiesKey(&b)))
	return c.empty(http.StatusCreated)
}

// stored is a binding as the broker has it, with its arguments in their normal form.
func (c *call) stored(b broker.Binding) broker.Binding {
	if n, err := broker.NormalArgs(b.Args); err == nil {
		b.Args = n
	}
	return b
}

// binding finds the binding of the path by its key, which some clients encode once and others twice.
func (c *call) binding() (broker.Binding, error) {
	list, err := c.listBetween()
	if err != nil {
		return broker.Binding{}, err
	}
	asked := c.arg("properties")
	for _, plain := range []bool{false, true} {
		for _, b := range list {
			key := propertiesKey(&b)
			if plain && asked != "~" { // which is the one without a routing key
				key, _ = url.QueryUnescape(key) // it was escaped a line before
			}
			if key == asked {
				return b, nil
			}
		}
	}
	return broker.Binding{}, missing()
}

func (c *call) oneBinding() error {
	b, err := c.binding()
	if err != nil {
		return err
	}
	return c.one(bindingObject(c.vhost.Name, &b))
}

func (c *call) deleteBinding() error {
	s, err := c.session()
	if err != nil {
		return err
	}
	b, err := c.binding()
	if err != nil {
		return err
	}
	if err := s.Unbind(b); err != nil {
		return err
	}
	return c.none()
}
