package broker

import "github.com/leveret-mq/leveret/internal/field"

// Arguments of a consumer, and what a publisher says of its message.
const (
	argFilter          = "x-stream-filter"
	argMatchUnfiltered = "x-stream-match-unfiltered"
	headerFilterValue  = "x-stream-filter-value"
)

// streamFilter is which messages of a stream a consumer wants: those of which the publisher said
// one of these values in x-stream-filter-value. RabbitMQ sends a consumer all that stands together with
// one of them; here each message is looked at, and nothing else is sent. No value is as "".
type streamFilter struct {
	values     map[string]struct{}
	unfiltered bool // and those of which nothing was said

	head uint64 // the Delivery.Head that was looked at last; 0: none
	want bool   // what came of it
}

// streamFilter reads what the arguments of a consumer say, nil if it is nothing. What
// RabbitMQ passes over is passed over.
func (q *Queue) streamFilter(args []byte) (*streamFilter, error) {
	f, ok := field.Find(args, argFilter)
	if !ok {
		return nil, nil
	}
	filter := &streamFilter{values: map[string]struct{}{}}
	switch {
	case f.Tag() == field.TagArray:
		list := field.NewArrayIterator(f.Raw())
		for list.Next() {
			if text := list.Text(); text != nil {
				filter.values[string(text)] = struct{}{}
			}
		}
		if len(filter.values) == 0 {
			return nil, q.vhost.invalidArg(argFilter, q.Name, "no text in the array")
		}
	case f.Text() != nil:
		filter.values[string(f.Text())] = struct{}{}
	default:
		return nil, nil
	}
	if m, ok := field.Find(args, argMatchUnfiltered); ok {
		filter.unfiltered, _ = m.Bool()
	}
	return filter, nil
}

// wants says whether the consumer is to have a message.
func (f *streamFilter) wants(d *Delivery) bool {
	if d.Head != f.head {
		f.head, f.want = d.Head, f.has(d.Properties)
	}
	return f.want
}

func (f *streamFilter) has(properties []byte) bool {
	var p field.Properties
	if p.Parse(properties) == nil {
		if v, ok := field.Find(p.Headers, headerFilterValue); ok && v.Text() != nil {
			_, ok := f.values[string(v.Text())]
			return ok
		}
	}
	_, empty := f.values[""]
	return f.unfiltered || empty
}
