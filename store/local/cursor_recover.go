package local

import (
	"errors"
	"fmt"
)

// cursorVerdict is what the content of a cursor file comes down to.
type cursorVerdict struct {
	state   slot   // what to go on with; without a blob if that can't be used
	blob    []byte // the consumer's data, or nil
	rewrite bool   // the file must be written anew before the log takes appends
	damage  string // not empty: what to report
}

// recoverCursor decides what a cursor file means for a log with the bounds
// [start, end), on a machine whose boot has that hash. It never forgets what may
// have been handed out, and would rather deliver a message again than lose it:
//
//	what stands in the file           floor        handed (redelivered below it)  data
//	────────────────────────────────  ───────────  ─────────────────────────────  ─────
//	no file, or no slot written yet   start        start                          none
//	last slot valid, same boot        its floor    its handed                     kept
//	last slot valid, other boot       its floor    its reserved                   kept
//	other slot written but not valid  of the valid the higher of handed, reserved kept
//	both slots, or the header, bad    start        end                            none
//	the id is another log's           start        end                            none
//	shorter than a page's slots       start        end                            none
//	data's hash differs, or cut off   as above     as above                       none
//	reserved above end                its floor    end                            kept
//	floor or handed above end         at most end  at most end                    none
//	floor below start                 start        at least start                 kept
//	newer version                     refused: ErrVersion
//
// A log that lost its tail in a power cut, in mode os, goes on above the offsets
// that its cursor has seen (cursorReach), so that floor and handed lie above end
// only when something else is wrong; then the acks must not be believed.
func recoverCursor(data []byte, id, boot uint64, start, end int64) (cursorVerdict, error) {
	if len(data) == 0 {
		return cursorVerdict{state: slot{Floor: start, Handed: start, Reserved: start, Boot: boot}}, nil
	}
	page, err := decodeCursorPage(data)
	if errors.Is(err, ErrVersion) {
		return cursorVerdict{}, err
	}
	if err == nil && page.ID != id {
		err = fmt.Errorf("cursor of log %d: %w", page.ID, ErrCorrupt)
	}
	if err != nil {
		return cursorVerdict{
			state:   slot{Floor: start, Handed: end, Reserved: end, Boot: boot},
			rewrite: true,
			damage:  fmt.Sprintf("%v; everything in [%d,%d) is delivered again", err, start, end),
		}, nil
	}
	if !page.Found {
		return cursorVerdict{state: slot{Floor: start, Handed: start, Reserved: start, Boot: boot}}, nil
	}
	return fitCursor(data, page, boot, start, end), nil
}

// cursorReach is the least offset that a log with this cursor may give out next:
// acks of messages that were lost must not count for others. 0 without a valid slot.
func cursorReach(data []byte) int64 {
	page, err := decodeCursorPage(data)
	if err != nil || !page.Found {
		return 0
	}
	return max(page.Slot.Floor, page.Slot.Handed)
}

// cursorStart is where a log with this cursor was truncated to. Without a valid
// slot it is 0: more can be read than before, and nothing less.
func cursorStart(data []byte) int64 {
	page, err := decodeCursorPage(data)
	if err != nil || !page.Found {
		return 0
	}
	return page.Slot.Start
}

// cursorBoot is the run of the machine in which the cursor was written; 0 when unknown.
func cursorBoot(data []byte) uint64 {
	page, err := decodeCursorPage(data)
	if err != nil || !page.Found {
		return 0
	}
	return page.Slot.Boot
}

// fitCursor fits the valid slot to the log and the running kernel.
func fitCursor(data []byte, page cursorPage, boot uint64, start, end int64) cursorVerdict {
	v := cursorVerdict{state: page.Slot}
	s := &v.state
	if s.Boot != boot || boot == 0 {
		s.Handed = s.Reserved
		v.rewrite = true
	}
	if page.Suspect {
		s.Handed = max(s.Handed, s.Reserved)
		v.rewrite = true
	}
	// reserved may lie above end by design; what was really there is what the slot says.
	lost := max(page.Slot.Floor, page.Slot.Handed) > end
	v.takeBlob(data, lost)
	if lost {
		v.rewrite = true
		v.damage = fmt.Sprintf("cursor is at %d but the log ends at %d: its acks above the floor are not believed",
			page.Slot.Handed, end)
	}
	s.Floor = max(min(s.Floor, end), start)
	s.Handed = max(min(s.Handed, end), s.Floor)
	s.Boot = boot
	return v
}

// takeBlob checks the blob that the slot points at.
func (v *cursorVerdict) takeBlob(data []byte, lost bool) {
	s := &v.state
	if s.BlobLen == 0 {
		return
	}
	from, to := s.BlobAt, s.BlobAt+s.BlobLen
	if !lost && to <= uint64(len(data)) && blobHash(data[from:to]) == s.BlobHash {
		v.blob = data[from:to]
		return
	}
	if !lost {
		v.damage = fmt.Sprintf("the acks above floor %d can't be read: those messages are delivered again", s.Floor)
	}
	v.rewrite = true
	s.BlobAt, s.BlobLen, s.BlobHash = 0, 0, 0
}
