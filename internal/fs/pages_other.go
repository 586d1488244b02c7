//go:build !unix

package fs

// Pages makes memory that is all zero. Here it is the heap's, and the collector's to take back.
func Pages(bytes int) (memory []byte, free func()) { return make([]byte, bytes), func() {} }
