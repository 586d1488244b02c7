// Package server builds a whole broker from a configuration, starts its parts in
// order and stops them in reverse.
//
//	start ─►  store/local ─► broker ─► admin ─► amqp ─► kafka     ─► serving
//	stop  ◄─  store/local ◄─ broker ◄─ admin ◄─ amqp ◄─ kafka     ◄─ signal
//
// It is the only place that knows every package, and holds no rule of any: each
// package gets its Options filled in and is called to start and to stop. When a
// part can't start, the ones before it are stopped and the error names it.
//
// It owns the goroutine of each listener. It may be imported by cmd, bench,
// examples and test code only.
package server
