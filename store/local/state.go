package local

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"github.com/cespare/xxhash/v2"

	"github.com/leveret-mq/leveret/store"
)

// A state file holds a small thing of the owner's beside a log:
//
//	0         32      32+n
//	┌─────────┬───────┬────────┐
//	│ header  │ data  │ hash   │
//	│ tag=id  │       │ u64    │   the hash covers all before it
//	└─────────┴───────┴────────┘
const (
	stateSuffix   = ".state"
	maxStateBytes = 64 << 20
)

// encodeState is the content of a state file.
func encodeState(id LogNumber, createdMs int64, data []byte) []byte {
	buf := header{Magic: magicState, Tag: uint64(id), CreatedMs: createdMs}.appendTo(make([]byte, 0, headerBytes+len(data)+8))
	buf = append(buf, data...)
	return binary.LittleEndian.AppendUint64(buf, xxhash.Sum64(buf))
}

// decodeState reads a state file.
func decodeState(file []byte) (id LogNumber, data []byte, err error) {
	h, err := decodeHeader(file, magicState)
	if err != nil {
		return 0, nil, fmt.Errorf("state: %w", err)
	}
	end := len(file) - 8
	if end < headerBytes || binary.LittleEndian.Uint64(file[end:]) != xxhash.Sum64(file[:end]) {
		return 0, nil, fmt.Errorf("state of %d bytes: its hash differs: %w", len(file), ErrCorrupt)
	}
	return LogNumber(h.Tag), file[headerBytes:end], nil
}

// SaveState keeps a small thing beside the log; see store.Log.
func (l *Log) SaveState(_ context.Context, name string, data []byte) error {
	if len(data) > maxStateBytes || !validTableName(name) {
		return fmt.Errorf("log %d: state %q of %d bytes: %w", l.id, name, len(data), store.ErrTooLarge)
	}
	if err := l.makeDir(); err != nil {
		return err
	}
	file := encodeState(l.id, l.store.now().UnixMilli(), data)
	if err := writeFile(l.store.fs, l.dir(), name+stateSuffix, file, false); err != nil {
		if l.isGone() {
			return store.ErrClosed
		}
		return fmt.Errorf("log %d (%s): save state %s: %w", l.id, l.name(), name, storeError(err))
	}
	return nil
}

// LoadState returns what was kept; see store.Log. What is damaged is not there.
func (l *Log) LoadState(_ context.Context, name string) ([]byte, error) {
	file := l.dir() + "/" + name + stateSuffix
	info, err := l.store.fs.Stat(file)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err == nil && info.SizeBytes > headerBytes+maxStateBytes+8 {
		err = ErrCorrupt
	}
	var data []byte
	if err == nil {
		data, err = readFile(l.store.fs, file)
	}
	var id LogNumber
	if err == nil {
		id, data, err = decodeState(data)
	}
	if err == nil && id != l.id {
		err = fmt.Errorf("it is of log %d: %w", id, ErrCorrupt)
	}
	if errors.Is(err, ErrCorrupt) {
		l.store.note(event{Kind: eventNotice, Name: l.name(), Text: fmt.Sprintf("log %d (%s): state %s is not used: %v", l.id, l.name(), name, err)})
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("log %d (%s): load state %s: %w", l.id, l.name(), name, err)
	}
	return data, nil
}
