package access

import (
	"maps"
	"net"
	"slices"

	"github.com/leveret-mq/leveret/auth"
	"github.com/leveret-mq/leveret/internal/audit"
)

// Limited lists the users who have limits, by name.
func (k *Keeper) Limited() []string {
	var out []string
	for name, r := range k.current.Load().users {
		if len(r.Limits) > 0 {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// AlterLimits sets limits of a user and takes some away, by who asks for it over Kafka. A dry
// one changes nothing.
func (k *Keeper) AlterLimits(by auth.Identity, from net.Addr, user string, set map[string]int64, clear []string, dry bool) error {
	change := func(d *Draft) error {
		for _, name := range slices.Sorted(maps.Keys(set)) {
			if err := d.SetUserLimit(user, name, set[name]); err != nil {
				return err
			}
		}
		for _, name := range clear {
			if err := d.ClearUserLimit(user, name); err != nil {
				return err
			}
		}
		return nil
	}
	if dry {
		return k.Check(change)
	}
	return k.Change(audit.Actor{User: by.Name, From: from.String(), Protocol: "kafka"}, change)
}
