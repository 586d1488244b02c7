//go:build !race

package netx

const poolSpill = 0
