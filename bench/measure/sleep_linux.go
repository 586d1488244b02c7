package measure

import (
	"time"

	"golang.org/x/sys/unix"
)

// PrepareThread asks for wake-ups as precise as the kernel has them on the calling
// thread, which must be locked to its goroutine. The default slack is 50 µs.
func PrepareThread() {
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0) // without it only the precision suffers
}

// sleep goes past the runtime's timers, whose poller rounds up to a millisecond. It may
// return early, on a signal.
func sleep(d time.Duration) {
	ts := unix.NsecToTimespec(int64(d))
	_ = unix.Nanosleep(&ts, nil)
}
