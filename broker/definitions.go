package broker

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/leveret-mq/leveret/store"
)

// Keys of the table "defs". Each part of a name is escaped, so that "/" only
// stands between parts; values are JSON, for people and for later fields.
//
//	m/cluster            the cluster's id
//	m/producer           ids of idempotent producers below it are used up
//	v/VHOST              a virtual host
//	w/VHOST              one that is deleted, of which not all is gone yet
//	l/VHOST              limits of a virtual host, {"max-queues":10}
//	x/VHOST/NAME         an exchange
//	q/VHOST/NAME         a queue
//	b/VHOST/SOURCE/KIND/DESTINATION/KEY/HASH   a binding; the hash is of its arguments, "" without any
//	d/LOG                a log of a deleted queue, to be removed
//	e/VHOST/NAME         a queue that got messages that expire
//	o/VHOST/NAME         a policy
//	O/VHOST/NAME         an operator's policy
//	P/VHOST/COMPONENT/NAME   a parameter of a component that is not here
//	m/global/NAME        a parameter of no virtual host
//	t/VHOST/NAME         times to live of what was in a queue when a policy changed them
//	a/VHOST/KIND/NAME/KEY   what a listener keeps beside a queue (q), an exchange (x) or something of its own (v)
const (
	keyClusterID      = "m/cluster"
	keyProducerID     = "m/producer"
	prefixVHost       = "v/"
	prefixVHostEnd    = "w/"
	prefixVHostLimits = "l/"
	prefixEx          = "x/"
	prefixQueue       = "q/"
	prefixBinding     = "b/"
	prefixRemoval     = "d/"
	prefixExpiry      = "e/"
	prefixPolicy      = "o/"
	prefixTTL         = "t/"

	prefixOperatorPolicy = "O/"
	prefixParameter      = "P/"
	prefixAttachment     = "a/"
	prefixGlobal         = "m/global/"
)

type exchangeDef struct {
	VHost      string `json:"vhost"`
	Name       string `json:"name"`
	Type       string `json:"type"`
	AutoDelete bool   `json:"auto_delete,omitempty"`
	Internal   bool   `json:"internal,omitempty"`
	Args       []byte `json:"args,omitempty"`

	Lanes []store.LogID `json:"lanes,omitempty"` // of one that delays messages, or remembers names
}

func (b *Broker) putJSON(key string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode definition %s: %w", key, err)
	}
	return b.putDef(store.Entry{Key: key, Value: data})
}

func (b *Broker) putDef(entries ...store.Entry) error {
	ctx, cancel := asking()
	defer cancel()
	if err := b.defs.Put(ctx, entries...); err != nil {
		return &Error{Kind: KindOf(err), Text: "can't write definitions", Err: err}
	}
	return nil
}

// load reads every definition: hosts, exchanges and queues first, then what binds them.
func (b *Broker) load() error {
	behind := map[string][]store.Entry{} // by prefix: decoded one by one, there may be very many
	policies := map[string][]*policyRule{}
	ctx, cancel := asking()
	defer cancel()
	shared := b.store.Caps().Shared
	err := b.defs.Load(ctx, func(e store.Entry) error {
		if shared {
			b.follower.note(e.Key, e.Revision)
		}
		var d vhostDef
		switch {
		case e.Key == keyClusterID:
			return decodeDef(e, &b.clusterID)
		case e.Key == keyProducerID:
			var n int64
			err := decodeDef(e, &n)
			b.producerID.Store(n)
			b.producerHi.Store(n)
			return err
		case strings.HasPrefix(e.Key, prefixVHost):
			err := decodeDef(e, &d)
			if err == nil {
				b.showVHost(&d)
			}
			return err
		case strings.HasPrefix(e.Key, prefixVHostEnd):
			err := decodeDef(e, &d)
			if err == nil {
				b.goVHost(d.Name)
			}
			return err
		case strings.HasPrefix(e.Key, prefixPolicy), strings.HasPrefix(e.Key, prefixOperatorPolicy):
			return b.loadPolicy(e, policies)
		case isRemoval(e.Key):
			return b.removals.load(e)
		}
		for _, prefix := range behindVHosts {
			if strings.HasPrefix(e.Key, prefix) {
				behind[prefix] = append(behind[prefix], e)
				return nil
			}
		}
		return fmt.Errorf("unknown definition %q: was the directory written by a newer version?", e.Key)
	})
	if err != nil {
		return err
	}
	lost := b.clusterID == "" && len(behind[prefixQueue]) == 0 // a store that was never used, or whose definitions are gone
	if err := b.refuseLoss(lost); err != nil {
		return err
	}
	if err := b.firstStart(); err != nil {
		return err
	}
	for _, e := range behind[prefixVHostLimits] {
		if err := b.restoreVHostLimits(e); err != nil {
			return err
		}
	}
	if err := b.restorePolicies(policies); err != nil {
		return err
	}
	for _, e := range append(behind[prefixParameter], behind[prefixGlobal]...) {
		if err := b.restoreParameter(e); err != nil {
			return err
		}
	}
	if err := b.restore(behind); err != nil {
		return err
	}
	if err := b.restoreAttachments(behind[prefixAttachment]); err != nil {
		return err
	}
	return b.claim(lost)
}

