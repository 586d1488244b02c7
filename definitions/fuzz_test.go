package definitions

import (
	"bytes"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/leveret-mq/leveret/internal/field"
)

// FuzzParse has any file be read or refused with its place.
func FuzzParse(f *testing.F) {
	f.Add([]byte(golden(f, "rabbitmq.json")))
	f.Add([]byte(golden(f, "leveret.json")))
	for _, text := range []string{"", "{}", "[]", `{"queues":[`, `{"queues":[{}]}`, `{"users":[{"name":"u","tags":"a,b","limits":[["max-connections",1]]}]}`,
		"\xef\xbb\xbf{}", `{"limits":[["max-queues",1]],"original_vhost_name":"/"}`, `{"parameters":[{"component":"operator_policy","name":"a","value":[["pattern","x"]]}]}`,
		`{"queues":[{"name":"q","vhost":"/","arguments":[["x-max-length",1]]}]}`, `{"a":1`, `{"queues":[{"name":"\ud800"}]}`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if len(text) > 16<<10 {
			return
		}
		_, err := Parse(bytes.NewReader(text))
		wantPlace(t, err)
	})
}

func wantPlace(t *testing.T, err error) {
	t.Helper()
	var e *Error
	if err != nil && (!errors.As(err, &e) || e.Line < 1 || e.Column < 1) {
		t.Fatalf("an error without a place: %v", err)
	}
}

// TestDamagedFilesAreTakenOrRefusedWithTheirPlace has files of which a few bytes are others.
func TestDamagedFilesAreTakenOrRefusedWithTheirPlace(t *testing.T) {
	r := start(t)
	random := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		text := []byte(golden(t, []string{"rabbitmq.json", "leveret.json"}[random.IntN(2)]))
		for range 1 + random.IntN(3) {
			switch at := random.IntN(len(text)); random.IntN(4) {
			case 0:
				text = append(text[:at], text[at+1:]...)
			case 1:
				text = text[:at+1]
			default:
				text[at] = byte(random.IntN(128))
			}
		}
		file, err := Parse(bytes.NewReader(text))
		if err == nil {
			_, err = file.Check(r.target())
		}
		wantPlace(t, err)
	}
}

// FuzzTable has what becomes a table come back as the same JSON.
func FuzzTable(f *testing.F) {
	for _, text := range []string{`{}`, `{"a":1,"b":-1.5,"c":"\u2028","d":null,"e":[1,[true]],"f":{"g":{}}}`, `{"a":1e400}`, `{"a":1e17}`, `[["a",1]]`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if !json.Valid(text) {
			return
		}
		table, err := tableOf(bytes.TrimSpace(text), "arguments")
		if err != nil {
			return
		}
		if err := field.CheckTable(table); err != nil {
			t.Fatalf("a table that nobody takes: %v", err)
		}
		back, err := appendJSON(nil, table)
		if err != nil {
			t.Fatal(err)
		}
		again, err := tableOf(back, "arguments")
		if err != nil || !bytes.Equal(again, table) {
			t.Fatalf("%s came back as %s (%v)", text, back, err)
		}
	})
}
