package broker

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/leveret-mq/leveret/internal/alloc"
	"github.com/leveret-mq/leveret/store"
)

// someQueueDefs are texts of definitions, and whether they are read without json.
var someQueueDefs = map[string]bool{
	`{"vhost":"/","name":"q","logs":[1]}`: true,
	`{"vhost":"/","name":"q","auto_delete":true,"args":"AAE=","topic":true,"topic_id":"AAECAwQFBgcICQoLDA0ODw==","logs":[1,20,300]}`: true,
	`{"vhost":"other","name":"Grüße","logs":[18446744073709551615]}`:                                                                 false,
	`{"vhost":"other","name":"Grüße","logs":[1844674407370955161]}`:                                                                  true,
	`{"vhost":"","name":"","logs":[0]}`:                                                                                              true,
	`{"vhost":"/","name":"a\u003cb","logs":[1]}`:                                                                                     false,
	`{"vhost":"/","name":"q","logs":[]}`:                                                                                             false,
	`{"vhost":"/","name":"q","logs":[01]}`:                                                                                           false,
	`{"vhost":"/","name":"q","logs":[1,]}`:                                                                                           false,
	`{"vhost":"/","name":"q","logs":["topic.1"]}`:                                                                                    false,
	`{"vhost":"/","name":"q","args":"!","logs":[1]}`:                                                                                 false,
	`{"vhost":"/","name":"q","args":"AAE","logs":[1]}`:                                                                               false,
	`{"vhost":"/","name":"q","args":"","logs":[1]}`:                                                                                  false,
	`{"vhost":"/","name":"q","logs":[1],"config":{"retention.ms":"1"}}`:                                                              false,
	`{"vhost":"/","name":"q","logs":[1],"later":1}`:                                                                                  false,
	`{"vhost":"/","name":"q","logs":[1]} `:                                                                                           false,
	`{"vhost":"/","name":"q`:                                                                                                         false,
	"{\"vhost\":\"/\",\"name\":\"a\tb\",\"logs\":[1]}":                                                                               false,
	"{\"vhost\":\"/\",\"name\":\"\xff\",\"logs\":[1]}":                                                                               false,
	``: false,
}

// sameAsJSON checks that what is read without json is what json reads.
func sameAsJSON(t *testing.T, key string, value []byte, vhost string) (quick bool) {
	t.Helper()
	d := queueDef{Args: make([]byte, 0, 8), TopicID: make([]byte, 0, 8)}
	if quick = d.quick(store.Entry{Key: key, Value: value}, vhost); !quick {
		return false
	}
	var want queueDef
	dec := json.NewDecoder(strings.NewReader(string(value)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&want); err != nil {
		t.Fatalf("%q is read, and is none: %v", value, err)
	}
	if len(d.Args) == 0 {
		d.Args = want.Args // nil or without a byte
	}
	if len(d.TopicID) == 0 {
		d.TopicID = want.TopicID
	}
	if !reflect.DeepEqual(d, want) {
		t.Fatalf("%q is read as\n%+v, and is\n%+v", value, d, want)
	}
	return true
}

func TestQueueDefinitionsReadWithoutJSONAreTheSame(t *testing.T) {
	for text, want := range someQueueDefs {
		for _, key := range []string{"q/%2F/q", "q/other/Gr%C3%BC%C3%9Fe", "q", ""} {
			for _, vhost := range []string{"", "/", "other", "oth"} {
				if quick := sameAsJSON(t, key, []byte(text), vhost); quick != want {
					t.Errorf("%s: read without json: %v", text, quick)
				}
			}
		}
	}
}

// TestDecodingQueueDefinitionsLeavesNothingOfTheLast has the same struct read them all.
func TestDecodingQueueDefinitionsLeavesNothingOfTheLast(t *testing.T) {
	var d queueDef
	for range 2 {
		for text := range someQueueDefs {
			var want queueDef
			e := store.Entry{Key: "q/%2F/q", Value: []byte(text)}
			wantErr, err := decodeDef(e, &want), d.decode(e)
			if (err == nil) != (wantErr == nil) {
				t.Fatalf("%s: %v, and json says %v", text, err, wantErr)
			}
			if err == nil && (d.Name != want.Name || d.VHost != want.VHost || d.AutoDelete != want.AutoDelete || d.Topic != want.Topic ||
				string(d.Args) != string(want.Args) || string(d.TopicID) != string(want.TopicID) ||
				len(d.Logs) != len(want.Logs) || len(d.Config) != len(want.Config)) {
				t.Errorf("%s is %+v", text, d)
			}
		}
	}
}

func TestDecodingAQueueDefinitionAllocatesItsLogAlone(t *testing.T) {
	q := &Queue{Name: "queue-00000001", vhost: &VHost{Name: "/"}, Args: []byte{1, 2, 3}}
	value, err := json.Marshal(q.definition([]store.LogID{"123456"}, &Settings{}))
	if err != nil {
		t.Fatal(err)
	}
	e := store.Entry{Key: store.Key(prefixQueue, "/", q.Name), Value: value}
	d := queueDef{VHost: "/", Args: make([]byte, 0, 8), TopicID: make([]byte, 0, 16), Logs: make([]store.LogID, 0, 1)}
	if n := alloc.Least(1, 100, func() {
		if err := d.decode(e); err != nil || d.Name != q.Name {
			t.Fatalf("%+v (%v)", d, err)
		}
	}); n > 1 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzQueueDef(f *testing.F) {
	for text := range someQueueDefs {
		f.Add("q/%2F/q", []byte(text), "/")
	}
	f.Fuzz(func(t *testing.T, key string, value []byte, vhost string) {
		sameAsJSON(t, key, value, vhost)
	})
}
