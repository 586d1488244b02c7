package broker

import (
	"encoding/binary"
	"math"

	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/internal/field"
	"github.com/leveret-mq/leveret/message"
)

// streamArgs are arguments of a consumer that RabbitMQ takes for streams alone.
var streamArgs = []string{headerOffset, argFilter, argMatchUnfiltered}

// streamFrom is where a consumer of a stream wants to begin.
type streamFrom struct {
	what fromWhat
	n    int64 // an offset, or ms since 1970
}

type fromWhat uint8

// What x-stream-offset may say.
const (
	fromNext   fromWhat = iota // with what comes
	fromFirst                  // with what there is
	fromLast                   // with the batch that came last
	fromOffset                 // with that message, or what comes first behind it
	fromTime                   // with the first message of that time or later
)

// beginning is a place in a log.
type beginning struct {
	next    message.Offset
	sinceMs int64 // what is older is left out, until something is not
}

// streamFrom reads x-stream-offset.
func (q *Queue) streamFrom(args []byte) (streamFrom, error) {
	f, ok := field.Find(args, headerOffset)
	if !ok {
		return streamFrom{}, nil
	}
	if n, isInt := f.Int(); isInt {
		return streamFrom{fromOffset, max(n, 0)}, nil
	}
	switch text := string(f.Text()); {
	case f.Tag() == field.TagTimestamp:
		return streamFrom{fromTime, int64(min(binary.BigEndian.Uint64(f.Raw()), math.MaxInt64/1000)) * 1000}, nil
	case text == "first":
		return streamFrom{what: fromFirst}, nil
	case text == "last":
		return streamFrom{what: fromLast}, nil
	case text == "next":
		return streamFrom{}, nil
	default:
		if d, ok := parseAge(text); ok && d > 0 {
			return streamFrom{fromTime, q.vhost.b.opts.Now().UnixMilli() - d.Milliseconds()}, nil
		}
	}
	said := field.TypeName(f.Tag())
	if f.Text() != nil {
		said = "{" + said + "," + field.ErlangBinary(f.Text()) + "}"
	}
	return streamFrom{}, q.vhost.invalidArg(headerOffset, q.Name, "{invalid_stream_offset_arg,"+said+"}")
}

// begin finds the place in a log, and waits for the disk.
func (p *Partition) begin(from streamFrom) (beginning, error) {
	if _, err := p.knowTxns(); err != nil {
		return beginning{}, err
	}
	start, end, err := p.bounds()
	if err != nil {
		return beginning{}, p.unreadable(err)
	}
	at := beginning{next: end}
	switch from.what {
	case fromFirst:
		at.next = start
	case fromLast:
		if start < end {
			at.next, err = p.lastBatch(end)
		}
	case fromOffset:
		at.next = message.Offset(from.n)
	case fromTime:
		ctx, cancel := asking()
		defer cancel()
		o, _, ok, e := p.log.OffsetForTime(ctx, from.n)
		if err = e; ok {
			at = beginning{next: o, sinceMs: from.n}
		}
	}
	if err != nil {
		return beginning{}, p.unreadable(err)
	}
	at.next = max(at.next, start)
	return at, nil
}

// lastBatch is where the last batch of a log begins that ends at end.
func (p *Partition) lastBatch(end message.Offset) (at message.Offset, err error) {
	v, err := await(p.log, end-1, 1)
	if err != nil {
		return 0, err
	}
	defer v.Done()
	at = end
	if v.Len() == 0 {
		return at, nil
	}
	err = v.Use(func(data []byte) error {
		b, _, err := batch.Next(data)
		if err == nil {
			at = message.Offset(b.BaseOffset())
		}
		return err
	})
	return at, err
}
