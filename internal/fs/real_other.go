//go:build unix && !linux

package fs

import "os"

func allocate(f *os.File, sizeBytes int64) error { return fillZeros(f, sizeBytes) }
func dataSync(f *os.File) error                  { return f.Sync() }
func syncFS(d *os.File) error                    { return d.Sync() }
func resident([]byte) bool                       { return true }

func readOnce(f *os.File, b []byte, at int64) (int, error) { return f.ReadAt(b, at) }
