package web

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"
)

// consumer is who consumes a queue.
type consumer struct {
	Tag      string `json:"consumer_tag"`
	Acks     bool   `json:"ack_required"`
	Active   bool
	Status   string `json:"activity_status"`
	Prefetch int    `json:"prefetch_count"`
	Unacked  int    `json:"messages_unacknowledged"`
	Channel  *struct {
		Name       string
		Number     int
		Connection string `json:"connection_name"`
		User       string
		Peer       string `json:"peer_host"`
	} `json:"channel_details"`
	Slow string `json:"-"`
}

// why says what a consumer is about, and if it takes less than there is, what holds it up.
func (c *consumer) why(ready float64) string {
	switch {
	case !c.Active:
		return "waits: another consumer is the active one"
	case c.Acks && c.Prefetch > 0 && c.Unacked >= c.Prefetch:
		return "holds as many as its prefetch allows: it takes more when it acks"
	case ready > 0 && !c.Acks:
		return "behind: its connection takes no more for now"
	case ready > 0:
		return "behind: has room, but its client reads no faster"
	}
	return "takes what comes"
}

// binding is what leads from an exchange to a queue or another exchange.
type binding struct {
	Source, VHost, Destination string
	Kind                       string `json:"destination_type"`
	Key                        string `json:"routing_key"`
	Arguments                  map[string]any
	Properties                 string `json:"properties_key"`
}

// queueData is what the page of a queue shows.
type queueData struct {
	queueRow
	Operator   string         `json:"operator_policy"`
	Definition map[string]any `json:"effective_policy_definition"`
	Detail     []consumer     `json:"consumer_details"`
	Bindings   []binding      `json:"-"`
	Rates      *chart         `json:"-"`
	Lengths    *chart         `json:"-"`
	Got        *gotData       `json:"-"`
	Partitions []extent       `json:"-"` // of a topic or a stream
	Groups     []groupRow     `json:"-"` // that read it
	Host       string         `json:"-"`
}

// Empty is when the queue will be empty if all goes on as in the last seconds.
func (d *queueData) Empty() string {
	surplus := d.Stats.AckDetails.Rate - d.Stats.PublishDetails.Rate
	switch left := d.Ready + d.Unacked; {
	case left == 0:
		return "empty"
	case surplus <= 0:
		return "–"
	default:
		return secondsText(left / surplus)
	}
}

// EmptyHelp says what Empty is worked out from.
func (d *queueData) EmptyHelp() string {
	if d.Ready+d.Unacked > 0 && d.Stats.AckDetails.Rate <= d.Stats.PublishDetails.Rate {
		return "At the rates of the last seconds it does not get shorter"
	}
	return "At the rates of the last seconds: more is acked than comes in"
}

// PolicySettings are what policies set.
func (d *queueData) PolicySettings() []setting {
	row := queueRow{Arguments: d.Definition}
	return row.Settings()
}

// gotData are messages that were taken or looked at.
type gotData struct {
	Messages []gotMessage
	Taken    bool
}

// gotMessage is a message as the API shows it.
type gotMessage struct {
	Payload     string
	Encoding    string `json:"payload_encoding"`
	Size        int    `json:"payload_bytes"`
	Exchange    string
	Key         string `json:"routing_key"`
	Redelivered bool
	Left        int             `json:"message_count"`
	Raw         json.RawMessage `json:"properties"`
}

// Properties are those of the message, headers among them, in their order.
func (m *gotMessage) Properties() []setting {
	var all map[string]any
	if json.Unmarshal(m.Raw, &all) != nil {
		return nil // none is an empty list
	}
	headers, _ := all["headers"].(map[string]any)
	delete(all, "headers")
	own, of := queueRow{Arguments: all}, queueRow{Arguments: headers}
	list := own.Settings()
	for _, s := range of.Settings() {
		list = append(list, setting{"header " + s.Name, s.Value})
	}
	return list
}

