package broker

import (
	"encoding/json"
	"strings"
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

func TestAParameterIsNotNestedWithoutEnd(t *testing.T) {
	at := func(depth int) Parameter {
		text := strings.Repeat(`[{"a\\\"[":`, depth/2) + `"[[["` + strings.Repeat("}]", depth/2)
		return Parameter{Name: "p", Value: json.RawMessage(text)}
	}
	most, more := at(maxParameterDepth), at(maxParameterDepth+2)
	if err := most.Check(); err != nil {
		t.Error(err)
	}
	kind(t, more.Check(), BadSetting)
}
