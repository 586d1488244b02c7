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

// Who wants to know hears of the first of two alarms and of the end of the last.
func TestAlarmsOfDiskAndMemoryAreOneToPublishers(t *testing.T) {
	b := &Broker{opts: Options{Log: slog.New(slog.NewTextHandler(io.Discard, nil))}}
	var told []string
	b.OnAlarm(func(reason string) { told = append(told, reason) })
	disk := func(reason string) { b.alarm.change(b, nil, 0, reason) }
	memory := func(reason string) { b.alarm.changeMemory(b, reason) }
	for i, s := range []struct {
		change func(string)
		reason string
		alarm  string
		told   int
	}{
		{memory, "m", "m", 1}, {memory, "more", "m", 1}, {disk, "d", "d; m", 1}, {memory, "", "d", 1}, {disk, "", "", 2},
		{disk, "d", "d", 3}, {memory, "m", "d; m", 3}, {disk, "", "m", 3}, {memory, "", "", 4}, {memory, "", "", 4},
	} {
		s.change(s.reason)
		if b.Alarm() != s.alarm || len(told) != s.told {
			t.Errorf("step %d: %q, told %q", i, b.Alarm(), told)
		}
	}
	if !slices.Equal(told, []string{"m", "", "d", ""}) {
		t.Errorf("told %q", told)
	}
}
