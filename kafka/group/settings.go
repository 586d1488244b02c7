package group

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/leveret-mq/leveret/kafka/wire"
)

// Setting is one of the settings that a group may have of its own.
type Setting struct {
	Name     string // Kafka's
	Default  string
	Min, Max int64    // of a number; both 0: it is none
	OneOf    []string // nil: any
	Why      string   // why no other value is taken, if that is not plain
	Doc      string
	obey     func(*Settings, string)
}

// Settings are those of a group. They are never changed: what changes is made anew.
type Settings struct {
	// Values are those that were set.
	Values map[string]string
	// ConsumerSession and ShareSession are how long a member may be silent.
	ConsumerSession, ShareSession time.Duration
	// ConsumerInterval and ShareInterval are how often a member is to be heard; 0: the coordinator says.
	ConsumerInterval, ShareInterval time.Duration
	// ShareLock is how long a member of a share group may keep a message.
	ShareLock time.Duration
	// Deliveries is how often a message is delivered at most in a share group.
	Deliveries int
	// Reset is where a share group begins on a topic whose messages nobody has taken yet.
	Reset Reset
	// NoRenewals says that locks can't be prolonged.
	NoRenewals bool
}

// Reset is a place in a log.
type Reset struct {
	Latest bool          // its end
	Since  time.Duration // the first message that is no older; 0: the first of all
}

func millis(text string) time.Duration {
	n, _ := strconv.ParseInt(text, 10, 64)
	return time.Duration(n) * time.Millisecond
}

// GroupSettings are all settings that groups have, in order of their names. The bounds are those of Kafka's brokers.
var GroupSettings = []Setting{
	{Name: "consumer.assignment.interval.ms", Default: "0", Min: 0, Max: 15_000, Doc: "taken, and nothing done for it: targets are made when they change"},
	{Name: "consumer.heartbeat.interval.ms", Default: "5000", Min: 5000, Max: 15_000, Doc: "time between two heartbeats of a member; by default 1 s up to 100 members, 5 s from 500 on",
		obey: func(s *Settings, v string) { s.ConsumerInterval = millis(v) }},
	{Name: "consumer.session.timeout.ms", Default: "45000", Min: 45_000, Max: 60_000, Doc: "for how long a member may be silent",
		obey: func(s *Settings, v string) { s.ConsumerSession = millis(v) }},
	{Name: "errors.deadletterqueue.copy.record.enable", Default: "false", OneOf: []string{"false"}, Why: deadLetters},
	{Name: "errors.deadletterqueue.topic.name", OneOf: []string{""}, Why: deadLetters},
	{Name: "share.assignment.interval.ms", Default: "0", Min: 0, Max: 15_000, Doc: "taken, and nothing done for it: targets are made when they change"},
	{Name: "share.auto.offset.reset", Default: "earliest", Doc: "where the group begins on a topic of which nobody has taken anything yet: earliest, latest, by_duration:PT1H",
		obey: func(s *Settings, v string) { s.Reset, _ = parseReset(v) }},
	{Name: "share.delivery.count.limit", Default: "5", Min: 2, Max: 10, Doc: "how often a message is delivered at most, where its queue has no x-delivery-limit",
		obey: func(s *Settings, v string) { s.Deliveries, _ = strconv.Atoi(v) }},
	{Name: "share.heartbeat.interval.ms", Default: "5000", Min: 5000, Max: 15_000, Doc: "as consumer.heartbeat.interval.ms",
		obey: func(s *Settings, v string) { s.ShareInterval = millis(v) }},
	{Name: "share.isolation.level", Default: "read_committed", OneOf: []string{"read_committed"},
		Why: "what a transaction wrote is given to nobody before it is committed"},
	{Name: "share.partition.max.record.locks", Default: "4000", Min: 100, Max: 4000, Doc: "taken, and nothing done for it: any number of messages may be out"},
	{Name: "share.record.lock.duration.ms", Default: "30000", Min: 15_000, Max: 60_000, Doc: "how long a member may keep a message that it has not settled",
		obey: func(s *Settings, v string) { s.ShareLock = millis(v) }},
	{Name: "share.renew.acknowledge.enable", Default: "true", OneOf: []string{"true", "false"}, Doc: "whether members may prolong that",
		obey: func(s *Settings, v string) { s.NoRenewals = v == "false" }},
	{Name: "share.session.timeout.ms", Default: "45000", Min: 45_000, Max: 60_000, Doc: "for how long a member may be silent",
		obey: func(s *Settings, v string) { s.ShareSession = millis(v) }},
}

const deadLetters = "dead letters go where the queue's x-dead-letter-exchange says"

// SettingError is what is wrong with a setting, for the client to read.
type SettingError string

