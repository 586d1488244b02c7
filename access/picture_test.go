package access

import (
	"fmt"
	"maps"
	"testing"
)

// TestAPictureThatWasPublishedIsNeverChanged has each kind of change leave what readers have in their hands as it is, though
// pictures share what a change leaves alone.
func TestAPictureThatWasPublishedIsNeverChanged(t *testing.T) {
	r := start(t)
	may := Permission{VHost: "/", User: "ann", Configure: "a", Write: "b", Read: "c"}
	keys := TopicPermission{VHost: "/", User: "ann", Exchange: "amq.topic", Write: "w", Read: "r"}
	for _, change := range []struct {
		name string
		do   func() error
	}{
		{"a user comes", func() error { return r.PutUser(tester, NewUser{Name: "ann"}) }},
		{"a permission comes", func() error { return r.SetPermission(tester, may) }},
		{"it is another", func() error { may.Read = "d"; return r.SetPermission(tester, may) }},
		{"a topic permission comes", func() error { return r.SetTopicPermission(tester, keys) }},
		{"one for another exchange", func() error { keys.Exchange = "amq.direct"; return r.SetTopicPermission(tester, keys) }},
		{"a limit comes", func() error { return r.SetUserLimit(tester, "ann", "max-connections", 3) }},
		{"topic permissions go", func() error { return r.ClearTopicPermissions(tester, "/", "ann") }},
		{"a permission goes", func() error { return r.ClearPermission(tester, "/", "ann") }},
		{"the user goes", func() error { return r.DeleteUser(tester, "ann") }},
	} {
		t.Run(change.name, func(t *testing.T) {
			p := r.current.Load()
			users, permissions, topics := maps.Clone(p.users), maps.Clone(p.permissions), maps.Clone(p.topics)
			for g, of := range topics {
				topics[g] = maps.Clone(of)
			}
			r.must(change.do())
			if r.current.Load() == p {
				t.Fatal("nothing was published")
			}
			if !maps.Equal(users, p.users) || !maps.Equal(permissions, p.permissions) ||
				!maps.EqualFunc(topics, p.topics, func(a, b map[string]*grantedTopics) bool { return maps.Equal(a, b) }) {
				t.Error("a picture that others read has changed")
			}
		})
	}
}

// BenchmarkSetPermission is one where so many users have one each.
func BenchmarkSetPermission(b *testing.B) {
	for _, n := range []int{100, 1000, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			r := start(b)
			r.must(r.Change(tester, func(d *Draft) error {
				for i := range n {
					name := fmt.Sprint("u", i)
					if err := d.PutUser(NewUser{Name: name}); err != nil {
						return err
					}
					if err := d.SetPermission(Permission{VHost: "/", User: name, Configure: "^" + name}); err != nil {
						return err
					}
				}
				return nil
			}))
			i := 0
			for b.Loop() {
				i++
				r.must(r.SetPermission(tester, Permission{VHost: "/", User: "u7", Read: fmt.Sprint("^", i)}))
			}
		})
	}
}
