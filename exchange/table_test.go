package exchange

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/leveret-mq/leveret/internal/field"
)

// naive routes by looking at every binding.
type naive struct {
	kind Kind
	list []Binding
}

func (n *naive) route(key string, headers []byte) []Target {
	var out []Target
	for _, b := range n.list {
		if naiveMatch(n.kind, b, key, headers) {
			out = append(out, b.Target)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func naiveMatch(kind Kind, b Binding, key string, headers []byte) bool {
	switch kind {
	case Direct:
		return b.Key == key
	case Fanout:
		return true
	case Topic:
		return naiveTopic(naiveWords(b.Key), naiveWords(key))
	}
	return naiveHeaders(b.Args, headers)
}

func naiveWords(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, ".")
}

func naiveTopic(pattern, words []string) bool {
	switch {
	case len(pattern) == 0:
		return len(words) == 0
	case pattern[0] == "#":
		return naiveTopic(pattern[1:], words) || len(words) > 0 && naiveTopic(pattern, words[1:])
	case len(words) == 0:
		return false
	}
	return (pattern[0] == "*" || pattern[0] == words[0]) && naiveTopic(pattern[1:], words[1:])
}

func naiveHeaders(args, headers []byte) bool {
	how := "all"
	if m, ok := field.Find(args, "x-match"); ok {
		how = string(m.Text())
	}
	all := strings.HasPrefix(how, "all")
	for a := field.NewIterator(args); a.Next(); {
		name := string(a.Name())
		if name == "x-match" || strings.HasPrefix(name, "x-") && !strings.HasSuffix(how, "-with-x") {
			continue
		}
		h, ok := field.Find(headers, name)
		holds := ok && (a.Tag() == field.TagVoid || field.SameValue(&a, &h))
		if holds != all {
			return !all
		}
	}
	return all
}

func sorted(t []Target) []Target { t = slices.Clone(t); slices.Sort(t); return t }

func build(t testing.TB, kind Kind, list ...Binding) *Table {
	t.Helper()
	table := must(New(kind, nil))
	for _, b := range list {
		var err error
		if table, err = table.With(b); err != nil {
			t.Fatal(err)
		}
	}
	return table
}

// fields builds a table from name, value pairs; nil is void, float32 and int8 keep
// their width.
func fields(pairs ...any) (b []byte) {
	for i := 0; i < len(pairs); i += 2 {
		b = field.AppendName(b, pairs[i].(string))
		switch v := pairs[i+1].(type) {
		case nil:
			b = field.AppendVoid(b)
		case string:
			b = field.AppendString(b, []byte(v))
		case []byte:
			b = field.AppendByteArray(b, v)
		case int:
			b = field.AppendInt(b, int64(v))
		case int8:
			b = append(b, field.TagInt8, byte(v))
		case bool:
			b = field.AppendBool(b, v)
		case float64:
			n := math.Float64bits(v)
			b = append(b, field.TagFloat64, byte(n>>56), byte(n>>48), byte(n>>40), byte(n>>32), byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
		case float32:
			n := math.Float32bits(v)
			b = append(b, field.TagFloat32, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
		default:
			panic(fmt.Sprintf("value %T", v))
		}
	}
	return b
}

func TestKindsHaveTheirNames(t *testing.T) {
	for _, k := range []Kind{Direct, Fanout, Topic, Headers, Hash, Random, LocalRandom} {
		if got, ok := ParseKind(k.String()); !ok || got != k || must(New(k, nil)).Kind() != k {
			t.Errorf("%v: %v %v", k, got, ok)
		}
	}
	if k, ok := ParseKind("x-nothing"); ok {
		t.Errorf("unknown kind read as %v", k)
	}
	if Kind(9).String() != "unknown" {
		t.Error("a kind that is none has a name")
	}
}

// TestTopicWords is the table that RabbitMQ 3.10 gave for each key.
func TestTopicWords(t *testing.T) {
	patterns := []string{"", "#", "*", "a.#", "*.b", "#.c", "a.*", "*.*", "#.#", "a..b", "a.*.b", "#.b.#", "*.#", "a.#.#.c", "."}
	cases := map[string][]string{
		"":          {"", "#", "#.#"},
		"a":         {"#", "*", "a.#", "#.#", "*.#"},
		"a.b":       {"#", "a.#", "*.b", "a.*", "*.*", "#.#", "#.b.#", "*.#"},
		"a..b":      {"#", "a.#", "a..b", "a.*.b", "#.#", "#.b.#", "*.#"},
		".":         {"#", "*.*", "#.#", "*.#", "."},
		"a.b.c":     {"#", "a.#", "#.c", "#.#", "#.b.#", "*.#", "a.#.#.c"},
		"a.c":       {"#", "a.#", "#.c", "a.*", "*.*", "#.#", "*.#", "a.#.#.c"},
		"c":         {"#", "*", "#.c", "#.#", "*.#"},
		"b.":        {"#", "*.*", "#.#", "#.b.#", "*.#"},
		"x.y.z":     {"#", "#.#", "*.#"},
		"a.x.y.z.c": {"#", "a.#", "#.c", "#.#", "*.#", "a.#.#.c"},
	}
	table := must(New(Topic, nil))
	for i, p := range patterns {
		table, _ = table.With(Binding{Key: p, Target: Target(i)})
	}
	for key, want := range cases {
		var got []string
		for _, n := range sorted(table.Route(Message{Key: []byte(key)}, nil)) {
			got = append(got, patterns[n])
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("key %q matches %q, want %q", key, got, want)
		}
	}
}

func TestHeadersMatching(t *testing.T) {
	for _, tc := range []struct {
		name    string
		args    []byte
		headers []byte
		want    bool
	}{
		{"all by default, all there", fields("a", 1, "b", "x"), fields("b", "x", "a", 1, "c", true), true},
		{"all by default, one missing", fields("a", 1, "b", "x"), fields("a", 1), false},
		{"all by default, one other value", fields("a", 1, "b", "x"), fields("a", 1, "b", "y"), false},
		{"any, one there", fields("x-match", "any", "a", 1, "b", "x"), fields("b", "x"), true},
		{"any, none there", fields("x-match", "any", "a", 1, "b", "x"), fields("a", 2, "b", "y"), false},
		{"all of nothing", fields(), nil, true},
		{"all of nothing but x- keys", fields("x-y", 1, "x-match", "all"), fields("q", 1), true},
		{"any of nothing", fields("x-match", "any"), fields("a", 1), false},
		{"any of nothing but x- keys", fields("x-match", "any", "x-y", 1), fields("x-y", 1), false},
		{"all-with-x counts x- keys", fields("x-match", "all-with-x", "x-y", 1), fields("x-y", 2), false},
		{"all-with-x matches x- keys", fields("x-match", "all-with-x", "x-y", 1), fields("x-y", 1), true},
		{"any-with-x matches x- keys", fields("x-match", "any-with-x", "x-y", 1, "b", 2), fields("x-y", 1), true},
		{"void asks for presence", fields("a", nil), fields("a", "anything"), true},
		{"void asks for presence of a void too", fields("a", nil), fields("a", nil), true},
		{"void is not there", fields("a", nil), fields("b", nil), false},
		{"a value is not a void", fields("a", 1), fields("a", nil), false},
		{"integers across widths", fields("a", 5), fields("a", int8(5)), true},
		{"negative integers across widths", fields("a", int8(-5)), fields("a", -5), true},
		{"integer is not a float", fields("a", 5), fields("a", 5.0), false},
		{"floats across widths", fields("a", float32(0.5)), fields("a", 0.5), true},
		{"both zeros", fields("a", 0.0), fields("a", math.Copysign(0, -1)), true},
		{"bool by value", fields("a", true), fields("a", false), false},
		{"bool is not an integer", fields("a", true), fields("a", 1), false},
		{"string and bytes", fields("a", "x"), fields("a", []byte("x")), true},
		{"empty string", fields("a", ""), fields("a", ""), true},
		{"no headers at all", fields("a", 1), nil, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			table := build(t, Headers, Binding{Target: 7, Args: tc.args})
			if got := len(table.Route(Message{Headers: tc.headers}, nil)) == 1; got != tc.want {
				t.Errorf("matches: %v, want %v", got, tc.want)
			}
			if naive := naiveHeaders(tc.args, tc.headers); naive != tc.want {
				t.Errorf("the model says %v", naive)
			}
		})
	}
}

func TestBadHeaderArgumentsAreRefused(t *testing.T) {
	for name, args := range map[string][]byte{
		"unknown x-match":     fields("x-match", "some"),
		"x-match no string":   fields("x-match", 1),
		"x-match void":        fields("x-match", nil),
		"malformed":           {5, 'a'},
		"malformed and valid": append(fields("a", 1), 200),
	} {
		if _, err := must(New(Headers, nil)).With(Binding{Args: args}); !errors.Is(err, ErrArgs) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := must(New(Topic, nil)).With(Binding{Args: args}); err != nil {
			t.Errorf("%s: a topic exchange looked at it: %v", name, err)
		}
	}
}

func TestRouteKeepsWhatIntoHeld(t *testing.T) {
	for _, kind := range []Kind{Direct, Fanout, Topic, Headers} {
		table := build(t, kind, Binding{Key: "k", Target: 3}, Binding{Key: "k", Target: 1}, Binding{Key: "k", Target: 3, Args: fields("x-n", 1)})
		got := table.Route(Message{Key: []byte("k")}, []Target{3, 9, 3})
		if !slices.Equal(got[:3], []Target{3, 9, 3}) || !slices.Equal(sorted(got[3:]), []Target{1, 3}) {
			t.Errorf("%v: %v", kind, got)
		}
	}
}

func TestBindingsThatDifferInArgumentsAreTwo(t *testing.T) {
	for _, kind := range []Kind{Direct, Fanout, Topic, Headers} {
		a, b := Binding{Key: "k", Target: 1}, Binding{Key: "k", Target: 1, Args: fields("x-n", 1)}
		table := build(t, kind, a, b).Without(a)
		if got := table.Route(Message{Key: []byte("k")}, nil); table.Len() != 1 || !slices.Equal(got, []Target{1}) {
			t.Errorf("%v after one went: %v of %d", kind, got, table.Len())
		}
		table = table.Without(b)
		if got := table.Route(Message{Key: []byte("k")}, nil); table.Len() != 0 || len(got) != 0 {
			t.Errorf("%v after both went: %v of %d", kind, got, table.Len())
		}
		if again := table.Without(b); again != table {
			t.Errorf("%v: taking away what is not there changed it", kind)
		}
	}
}

func genKey(pattern bool) *rapid.Generator[string] {
	words := []string{"a", "b", "c", "", "a", "b"}
	if pattern {
		words = append(words, "*", "#", "#", "*")
	}
	return rapid.Custom(func(t *rapid.T) string {
		return strings.Join(rapid.SliceOfN(rapid.SampledFrom(words), 0, 5).Draw(t, "words"), ".")
	})
}

func genFields(binding bool) *rapid.Generator[[]byte] {
	names := []string{"a", "b", "c", "x-d"}
	values := []any{1, 2, int8(1), 1.0, float32(1), "1", []byte("1"), true, nil, ""}
	return rapid.Custom(func(t *rapid.T) []byte {
		var pairs []any
		if binding {
			if how := rapid.SampledFrom([]string{"", "all", "any", "all-with-x", "any-with-x"}).Draw(t, "x-match"); how != "" {
				pairs = append(pairs, "x-match", how)
			}
		}
		for _, n := range rapid.SliceOfN(rapid.SampledFrom(names), 0, 4).Draw(t, "names") {
			pairs = append(pairs, n, values[rapid.IntRange(0, len(values)-1).Draw(t, "value")])
		}
		return fields(pairs...)
	})
}

// TestTablesAgreeWithLookingAtEveryBinding adds and removes bindings at random,
// and checks older tables too: they must not change.
func TestTablesAgreeWithLookingAtEveryBinding(t *testing.T) {
	for _, kind := range []Kind{Direct, Fanout, Topic, Headers} {
		t.Run(kind.String(), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) { checkAgainstNaive(t, kind) })
		})
	}
}

