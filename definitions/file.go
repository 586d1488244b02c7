package definitions

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"

	"github.com/leveret-mq/leveret/access"
	"github.com/leveret-mq/leveret/broker"
)

// File is what a file of definitions says, in its order.
type File struct {
	// OneVHost is the virtual host that a file is of which names none; "" if it does not say.
	OneVHost string
	// Warnings name what is in the file and has no effect.
	Warnings []string

	src              io.ReadSeeker
	users            []userItem
	vhosts           []vhostItem
	permissions      []permissionItem
	topicPermissions []topicItem
	parameters       []parameterItem
	global           []parameterItem
	policies         []policyItem
	exchanges        []exchangeItem
	queues           []queueItem
	bindings         []bindingItem
	unknown          map[string]int // keys that nobody knows, and how often
}

// item is where something stands in the file.
type item struct {
	list  string
	index int   // -1: the list is a key that is none
	at    int64 // position in the file
}

func (i item) path() string {
	if i.index < 0 {
		return i.list
	}
	return fmt.Sprintf("%s[%d]", i.list, i.index)
}

// inVHost is the virtual host that an item names; "" if it names none.
type inVHost struct {
	item
	vhost string
}

type (
	userItem struct {
		item
		access.NewUser
	}
	vhostItem struct {
		item
		name   string
		meta   broker.VHostMeta
		limits json.RawMessage // nil: none are said
	}
	permissionItem struct {
		item
		access.Permission
	}
	topicItem struct {
		item
		access.TopicPermission
	}
	parameterItem struct {
		inVHost
		broker.Parameter
	}
	policyItem struct {
		inVHost
		broker.SettingPolicy
		inside string // of a parameter: where the policy stands in it
	}
	exchangeItem struct {
		inVHost
		broker.DefinedExchange
	}
	queueItem struct {
		inVHost
		broker.DefinedQueue
	}
	bindingItem struct {
		inVHost
		broker.Binding
	}
)

// HasUsers says whether the file brings users.
func (f *File) HasUsers() bool { return len(f.users) > 0 }

// warn notes what has no effect. Keys that nobody knows are counted: there may be as many as items.
func (f *File) warn(format string, args ...any) {
	if len(f.Warnings) < maxWarnings {
		f.Warnings = append(f.Warnings, fmt.Sprintf(format, args...))
	}
}

// maxWarnings bounds what is said of one file.
const maxWarnings = 100

// unknownKeys notes keys of an item that are left.
func (f *File) unknownKeys(list string, left map[string]json.RawMessage) {
	for key := range left {
		if f.unknown == nil {
			f.unknown = map[string]int{}
		}
		if name := list + "[]." + short(key); f.unknown[name] > 0 || len(f.unknown) < maxWarnings {
			f.unknown[name]++
		}
	}
}

// tellUnknown makes warnings of the keys that were counted.
func (f *File) tellUnknown() {
	var names []string
	for name := range f.unknown {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		f.warn("%s is not known and has no effect (in %d of them)", name, f.unknown[name])
	}
}

// short is a name from the file as far as it is told.
func short(name string) string {
	if len(name) > 64 {
		return name[:64] + "…"
	}
	return name
}
