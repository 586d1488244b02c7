//go:build race

package netx

// poolSpill is what the race detector costs a budget: under it sync.Pool drops
// some of what it is given, on purpose.
const poolSpill = 20
