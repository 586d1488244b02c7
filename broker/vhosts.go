package broker

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/leveret-mq/leveret/internal/audit"
	"github.com/leveret-mq/leveret/store"
)

// VHostMeta is what is said of a virtual host beside its name. Only the type of queue and the
// protection make a difference.
type VHostMeta struct {
	Description string   `json:"description,omitempty"`
	Tags        []string `json:"tags,omitempty"`
	// DefaultQueueType is the type of queues that are declared without one, where their other
	// properties fit it; "" is classic.
	DefaultQueueType string `json:"default_queue_type,omitempty"`
	// Protected keeps it from being deleted.
	Protected bool `json:"protected_from_deletion,omitempty"`
}

// vhostDef is a virtual host in the definitions.
type vhostDef struct {
	Name string `json:"name"`
	VHostMeta
}

// Bounds of what a virtual host is called and said to be. AMQP names are at most that long.
const (
	maxVHostName        = 255
	maxVHostDescription = 4 << 10
	maxVHostTags        = 64
	maxVHostTag         = 255
)

// checkVHost says what is wrong with a virtual host's name or metadata, in RabbitMQ's words
// where it has some.
func checkVHost(name string, m *VHostMeta) error {
	switch {
	case name == "":
		return fail(Precondition, "virtual host name cannot be empty")
	case len(name) > maxVHostName:
		return fail(Precondition, "virtual host name of %d bytes is longer than %d", len(name), maxVHostName)
	case !utf8.ValidString(name):
		return fail(Precondition, "virtual host name %q is not valid UTF-8", name)
	case len(m.Description) > maxVHostDescription || !utf8.ValidString(m.Description):
		return fail(Precondition, "description of virtual host '%s' is longer than %d bytes or not valid UTF-8", name, maxVHostDescription)
	case len(m.Tags) > maxVHostTags:
		return fail(Precondition, "virtual host '%s' has more than %d tags", name, maxVHostTags)
	}
	for _, tag := range m.Tags {
		if tag == "" || len(tag) > maxVHostTag || !utf8.ValidString(tag) {
			return fail(Precondition, "%q is not a valid tag for virtual host '%s'", tag, name)
		}
	}
	if m.DefaultQueueType == "undefined" { // as RabbitMQ exports that there is none
		m.DefaultQueueType = ""
	}
	if queueTypes[m.DefaultQueueType] == nil {
		return fail(Precondition, "%s is not a valid queue type", m.DefaultQueueType)
	}
	return nil
}

// Meta is what is said of the virtual host. Its slices must not be changed.
func (v *VHost) Meta() VHostMeta { return *v.meta.Load() }

// Gone says whether the virtual host was deleted.
func (v *VHost) Gone() bool { return v.open.isGone() }

// goneErr is what is answered to who wants to change something in a deleted virtual host.
func (v *VHost) goneErr() error {
	return &Error{Kind: Closed, Text: v.deletedText(), Err: errVHostGone}
}

// deletedText is what RabbitMQ tells the clients of a virtual host that is deleted.
func (v *VHost) deletedText() string { return "vhost '" + v.Name + "' is deleted" }

// VHost finds a virtual host.
func (b *Broker) VHost(name string) (*VHost, error) {
	b.mu.RLock()
	v := b.vhosts[name]
	b.mu.RUnlock()
	if v == nil {
		return nil, fail(NotFound, "vhost %s not found", name)
	}
	return v, nil
}

