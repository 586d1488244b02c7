package broker

import (
	"errors"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/leveret-mq/leveret/internal/field"
)

// declaredArgs reads the arguments of a declaration: the type of queue, and what is
// set for it. Unknown ones are ignored, as RabbitMQ does. The errors are RabbitMQ's,
// and begin with the argument.
func (v *VHost) declaredArgs(queue string, raw []byte) (*queueType, layer, error) {
	return v.readArgs(queue, raw, func(err error) error { return err })
}

// keptArgs reads the arguments of a queue that is there. What an older version
// ignored and this one knows to be wrong is still ignored.
func (v *VHost) keptArgs(queue string, raw []byte) (*queueType, layer, error) {
	return v.readArgs(queue, raw, func(err error) error {
		v.b.opts.Log.Warn("an argument of a queue has no effect", "queue", queue, "error", err)
		return nil
	})
}

// readArgs is both; wrong decides on an argument that does not fit.
func (v *VHost) readArgs(queue string, raw []byte, wrong func(error) error) (*queueType, layer, error) {
	kind, err := v.typeArg(queue, raw)
	if err != nil {
		return nil, nil, err
	}
	var l layer
	f := field.NewIterator(raw)
	for f.Next() {
		t := byArg(string(f.Name()))
		if t == nil || t.Arg == "" {
			continue
		}
		value, why := t.argument(&f)
		switch {
		case t.Arg == argDeadLetterExchange && f.Text() == nil: // which RabbitMQ looks at before the others
			err = fail(Precondition, "invalid type '%s' for arg '%s' in queue '%s' in vhost '%s'", field.TypeName(f.Tag()), t.Arg, queue, v.Name)
		case t.of&kind.set == 0:
			err = fail(Precondition, "invalid arg '%s' for queue '%s' in vhost '%s' of queue type rabbit_%s_queue", t.Arg, queue, v.Name, kind.name)
		case why != "":
			err = v.invalidArg(t.Arg, queue, why)
		case l == nil:
			l = layer{t: value}
			continue
		default:
			l[t] = value
			continue
		}
		if err = wrong(err); err != nil {
			return nil, nil, err
		}
	}
	if f.Err() != nil {
		return nil, nil, fail(Precondition, "malformed arguments for queue '%s' in vhost '%s'", queue, v.Name)
	}
	if arg, why := l.contradiction(); arg != "" {
		if err := wrong(v.invalidArg(arg, queue, why)); err != nil {
			return nil, nil, err
		}
	}
	return kind, l, nil
}

// contradiction is an argument that does not go with the others, and why; "" if all do.
func (l layer) contradiction() (arg, why string) {
	get := func(arg string) string { return l[byArg(arg)] }
	kind, least, most := get(argRetryType), get(argRetryMin), get(argRetryMax)
	switch {
	case get(argDeadLetterKey) != "" && get(argDeadLetterExchange) == "":
		return argDeadLetterKey, "routing_key_but_no_dlx_defined"
	case kind != "" && kind != "disabled" && least == "":
		return argRetryType, `"delayed-retry-min is required when delayed-retry-type is ` + kind + `"`
	case least != "" && most != "" && whole(most) < whole(least):
		return argRetryMax, `"delayed-retry-max (` + most + `) must not be smaller than delayed-retry-min (` + least + `)"`
	}
	return "", ""
}

// maxAlikeBytes bounds what queues have in common. Larger declarations are seldom of many
// queues, and some are kept after their queues are gone.
const maxAlikeBytes = 1 << 10

// argsOf are a queue's arguments as it keeps them: with all others that have the same.
func (b *Broker) argsOf(raw []byte) []byte {
	switch {
	case len(raw) == 0:
		return nil
	case len(raw) > maxAlikeBytes:
		return slices.Clone(raw)
	}
	return b.sharedArgs.Of(string(raw), func() []byte { return slices.Clone(raw) })
}

func (v *VHost) invalidArg(arg, queue, wrong string) error {
	return fail(Precondition, "invalid arg '%s' for queue '%s' in vhost '%s': %s", arg, queue, v.Name, wrong)
}

