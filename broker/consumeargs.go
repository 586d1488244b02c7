package broker

import "github.com/leveret-mq/leveret/internal/field"

// consumeArgs takes what a consumer's arguments ask for into its options. The errors are
// RabbitMQ's. Unknown arguments are ignored, as it does.
func (q *Queue) consumeArgs(o *SubscribeOptions) error {
	kind := q.Settings().kind
	if kind == stream {
		return q.streamConsumeArgs(o)
	}
	if len(o.Args) == 0 {
		return nil
	}
	if f, ok := field.Find(o.Args, "x-priority"); ok {
		n, isInt := f.Int()
		if !isInt {
			return q.vhost.invalidArg("x-priority", q.Name, `"expected integer, got `+field.TypeName(f.Tag())+`"`)
		}
		o.Priority = int(n)
	}
	if f, ok := field.Find(o.Args, argConsumerTimeout); ok {
		if n, isInt := f.Int(); isInt { // as with the queue's, RabbitMQ takes anything
			o.timeout = consumerTimeout(n)
		}
	}
	for _, name := range streamArgs {
		if _, ok := field.Find(o.Args, name); !ok {
			continue
		}
		if kind == topic { // which is read as a stream if that is asked for
			return q.streamConsumeArgs(o)
		}
		return q.argOfOthers(name)
	}
	return nil
}

// streamConsumeArgs is consumeArgs of a stream.
func (q *Queue) streamConsumeArgs(o *SubscribeOptions) (err error) {
	if _, ok := field.Find(o.Args, "x-priority"); ok {
		return q.argOfOthers("x-priority")
	}
	o.stream = true
	if o.from, err = q.streamFrom(o.Args); err != nil {
		return err
	}
	o.filter, err = q.streamFilter(o.Args)
	return err
}

// argOfOthers is the error of a consumer's argument that the queue's type does not have.
func (q *Queue) argOfOthers(name string) error {
	return fail(Precondition, "invalid arg '%s' for queue '%s' in vhost '%s' of queue type rabbit_%s_queue", name, q.Name, q.vhost.Name, q.Settings().kind.name)
}
