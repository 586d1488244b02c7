package exchange

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"testing"

	"github.com/leveret-mq/leveret/internal/field"
)

// weighed is a hash exchange with a target for each weight, in turn.
func weighed(t testing.TB, weights ...int) *Table {
	var list []Binding
	for i, w := range weights {
		list = append(list, Binding{Key: strconv.Itoa(w), Target: Target(i), Name: fmt.Sprintf("q/work-%d", i)})
	}
	return build(t, Hash, list...)
}

// homes is where so many keys go.
func homes(t testing.TB, table *Table, keys int) []Target {
	t.Helper()
	var out []Target
	for i := range keys {
		before := len(out)
		if out = table.Route(Message{Key: fmt.Appendf(nil, "customer.%d", i)}, out); len(out) != before+1 {
			t.Fatalf("key %d goes to %v", i, out[before:])
		}
	}
	return out
}

func TestAHashExchangeSharesByWeight(t *testing.T) {
	const keys = 100_000
	for _, weights := range [][]int{{1, 1, 1, 1}, {10, 10, 10}, {1, 2, 3, 4}, {1, 1000}, {maxWeight, maxWeight}} {
		total, got := 0, make([]int, len(weights))
		for _, w := range weights {
			total += w
		}
		for _, n := range homes(t, weighed(t, weights...), keys) {
			got[n]++
		}
		for i, w := range weights {
			share := float64(w) / float64(total)
			if sigma := math.Sqrt(keys * share * (1 - share)); math.Abs(float64(got[i])-keys*share) > 5*sigma {
				t.Errorf("weights %v: target %d got %d of %d", weights, i, got[i], keys)
			}
		}
	}
}

func TestOnlyWhatATargetGetsOrHadMoves(t *testing.T) {
	weights := []int{3, 1, 2, 5, 1, 1}
	table := weighed(t, weights...)
	before := homes(t, table, 10_000)
	fresh := Binding{Key: "2", Target: 77, Name: "q/fresh"}
	more, err := table.With(fresh)
	if err != nil {
		t.Fatal(err)
	}
	moved := 0
	for i, n := range homes(t, more, 10_000) {
		if n != before[i] {
			moved++
			if n != 77 {
				t.Fatalf("key %d moved from %d to %d when 77 came", i, before[i], n)
			}
		}
	}
	if want := 10_000 * 2 / 15; moved < want/2 || moved > want*2 {
		t.Errorf("%d of 10000 moved, want about %d", moved, want)
	}
	for i, n := range homes(t, more.Without(fresh), 10_000) {
		if n != before[i] {
			t.Fatalf("key %d is at %d after 77 went, not at %d", i, n, before[i])
		}
	}
	left := table.Without(Binding{Key: "5", Target: 3, Name: "q/work-3"})
	for i, n := range homes(t, left, 10_000) {
		if n == 3 || n != before[i] && before[i] != 3 {
			t.Fatalf("key %d moved from %d to %d when 3 went", i, before[i], n)
		}
	}
}

func TestWhereAKeyGoesDependsOnNamesAlone(t *testing.T) {
	a := weighed(t, 1, 1, 1)
	b := build(t, Hash, Binding{Key: "1", Target: 9, Name: "q/work-2"}, Binding{Key: "1", Target: 8, Name: "q/work-0"}, Binding{Key: "1", Target: 7, Name: "q/work-1"})
	same := map[Target]Target{0: 8, 1: 7, 2: 9}
	there := homes(t, b, 1000)
	for i, n := range homes(t, a, 1000) {
		if there[i] != same[n] {
			t.Fatalf("key %d goes to %d here and to %d there", i, n, there[i])
		}
	}
	if got := homes(t, a, 8); fmt.Sprint(got) != "[2 0 1 2 2 0 1 2]" {
		t.Errorf("keys have moved since another release: %v", got)
	}
}

