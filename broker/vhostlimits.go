package broker

import (
	"encoding/json"
	"fmt"
	"maps"

	"github.com/leveret-mq/leveret/internal/audit"
	"github.com/leveret-mq/leveret/store"
)

// Limits are what was set for the virtual host. The map must not be changed.
func (v *VHost) Limits() map[string]int64 {
	v.b.accounts.mu.Lock()
	defer v.b.accounts.mu.Unlock()
	return v.said
}

// SetVHostLimits puts these limits in the place of all that a virtual host has; none takes
// them away.
func (b *Broker) SetVHostLimits(by audit.Actor, vhost string, said map[string]int64) error {
	act, on := audit.SetVHostLimit, fmt.Sprint(said)
	if len(said) == 0 {
		act, on = audit.ClearVHostLimit, "all"
	}
	return b.changeVHostLimits(by, act, vhost, on, func(map[string]int64) map[string]int64 { return maps.Clone(said) })
}

// SetVHostLimit sets one limit of a virtual host.
func (b *Broker) SetVHostLimit(by audit.Actor, vhost, name string, n int64) error {
	return b.changeVHostLimits(by, audit.SetVHostLimit, vhost, fmt.Sprintf("%s = %d", name, n), func(said map[string]int64) map[string]int64 {
		said[name] = n
		return said
	})
}

// ClearVHostLimit takes one limit of a virtual host away.
func (b *Broker) ClearVHostLimit(by audit.Actor, vhost, name string) error {
	err := CheckLimit(name, 1)
	if err != nil {
		audit.Acted(b.opts.Log, by, audit.ClearVHostLimit, name, vhost, err)
		return err
	}
	return b.changeVHostLimits(by, audit.ClearVHostLimit, vhost, name, func(said map[string]int64) map[string]int64 {
		delete(said, name)
		return said
	})
}

func (b *Broker) changeVHostLimits(by audit.Actor, act audit.Act, vhost, on string, change func(map[string]int64) map[string]int64) error {
	err := b.putVHostLimits(vhost, change)
	audit.Acted(b.opts.Log, by, act, on, vhost, err)
	return err
}

func (b *Broker) putVHostLimits(vhost string, change func(map[string]int64) map[string]int64) error {
	b.vhostChange.Lock()
	defer b.vhostChange.Unlock()
	v, err := b.VHost(vhost)
	if err != nil {
		return err
	}
	said := maps.Clone(v.Limits())
	if said == nil {
		said = map[string]int64{}
	}
	said = change(said)
	for name, n := range said {
		if err := CheckLimit(name, n); err != nil {
			return err
		}
	}
	e := store.Entry{Key: store.Key(prefixVHostLimits, vhost)}
	if len(said) > 0 {
		if e.Value, err = json.Marshal(said); err != nil {
			return fmt.Errorf("encode definition %s: %w", e.Key, err)
		}
	}
	if err := b.putDef(e); err != nil {
		return err
	}
	v.obey(said)
	return nil
}

// obey has limits hold in the virtual host.
func (v *VHost) obey(said map[string]int64) {
	v.b.limitsChanged(func() {
		v.said = said
		v.account.setLimits(compileLimits(said))
	})
	v.changed() // publishers look at theirs when they find a route
}

// readVHostLimits reads the limits of a definition.
func readVHostLimits(e store.Entry) (said map[string]int64, err error) {
	if err := decodeDef(e, &said); err != nil {
		return nil, err
	}
	for name, n := range said {
		if err := CheckLimit(name, n); err != nil {
			return nil, fmt.Errorf("definition %q: %w", e.Key, err)
		}
	}
	return said, nil
}

// restoreVHostLimits has defined limits hold.
func (b *Broker) restoreVHostLimits(e store.Entry) error {
	name, err := vhostOf(e.Key)
	if err != nil {
		return err
	}
	said, err := readVHostLimits(e)
	if err != nil {
		return err
	}
	v, err := b.home(name, nil, "a limit of", name)
	if v != nil {
		v.obey(said)
	}
	return err
}
