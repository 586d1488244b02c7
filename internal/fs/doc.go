// Package fs is the file system as the storage engine sees it: files that are
// allocated before they are mapped, mappings that may outlive their files, and
// an explicit step for everything that has to survive a power cut.
//
// There are three of them. Real is the operating system. NewMem is a file
// system in memory that remembers what was synced and can be cloned as after a
// power cut (Crash), so that recovery is tested on every mixture of pages that
// a disk could show. Failing wraps another one and fails chosen operations, or holds
// them for as long as a Freezer is frozen.
//
// The package owns descriptors and mappings only. It knows no format, starts
// no goroutine and keeps no state between files.
//
//	          WriteAt, Mapping.Bytes          Sync               Crash
//	program ───────────────────────► live ───────────► durable ─────────► new FS
//	          Open, Rename, Remove            SyncDir             + a random choice of
//	                                                                un-synced pages, and a
//	                                                                random prefix of the
//	                                                                un-synced name changes
package fs
