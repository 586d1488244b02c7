// Package alloc counts allocations for tests that hold a budget. It is for tests
// alone, owns nothing and imports nothing of this module.
package alloc

import (
	"math"
	"testing"
)

// Least is the least average of allocations a call of f makes, over a few
// measurements that end with the first within budget. What goes on beside f, a
// collection that empties pools, a flush, what an earlier test left behind, adds
// to some of them when the machine is slow; what f itself allocates adds to all.
func Least(budget float64, runs int, f func()) float64 {
	least := math.Inf(1)
	for range 5 {
		if least = min(least, testing.AllocsPerRun(runs, f)); least <= budget {
			break
		}
	}
	return least
}