func checkAgainstNaive(t *rapid.T, kind Kind) {
	type version struct {
		table *Table
		model naive
	}
	now := version{must(New(kind, nil)), naive{kind: kind}}
	versions := []version{now}
	alone := rapid.IntRange(0, 30).Draw(t, "changes while nobody has the table")
	for n := range rapid.IntRange(1, 30).Draw(t, "changes") {
		list := slices.Clone(now.model.list)
		if len(list) > 0 && rapid.IntRange(0, 2).Draw(t, "remove") == 0 {
			i := rapid.IntRange(0, len(list)-1).Draw(t, "which")
			now.table = now.table.Without(list[i])
			list = slices.Delete(list, i, i+1)
		} else {
			b := Binding{Key: genKey(true).Draw(t, "key"), Target: Target(rapid.IntRange(0, 6).Draw(t, "target")), Args: genFields(true).Draw(t, "args")}
			if slices.ContainsFunc(list, func(o Binding) bool {
				return o.Key == b.Key && o.Target == b.Target && string(o.Args) == string(b.Args)
			}) {
				continue
			}
			var err error
			if n < alone {
				err = now.table.Add(b)
			} else {
				now.table, err = now.table.With(b)
			}
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, b)
		}
		now.model = naive{kind, list}
		if n < alone {
			versions = versions[:0]
		}
		versions = append(versions, now)
	}
	for range 10 {
		v := versions[rapid.IntRange(0, len(versions)-1).Draw(t, "version")]
		key, headers := genKey(kind == Direct).Draw(t, "routing key"), genFields(false).Draw(t, "headers")
		got, want := sorted(v.table.Route(Message{Key: []byte(key), Headers: headers}, nil)), v.model.route(key, headers)
		if !slices.Equal(got, want) || v.table.Len() != len(v.model.list) {
			t.Fatalf("key %q headers %q: %v, want %v\nbindings %v", key, headers, got, want, v.model.list)
		}
	}
}

