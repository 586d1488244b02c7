package spool

import "math/bits"

// file is a scratch file with the bodies for which memory has no room. There is one while it holds anything.
//
//	block  0   1   2   3   4   5   6   7
//	      [ 3 | 1 | 3 |   | 7 | 1 |       of body 3, 1, 3 …
//	                ▲           └ the file ends with the last block that is in use
//	                a free block is used again, the first one at first
//
// A body takes blocks as it comes, so that the file is not longer than what is in it.
type file struct {
	disk Scratch
	used []uint64 // a bit for each block
	held int      // blocks in use
}

// blockBytes is the unit in which a file is used.
const blockBytes = 64 << 10

// spilled is a body in a file.
type spilled struct {
	blocks []uint32
	size   int
}

// append puts a piece behind what is there of a body.
func (s *file) append(open func() (Scratch, error), body *spilled, piece []byte) error {
	if s.disk == nil {
		disk, err := open()
		if err != nil {
			return err
		}
		s.disk = disk
	}
	for len(body.blocks)*blockBytes < body.size+len(piece) {
		body.blocks = append(body.blocks, s.take())
	}
	err := body.runs(body.size, len(piece), func(at int64, n int) error {
		_, err := s.disk.WriteAt(piece[:n], at)
		piece = piece[n:]
		body.size += n
		return err
	})
	return err
}

// read fills b with the beginning of a body.
func (s *file) read(body *spilled, b []byte) error {
	return body.runs(0, len(b), func(at int64, n int) error {
		_, err := s.disk.ReadAt(b[:n], at)
		b = b[n:]
		return err
	})
}

// runs calls do for each place in the file where some of n bytes of a body are, in order.
func (body *spilled) runs(from, n int, do func(at int64, n int) error) error {
	for n > 0 {
		i, skip := from/blockBytes, from%blockBytes
		run := blockBytes - skip
		for j := i; run < n && body.blocks[j+1] == body.blocks[j]+1; j++ {
			run += blockBytes
		}
		run = min(run, n)
		if err := do(int64(body.blocks[i])*blockBytes+int64(skip), run); err != nil {
			return err
		}
		from, n = from+run, n-run
	}
	return nil
}

// take finds a block that is free.
func (s *file) take() uint32 {
	s.held++
	for i, word := range s.used {
		if word != ^uint64(0) {
			bit := bits.TrailingZeros64(^word)
			s.used[i] |= 1 << bit
			return uint32(i*64 + bit)
		}
	}
	s.used = append(s.used, 1)
	return uint32(len(s.used)-1) * 64
}

// give frees the blocks of a body, the end of the file behind the last that is in use, and the file with the last of all.
func (s *file) give(body *spilled) {
	for _, n := range body.blocks {
		s.used[n/64] &^= 1 << (n % 64)
	}
	s.held -= len(body.blocks)
	*body = spilled{}
	if s.disk == nil {
		return
	}
	if s.held == 0 {
		_ = s.disk.Close() // nothing in it is wanted
		*s = file{}
		return
	}
	end := len(s.used)
	for s.used[end-1] == 0 {
		end--
	}
	if end < len(s.used) { // now and then is often enough
		s.used = s.used[:end]
		_ = s.disk.Truncate(int64(end) * 64 * blockBytes) // what can't be cut off goes with the file
	}
}
