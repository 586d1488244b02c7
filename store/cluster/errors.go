package cluster

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leveret-mq/leveret/store"
)

// asStoreError says what a failure of the cluster is in the store's terms.
func asStoreError(err error) error {
	var k *kerr.Error
	switch {
	case err == nil:
		return nil
	case errors.Is(err, kgo.ErrClientClosed):
		return fmt.Errorf("%w: %w", store.ErrClosed, err)
	case errors.Is(err, kgo.ErrMaxBuffered):
		return fmt.Errorf("%w: %w", store.ErrBusy, err)
	case errors.Is(err, kerr.UnknownTopicOrPartition), errors.Is(err, kerr.UnknownTopicID), errors.Is(err, kerr.InconsistentTopicID):
		return fmt.Errorf("%w: %w", store.ErrNotFound, err)
	case errors.Is(err, kerr.MessageTooLarge), errors.Is(err, kerr.RecordListTooLarge):
		return fmt.Errorf("%w: %w", store.ErrTooLarge, err)
	case errors.Is(err, kerr.OffsetOutOfRange):
		return fmt.Errorf("%w: %w", store.ErrOutOfRange, err)
	case errors.Is(err, kerr.IllegalGeneration), errors.Is(err, kerr.UnknownMemberID), errors.Is(err, kerr.FencedInstanceID), errors.Is(err, kerr.RebalanceInProgress):
		return fmt.Errorf("%w: %w", store.ErrFenced, err)
	case errors.Is(err, kerr.KafkaStorageError):
		return fmt.Errorf("%w: %w", store.ErrReadOnly, err)
	case errors.As(err, &k) && !k.Retriable:
		return err
	case errors.Is(err, context.Canceled):
		return err
	}
	return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
}