// behindVHosts begin the keys of what is restored when all virtual hosts are there.
var behindVHosts = []string{prefixQueue, prefixBinding, prefixEx, prefixExpiry, prefixTTL, prefixVHostLimits, prefixParameter, prefixGlobal, prefixAttachment}

func decodeDef(e store.Entry, into any) error {
	dec := json.NewDecoder(bytes.NewReader(e.Value))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return fmt.Errorf("definition %q: %w", e.Key, err)
	}
	return nil
}

// firstStart writes what every data directory has.
func (b *Broker) firstStart() error {
	fresh := b.clusterID == ""
	if fresh {
		id, err := b.agree(keyClusterID, func(have []byte) ([]byte, error) {
			if have != nil {
				return nil, nil // another process was first
			}
			return json.Marshal(randomName())
		})
		if err == nil {
			err = json.Unmarshal(id, &b.clusterID)
		}
		if err != nil {
			return err
		}
	}
	d := vhostDef{Name: b.opts.FirstVHost}
	if b.vhosts[d.Name] != nil || b.goingVHosts[d.Name] != nil || !fresh && len(b.vhosts) > 0 {
		return nil // one that was deleted does not come back
	}
	b.showVHost(&d)
	return b.putJSON(store.Key(prefixVHost, d.Name), d)
}

// restore takes up exchanges, queues and bindings, and what is marked of queues.
func (b *Broker) restore(list map[string][]store.Entry) error {
	for _, e := range list[prefixEx] {
		var d exchangeDef
		if err := decodeDef(e, &d); err != nil {
			return err
		}
		v, err := b.home(d.VHost, d.Lanes, "exchange", d.Name)
		if err == nil && v != nil {
			err = v.restoreExchange(d)
		}
		if err != nil {
			return err
		}
	}
	var missing []error
	var q queueDef
	for _, e := range list[prefixQueue] {
		if err := q.decode(e); err != nil {
			return err
		}
		v, err := b.home(q.VHost, q.Logs, "queue", q.Name)
		if err == nil && v != nil {
			err = v.restoreQueue(&q)
		}
		if errors.Is(err, store.ErrMissing) {
			missing = append(missing, err) // name all of them at once
		} else if err != nil {
			return err
		}
	}
	if len(missing) > 0 {
		return errors.Join(missing...)
	}
	var loose []store.Entry // to be put right
	var d bindingDef
	for _, e := range list[prefixBinding] {
		if err := d.decode(e); err != nil {
			return err
		}
		v, err := b.home(d.VHost, nil, "a binding of exchange", d.Source)
		if err != nil {
			return err
		}
		if v == nil {
			continue
		}
		key, err := v.restoreBinding(&d, true)
		if err != nil {
			b.opts.Log.Warn("a binding's end is gone; left out", "vhost", d.VHost, "source", d.Source, "destination", d.Dest, "error", err)
			loose = append(loose, store.Entry{Key: d.kept})
			continue
		}
		entries, err := d.renamed(key)
		if err != nil {
			return err
		}
		loose = append(loose, entries...)
	}
	for _, e := range list[prefixExpiry] {
		var d expiryDef
		if err := decodeDef(e, &d); err != nil {
			return err
		}
		if !b.restoreExpiry(d) {
			loose = append(loose, store.Entry{Key: e.Key})
		}
	}
	for _, e := range list[prefixTTL] {
		var d ttlDef
		if err := decodeDef(e, &d); err != nil {
			return err
		}
		if !b.restoreTTLs(d) {
			loose = append(loose, store.Entry{Key: e.Key})
		}
	}
	if len(loose) > 0 { // or they would come back once something of the end's name is declared
		return b.putDef(loose...)
	}
	return nil
}
