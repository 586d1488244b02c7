package field

import (
	"slices"
	"testing"
)

func FuzzReader(f *testing.F) {
	f.Add(AppendTable(AppendName(AppendInt(AppendName(nil, "n"), 1), "t"), AppendVoid(AppendName(nil, "v"))))
	f.Add([]byte("\x01aS\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if CheckTable(raw) != nil {
			return
		}
		r := NewIterator(raw)
		for r.Next() {
			if out, ok := r.AppendValueText(nil); ok && len(out) > len(r.Raw())+400 {
				t.Fatalf("a value of %d bytes became %d", len(r.Raw()), len(out))
			}
			if !SameValue(&r, &r) {
				if v, ok := r.Float(); !ok || v == v {
					t.Fatal("a value differs from itself")
				}
			}
		}
	})
}

func TestDecimalsReadAsPeopleWriteThem(t *testing.T) {
	for want, c := range map[string]struct {
		scale uint8
		v     int32
	}{"3.14": {2, 314}, "-0.05": {2, -5}, "7": {0, 7}, "0.000": {3, 0}, "1e-200": {200, 1}} {
		if got := string(appendDecimal(nil, c.scale, c.v)); got != want {
			t.Errorf("scale %d, value %d: got %s, want %s", c.scale, c.v, got, want)
		}
	}
}

func TestIntegersCompareByValueAndNeverEqualFloats(t *testing.T) {
	one := func(tag byte, raw ...byte) *Iterator { return &Iterator{tag: tag, raw: raw} }
	for _, c := range []struct {
		name string
		a, b *Iterator
		same bool
	}{
		{"int8 and int64", one(TagInt8, 0xff), one(TagInt64, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), true},
		{"uint8 and int8 of the same byte", one(TagUint8, 0xff), one(TagInt8, 0xff), false},
		{"int and float", one(TagUint8, 0), one(TagFloat32, 0, 0, 0, 0), false},
		{"string and bytes", one(TagString, 'a'), one(TagBytes, 'a'), true},
		{"string and int", one(TagString, '1'), one(TagUint8, 1), false},
		{"voids", one(TagVoid), one(TagVoid), true},
	} {
		if SameValue(c.a, c.b) != c.same || SameValue(c.b, c.a) != c.same {
			t.Errorf("%s: same is not %v", c.name, c.same)
		}
	}
}

func TestAHeaderIsSetBesideTheOthers(t *testing.T) {
	count := AppendInt(nil, 5)
	others := AppendString(AppendName(nil, "a"), []byte("x"))
	for name, c := range map[string]struct{ before, after Properties }{
		"no properties":      {Properties{}, Properties{Flags: FlagHeaders}},
		"others":             {Properties{Flags: FlagContentType | FlagAppID, ContentType: []byte("t"), AppID: []byte("i")}, Properties{Flags: FlagContentType | FlagHeaders | FlagAppID, ContentType: []byte("t"), AppID: []byte("i")}},
		"headers":            {Properties{Flags: FlagHeaders, Headers: others}, Properties{Flags: FlagHeaders, Headers: others}},
		"one of that name":   {Properties{Flags: FlagHeaders, Headers: append(AppendBool(AppendName(nil, "n"), true), others...)}, Properties{Flags: FlagHeaders, Headers: others}},
		"damaged from there": {Properties{Flags: FlagHeaders, Headers: append(slices.Clone(others), 9)}, Properties{Flags: FlagHeaders, Headers: append(slices.Clone(others), 9)}},
	} {
		c.after.Headers = append(append(AppendName(nil, "n"), count...), c.after.Headers...)
		if got, want := AppendWithHeader([]byte("-"), c.before.Append(nil), "n", count), "-"+string(c.after.Append(nil)); string(got) != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}
