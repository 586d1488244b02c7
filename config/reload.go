package config

import (
	"maps"
	"reflect"
)

// Change is a setting that a reload finds to be another.
type Change struct {
	Setting  string
	Old, New string // as a file has them; of a secret they say nothing
	From     Origin // of the new value
	Live     bool   // it takes hold without a restart
}

// Live is the settings that take hold without a restart.
func Live() []string {
	var list []string
	for _, s := range settings(new(Config)) {
		if s.Live {
			list = append(list, s.Flag)
		}
	}
	return list
}

// Merge is the settings running with those of next in their place that can change while
// the broker runs, and what differs between the two.
func Merge(running, next *Config) (*Config, []Change) {
	merged := *running
	merged.origins = maps.Clone(running.origins)
	merged.warnings, merged.fileRead = next.warnings, next.fileRead
	if merged.origins == nil {
		merged.origins = map[string]Origin{}
	}
	var changes []Change
	into, old, fresh := settings(&merged), settings(running), settings(next)
	for i, s := range fresh {
		if s.literal() == old[i].literal() {
			continue
		}
		c := Change{Setting: s.Flag, Old: old[i].shown(), New: s.shown(), From: next.Origin(s.Flag), Live: s.Live}
		changes = append(changes, c)
		if s.Live {
			reflect.ValueOf(into[i].pointer).Elem().Set(reflect.ValueOf(s.pointer).Elem())
			merged.origins[s.Flag] = c.From
		}
	}
	return &merged, changes
}

// shown is literal, unless the value is secret.
func (s Setting) shown() string {
	if s.Secret {
		return "(not shown)"
	}
	return s.literal()
}
