package access

import (
	"errors"
	"fmt"
	"regexp"

	"github.com/leveret-mq/leveret/broker"
)

// defaultExchange is what patterns call the exchange without a name.
const defaultExchange = "amq.default"

// Policy is the broker's: it answers by what is stored now. It waits for nothing.
func (k *Keeper) Policy(q broker.Request) error {
	p := k.current.Load()
	if p.users[q.User] == nil {
		return errors.New("there is no such user")
	}
	g := p.permissions[grant{q.VHost, q.User}]
	if g == nil {
		return errors.New("the user has no permission for this virtual host")
	}
	pattern, what := g.pattern(q.Verb)
	name := q.On.Name
	switch {
	case pattern == nil, q.On.Kind == broker.OnCluster, q.On.Kind == broker.OnVHost:
		return nil
	case q.On.Kind == broker.OnExchange && name == "":
		name = defaultExchange
	}
	if !pattern.MatchString(name) {
		return fmt.Errorf("the name does not match the user's pattern to %s", what)
	}
	return nil
}

// pattern is what a name must match for a verb; nil is no pattern.
func (g *granted) pattern(v broker.Verb) (pattern *regexp.Regexp, what string) {
	switch v {
	case broker.Create, broker.Delete, broker.Alter, broker.Truncate:
		return g.configure, "configure"
	case broker.Publish, broker.BindDest:
		return g.write, "write"
	case broker.Consume, broker.Purge, broker.BindSource:
		return g.read, "read"
	}
	return nil, ""
}