// Text is the body for people: JSON is set in lines.
func (m *gotMessage) Text() string {
	if m.Encoding != "string" {
		return m.Payload
	}
	if text := strings.TrimSpace(m.Payload); strings.HasPrefix(text, "{") || strings.HasPrefix(text, "[") {
		var v any
		decoder := json.NewDecoder(strings.NewReader(text))
		decoder.UseNumber()
		if decoder.Decode(&v) == nil && !decoder.More() {
			if pretty, err := json.MarshalIndent(v, "", "  "); err == nil {
				return strings.NewReplacer(`\u003c`, "<", `\u003e`, ">", `\u0026`, "&").Replace(string(pretty))
			}
		}
	}
	return m.Payload
}

// at is the object that the page is of.
func (v *visit) at() (vhost, name string) {
	q := v.r.URL.Query()
	return q.Get("vhost"), q.Get("name")
}

func (v *visit) queue() (string, any, error) {
	vhost, name := v.at()
	d := &queueData{Host: v.r.Host}
	if err := v.get(d, api("queues", vhost, name)); err != nil {
		return "", nil, err
	}
	samples := v.note("queue "+vhost+"\x00"+name, d.Stats.Publish, d.Stats.DeliverGet, d.Stats.Ack, d.Ready, d.Unacked)
	d.Rates, d.Lengths = trafficChart(samples), lengthChart(samples)
	if err := v.get(&d.Bindings, api("queues", vhost, name, "bindings")); err != nil {
		return "", nil, err
	}
	d.Bindings = slices.DeleteFunc(d.Bindings, func(b binding) bool { return b.Source == "" })
	if err := v.heldBy(d.Detail); err != nil {
		return "", nil, err
	}
	for i := range d.Detail {
		d.Detail[i].Slow = d.Detail[i].why(d.Ready)
	}
	d.Got = v.got
	return name, d, v.readers(d)
}

// readers adds what Kafka's clients see of a topic or a stream. What the user may not read is left out.
func (v *visit) readers(d *queueData) error {
	if d.Type != "stream" {
		return nil
	}
	var look struct{ Partitions []extent }
	err := v.get(&look, api("queues", d.VHost, d.Name, "messages"), "count", "1", "truncate", "1", "last", "1")
	if err != nil && statusOf(err) != http.StatusForbidden {
		return err
	}
	if d.Partitions = look.Partitions; len(d.Partitions) > maxBindings {
		d.Partitions = d.Partitions[:maxBindings]
	}
	var groups []groupRow
	if err := v.get(&groups, api("groups", d.VHost)); err != nil {
		return err
	}
	d.Groups = slices.DeleteFunc(groups, func(g groupRow) bool { return !slices.Contains(g.Topics, d.Name) })
	return nil
}

// maxAsked is of how many connections it is asked what their channels hold.
const maxAsked = 20

// heldBy adds what the channels of consumers hold.
func (v *visit) heldBy(list []consumer) error {
	known := map[string][]channelRow{}
	for i := range list {
		c := &list[i]
		if c.Channel == nil {
			continue
		}
		channels, asked := known[c.Channel.Connection]
		if !asked && len(known) < maxAsked {
			err := v.get(&channels, api("connections", c.Channel.Connection, "channels"), "columns", "number,messages_unacknowledged")
			if err != nil && statusOf(err) != http.StatusNotFound && statusOf(err) != http.StatusForbidden { // it is gone, or another user's
				return err
			}
			known[c.Channel.Connection] = channels
		}
		for _, ch := range channels {
			if ch.Number == c.Channel.Number {
				c.Unacked = ch.Unacked
			}
		}
	}
	return nil
}

// queueAct does something to the queue of the page.
func (v *visit) queueAct(method, below string, body any, done string) (string, string, error) {
	vhost, name := v.at()
	path := api("queues", vhost, name)
	if below != "" {
		path += "/" + below
	}
	if err := v.act(method, path, body, nil); err != nil {
		return "", "", err
	}
	return query("/queue", "vhost", vhost, "name", name), done, nil
}

