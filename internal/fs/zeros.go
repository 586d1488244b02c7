package fs

import "os"

// fillZeros grows a file to sizeBytes by writing zeros: the portable way to
// have the blocks before a mapping needs them.
func fillZeros(f *os.File, sizeBytes int64) error {
	st, err := f.Stat()
	if err != nil {
		return err
	}
	zeros := make([]byte, 64<<10)
	for at := st.Size(); at < sizeBytes; {
		n, err := f.WriteAt(zeros[:min(int64(len(zeros)), sizeBytes-at)], at)
		if err != nil {
			return err
		}
		at += int64(n)
	}
	return nil
}
