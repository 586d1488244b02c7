package web

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
)

// exchangeRow is an exchange as lists show it.
type exchangeRow struct {
	Name, VHost, Type, Policy string
	Durable, Internal         bool
	AutoDelete                bool `json:"auto_delete"`
	Arguments                 map[string]any
}

// Title is the name, and words for the one that has none.
func (x *exchangeRow) Title() string { return cmp.Or(x.Name, "(default)") }

// InPath is what the API calls it.
func (x *exchangeRow) InPath() string { return cmp.Or(x.Name, "amq.default") }

// Features are what an exchange is, in short words.
func (x *exchangeRow) Features() (list []string) {
	if !x.Durable {
		list = append(list, "transient")
	}
	if x.AutoDelete {
		list = append(list, "auto-delete")
	}
	if x.Internal {
		list = append(list, "internal")
	}
	return list
}

// Settings are the arguments of an exchange.
func (x *exchangeRow) Settings() []setting { return settingsOf(x.Arguments) }

// exchangesData is what the list of exchanges shows.
type exchangesData struct {
	*listing
	List  *paged[exchangeRow]
	Types []string
}

// pagedList asks for a page of a list of the API as the address of the page says.
func pagedList[T any](v *visit, l *listing, what string, query ...string) (*paged[T], error) {
	path := what
	if l.VHost != "" {
		path = api(what, l.VHost)
	}
	query = append(query, "page", strconv.Itoa(l.Number), "page_size", strconv.Itoa(rowsPerPage), "sort", l.Sort, "sort_reverse", strconv.FormatBool(l.Reverse), "name", l.Name)
	if l.Regex {
		query = append(query, "use_regex", "true")
	}
	list := &paged[T]{}
	err := v.get(list, path, query...)
	if err != nil && statusOf(err) == http.StatusBadRequest { // a pattern that is none, or a page that is not there any more
		l.Wrong = sentence(err)
		return &paged[T]{Page: 1}, nil
	}
	return list, err
}

func (v *visit) exchanges() (string, any, error) {
	l, err := v.look("/exchanges", "name", "type", "vhost")
	if err != nil {
		return "", nil, err
	}
	list, err := pagedList[exchangeRow](v, l, "exchanges")
	if err != nil {
		return "", nil, err
	}
	types, err := v.exchangeTypes()
	return "Exchanges", &exchangesData{listing: l, List: list, Types: types}, err
}

// exchangeTypes are the types that there are.
func (v *visit) exchangeTypes() (list []string, err error) {
	var o struct {
		Types []struct{ Name string } `json:"exchange_types"`
	}
	if err := v.get(&o, "overview", "columns", "exchange_types"); err != nil {
		return nil, err
	}
	for _, t := range o.Types {
		list = append(list, t.Name)
	}
	return list, nil
}

// declareExchange makes an exchange.
func (v *visit) declareExchange() (to, done string, err error) {
	name, vhost := v.r.PostFormValue("name"), v.r.PostFormValue("vhost")
	if name == "" {
		return "", "", wrong("an exchange needs a name")
	}
	args, err := readSettings(v.r.PostFormValue("arguments"))
	if err != nil {
		return "", "", err
	}
	body := map[string]any{"type": v.form("type"), "durable": v.form("durable") != "no", "auto_delete": v.form("auto_delete") == "on", "internal": v.form("internal") == "on", "arguments": args}
	if err := v.act(http.MethodPut, api("exchanges", vhost, name), body, nil); err != nil {
		return "", "", err
	}
	return query("/exchange", "vhost", vhost, "name", name), fmt.Sprintf("The exchange %s is there.", name), nil
}

// exchangeData is what the page of an exchange shows.
type exchangeData struct {
	exchangeRow
	Out     []binding `json:"-"`
	In      []binding `json:"-"`
	More    int       `json:"-"` // bindings that are not shown
	Picture *picture  `json:"-"`
	Try     tryOut    `json:"-"`
	Default bool      `json:"-"`
}

// tryOut is where a message would go.
type tryOut struct {
	Asked        bool
	Key, Headers string
	Wrong        string
	Queues       []struct{ Name string }
	Through      []string
	Waits        bool `json:"delayed"`
}

// maxBindings is how many bindings a page shows.
const maxBindings = 200

