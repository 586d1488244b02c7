//go:build !linux

package measure

import "time"

// PrepareThread has nothing to do on this system.
func PrepareThread() {}

func sleep(d time.Duration) { time.Sleep(d) }