// Error implements error.
func (e SettingError) Error() string { return string(e) }

func settingError(format string, args ...any) error {
	return SettingError(fmt.Sprintf(format, args...))
}

func settingNamed(name string) *Setting {
	at := slices.IndexFunc(GroupSettings, func(s Setting) bool { return s.Name == name })
	if at < 0 {
		return nil
	}
	return &GroupSettings[at]
}

// take is a value as it is understood.
func (s *Setting) take(value string) (string, error) {
	value = strings.TrimSpace(value)
	switch {
	case s.Max > 0:
		n, err := strconv.ParseInt(value, 10, 32)
		if err != nil {
			return "", settingError("Invalid value %s for configuration %s: Not a number of type INT", value, s.Name)
		}
		if n < s.Min || n > s.Max {
			return "", settingError("%s must be in the range %d to %d inclusive.", s.Name, s.Min, s.Max)
		}
		return strconv.FormatInt(n, 10), nil
	case s.OneOf != nil:
		if value = strings.ToLower(value); !slices.Contains(s.OneOf, value) {
			if s.Why != "" {
				return "", settingError("'%s' of a group is '%s', and can't be another: %s", s.Name, s.Default, s.Why)
			}
			return "", settingError("Invalid value %s for configuration %s: it is one of %s", value, s.Name, strings.Join(s.OneOf, ", "))
		}
		return value, nil
	}
	if _, err := parseReset(value); err != nil {
		return "", err
	}
	return value, nil
}

var isoDuration = regexp.MustCompile(`(?i)^([-+]?)P(?:([-+]?\d{1,9})D)?(?:T(?:([-+]?\d{1,9})H)?(?:([-+]?\d{1,9})M)?(?:([-+]?\d{1,9})(?:[.,](\d{0,9}))?S)?)?$`)

// parseReset reads a value of share.auto.offset.reset.
func parseReset(value string) (r Reset, _ error) {
	switch duration, by := strings.CutPrefix(value, "by_duration:"); {
	case value == "earliest":
		return r, nil
	case value == "latest":
		return Reset{Latest: true}, nil
	case by:
		m := isoDuration.FindStringSubmatch(duration)
		if m == nil || strings.HasSuffix(strings.ToUpper(duration), "T") || strings.HasSuffix(strings.ToUpper(duration), "P") {
			break // nothing is behind it
		}
		const day = 24 * 3600
		seconds := int64(0)
		for i, unit := range [4]int64{day, 3600, 60, 1} {
			n, _ := strconv.ParseInt(m[2+i], 10, 64) // an empty one is 0
			seconds += n * unit
		}
		nanos, _ := strconv.ParseInt((m[6] + "000000000")[:9], 10, 64)
		if strings.HasPrefix(m[5], "-") {
			nanos = -nanos
		}
		if m[1] == "-" {
			seconds, nanos = -seconds, -nanos
		}
		const most = int64(100*365) * day
		if seconds < 0 || seconds == 0 && nanos < 0 {
			return r, settingError("Invalid value %s for configuration share.auto.offset.reset: Duration cannot be negative.", value)
		}
		return Reset{Since: max(time.Duration(min(seconds, most))*time.Second+time.Duration(nanos), 1)}, nil
	}
	return r, settingError("Invalid value %s for configuration share.auto.offset.reset. The value must be either 'earliest', 'latest' or of the format 'by_duration:<PnDTnHnMn.nS>'.", value)
}

// settingsOf makes Settings of values, which are understood already.
func (o *Options) settingsOf(values map[string]string) *Settings {
	s := &Settings{Values: values, ConsumerSession: o.EpochSession, ShareSession: o.EpochSession, ShareLock: o.ShareLock, Deliveries: 5}
	for name, value := range values {
		if t := settingNamed(name); t != nil && t.obey != nil {
			t.obey(s, value)
		}
	}
	return s
}

func (s *Settings) session(kind Type) time.Duration {
	if kind == Share {
		return s.ShareSession
	}
	return s.ConsumerSession
}

func (s *Settings) interval(kind Type) time.Duration {
	if kind == Share {
		return s.ShareInterval
	}
	return s.ConsumerInterval
}

// Settings are those of a group, which need not be there.
func (c *Coordinator) Settings(group string) *Settings {
	c.settingsMu.RLock()
	defer c.settingsMu.RUnlock()
	if s := c.settings[group]; s != nil {
		return s
	}
	return c.standard
}

// Configured lists the groups that have settings of their own, by name; they need not be there.
func (c *Coordinator) Configured() []string {
	c.settingsMu.RLock()
	defer c.settingsMu.RUnlock()
	return slices.Sorted(maps.Keys(c.settings))
}

