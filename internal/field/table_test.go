package field

import (
	"bytes"
	"errors"
	"testing"
)

// allTags holds one entry of every tag, with a table in an array in a table.
func allTags() Table {
	var t []byte
	t = AppendTableBool(t, "bool", true)
	for _, f := range []Field{
		{'b', []byte{0xff}}, {'B', []byte{0xff}}, {'s', []byte{0xff, 0xfe}}, {'u', []byte{0xff, 0xfe}},
		{'I', []byte{0xff, 0xff, 0xff, 0xfd}}, {'i', []byte{0xff, 0xff, 0xff, 0xfd}},
		{'l', []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfc}}, {'L', []byte{0, 0, 0, 0, 0, 0, 0, 9}},
		{'f', []byte{0, 0, 0, 0}}, {'d', []byte{0, 0, 0, 0, 0, 0, 0, 0}}, {'D', []byte{2, 0, 0, 0, 1}},
		{'S', []byte("text")}, {'x', []byte{0, 1}}, {'T', []byte{0, 0, 0, 0, 0, 0, 0, 1}}, {'V', nil},
	} {
		t = AppendTableField(t, "tag-"+string(f.Tag), f)
	}
	inner := AppendTableString(nil, "k", "v")
	array := append([]byte{'F', 0, 0, 0, byte(len(inner))}, inner...)
	array = append(array, 'V')
	return AppendTableField(t, "array", Field{'A', array})
}

func TestTableKeepsEveryTag(t *testing.T) {
	table := allTags()
	if err := table.Check(); err != nil {
		t.Fatal(err)
	}
	ints := map[string]int64{
		"tag-b": -1, "tag-B": 255, "tag-s": -2, "tag-u": 65534, "tag-I": -3, "tag-i": 4294967293, "tag-l": -4, "tag-L": 9,
	}
	for name, want := range ints {
		if f, ok := table.Get(name); !ok {
			t.Errorf("%s is missing", name)
		} else if got, ok := f.Int(); !ok || got != want {
			t.Errorf("%s is %d, want %d", name, got, want)
		}
	}
	array, _ := table.Get("array")
	first, rest, ok := NextElement(array.Value)
	if inner, isTable := first.Table(); !ok || !isTable {
		t.Error("no table in the array")
	} else if v, _ := inner.Get("k"); string(v.Value) != "v" {
		t.Error("inner value lost")
	}
	if second, _, ok := NextElement(rest); !ok || second.Tag != 'V' {
		t.Error("void lost")
	}
	if f, _ := table.Get("tag-T"); f.Tag == 'T' {
		if _, ok := f.Int(); ok {
			t.Error("a time is not an integer")
		}
	}
}

func TestTableRefusesWhatDoesNotFit(t *testing.T) {
	deep := Table{}
	for range MaxDepth + 1 {
		deep = AppendTableTable(nil, "t", deep)
	}
	cases := map[string]Table{
		"name longer than the rest": {5, 'a'},
		"name without a value":      {1, 'a'},
		"unknown tag":               {1, 'a', 'q', 0},
		"cut number":                {1, 'a', 'I', 0, 0},
		"cut length":                {1, 'a', 'S', 0, 0},
		"length beyond the end":     {1, 'a', 'S', 0xff, 0xff, 0xff, 0xff},
		"bad entry in a nested one": {1, 'a', 'F', 0, 0, 0, 2, 1, 'b'},
		"bad element of an array":   {1, 'a', 'A', 0, 0, 0, 2, 'I', 0},
		"nested too deep":           deep,
	}
	for name, table := range cases {
		err := table.Check()
		if err == nil || errors.Is(err, ErrDepth) != (name == "nested too deep") {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, inner, _, _ := deep.Next()
	if err := Table(inner.Value).Check(); err != nil {
		t.Errorf("nested as deep as it may be: %v", err)
	}
}

func TestAppendWithoutDropsAllOfAName(t *testing.T) {
	table := AppendTableString(nil, "BCC", "a")
	table = AppendTableInt(table, "n", 1<<40)
	table = AppendTableString(table, "BCC", "b")
	want := AppendTableInt(nil, "n", 1<<40)
	if got := Table(table).AppendWithout(nil, "BCC"); !bytes.Equal(got, want) {
		t.Fatalf("%x", got)
	}
}

func FuzzTable(f *testing.F) {
	f.Add([]byte(allTags()))
	f.Add([]byte{1, 'a', 'A', 0, 0, 0, 2, 'I', 0})
	f.Fuzz(func(t *testing.T, in []byte) {
		table := Table(in)
		if table.Check() != nil {
			return
		}
		var again []byte
		for rest := table; ; {
			name, field, tail, ok := rest.Next()
			if !ok {
				break
			}
			again = AppendTableField(again, string(name), field)
			field.Int()
			rest = tail
		}
		if !bytes.Equal(again, in) {
			t.Fatalf("%x became %x", in, again)
		}
	})
}
