package wire

import (
	"math"
	"testing"
)

func TestAnyKeyCanBeServed(t *testing.T) {
	supported := []Support{{Key: Produce}, {Key: 63}, {Key: 64}, {Key: 94}, {Key: 80}, {Key: math.MaxInt16}}
	table := index(supported)
	for i := range supported {
		if got := find(table, supported[i].Key); got != &supported[i] {
			t.Errorf("key %d: %+v", supported[i].Key, got)
		}
	}
	for _, k := range []Key{math.MinInt16, -1, 1, 62, 65, 81, 95, math.MaxInt16 - 1} {
		if got := find(table, k); got != nil {
			t.Errorf("key %d is not served, found %+v", k, got)
		}
	}
}

func TestEveryAdvertisedKeyIsFound(t *testing.T) {
	for i := range Supported {
		if s := &Supported[i]; Lookup(s.Key) != s {
			t.Errorf("%s is not found", s.Name)
		}
	}
	for _, k := range []Key{-1, math.MinInt16, math.MaxInt16} {
		if Lookup(k) != nil {
			t.Errorf("key %d is found", k)
		}
	}
}
