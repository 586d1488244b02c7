package broker

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/leveret-mq/leveret/store"
)

// What a group is beside its offsets, its members mostly, is an entry of the table
// "groups" too:
//
//	key    g/VHOST/GROUP     parts escaped as in a URL's path
//	value  what whoever runs the groups makes of it: see package kafka/group
const groupPrefix = "g/"

func groupKey(prefix, vhost, group string) string {
	return prefix + url.PathEscape(vhost) + "/" + url.PathEscape(group)
}

func parseGroupKey(key string) (vhost, group string, err error) {
	v, g, ok := strings.Cut(key[len(groupPrefix):], "/")
	if !ok || strings.Contains(g, "/") {
		return "", "", fmt.Errorf("malformed state of a group: key %q", key)
	}
	if vhost, err = url.PathUnescape(v); err == nil {
		group, err = url.PathUnescape(g)
	}
	if err != nil {
		return "", "", fmt.Errorf("malformed state of a group: key %q: %w", key, err)
	}
	return vhost, group, nil
}

// A group's own settings are another entry, which may be there without the group:
//
//	key    c/VHOST/GROUP
//	value  as above
const groupSettingsPrefix = "c/"

// GroupSettings calls fn with the settings of every group that has some. The bytes are never changed.
func (b *Broker) GroupSettings(fn func(v *VHost, group string, settings []byte)) error {
	return b.loadGroups(groupSettingsPrefix, fn)
}

// Groups calls fn with the state of every group that was kept. The bytes are never changed.
func (b *Broker) Groups(fn func(v *VHost, group string, state []byte)) error {
	return b.loadGroups(groupPrefix, fn)
}

func (b *Broker) loadGroups(prefix string, fn func(v *VHost, group string, state []byte)) error {
	ctx, cancel := asking()
	defer cancel()
	return b.groups.Load(ctx, func(e store.Entry) error {
		if !strings.HasPrefix(e.Key, prefix) {
			return nil
		}
		vhost, group, err := parseGroupKey(e.Key)
		if err != nil {
			return err
		}
		if v, err := b.VHost(vhost); err == nil {
			fn(v, group, e.Value)
		}
		return nil
	})
}

// KeepGroup replaces what is kept of a group beside its offsets; nil removes it. It
// returns when that is durable.
func (v *VHost) KeepGroup(group string, state []byte) error {
	return v.putGroups([]store.Entry{{Key: groupKey(groupPrefix, v.Name, group), Value: state}})
}

// KeepGroupSettings replaces the settings of a group; nil removes them. It returns when that is durable.
func (v *VHost) KeepGroupSettings(group string, settings []byte) error {
	return v.putGroups([]store.Entry{{Key: groupKey(groupSettingsPrefix, v.Name, group), Value: settings}})
}
