package broker

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"testing"

	"github.com/leveret-mq/leveret/store"
)

func TestAnAlarmIsRaisedByWhatTheDiskRefuses(t *testing.T) {
	full := fmt.Errorf("append: %w", store.ErrFull)
	broken := fmt.Errorf("append: %w", store.ErrReadOnly)
	noRoom := errors.New("no room")
	a, other := &Partition{}, &Partition{}
	type step struct {
		part   *Partition // of an append of 100 bytes
		bytes  int
		err    error
		probe  bool
		answer error
	}
	cases := []struct {
		name  string
		steps []step
		told  []string // first letters of what subscribers hear
	}{
		{"a full disk, and room again", []step{{part: a, bytes: 100, err: full}, {part: a, bytes: 100, err: full}, {probe: true, answer: noRoom}, {probe: true}}, []string{"the disk is full", ""}},
		{"what was refused is stored", []step{{part: a, bytes: 100, err: full}, {part: a, bytes: 99}, {part: other, bytes: 100}, {part: a, bytes: 100}}, []string{"the disk is full", ""}},
		{"one damaged log on a good disk", []step{{part: a, bytes: 100, err: broken}, {probe: true}, {part: a, bytes: 100, err: broken}}, nil},
		{"damaged logs on a disk that fails", []step{{part: a, bytes: 100, err: broken}, {probe: true, answer: noRoom}, {part: other, bytes: 100}, {probe: true, answer: noRoom}, {probe: true}}, []string{"the disk fails: no room", ""}},
		{"another error", []step{{part: a, bytes: 100, err: store.ErrClosed}, {probe: true, answer: noRoom}}, nil},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var answer error
			b := &Broker{opts: Options{Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Probe: func() error { return answer }}}
			var told []string
			stop := b.OnAlarm(func(reason string) { told = append(told, reason[:min(len(reason), 23)]) })
			for _, s := range c.steps {
				if answer = s.answer; s.probe {
					b.alarm.probe(b)
				} else {
					b.alarm.appended(b, s.part, s.bytes, s.err)
				}
			}
			for i, text := range told {
				if i < len(c.told) && len(c.told[i]) > 0 && len(text) >= len(c.told[i]) {
					told[i] = text[:len(c.told[i])]
				}
			}
			if !slices.Equal(told, c.told) {
				t.Errorf("subscribers heard %q, want %q", told, c.told)
			}
			stop()
			b.alarm.change(b, nil, 0, "x")
			b.alarm.change(b, nil, 0, "")
			if len(told) != len(c.told) {
				t.Error("one who stopped was told")
			}
		})
	}
}