// SettingsKeeper is a Keeper that keeps settings as well.
type SettingsKeeper interface {
	// KeepSettings replaces the settings of a group; nil removes them. It returns when that is durable.
	KeepSettings(group string, settings []byte) error
}

// ErrSettingsKept is that settings could not be written.
var ErrSettingsKept = errors.New("the settings of the group can't be stored")

// AlterSettings changes settings of a group, nil ones to their default, or only looks whether it would. It returns when that is
// durable. An error is a SettingError or ErrSettingsKept.
func (c *Coordinator) AlterSettings(group string, change map[string]*string, validateOnly bool) error {
	if group == "" {
		return settingError("Group name is empty.")
	}
	c.altering.Lock() // held over the disk
	defer c.altering.Unlock()
	values := maps.Clone(c.Settings(group).Values)
	if values == nil {
		values = map[string]string{}
	}
	for _, name := range slices.Sorted(maps.Keys(change)) {
		t := settingNamed(name)
		if t == nil {
			return settingError("Unknown group config name: %s", name)
		}
		if change[name] == nil {
			delete(values, name)
			continue
		}
		value, err := t.take(*change[name])
		if err != nil {
			return err
		}
		values[name] = value
	}
	if validateOnly {
		return nil
	}
	c.settingsMu.RLock()
	full := c.settings[group] == nil && len(c.settings) >= c.opts.MaxGroups
	c.settingsMu.RUnlock()
	if full {
		return settingError("There are settings of %d groups, and can't be of more.", c.opts.MaxGroups)
	}
	more := settingsBytes(group, values) - settingsBytes(group, c.Settings(group).Values)
	if c.missing(wire.None) != wire.None {
		return ErrSettingsKept // its virtual host is gone
	}
	if more > 0 && c.opts.take(more) != wire.None {
		return settingError("There is no memory for settings of more groups.")
	}
	if k, ok := c.opts.Keeper.(SettingsKeeper); ok {
		if err := k.KeepSettings(group, appendSettings(values)); err != nil {
			c.opts.give(max(more, 0))
			return ErrSettingsKept
		}
	}
	less := min(max(-more, 0), c.settingsHeld) // what was restored may have found no room
	c.settingsHeld += max(more, 0) - less
	c.opts.give(less)
	c.set(group, values)
	return nil
}

// settingsBytes is about what a group's settings take, here and in the table that keeps them.
func settingsBytes(group string, values map[string]string) int64 {
	if len(values) == 0 {
		return 0
	}
	n := groupBytes + 2*len(group)
	for name, value := range values {
		n += 64 + 2*len(name) + 2*len(value)
	}
	return int64(n)
}

func (c *Coordinator) set(group string, values map[string]string) {
	c.settingsMu.Lock()
	defer c.settingsMu.Unlock()
	if len(values) == 0 {
		delete(c.settings, group)
		return
	}
	c.settings[group] = c.opts.settingsOf(values)
}

// Settings are kept as a version, 1, a number of them, and each as its name and its value. A number is an unsigned varint, a text
// its number of bytes and the bytes.
const settingsVersion = 1

func appendSettings(values map[string]string) []byte {
	if len(values) == 0 {
		return nil
	}
	dst := binary.AppendUvarint([]byte{settingsVersion}, uint64(len(values)))
	for _, name := range slices.Sorted(maps.Keys(values)) {
		dst = appendText(appendText(dst, name), values[name])
	}
	return dst
}

func parseSettings(b []byte) (map[string]string, error) {
	if len(b) == 0 || b[0] != settingsVersion {
		return nil, errStateVersion
	}
	values := map[string]string{}
	r := stateDecoder{rest: b[1:]}
	for n := r.count(2); n > 0 && !r.bad; n-- {
		name := strings.Clone(r.text())
		values[name] = strings.Clone(r.text())
	}
	if r.bad || len(r.rest) > 0 {
		return nil, errStateRecord
	}
	for name, value := range values {
		t := settingNamed(name)
		if t == nil {
			return nil, fmt.Errorf("%w: a setting that is not known", errStateRecord)
		}
		if _, err := t.take(value); err != nil {
			return nil, fmt.Errorf("%w: %w", errStateRecord, err)
		}
	}
	return values, nil
}

// RestoreSettings puts back what was kept of a group's settings.
func (c *Coordinator) RestoreSettings(group string, b []byte) error {
	values, err := parseSettings(b)
	if err != nil {
		return fmt.Errorf("settings of group %q: %w", group, err)
	}
	c.altering.Lock()
	defer c.altering.Unlock()
	if n := settingsBytes(group, values); c.opts.take(n) == wire.None { // else it is there all the same
		c.settingsHeld += n
	}
	c.set(group, values)
	return nil
}
