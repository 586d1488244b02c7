package broker

import (
	"encoding/json"
	"testing"

	"github.com/leveret-mq/leveret/internal/audit"
)

func TestADeletedParameterStaysDeleted(t *testing.T) {
	r := start(t)
	by := audit.Process("test")
	put := func(p Parameter) {
		t.Helper()
		if err := r.v.PutParameters(by, p); err != nil {
			t.Fatal(err)
		}
		p.Component = ""
		if err := r.PutGlobalParameters(by, p); err != nil {
			t.Fatal(err)
		}
	}
	put(Parameter{"shovel", "stays", json.RawMessage(`1`)})
	put(Parameter{"shovel", "a/b", json.RawMessage(`{"x": 2}`)})
	if p, err := r.GlobalParameter("a/b"); err != nil || string(p.Value) != `{"x":2}` {
		t.Errorf("%s %v", p.Value, err)
	}
	for range 2 {
		err := r.v.DeleteParameter(by, "shovel", "a/b")
		errGlobal := r.DeleteGlobalParameter(by, "a/b")
		if err == nil && errGlobal == nil {
			continue
		}
		kind(t, err, NotFound)
		kind(t, errGlobal, NotFound)
		break
	}
	r.restart()
	left, global := r.v.Parameters(), r.GlobalParameters()
	if len(left) != 1 || left[0].Name != "stays" || len(global) != 1 || global[0].Name != "stays" {
		t.Errorf("%v, %v", left, global)
	}
	_, err := r.GlobalParameter("a/b")
	kind(t, err, NotFound)
}