func FuzzTopic(f *testing.F) {
	for _, s := range [][2]string{{"a.#", "a"}, {"#.#.b", "a.b"}, {"*", ""}, {".", "."}, {"a.*.#", "a..b"}, {"#.a.#.a.#", "a.a.a"}} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, pattern, key string) {
		if strings.Count(pattern, "#") > 4 || len(key) > 60 || slices.Contains(strings.Split(key, "."), "#") {
			return // the model would take for ever
		}
		table, _ := must(New(Topic, nil)).With(Binding{Key: pattern})
		table, _ = table.With(Binding{Key: "a.#.b", Target: 1})
		got := slices.Contains(table.Route(Message{Key: []byte(key)}, nil), 0)
		if want := naiveTopic(naiveWords(pattern), naiveWords(key)); got != want {
			t.Errorf("pattern %q key %q: %v, want %v", pattern, key, got, want)
		}
		if table = table.Without(Binding{Key: pattern}); slices.Contains(table.Route(Message{Key: []byte(key)}, nil), 0) {
			t.Errorf("pattern %q stayed", pattern)
		}
	})
}

func FuzzHeaders(f *testing.F) {
	f.Add(fields("a", 1, "x-match", "any"), fields("a", int8(1)))
	f.Add(fields("a", nil), fields("a", "x", "a", 2))
	f.Add([]byte{1, 'a', 'F', 0, 0, 0, 9}, []byte{0})
	f.Fuzz(func(t *testing.T, args, headers []byte) {
		table, err := must(New(Headers, nil)).With(Binding{Args: args})
		if err != nil {
			return
		}
		if got, want := len(table.Route(Message{Headers: headers}, nil)) == 1, naiveHeaders(args, headers); got != want && field.CheckTable(headers) == nil {
			t.Errorf("args %q headers %q: %v, want %v", args, headers, got, want)
		}
		if table = table.Without(Binding{Args: args}); len(table.Route(Message{Headers: headers}, nil)) != 0 {
			t.Error("the binding stayed")
		}
	})
}

// TestNoPatternIsSlow holds the walk to work that grows with the key, not with
// the ways to read it.
func TestNoPatternIsSlow(t *testing.T) {
	table := must(New(Topic, nil))
	for n := 1; n < 40; n++ {
		table, _ = table.With(Binding{Key: strings.Repeat("#.a.", n) + "#", Target: Target(n)})
	}
	if got := table.Route(Message{Key: []byte(strings.Repeat("a.", 126) + "a")}, nil); len(got) != 39 {
		t.Errorf("%d targets, want 39", len(got))
	}
}

func must(t *Table, err error) *Table {
	if err != nil {
		panic(err)
	}
	return t
}
