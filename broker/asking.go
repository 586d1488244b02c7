package broker

import (
	"context"
	"errors"
	"time"

	"github.com/leveret-mq/leveret/message"
	"github.com/leveret-mq/leveret/store"
)

// storeTimeout bounds one call of a store that may have to ask another machine.
const storeTimeout = 30 * time.Second

// asking is the context of such a call.
func asking() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), storeTimeout)
}

// await reads what the log has from an offset on, and waits for what is on its way.
func await(l store.Log, from message.Offset, maxBytes int) (store.View, error) {
	v, err := l.Read(from, maxBytes)
	if !errors.Is(err, store.ErrNotYet) {
		return v, err
	}
	ctx, cancel := asking()
	defer cancel()
	woken := make(chan struct{}, 1)
	defer l.Watch(func() {
		select {
		case woken <- struct{}{}:
		default:
		}
	})()
	for {
		v, err := l.Read(from, maxBytes)
		if !errors.Is(err, store.ErrNotYet) {
			return v, err
		}
		select {
		case <-woken:
		case <-ctx.Done():
			return store.View{}, errors.Join(store.ErrUnavailable, err)
		}
	}
}
