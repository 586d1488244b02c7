package local

import (
	"fmt"

	"github.com/leveret-mq/leveret/message"
)

// Thin rewrites segments of which little is needed any more; see store.Log and
// package log. A log that was not used since the start has nothing to thin: its
// consumers come first.
func (l *Log) Thin(below message.Offset, keep func(first, last message.Offset) bool) error {
	inner := l.inner.Load()
	r := l.options.Load().Retention
	if inner == nil || !r.Consumed || r.Age > 0 {
		return nil
	}
	if !l.store.thinning.TryRLock() { // an archive begins
		return nil
	}
	defer l.store.thinning.RUnlock()
	if l.store.held.Load() {
		return nil
	}
	if fault := l.fault.Load(); fault != nil {
		return readOnly(l, *fault)
	}
	freed, err := inner.Thin(int64(below), func(first, last int64) bool {
		return keep(message.Offset(first), message.Offset(last))
	})
	if freed > 0 {
		l.touch()
		l.store.logger.Debug("thinned a log", "log", l.id, "name", l.name(), "freed_bytes", freed)
	}
	if err != nil {
		return l.appendError(inner, fmt.Errorf("thin: %w", storeError(err)))
	}
	return nil
}
