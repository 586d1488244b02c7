package field

import "testing"

func TestValuesAsErlangWritesThem(t *testing.T) {
	for _, tc := range []struct{ got, want string }{
		{ErlangBinary([]byte("some")), `<<"some">>`}, {ErlangBinary(nil), "<<>>"}, {ErlangBinary([]byte(`a"\`)), `<<"a\"\\">>`},
		{ErlangBinary([]byte{1, 200}), "<<1,200>>"}, {ErlangAtom("direct"), "direct"}, {ErlangAtom("aB_9@"), "aB_9@"},
		{ErlangAtom("x-random"), "'x-random'"}, {ErlangAtom("Direct"), "'Direct'"}, {ErlangAtom("9a"), "'9a'"}, {ErlangAtom("é"), "'é'"},
	} {
		if tc.got != tc.want {
			t.Errorf("%s, want %s", tc.got, tc.want)
		}
	}
	for want, value := range map[string][]byte{"undefined": AppendVoid(nil), "7": AppendInt(nil, 7), "true": AppendBool(nil, true), `<<"x">>`: AppendString(nil, []byte("x"))} {
		r, _ := Find(append(AppendName(nil, "n"), value...), "n")
		if got := Erlang(&r); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	if got := (Field{Tag: 'F'}).TypeName() + TypeName('s') + TypeName('?'); got != "tableshort" {
		t.Error(got)
	}
}
