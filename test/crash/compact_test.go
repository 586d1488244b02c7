package main

import "testing"

func TestACompactedTopicIsHeldToItsWord(t *testing.T) {
	for name, c := range map[string]struct {
		key  compactKey
		seen uint64
		good bool
	}{
		"the acked one":                 {compactKey{acked: 4, sent: 4}, 4, true},
		"one that was sent behind it":   {compactKey{acked: 4, sent: 8}, 8, true},
		"lost":                          {compactKey{acked: 4, sent: 4}, 0, false},
		"an older one":                  {compactKey{acked: 4, sent: 4}, 2, false},
		"an older one behind its end":   {compactKey{acked: 5, sent: 5, ends: 5}, 2, false},
		"ended and gone":                {compactKey{acked: 5, sent: 5, ends: 5}, 0, true},
		"maybe ended and gone":          {compactKey{acked: 4, sent: 8, ends: 7}, 0, true},
		"ended before, and lost":        {compactKey{acked: 8, sent: 8, ends: 7}, 0, false},
		"one that nobody sent":          {compactKey{acked: 4, sent: 4}, 6, false},
		"never sent":                    {compactKey{}, 0, true},
		"never acked, and there or not": {compactKey{sent: 4}, 0, true},
	} {
		m := newCompactModel()
		m.keys[7] = c.key
		var seen [compactKeys]uint64
		seen[7] = c.seen
		if err := m.hold(seen); (err == nil) != c.good {
			t.Errorf("%s: %v", name, err)
		}
		if seen[7] = 0; c.good && c.seen%2 == 0 && c.seen > 0 && m.hold(seen) == nil {
			t.Errorf("%s: it was there, and may go", name)
		}
	}
}