// VHosts lists the virtual hosts by name.
func (b *Broker) VHosts() []*VHost {
	b.mu.RLock()
	out := make([]*VHost, 0, len(b.vhosts))
	for _, v := range b.vhosts {
		out = append(out, v)
	}
	b.mu.RUnlock()
	slices.SortFunc(out, func(a, b *VHost) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// PutVHost makes a virtual host, or gives the one of that name other metadata. One of that
// name that is on its way out is waited for, so that nothing of it is in the new one.
func (b *Broker) PutVHost(by audit.Actor, name string, m VHostMeta) (created bool, err error) {
	return b.AlterVHost(by, name, func(VHostMeta, bool) (VHostMeta, error) { return m, nil })
}

// AlterVHost is PutVHost for one who has to know what is said of the virtual host now: alter is told,
// and whether there is one, and says what is to be said. Nobody else changes it meanwhile.
func (b *Broker) AlterVHost(by audit.Actor, name string, alter func(was VHostMeta, there bool) (VHostMeta, error)) (created bool, err error) {
	created, err = b.putVHost(name, alter)
	audit.Acted(b.opts.Log, by, audit.PutVHost, fmt.Sprintf("vhost '%s'", name), "", err)
	return created, err
}

func (b *Broker) putVHost(name string, alter func(VHostMeta, bool) (VHostMeta, error)) (created bool, err error) {
	if err := checkVHost(name, new(VHostMeta)); err != nil {
		return false, err
	}
	ctx, cancel := asking()
	defer cancel()
	for {
		b.vhostChange.Lock()
		going := b.goingVHost(name)
		if going == nil {
			break
		}
		b.vhostChange.Unlock()
		if err := b.awaitVHost(ctx, name, going); err != nil {
			return false, err
		}
	}
	defer b.vhostChange.Unlock()
	v, _ := b.VHost(name)
	var was VHostMeta
	if v != nil {
		was = v.Meta()
	}
	m, err := alter(was, v != nil)
	if err != nil {
		return false, err
	}
	m.Tags = slices.Clone(m.Tags)
	if err := checkVHost(name, &m); err != nil {
		return false, err
	}
	def := vhostDef{name, m}
	if v == nil && b.store.Caps().Shared {
		if err := b.sweepVHost(name); err != nil { // of what others declared while it went
			return false, err
		}
	}
	if err := b.putJSON(store.Key(prefixVHost, name), def); err != nil {
		return false, err
	}
	return b.showVHost(&def), nil
}

// showVHost makes a virtual host known that is defined, and says whether it was not.
func (b *Broker) showVHost(d *vhostDef) (created bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	v := b.vhosts[d.Name]
	if created = v == nil; created {
		v = newVHost(b, d.Name)
		b.vhosts[d.Name] = v
	}
	v.meta.Store(&d.VHostMeta)
	return created
}

// goingVHost is the deletion of a virtual host that is under way, nil if there is none.
func (b *Broker) goingVHost(name string) *vhostEnd {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.goingVHosts[name]
}

// awaitVHost waits until a virtual host is gone with all in it.
func (b *Broker) awaitVHost(ctx context.Context, name string, going *vhostEnd) error {
	select {
	case <-going.done:
		return nil
	case <-b.stop:
		return fail(Closed, "the broker is stopping")
	case <-ctx.Done():
		return fail(Unavailable, "vhost '%s' is still being deleted", name)
	}
}

// DeleteVHost removes a virtual host with all that is in it. When it returns nobody finds it
// any more, its clients were told to go, and a broker that is killed goes on with the rest at
// its next start.
func (b *Broker) DeleteVHost(by audit.Actor, name string) error {
	err := b.deleteVHost(name)
	audit.Acted(b.opts.Log, by, audit.DeleteVHost, fmt.Sprintf("vhost '%s'", name), "", err)
	return err
}

func (b *Broker) deleteVHost(name string) error {
	b.vhostChange.Lock()
	defer b.vhostChange.Unlock()
	v, err := b.VHost(name)
	if err != nil {
		return err
	}
	if v.Meta().Protected {
		return fail(Precondition, "Refusing to delete virtual host '%s' because it is protected from deletion", name)
	}
	if b.closed.Load() {
		return fail(Closed, "the broker is stopping")
	}
	<-v.open.shut()
	value, err := json.Marshal(vhostDef{Name: name})
	if err == nil {
		err = b.putDef(store.Entry{Key: store.Key(prefixVHost, name)}, store.Entry{Key: store.Key(prefixVHostEnd, name), Value: value})
	}
	if err != nil {
		v.open.decide(false)
		return err
	}
	b.endVHost(v)
	v.forget()
	b.stopped.Go(func() { b.finishVHost(name, v) })
	return nil
}
