package broker

import "github.com/leveret-mq/leveret/store"

// bindingDef is a binding in the definitions.
type bindingDef struct {
	VHost      string `json:"vhost"`
	Source     string `json:"source"`
	ToExchange bool   `json:"to_exchange,omitempty"`
	Dest       string `json:"destination"`
	Key        []byte `json:"key,omitempty"`
	Args       []byte `json:"args,omitempty"` // in normal form

	kept string // the key that it was loaded with
}

// key is the same for all ways to write the binding: Args are in normal form.
func (d *bindingDef) key() string {
	kind := "q"
	if d.ToExchange {
		kind = "x"
	}
	return store.Key(prefixBinding, d.VHost, d.Source, kind, d.Dest, string(d.Key), argsHash(d.Args))
}

// decode reads a binding's definition as queueDef.decode a queue's. Nothing of it is used again.
func (d *bindingDef) decode(e store.Entry) error {
	last := *d
	*d = bindingDef{kept: e.Key}
	if d.quick(e.Value, &last) {
		return nil
	}
	*d = bindingDef{kept: e.Key}
	return decodeDef(e, d)
}

// quick is what queueDef.quick is.
func (d *bindingDef) quick(value []byte, last *bindingDef) bool {
	r := quickReader{rest: value, ok: true}
	r.must(`{"vhost":"`)
	d.VHost = r.textLike(last.VHost)
	r.must(`,"source":"`)
	d.Source = r.textLike(last.Source)
	d.ToExchange = r.take(`,"to_exchange":true`)
	r.must(`,"destination":"`)
	d.Dest = r.textLike(last.Dest)
	if r.take(`,"key":"`) {
		d.Key = r.base64(nil)
	}
	if r.take(`,"args":"`) {
		d.Args = r.base64(nil)
	}
	r.must("}")
	return r.ok && len(r.rest) == 0
}