func (v *visit) exchange() (string, any, error) {
	vhost, name := v.at()
	in := cmp.Or(name, "amq.default")
	d := &exchangeData{}
	if err := v.get(d, api("exchanges", vhost, in)); err != nil {
		return "", nil, err
	}
	d.Default = d.Name == ""
	if !d.Default {
		if err := v.get(&d.Out, api("exchanges", vhost, in, "bindings", "source")); err != nil {
			return "", nil, err
		}
		if err := v.get(&d.In, api("exchanges", vhost, in, "bindings", "destination")); err != nil {
			return "", nil, err
		}
	}
	if err := v.tryOut(d, vhost, in); err != nil {
		return "", nil, err
	}
	d.Picture = draught(d)
	if d.More = len(d.Out) - maxBindings; d.More > 0 {
		d.Out = d.Out[:maxBindings]
	}
	return d.Title(), d, nil
}

// tryOut asks where a message with the key of the page's address would go.
func (v *visit) tryOut(d *exchangeData, vhost, in string) error {
	q, t := v.r.URL.Query(), &d.Try
	if !q.Has("key") {
		return nil
	}
	t.Key, t.Headers = q.Get("key"), q.Get("headers")
	headers, err := readSettings(t.Headers)
	if err == nil {
		properties := map[string]any{}
		if len(headers) > 0 {
			properties["headers"] = headers
		}
		err = v.act(http.MethodPost, api("exchanges", vhost, in, "route"), map[string]any{"routing_key": t.Key, "properties": properties}, t)
	}
	if err != nil && statusOf(err) != http.StatusBadRequest {
		return err
	}
	if t.Asked = err == nil; err != nil {
		t.Wrong = sentence(err)
	}
	return nil
}

// goesTo says whether the message that was tried goes to a queue or through an exchange.
func (t *tryOut) goesTo(b *binding) bool {
	if b.Kind == "exchange" {
		return slices.Contains(t.Through, b.Destination)
	}
	return slices.ContainsFunc(t.Queues, func(q struct{ Name string }) bool { return q.Name == b.Destination })
}

// exchangePlace is the address of an exchange's page.
func exchangePlace(vhost, name string) string {
	return query("/exchange", "vhost", vhost, "name", cmp.Or(name, "amq.default"))
}

func (v *visit) deleteExchange() (string, string, error) {
	vhost, name := v.at()
	if v.r.PostFormValue("confirm") != name {
		return "", "", wrong("type the exchange's name into the field to delete it with its bindings")
	}
	if err := v.act(http.MethodDelete, api("exchanges", vhost, name), nil, nil); err != nil {
		return "", "", err
	}
	return "/exchanges", fmt.Sprintf("The exchange %s is deleted.", name), nil
}

// publishToExchange publishes the message of a form.
func (v *visit) publishToExchange() (string, string, error) {
	vhost, name := v.at()
	routed, err := v.publish(vhost, cmp.Or(name, "amq.default"), v.r.PostFormValue("key"))
	if err != nil {
		return "", "", err
	}
	if !routed {
		return "", "", wrong("the message went nowhere: no binding takes this key. Try where it would go, below")
	}
	return exchangePlace(vhost, name), "The message is in the queues that it leads to.", nil
}

// bindExchange leads the exchange's messages to a queue or another exchange.
func (v *visit) bindExchange() (string, string, error) {
	vhost, name := v.at()
	kind, target := "q", v.r.PostFormValue("destination")
	if v.form("kind") == "exchange" {
		kind = "e"
	}
	if target == "" {
		return "", "", wrong("say where the messages shall go")
	}
	args, err := readSettings(v.r.PostFormValue("arguments"))
	if err != nil {
		return "", "", err
	}
	if err := v.act(http.MethodPost, api("bindings", vhost, "e", name, kind, target), map[string]any{"routing_key": v.r.PostFormValue("key"), "arguments": args}, nil); err != nil {
		return "", "", err
	}
	return exchangePlace(vhost, name), fmt.Sprintf("It leads to %s now.", target), nil
}

// unbindExchange takes a binding away.
func (v *visit) unbindExchange() (string, string, error) {
	vhost, name := v.at()
	kind := map[bool]string{true: "e", false: "q"}[v.form("kind") == "exchange"]
	if err := v.act(http.MethodDelete, api("bindings", vhost, "e", name, kind, v.r.PostFormValue("destination"), v.r.PostFormValue("properties")), nil, nil); err != nil {
		return "", "", err
	}
	return exchangePlace(vhost, name), "The binding is gone.", nil
}

// settingsOf are values by name in their order, as text.
func settingsOf(values map[string]any) []setting {
	row := queueRow{Arguments: values}
	return row.Settings()
}

// conditions are what a binding asks for, as text: its key, and its arguments.
func (b *binding) conditions() string {
	text := b.Key
	if len(b.Arguments) > 0 {
		list, _ := json.Marshal(b.Arguments) // what was JSON is JSON
		if text != "" {
			text += "  "
		}
		text += string(list)
	}
	return text
}
