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

func groupKey(vhost, group string) string {
	return groupPrefix + url.PathEscape(vhost) + "/" + url.PathEscape(group)
}

func parseGroupKey(key string) (vhost, group string, err error) {
	v, g, ok := strings.Cut(strings.TrimPrefix(key, groupPrefix), "/")
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

// Groups calls fn with the state of every group that was kept. The bytes are never changed.
func (b *Broker) Groups(fn func(v *VHost, group string, state []byte)) error {
	ctx, cancel := asking()
	defer cancel()
	return b.groups.Load(ctx, func(e store.Entry) error {
		if !strings.HasPrefix(e.Key, groupPrefix) {
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
	return v.putGroups([]store.Entry{{Key: groupKey(v.Name, group), Value: state}})
}
