package broker

import "testing"

func TestGroupsAreKeptByTheirNames(t *testing.T) {
	for _, c := range []struct{ vhost, group, key string }{
		{"/", "orders", "g/%2F/orders"},
		{"/", "", "g/%2F/"},
		{"a b", "x/y/z", "g/a%20b/x%2Fy%2Fz"},
	} {
		key := groupKey(groupPrefix, c.vhost, c.group)
		if key != c.key {
			t.Errorf("key %q, want %q", key, c.key)
		}
		if vhost, group, err := parseGroupKey(key); err != nil || vhost != c.vhost || group != c.group {
			t.Errorf("%q became %q %q %v", key, vhost, group, err)
		}
	}
	for _, key := range []string{"g/", "g/one", "g/a/b/c", "g/%zz/b", "g/a/%zz"} {
		if _, _, err := parseGroupKey(key); err == nil {
			t.Errorf("%q was taken", key)
		}
	}
}
