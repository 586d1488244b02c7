package consumer

import (
	"testing"

	"pgregory.net/rapid"
)

// TestSetAgreesWithMap compares a set with a map of offsets, around the borders of
// words and pages.
func TestSetAgreesWithMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const top = 6 * pageBits
		s, m := set{pages: new(pages)}, map[offset]bool{}
		span := func(t *rapid.T) (first, last offset) {
			first = offset(rapid.IntRange(0, top-1).Draw(t, "first"))
			n := rapid.SampledFrom([]int{1, 1, 2, 63, 64, 65, pageBits - 1, pageBits, 2*pageBits + 7}).Draw(t, "n")
			if rapid.Bool().Draw(t, "aligned") {
				first -= first % pageBits
			}
			return first, min(first+offset(n)-1, top-1)
		}
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				first, last := span(t)
				s.add(first, last)
				for o := first; o <= last; o++ {
					m[o] = true
				}
			},
			"remove": func(t *rapid.T) {
				first, last := span(t)
				before := len(m)
				n := s.remove(first, last)
				for o := first; o <= last; o++ {
					delete(m, o)
				}
				if n != int64(before-len(m)) {
					t.Fatalf("removed %d, want %d", n, before-len(m))
				}
			},
			"": func(t *rapid.T) {
				if s.count != int64(len(m)) {
					t.Fatalf("count %d, want %d", s.count, len(m))
				}
				low, ok := s.min()
				if ok != (len(m) > 0) {
					t.Fatalf("min found: %v of %d", ok, len(m))
				}
				if ok && !m[low] {
					t.Fatalf("min %d is no member", low)
				}
				for o := range low {
					if m[o] {
						t.Fatalf("min %d, but %d is in", low, o)
					}
				}
				checkSpan(t, &s, m, span)
			},
		})
	})
}

func checkSpan(t *rapid.T, s *set, m map[offset]bool, span func(*rapid.T) (offset, offset)) {
	first, last := span(t)
	var n int64
	for o := first; o <= last; o++ {
		if m[o] {
			n++
		}
		if s.has(o) != m[o] {
			t.Fatalf("has %d: %v", o, s.has(o))
		}
	}
	if got := s.size(first, last); got != n {
		t.Fatalf("size of %d to %d is %d, want %d", first, last, got, n)
	}
	limit := int64(rapid.SampledFrom([]int{1, 3, 100, 1 << 20}).Draw(t, "limit"))
	from, to, ok := s.run(first, limit)
	want := first
	for want < 6*pageBits && !m[want] {
		want++
	}
	end := want
	for end-want < offset(limit) && m[end] {
		end++
	}
	if ok != m[want] || ok && (from != want || to != end-1) {
		t.Fatalf("run at %d: %d to %d %v, want %d to %d", first, from, to, ok, want, end-1)
	}
}

func TestSetsOfDistantOffsetsStaySmall(t *testing.T) {
	s := set{pages: new(pages)}
	for _, o := range []offset{5, 1 << 40, 1 << 50, 1<<62 - 1} {
		s.add(o, o)
	}
	if s.count != 4 || len(s.all) != 4 || s.size(0, 1<<62) != 4 || !s.has(1<<50) || s.has(1<<50+1) {
		t.Fatalf("%d members in %d pages", s.count, len(s.all))
	}
	if n := s.remove(6, 1<<61); n != 2 || s.count != 2 {
		t.Fatalf("removed %d", n)
	}
}

// TestReturnsCountLikeIntegers adds ranges up in sets of binary digits.
func TestReturnsCountLikeIntegers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := new(pages)
		r := returns{pages: p, once: set{pages: p}}
		want := map[offset]int{}
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			first := offset(rapid.IntRange(pageBits-20, pageBits+20).Draw(t, "first"))
			last := first + offset(rapid.IntRange(0, 12).Draw(t, "more"))
			if rapid.IntRange(0, 5).Draw(t, "forget") == 0 {
				r.forget(first, last)
				for o := first; o <= last; o++ {
					delete(want, o)
				}
				continue
			}
			r.add(first, last)
			for o := first; o <= last; o++ {
				want[o]++
			}
		}
		for o := offset(pageBits - 30); o < pageBits+40; o++ {
			if r.count(o) != want[o] {
				t.Fatalf("message %d: %d, want %d", o, r.count(o), want[o])
			}
		}
	})
}

func TestReturnCountsStandStillAtTheLargest(t *testing.T) {
	p := new(pages)
	r := returns{pages: p, once: set{pages: p}}
	for range 1<<maxDigits + 10 {
		r.add(7, 7)
	}
	if n := r.count(7); n != 1<<maxDigits || len(r.digits) != maxDigits {
		t.Fatalf("%d in %d digits", n, len(r.digits))
	}
	if r.count(8) != 0 {
		t.Fatal("the neighbour was counted")
	}
}
