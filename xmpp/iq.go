package xmpp

import (
	"crypto/sha1"
	"encoding/base64"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/leveret-mq/leveret/xmpp/stanza"
)

const (
	nsInfo    = "http://jabber.org/protocol/disco#info"
	nsItems   = "http://jabber.org/protocol/disco#items"
	nsCaps    = "http://jabber.org/protocol/caps"
	nsPing    = "urn:xmpp:ping"
	nsVersion = "jabber:iq:version"
	nsTime    = "urn:xmpp:time"
	nsLast    = "jabber:iq:last"
	nsRoster  = "jabber:iq:roster"
	nsPrivate = "jabber:iq:private"

	capsNode = "https://github.com/leveret-mq/leveret"
)

// serverFeatures are what the domain itself can do.
var serverFeatures = []string{nsInfo, nsItems, nsLast, nsPrivate, nsRoster, nsVersion, nsPing, nsTime, "msgoffline"}

// caps is the element of XEP-0115 for the domain's disco#info.
func (d *domain) caps() string {
	features := slices.Clone(serverFeatures)
	slices.Sort(features)
	sum := sha1.Sum([]byte("server/im//Leveret<" + strings.Join(features, "<") + "<"))
	return "<c xmlns='" + nsCaps + "' hash='sha-1' node='" + capsNode + "' ver='" + base64.StdEncoding.EncodeToString(sum[:]) + "'/>"
}

// Info makes the query of a disco#info result.
func Info(node, category, kind, name string, features ...string) *stanza.Element {
	q := stanza.New(nsInfo, "query")
	if node != "" {
		q.Set("node", node)
	}
	id := stanza.New(nsInfo, "identity", "category", category, "type", kind)
	if name != "" {
		id.Set("name", name)
	}
	q.Add(id)
	for _, f := range features {
		q.Add(stanza.New(nsInfo, "feature", "var", f))
	}
	return q
}

// own serves what is sent to the domain itself.
func (d *domain) own(k *Client, e *stanza.Element) error {
	switch {
	case e.Local == "presence":
		return nil
	case e.Local == "message":
		return errUnserved
	case !asks(e):
		return nil
	}
	set := e.Attr("type") == "set"
	q := e.First()
	switch {
	case q.Is(nsInfo, "query") && !set:
		node := q.Attr("node")
		if node != "" && !strings.HasPrefix(node, capsNode+"#") {
			return stanza.Fail("item-not-found", "there is no such node")
		}
		k.Reply(e, Info(node, "server", "im", "Leveret", serverFeatures...))
	case q.Is(nsItems, "query") && !set:
		if q.Attr("node") != "" {
			return stanza.Fail("item-not-found", "there is no such node")
		}
		items := stanza.New(nsItems, "query")
		for _, label := range d.order {
			items.Add(stanza.New(nsItems, "item", "jid", label+"."+d.name))
		}
		k.Reply(e, items)
	case q.Is(nsLast, "query") && !set:
		k.Reply(e, stanza.New(nsLast, "query", "seconds", strconv.Itoa(int(time.Since(d.s.started)/time.Second))))
	default:
		return d.anywhere(k, e, set, q)
	}
	return nil
}

// anywhere serves what the domain and accounts of one's own answer alike.
func (d *domain) anywhere(k *Client, e *stanza.Element, set bool, q *stanza.Element) error {
	switch {
	case q.Is(nsPing, "ping") && !set:
		k.Reply(e)
	case q.Is(nsSess, "session") && set:
		k.Reply(e)
	case q.Is(nsVersion, "query") && !set:
		k.Reply(e, stanza.New(nsVersion, "query").Add(
			stanza.New(nsVersion, "name").AddText("Leveret"), stanza.New(nsVersion, "version").AddText(d.s.opts.Version)))
	case q.Is(nsTime, "time") && !set:
		k.Reply(e, stanza.New(nsTime, "time").Add(
			stanza.New(nsTime, "tzo").AddText("+00:00"), stanza.New(nsTime, "utc").AddText(time.Now().UTC().Format("2006-01-02T15:04:05Z"))))
	default:
		return errUnserved
	}
	return nil
}

// ownAccount serves an iq to the client's own bare address.
func (d *domain) ownAccount(k *Client, e *stanza.Element) error {
	if !asks(e) {
		return nil
	}
	set := e.Attr("type") == "set"
	q := e.First()
	switch {
	case q.Is(nsInfo, "query") && !set:
		k.Reply(e, Info(q.Attr("node"), "account", "registered", "", nsInfo, nsItems, nsPing))
	case q.Is(nsItems, "query") && !set:
		k.Reply(e, stanza.New(nsItems, "query"))
	case q.Is(nsRoster, "query"):
		return d.roster(k, e, set, q)
	case q.Is(nsPrivate, "query") && !set && q.First() != nil:
		k.Reply(e, stanza.New(nsPrivate, "query").Add(stanza.New(q.First().Space, q.First().Local))) // nothing is kept
	case q.Is(nsBind, "bind"):
		return stanza.Fail("not-allowed", "the stream has a resource already")
	default:
		return d.anywhere(k, e, set, q)
	}
	return nil
}

// ping asks the client whether it is there.
func (k *Client) ping() {
	k.Send(stanza.New(stanza.NSClient, "iq", "type", "get", "id", "ping-"+randomResource(), "from", k.domain.name, "to", k.full).Add(stanza.New(nsPing, "ping")))
}
