// Package measure holds what every load of the benchmark needs and no protocol knows:
// latency accounting, pacing, the check that nothing was lost, repeated or reordered,
// and what a run cost the broker's process (CPU, memory, disk) as the operating system
// tells it.
//
// Every message body begins with a stamp of StampBytes, little endian:
//
//	0               8        12
//	┌───────────────┬────────┬─────────────────┐
//	│ sequence, u64 │ µs u32 │ filler          │
//	└───────────────┴────────┴─────────────────┘
//	 publisher in the top 16 bits, its own running number in the other 48
//
// The microseconds are those since the run's epoch at which the message was written, or,
// in a paced load, at which it was due: a publisher that falls behind does not hide the
// wait (no coordinated omission). They wrap after 71 minutes, far beyond any run.
//
// The package reads the broker from outside, through /proc; on systems other than Linux
// those figures are absent and only throughput and latency are reported. It must not
// import any other package of this module.
package measure
