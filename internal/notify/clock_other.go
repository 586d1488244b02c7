//go:build !linux

package notify

// monotonicMicros is not asked for where there is no systemd.
func monotonicMicros() int64 { return 0 }
