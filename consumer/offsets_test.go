package consumer

import (
	"slices"
	"testing"

	"github.com/leveret-mq/leveret/message"
)

func TestOffsetsAreTakenInOrder(t *testing.T) {
	var o Offsets
	if _, ok := o.Take(1); ok || o.Len() != 0 {
		t.Error("an empty set has something")
	}
	for _, r := range [][2]message.Offset{{9_000, 9_999}, {5, 5}, {7, 8}, {3, 4}, {9_500, 10_001}} {
		o.Add(r[0], r[1])
	}
	if o.Len() != 1007 {
		t.Errorf("%d offsets", o.Len())
	}
	var got [][2]message.Offset
	for r, ok := o.Take(600); ok; r, ok = o.Take(600) {
		got = append(got, [2]message.Offset{r.First, r.Last})
	}
	want := [][2]message.Offset{{3, 5}, {7, 8}, {9_000, 9_599}, {9_600, 10_001}}
	if !slices.Equal(got, want) {
		t.Errorf("taken %v, want %v", got, want)
	}
}

// TestScatteredOffsetsTakeABitEach, or two with those between them.
func TestScatteredOffsetsTakeABitEach(t *testing.T) {
	const n = 1 << 20
	var o Offsets
	for i := range message.Offset(n) {
		o.Add(2*i, 2*i)
	}
	if pages := len(o.set.all); pages > 2*n/pageBits {
		t.Errorf("%d offsets take %d pages of %d bytes", n, pages, pageBits/8)
	}
}
