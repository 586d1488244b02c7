package broker

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/leveret-mq/leveret/internal/alloc"
	"github.com/leveret-mq/leveret/store"
)

// someBindingDefs are texts of definitions, and whether they are read without json.
var someBindingDefs = map[string]bool{
	`{"vhost":"/","source":"x","destination":"q"}`:                                               true,
	`{"vhost":"/","source":"x","to_exchange":true,"destination":"q","key":"a2V5","args":"AAE="}`: true,
	`{"vhost":"/","source":"y","destination":"Grüße","args":"AAE="}`:                             true,
	`{"vhost":"/","source":"","destination":""}`:                                                 true,
	`{"vhost":"/","source":"x","destination":"q","key":""}`:                                      false,
	`{"vhost":"/","source":"x","destination":"q","key":"a2V5","later":1}`:                        false,
	`{"vhost":"/","source":"x","to_exchange":false,"destination":"q"}`:                           false,
	`{"vhost":"/","source":"x","destination":"a\u003cb"}`:                                        false,
	`{"vhost":"/","source":"x","destination":"q"} `:                                              false,
	`{"vhost":"/","source":"x","destination":"q"`:                                                false,
	`{"vhost":"/","source":"x"}`:                                                                 false,
	``:                                                                                           false,
}

// sameBindingAsJSON checks that what is read without json is what json reads.
func sameBindingAsJSON(t *testing.T, value []byte, last *bindingDef) (quick bool) {
	t.Helper()
	var d, want bindingDef
	if quick = d.quick(value, last); !quick {
		return false
	}
	dec := json.NewDecoder(strings.NewReader(string(value)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&want); err != nil {
		t.Fatalf("%q is read, and is none: %v", value, err)
	}
	if !reflect.DeepEqual(d, want) {
		t.Fatalf("%q is read as\n%+v, and is\n%+v", value, d, want)
	}
	return true
}

func TestBindingDefinitionsReadWithoutJSONAreTheSame(t *testing.T) {
	for text, want := range someBindingDefs {
		for _, last := range []bindingDef{{}, {VHost: "/", Source: "x", Dest: "q"}, {VHost: "/a", Source: "y", Dest: "Gr"}} {
			if quick := sameBindingAsJSON(t, []byte(text), &last); quick != want {
				t.Errorf("%s: read without json: %v", text, quick)
			}
		}
	}
}

// TestDecodingBindingDefinitionsLeavesNothingOfTheLast has the same struct read them all.
func TestDecodingBindingDefinitionsLeavesNothingOfTheLast(t *testing.T) {
	var d bindingDef
	for range 2 {
		for text := range someBindingDefs {
			e := store.Entry{Key: "b/key", Value: []byte(text)}
			want := bindingDef{kept: e.Key}
			wantErr, err := decodeDef(e, &want), d.decode(e)
			if (err == nil) != (wantErr == nil) {
				t.Fatalf("%s: %v, and json says %v", text, err, wantErr)
			}
			if err == nil && !reflect.DeepEqual(d, want) {
				t.Errorf("%s is %+v, want %+v", text, d, want)
			}
		}
	}
}

func TestDecodingABindingDefinitionAllocatesWhatItKeeps(t *testing.T) {
	value, err := json.Marshal(&bindingDef{VHost: "/", Source: "amq.direct", Dest: "queue-00000001", Key: []byte("key")})
	if err != nil {
		t.Fatal(err)
	}
	last := bindingDef{VHost: "/", Source: "amq.direct"}
	var d bindingDef
	if n := alloc.Least(2, 100, func() { // destination and key
		d = last
		if err := d.decode(store.Entry{Key: "b/key", Value: value}); err != nil || string(d.Key) != "key" {
			t.Fatalf("%+v (%v)", d, err)
		}
	}); n > 2 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzBindingDef(f *testing.F) {
	for text := range someBindingDefs {
		f.Add([]byte(text), "/", "x", "q")
	}
	f.Fuzz(func(t *testing.T, value []byte, vhost, source, dest string) {
		sameBindingAsJSON(t, value, &bindingDef{VHost: vhost, Source: source, Dest: dest})
	})
}
