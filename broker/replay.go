package broker

import (
	"github.com/leveret-mq/leveret/internal/field"
	"github.com/leveret-mq/leveret/message"
)

// A replay copies messages that are still stored, whether they were acked or not, into a queue or to an exchange. Nothing is
// taken from where they are. A copy that goes into a queue tells of the exchange and the routing key of the message; one that
// goes to an exchange is routed as if it were published anew.

const (
	headerReplayedFrom   = "x-replayed-from"
	headerReplayedOffset = "x-replayed-offset"
)

// replay copies one message.
func (w *worker) replay(d *Delivery) error {
	w.delta.Matched++
	w.delta.Bytes += int64(len(d.Body))
	if w.spec.DryRun {
		w.n++
		return nil
	}
	h := field.AppendTableString(w.headers[:0], headerReplayedFrom, w.q.Name)
	w.headers = field.AppendTableInt(h, headerReplayedOffset, int64(d.Offset))
	w.props = message.AppendWithoutDeaths(w.props[:0], d.Properties, w.headers, true)
	in := Inbound{Exchange: d.Exchange, Key: d.Key, Properties: w.props, Body: d.Body, Died: d.died, Ref: uint64(d.Offset)}
	t := w.spec.Target
	var to *Queue
	var err error
	if t.Queue != nil {
		to, err = w.targetQueue(*t.Queue)
	} else {
		in.Exchange = []byte(*t.Exchange)
		if t.Key != nil {
			in.Key = []byte(*t.Key)
		} else {
			in.MoreKeys = message.FurtherKeys(nil, d.Properties, d.Key, d.died)
		}
	}
	if err != nil {
		return err
	}
	routed, err := w.publish(to, &in)
	switch {
	case err != nil:
		return err
	case !routed:
		w.delta.Unroutable++
	default:
		w.n++
	}
	return nil
}
