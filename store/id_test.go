package store

import (
	"encoding/json"
	"testing"
)

func TestIDsAreReadAsTheyWereWritten(t *testing.T) {
	for id, want := range map[LogID]string{
		"1": "1", "18446744073709551615": "18446744073709551615", "01": `"01"`, "a.b/3/Xy-_": `"a.b/3/Xy-_"`, "-1": `"-1"`,
	} {
		data, err := json.Marshal(id)
		var back LogID
		if err == nil {
			err = json.Unmarshal(data, &back)
		}
		if err != nil || string(data) != want || back != id {
			t.Errorf("%q is written as %s and read as %q: %v", id, data, back, err)
		}
	}
}

func FuzzLogID(f *testing.F) {
	for _, seed := range []string{"7", `"7"`, `"t/0/x"`, "-1", "1e3", "null", "[]"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var id, back LogID
		if json.Unmarshal(data, &id) != nil {
			return
		}
		out, err := json.Marshal(id)
		if err == nil {
			err = json.Unmarshal(out, &back)
		}
		if err != nil || back != id {
			t.Errorf("%q came back as %q: %v", id, back, err)
		}
	})
}