// typeArg finds the type that a declaration asks for.
func (v *VHost) typeArg(queue string, raw []byte) (*queueType, error) {
	f, ok := field.Find(raw, argType)
	if !ok {
		return classic, nil
	}
	if f.Text() == nil {
		return nil, v.invalidArg(argType, queue, "{unacceptable_type,"+field.TypeName(f.Tag())+"}")
	}
	name := string(f.Text())
	switch kind := queueTypes[name]; {
	case kind == nil || name == "":
		return nil, v.invalidArg(argType, queue, `"unsupported queue type '`+name+`'"`)
	default:
		return kind, nil
	}
}

// withDefaultType are a declaration's arguments with the virtual host's type of queue, where it
// says none and its other properties are not against it. The slice it gave stays as it is.
func (v *VHost) withDefaultType(o QueueOptions) []byte {
	name := v.meta.Load().DefaultQueueType
	kind := queueTypes[name]
	if name == "" || kind.lasting && (!o.Durable || o.Exclusive || o.AutoDelete) {
		return o.Args
	}
	if _, ok := field.Find(o.Args, argType); ok {
		return o.Args
	}
	return field.AppendString(field.AppendName(slices.Clip(o.Args), argType), []byte(name))
}

// parseAge reads a duration as RabbitMQ writes x-max-age: a whole number and a
// unit, of Y, M, D, h, m and s; a year has 365 days and a month 30. What is too long for
// a Duration is as long as can be.
func parseAge(s string) (time.Duration, bool) {
	if len(s) < 2 {
		return 0, false
	}
	n, err := strconv.ParseUint(s[:len(s)-1], 10, 63) // the largest there is with ErrRange
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return 0, false
	}
	const day = 24 * time.Hour
	units := map[byte]time.Duration{'Y': 365 * day, 'M': 30 * day, 'D': day, 'h': time.Hour, 'm': time.Minute, 's': time.Second}
	unit, ok := units[s[len(s)-1]]
	if !ok {
		return 0, false
	}
	return time.Duration(min(n, uint64(math.MaxInt64/unit))) * unit, true
}

// same is RabbitMQ's check of a second declaration: the flags, and of the
// arguments those that this type of queue knows, by value.
func (q *Queue) same(o QueueOptions) error {
	switch {
	case q.Durable != o.Durable:
		return q.inequivalent("durable", quoted(o.Durable), quoted(q.Durable))
	case q.AutoDelete != o.AutoDelete:
		return q.inequivalent("auto_delete", quoted(o.AutoDelete), quoted(q.AutoDelete))
	case q.Exclusive != o.Exclusive:
		return q.locked()
	}
	kind, declared, err := q.vhost.declaredArgs(q.Name, o.Args)
	if err != nil {
		return err
	}
	have := q.Settings()
	if have.kind == topic { // made by a Kafka client: arguments say nothing about it
		return nil
	}
	if kind != have.kind {
		return q.inequivalent(argType, "'"+kind.name+"'", "'"+have.kind.name+"'")
	}
	for _, t := range settingTable {
		if t.Arg == "" || t.Arg == argType {
			continue
		}
		a, isA := declared[t]
		b, isB := have.layers.declared[t]
		got, have := argTexts(o.Args, q.Args, t.Arg)
		if a != b || isA != isB || t.of == streamType && t.age && got != have { // "60m" is not "1h"
			return q.inequivalent(t.Arg, got, have)
		}
	}
	return nil
}

func (q *Queue) inequivalent(what, got, have string) error {
	return fail(Precondition, "inequivalent arg '%s' for queue '%s' in vhost '%s': received %s but current is %s", what, q.Name, q.vhost.Name, got, have)
}

func quoted(b bool) string { return "'" + strconv.FormatBool(b) + "'" }

// argTexts are an argument of two declarations as RabbitMQ shows them: only their
// values when both are of one kind of type, else with their types, or none.
func argTexts(got, have []byte, name string) (string, string) {
	a, isA := field.Find(got, name)
	b, isB := field.Find(have, name)
	if isA && isB && argKind(&a) == argKind(&b) {
		return "'" + argValue(&a) + "'", "'" + argValue(&b) + "'"
	}
	return argText(&a, isA), argText(&b, isB)
}

func argText(f *field.Iterator, ok bool) string {
	if !ok {
		return "none"
	}
	return "the value '" + argValue(f) + "' of type '" + field.TypeName(f.Tag()) + "'"
}

// argKind is the same for types that RabbitMQ compares by value.
func argKind(f *field.Iterator) byte {
	if _, ok := f.Int(); ok {
		return field.TagInt64
	}
	if _, ok := f.Float(); ok {
		return field.TagFloat64
	}
	return f.Tag()
}
