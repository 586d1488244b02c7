package broker

import "github.com/leveret-mq/leveret/store"

// queueDef is a queue in the definitions.
type queueDef struct {
	VHost      string            `json:"vhost"`
	Name       string            `json:"name"`
	AutoDelete bool              `json:"auto_delete,omitempty"`
	Args       []byte            `json:"args,omitempty"`
	Topic      bool              `json:"topic,omitempty"`
	TopicID    []byte            `json:"topic_id,omitempty"`
	Logs       []store.LogID     `json:"logs"`
	Config     map[string]string `json:"config,omitempty"`
	User       string            `json:"user,omitempty"` // who declared it, if he may have only so many
}

// decode reads a queue's definition. What the slices have room for is used again, and the
// name is that in the key, which the table keeps anyway: of a hundred thousand queues each
// allocation is felt at the start.
func (d *queueDef) decode(e store.Entry) error {
	vhost := d.VHost // which is mostly the same
	*d = queueDef{Args: d.Args[:0], TopicID: d.TopicID[:0], Logs: d.Logs[:0]}
	if d.quick(e, vhost) {
		return nil
	}
	*d = queueDef{}
	return decodeDef(e, d)
}

// quick reads what json.Marshal writes of most queues: every field in its place, no
// escapes in texts, no configs. Whatever else it says false of is left to json, which
// reads the same of all that it reads.
func (d *queueDef) quick(e store.Entry, vhost string) bool {
	r := quickReader{rest: e.Value, ok: true}
	r.must(`{"vhost":"`)
	d.VHost = r.textLike(vhost)
	r.must(`,"name":"`)
	name := r.text()
	if at := len(e.Key) - len(name); at >= 0 && e.Key[at:] == string(name) {
		d.Name = e.Key[at:]
	} else {
		d.Name = string(name)
	}
	d.AutoDelete = r.take(`,"auto_delete":true`)
	if r.take(`,"args":"`) {
		d.Args = r.base64(d.Args)
	}
	d.Topic = r.take(`,"topic":true`)
	if r.take(`,"topic_id":"`) {
		d.TopicID = r.base64(d.TopicID)
	}
	r.must(`,"logs":[`)
	for r.ok {
		d.Logs = append(d.Logs, store.LogID(r.digits()))
		if !r.take(",") {
			break
		}
	}
	r.must("]}")
	return r.ok && len(r.rest) == 0
}