func TestBindingsOfOneTargetAddUp(t *testing.T) {
	a, b := Binding{Key: "10", Target: 0, Name: "q/0"}, Binding{Key: "20", Target: 0, Name: "q/0"}
	other := Binding{Key: "10", Target: 1, Name: "q/1"}
	table := build(t, Hash, a, other, b)
	count := func(table *Table) (n int) {
		for _, h := range homes(t, table, 10_000) {
			if h == 0 {
				n++
			}
		}
		return n
	}
	if n := count(table); n < 7000 || n > 8000 {
		t.Errorf("weights of 10 and 20 beside 10 get %d of 10000", n)
	}
	if n := count(table.Without(a)); n < 6200 || n > 7100 {
		t.Errorf("a weight of 20 beside 10 gets %d of 10000", n)
	}
	table = table.Without(a).Without(b)
	if n := count(table); n != 0 || table.Len() != 1 {
		t.Errorf("without a binding it gets %d of 10000; %d are left", n, table.Len())
	}
	if table.Without(a) != table {
		t.Error("taking away what is not there changed it")
	}
}

func TestWeightsAreChecked(t *testing.T) {
	for key, want := range map[string]string{
		"1": "", "+1": "", "01": "", "1000000000": "",
		"0": "The binding key must be greater than 0", "-1": "The binding key must be greater than 0",
		"-99999999999999999999": "The binding key must be greater than 0",
		"":                      "The binding key must be an integer: <<>>", "a": `The binding key must be an integer: <<"a">>`,
		"1.5": `The binding key must be an integer: <<"1.5">>`, " 1": `The binding key must be an integer: <<" 1">>`,
		`q"\`: `The binding key must be an integer: <<"q\"\\">>`, "é\n": "The binding key must be an integer: <<195,169,10>>",
		"1000000001": "The binding key must not be greater than 1000000000", "99999999999999999999": "The binding key must not be greater than 1000000000",
	} {
		err := Hash.Check(key, nil)
		if want == "" && err != nil || want != "" && (err == nil || err.Error() != want || !errors.Is(err, ErrArgs)) {
			t.Errorf("%q: %v, want %s", key, err, want)
		}
		if _, made := must(New(Hash, nil)).With(Binding{Key: key}); fmt.Sprint(made) != fmt.Sprint(err) {
			t.Errorf("%q: checked: %v; bound: %v", key, err, made)
		}
	}
}

func TestWhatIsHashed(t *testing.T) {
	props := func(p field.Properties) []byte { return p.AppendTo(nil) }
	one, two := Message{Key: []byte("a")}, Message{Key: []byte("b")}
	header := func(v any) Message { return Message{Headers: fields("x", 0, "h", v)} }
	for _, tc := range []struct {
		name    string
		args    []byte
		a, b    Message
		same    bool
		decider Decider
	}{
		{"keys", nil, one, two, false, Key},
		{"a key and its headers", nil, one, Message{Key: one.Key, Headers: fields("h", 1)}, true, Key},
		{"headers", fields("hash-header", "h"), header("1"), header("2"), false, Content},
		{"a header, whatever the key", fields("hash-header", "h"), Message{Key: one.Key, Headers: fields("h", "1")}, Message{Key: two.Key, Headers: fields("h", "1")}, true, Content},
		{"a header of a number, of any width", fields("hash-header", "h"), header(7), header(int8(7)), true, Content},
		{"headers of numbers", fields("hash-header", "h"), header(7), header(8), false, Content},
		{"headers that are neither", fields("hash-header", "h"), header(true), header(false), false, Content},
		{"no header", fields("hash-header", "h"), one, two, true, Content},
		{"a header without a name", fields("hash-header", ""), Message{Headers: fields("", "1")}, Message{Headers: fields("", "2")}, false, Content},
		{"ids", fields("hash-property", "message_id"), Message{Properties: props(field.Properties{MessageID: []byte("1")})},
			Message{Properties: props(field.Properties{MessageID: []byte("2")})}, false, Content},
		{"an id, whatever the rest", fields("hash-property", "message_id"), Message{Properties: props(field.Properties{MessageID: []byte("1")})},
			Message{Properties: props(field.Properties{MessageID: []byte("1"), CorrelationID: []byte("3"), Timestamp: 9})}, true, Content},
		{"correlation ids", fields("hash-property", "correlation_id"), Message{Properties: props(field.Properties{CorrelationID: []byte("1")})},
			Message{Properties: props(field.Properties{CorrelationID: []byte("2")})}, false, Content},
		{"times", fields("hash-property", "timestamp"), Message{Properties: props(field.Properties{Timestamp: 1})}, Message{Properties: props(field.Properties{Timestamp: 2})}, false, Content},
		{"no id", fields("hash-property", "message_id"), one, two, true, Content},
	} {
		table, err := New(Hash, tc.args)
		if err != nil {
			t.Fatal(err)
		}
		if got := table.hashOn.hash(tc.a) == table.hashOn.hash(tc.b); got != tc.same || table.Decider() != tc.decider {
			t.Errorf("%s: the same: %v; decided by %d", tc.name, got, table.Decider())
		}
	}
}

func TestArgumentsOfAHashExchange(t *testing.T) {
	for want, args := range map[string][]byte{
		"Unsupported property: app_id":                         fields("hash-property", "app_id"),
		"Unsupported property: ":                               fields("hash-property", ""),
		"hash-header and hash-property are mutually exclusive": fields("hash-header", "h", "hash-property", "message_id"),
		"invalid type 'long' for arg 'hash-header'":            fields("hash-header", 1),
		"invalid type 'bool' for arg 'hash-property'":          fields("hash-property", true),
	} {
		if _, err := New(Hash, args); err == nil || err.Error() != want || !errors.Is(err, ErrArgs) {
			t.Errorf("%v, want %s", err, want)
		}
		if _, err := New(Direct, args); err != nil {
			t.Errorf("a direct exchange looked at it: %v", err)
		}
	}
}

func TestARandomExchangeTakesOneOfAll(t *testing.T) {
	for _, kind := range []Kind{Random, LocalRandom} {
		table := must(New(kind, nil))
		if got := table.Route(Message{}, nil); len(got) != 0 {
			t.Errorf("%v without a binding: %v", kind, got)
		}
		const targets = 2*chunkSize + 3 // in several chunks
		for i := range targets {
			table = must(table.With(Binding{Target: Target(i)}))
		}
		seen := map[Target]int{}
		for range 20 * targets {
			got := table.Route(Message{Key: []byte("k")}, nil)
			if len(got) != 1 {
				t.Fatalf("%v: %v", kind, got)
			}
			seen[got[0]]++
		}
		for i := range targets {
			if n := seen[Target(i)]; n == 0 || n > 60 {
				t.Errorf("%v: target %d got %d, want about 20", kind, i, n)
			}
		}
		if table.Decider() != Chance || !table.One() {
			t.Errorf("%v is decided by %d", kind, table.Decider())
		}
	}
	if err := LocalRandom.Check("k", nil); err == nil || err.Error() != "Non empty binding 'k' key not permitted" {
		t.Errorf("a key: %v", err)
	}
	if err := errors.Join(LocalRandom.Check("", nil), Random.Check("k", nil)); err != nil {
		t.Error(err)
	}
}

func BenchmarkHash(b *testing.B) {
	for _, n := range []int{10, 100} {
		weights := make([]int, n)
		for i := range weights {
			weights[i] = 10
		}
		table := weighed(b, weights...)
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			var into []Target
			for b.Loop() {
				into = table.Route(Message{Key: []byte("customer.1")}, into[:0])
			}
		})
	}
}

func FuzzHash(f *testing.F) {
	f.Add(fields("hash-header", "h"), "1", fields("h", "v"), []byte{0, 0})
	f.Add(fields("hash-property", "timestamp"), "2", fields("h", 1), (&field.Properties{Timestamp: 3}).AppendTo(nil))
	f.Fuzz(func(t *testing.T, args []byte, key string, headers, properties []byte) {
		table, err := New(Hash, args)
		if err != nil {
			return
		}
		for n := range 3 {
			if table, err = table.With(Binding{Key: key, Target: Target(n), Name: strconv.Itoa(n)}); err != nil {
				return
			}
		}
		m := Message{Key: []byte(key), Headers: headers, Properties: properties}
		got, again := table.Route(m, nil), table.Route(m, nil)
		if len(got) != 1 || len(again) != 1 || got[0] != again[0] {
			t.Fatalf("%v, then %v", got, again)
		}
	})
}
