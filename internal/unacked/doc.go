// Package unacked keeps what a client was handed and has not settled: AMQP's
// delivery tags, and whatever other protocols number their deliveries by.
//
//	Hold ─► tag ─► the client ─► Settle, SettleUpTo ─► ranges ─► Tell ─► Lease
//
// Verdicts on neighbours under one lease become one range, so that the broker's
// cost is that of a range and not of a message. A Set takes 16 bytes a delivery,
// belongs to whoever holds its owner's lock, and starts no goroutine.
//
// It may import message only.
package unacked
