package management

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"

	"github.com/leveret-mq/leveret/broker"
)

// exchangeRows are about exchanges. The one without a name is amq.default in paths.
var exchangeRows = []row{
	{path: "exchanges", method: get, who: management, paged: true, do: (*call).allExchanges, about: "All exchanges of the virtual hosts that the user may enter"},
	{path: "exchanges/{vhost}", method: get, who: management, paged: true, do: (*call).exchangesOf, about: "The exchanges of one virtual host"},
	{path: "exchanges/{vhost}/{name}", method: get, who: management, do: (*call).oneExchange, about: "One exchange"},
	{path: "exchanges/{vhost}/{name}", method: put, who: management, do: (*call).putExchange, body: exchangeBody{}, about: "Declares an exchange"},
	{path: "exchanges/{vhost}/{name}", method: del, who: management, do: (*call).deleteExchange, about: "Deletes an exchange; with if-unused=true only one that is"},
	{path: "exchanges/{vhost}/{name}/publish", method: post, who: management, do: (*call).publish, body: publishBody{}, about: "Publishes a message, and answers when it is as safe as a confirm says"},
	{path: "exchanges/{vhost}/{name}/route", method: post, who: management, do: (*call).whither, body: routeBody{}, about: "Where the exchange would lead a message: nothing is published"},
	{path: "exchanges/{vhost}/{name}/bindings/source", method: get, who: management, do: (*call).bindingsFrom, about: "The bindings that lead from the exchange"},
	{path: "exchanges/{vhost}/{name}/bindings/destination", method: get, who: management, do: (*call).bindingsToExchange, about: "The bindings that lead to it"},
}

// exchangeBody is what an exchange is declared with.
type exchangeBody struct {
	Type       string          `json:"type"`
	Durable    bool            `json:"durable"`
	AutoDelete bool            `json:"auto_delete"`
	Internal   bool            `json:"internal"`
	Arguments  json.RawMessage `json:"arguments"`
}

// exchangeName is the exchange that a path means.
func exchangeName(name string) string {
	if name == broker.DefaultExchange {
		return ""
	}
	return name
}

// exchangeList is a listing of exchanges.
type exchangeList struct {
	c    *call
	list []exchangeIn
}

type exchangeIn struct {
	v *broker.VHost
	x *broker.Exchange
}

func (c *call) allExchanges() error { return c.listExchanges(c.vhosts(false)) }
func (c *call) exchangesOf() error  { return c.listExchanges([]*broker.VHost{c.vhost}) }

func (c *call) listExchanges(vhosts []*broker.VHost) error {
	l := &exchangeList{c: c}
	for _, v := range vhosts {
		list := v.Exchanges()
		if err := c.take(int64(len(list)) * queueFigures); err != nil {
			return err
		}
		slices.SortFunc(list, func(a, b *broker.Exchange) int { return cmp.Compare(a.Name, b.Name) })
		for _, x := range list {
			l.list = append(l.list, exchangeIn{v, x})
		}
	}
	return c.listOf(l)
}

func (l *exchangeList) length() int                    { return len(l.list) }
func (l *exchangeList) name(i int) string              { return l.list[i].x.Name }
func (l *exchangeList) value(i int, path []string) any { return lookup(l.object(i, nil), path) }
func (l *exchangeList) object(i int, _ *wanted) object {
	return l.c.exchangeObject(l.list[i].v, l.list[i].x)
}

func (c *call) exchangeObject(v *broker.VHost, x *broker.Exchange) object {
	p := x.Policies()
	return object{
		{"name", x.Name}, {"vhost", v.Name}, {"type", x.Type}, {"durable", x.Durable}, {"auto_delete", x.AutoDelete}, {"internal", x.Internal},
		{"arguments", tableObject(x.Args)}, {"policy", orNull(p.Policy)}, {"user_who_performed_action", ""}, {"message_stats", c.exchangeStats(v, x)},
	}
}

// exchangeStats is what clients published to an exchange, and how many queues got it.
func (c *call) exchangeStats(v *broker.VHost, x *broker.Exchange) object {
	f := x.Flow()
	if f == (broker.ExchangeFlow{}) {
		return object{}
	}
	key := rateKey{vhost: v.Name, exchange: x.Name}
	return object{}.counter(c, key, "publish_in", f.In).counter(c, key, "publish_out", f.Out)
}

// exchange finds the exchange of the path.
func (c *call) exchange() (*broker.Exchange, error) {
	x, err := c.vhost.Exchange(exchangeName(c.arg("name")))
	if err != nil {
		return nil, c.parentMissing("exchange_not_found")
	}
	return x, nil
}

func (c *call) oneExchange() error {
	x, err := c.exchange()
	if err != nil {
		return err
	}
	return c.one(append(c.exchangeObject(c.vhost, x), pair{"incoming", []any{}}, pair{"outgoing", []any{}}))
}

func (c *call) putExchange() error {
	b := exchangeBody{Type: "direct", Durable: false}
	if err := c.body(&b); err != nil {
		return err
	}
	args, err := arguments(b.Arguments)
	if err != nil {
		return err
	}
	s, err := c.session()
	if err != nil {
		return err
	}
	name := exchangeName(c.arg("name"))
	_, before := c.vhost.Exchange(name)
	if _, err := s.DeclareExchange(name, broker.ExchangeOptions{Type: b.Type, Durable: b.Durable, AutoDelete: b.AutoDelete, Internal: b.Internal, Args: args}); err != nil {
		return err
	}
	return c.put(before != nil)
}

func (c *call) deleteExchange() error {
	s, err := c.session()
	if err != nil {
		return err
	}
	x, err := c.exchange()
	if err != nil {
		return err
	}
	if x.Predeclared() && !strings.HasPrefix(x.Name, "amq.") {
		return notAuthorised("Access refused. The default exchange can't be deleted")
	}
	if err := s.DeleteExchange(x.Name, c.flag("if-unused")); err != nil {
		return err
	}
	return c.none()
}

// routeBody is a message that is not published.
type routeBody struct {
	RoutingKey string          `json:"routing_key" needed:"true"`
	Properties json.RawMessage `json:"properties"`
}

// maxWhither is how many queues are told at most.
const maxWhither = 1000

// whither tells where a message would go, of what who may enter the virtual host sees of its bindings anyway.
func (c *call) whither() error {
	var b routeBody
	if err := c.body(&b); err != nil {
		return err
	}
	if b.Properties == nil {
		b.Properties = json.RawMessage("{}")
	}
	m, err := c.inbound(b.Properties)
	if err != nil {
		return err
	}
	x, err := c.exchange()
	if err != nil {
		return err
	}
	m.Key = []byte(b.RoutingKey)
	queues, through, delayed := c.vhost.Whither(x, m, maxWhither)
	list, names := make([]object, len(queues)), make([]string, len(through))
	for i, q := range queues {
		list[i] = object{{"name", q.Name}, {"vhost", c.vhost.Name}}
	}
	for i, x := range through {
		names[i] = x.Name
	}
	return c.json(object{{"routed", len(queues) > 0}, {"queues", list}, {"through", names}, {"delayed", delayed}})
}
