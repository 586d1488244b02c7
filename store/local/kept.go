package local

import "github.com/leveret-mq/leveret/store"

// nameOnly is the owner of a log that has none.
type nameOnly string

// LogName is all that it says.
func (n nameOnly) LogName() string { return string(n) }

// Definition is none.
func (nameOnly) Definition() string { return "" }

// keptAs are the options without what tells one log from another.
func keptAs(o store.LogOptions) store.LogOptions {
	o.Name, o.Owner = "", nil
	return o
}
