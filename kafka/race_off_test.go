//go:build !race

package kafka

const poolSpill = 0
