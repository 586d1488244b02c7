package broker

import "github.com/leveret-mq/leveret/internal/field"

// streamArgs are arguments of a consumer that RabbitMQ takes for streams alone.
var streamArgs = []string{"x-stream-offset", "x-stream-filter", "x-stream-match-unfiltered"}

// consumeArgs takes what a consumer's arguments ask for into its options. The errors are
// RabbitMQ's. Unknown arguments are ignored, as it does.
func (q *Queue) consumeArgs(o *SubscribeOptions) error {
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
		if _, ok := field.Find(o.Args, name); ok {
			return fail(Precondition, "invalid arg '%s' for queue '%s' in vhost '%s' of queue type rabbit_%s_queue", name, q.Name, q.vhost.Name, q.Settings().kind.name)
		}
	}
	return nil
}