// getMessages takes messages, or looks at those at the front and puts them back.
func (v *visit) getMessages() (string, string, error) {
	vhost, name := v.at()
	taken := v.form("take") == "on"
	mode := map[bool]string{true: "ack_requeue_false", false: "ack_requeue_true"}[taken]
	got := &gotData{Taken: taken}
	left, size := min(atoi(v.form("count"), 1), maxGot), 0
	for left > 0 && size < maxReply/4 {
		ask := left
		if taken { // a few at a time: those of an answer that is too large would be gone, and never shown
			ask = min(left, maxTaken)
		}
		var some []gotMessage
		body := map[string]any{"count": ask, "ackmode": mode, "encoding": "auto", "truncate": maxShown}
		if err := v.act(http.MethodPost, api("queues", vhost, name, "get"), body, &some); err != nil && len(got.Messages) == 0 {
			return "", "", err
		}
		got.Messages = append(got.Messages, some...)
		for _, m := range some {
			size += len(m.Payload) + len(m.Raw)
		}
		if left -= ask; len(some) < ask {
			break
		}
	}
	v.got = got
	return "", "", nil
}

// Bounds of messages that are shown.
const (
	maxGot   = 100
	maxTaken = 5      // in an answer
	maxShown = 20_000 // bytes of a body
)

func (v *visit) purgeQueue() (string, string, error) {
	return v.queueAct(http.MethodDelete, "contents", nil, "The messages that were ready are gone.")
}

func (v *visit) deleteQueue() (string, string, error) {
	vhost, name := v.at()
	if v.r.PostFormValue("confirm") != name {
		return "", "", wrong("type the queue's name into the field to delete it with all that is in it")
	}
	if err := v.act(http.MethodDelete, api("queues", vhost, name), nil, nil); err != nil {
		return "", "", err
	}
	return "/queues", fmt.Sprintf("The queue %s is deleted.", name), nil
}

// publishToQueue publishes over the default exchange.
func (v *visit) publishToQueue() (string, string, error) {
	vhost, name := v.at()
	routed, err := v.publish(vhost, "amq.default", name)
	if err != nil {
		return "", "", err
	}
	if !routed {
		return "", "", wrong("the queue has been deleted, so nobody has the message")
	}
	return query("/queue", "vhost", vhost, "name", name), "The message is in the queue, as safe as its durability says.", nil
}

// publish publishes the message of a form.
func (v *visit) publish(vhost, exchange, key string) (routed bool, err error) {
	headers, err := readSettings(v.r.PostFormValue("headers"))
	if err != nil {
		return false, err
	}
	properties := map[string]any{}
	if v.form("transient") == "" {
		properties["delivery_mode"] = 2
	}
	if len(headers) > 0 {
		properties["headers"] = headers
	}
	if kind := v.form("content_type"); kind != "" {
		properties["content_type"] = kind
	}
	payload := strings.ReplaceAll(v.r.PostFormValue("payload"), "\r\n", "\n")
	if !utf8.ValidString(payload) {
		return false, wrong("the text is not UTF-8")
	}
	var answer struct{ Routed bool }
	err = v.act(http.MethodPost, api("exchanges", vhost, exchange, "publish"), map[string]any{
		"properties": properties, "routing_key": key, "payload": payload, "payload_encoding": "string"}, &answer)
	return answer.Routed, err
}

// bindQueue leads an exchange's messages to the queue.
func (v *visit) bindQueue() (string, string, error) {
	vhost, name := v.at()
	source := v.r.PostFormValue("source")
	if source == "" {
		return "", "", wrong("choose the exchange from which messages shall come")
	}
	args, err := readSettings(v.r.PostFormValue("arguments"))
	if err != nil {
		return "", "", err
	}
	if err := v.act(http.MethodPost, api("bindings", vhost, "e", source, "q", name), map[string]any{"routing_key": v.r.PostFormValue("key"), "arguments": args}, nil); err != nil {
		return "", "", err
	}
	return query("/queue", "vhost", vhost, "name", name), fmt.Sprintf("%s leads here now.", source), nil
}

// unbindQueue takes a binding away.
func (v *visit) unbindQueue() (string, string, error) {
	vhost, name := v.at()
	if err := v.act(http.MethodDelete, api("bindings", vhost, "e", v.r.PostFormValue("source"), "q", name, v.r.PostFormValue("properties")), nil, nil); err != nil {
		return "", "", err
	}
	return query("/queue", "vhost", vhost, "name", name), "The binding is gone.", nil
}
