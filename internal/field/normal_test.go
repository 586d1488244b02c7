package field

import (
	"bytes"
	"errors"
	"testing"
)

// fields puts tagged values under their names, in turn.
func fields(list ...any) (out []byte) {
	for i := 0; i < len(list); i += 2 {
		out = append(AppendName(out, list[i].(string)), list[i+1].([]byte)...)
	}
	return out
}

func TestTablesThatSayTheSameHaveOneForm(t *testing.T) {
	one, two, text := AppendInt(nil, 1), AppendInt(nil, 2), AppendString(nil, []byte("one"))
	base := fields("a", one, "bb", text, "c", AppendBool(nil, true))
	for _, tc := range []struct {
		name string
		a, b []byte
		same bool
	}{
		{"another order", base, fields("c", AppendBool(nil, true), "a", one, "bb", text), true},
		{"the same twice", base, fields("a", one, "bb", text, "c", AppendBool(nil, true), "a", one), true},
		{"another order within a table", fields("t", AppendTable(nil, base), "a", one),
			fields("a", one, "t", AppendTable(nil, fields("bb", text, "c", AppendBool(nil, true), "a", one))), true},
		{"another order within a table of an array", fields("l", AppendArray(nil, AppendTable(nil, base))),
			fields("l", AppendArray(nil, AppendTable(nil, fields("bb", text, "c", AppendBool(nil, true), "a", one)))), true},
		{"two tags of one type", fields("n", one), fields("n", append([]byte{TagInt64Alt}, one[1:]...)), true},
		{"two bytes of one boolean", fields("b", AppendBool(nil, true)), fields("b", []byte{TagBool, 7}), true},
		{"nothing", nil, []byte{}, true},
		{"another value", fields("a", one), fields("a", two), false},
		{"another type", fields("a", text), fields("a", AppendByteArray(nil, []byte("one"))), false},
		{"another width", fields("a", []byte{TagInt8, 1}), fields("a", one), false},
		{"another name", fields("a", one), fields("b", one), false},
		{"one more", fields("a", one), fields("a", one, "b", one), false},
		{"one name with two values", fields("a", one), fields("a", one, "a", two), false},
		{"another order of an array", fields("l", AppendArray(nil, append(one, two...))), fields("l", AppendArray(nil, append(two, one...))), false},
	} {
		a, errA := Normal(tc.a)
		b, errB := Normal(tc.b)
		if errA != nil || errB != nil || bytes.Equal(a, b) != tc.same {
			t.Errorf("%s: %q (%v) and %q (%v), the same: want %v", tc.name, a, errA, b, errB, tc.same)
		}
	}
}

func TestATableIsTakenUpToItsDepth(t *testing.T) {
	deep := []byte{}
	for range MaxDepth {
		deep = fields("t", AppendTable(nil, deep))
	}
	if _, err := Normal(deep); err != nil || CheckTable(deep) != nil {
		t.Errorf("as deep as it may be: %v", err)
	}
	deep = fields("t", AppendTable(nil, deep))
	if _, err := Normal(deep); !errors.Is(err, ErrDepth) || !errors.Is(CheckTable(deep), ErrDepth) {
		t.Errorf("one deeper: %v", err)
	}
}

// FuzzNormalTable: a normal form is a table that says the same, and its own normal form.
func FuzzNormal(f *testing.F) {
	f.Add(fields("b", AppendInt(nil, 1), "a", AppendTable(nil, fields("z", AppendVoid(nil), "y", AppendBool(nil, true)))))
	f.Add(fields("a", AppendArray(nil, AppendString(nil, []byte("x")))))
	f.Fuzz(func(t *testing.T, raw []byte) {
		normal, err := Normal(raw)
		if (err == nil) != (CheckTable(raw) == nil) {
			t.Fatalf("normal form: %v, but check: %v", err, CheckTable(raw))
		}
		if err != nil {
			return
		}
		if err := CheckTable(normal); err != nil || len(normal) > len(raw) {
			t.Fatalf("the form of %q is %q: %v", raw, normal, err)
		}
		if again, err := Normal(normal); err != nil || !bytes.Equal(again, normal) {
			t.Fatalf("%q became %q, then %q", raw, normal, again)
		}
	})
}
