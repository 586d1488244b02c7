package management

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/leveret-mq/leveret/broker"
)

// FuzzAdministration has bodies of any form read as those of administrators: each is taken or refused in words, with what is wrong
// no longer than a line or two.
func FuzzAdministration(f *testing.F) {
	for _, body := range []string{
		`{"pattern":"^q","definition":{"max-length":3},"priority":1,"apply-to":"queues"}`, `{"pattern":"^q","definition":[["max-length",3]],"priority":"1"}`,
		`{"pattern":null,"definition":null}`, `{"tags":"a,b","password":"x"}`, `{"tags":["a"],"password_hash":""}`, `{"tags":5}`, `{"value":1}`, `{"value":"1"}`,
		`{"value":1e400}`, `{"value":{"max-queues":1}}`, `{"description":"d","tags":[],"tracing":"true"}`, `{"users":["a"]}`,
		"--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.json\"\r\n\r\n{}\r\n--b--\r\n",
		"--b\r\nContent-Disposition: form-data; name=\"redirect\"\r\n\r\n//example.com\r\n--b--\r\n",
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		said := func(err error) {
			var a *failure
			if err == nil || !errors.As(err, &a) {
				return
			}
			if a.status != 400 || a.reason == "" || len(a.reason) > 4<<10 {
				t.Fatalf("%d %q", a.status, a.reason)
			}
		}
		if _, redirect, err := fileOf(body, "b"); err != nil {
			said(err)
		} else if strings.HasPrefix(redirect, "//") || strings.ContainsAny(redirect, "\r\n\\") {
			t.Fatalf("a browser is sent to %q", redirect)
		}
		fields, err := parseFields(body)
		if err != nil {
			said(err)
			return
		}
		var p policyBody
		if err := fill(&p, fields); err != nil {
			said(err)
		} else if rule, err := p.policy("name", false); err != nil {
			said(err)
		} else if err := asInvalid(broker.CheckPolicy(rule)); err != nil {
			said(err)
		}
		var l limitBody
		if err := fill(&l, fields); err == nil {
			_, err = readLimit("max-queues", l.Value)
			said(err)
			_ = term(l.Value)
		}
		var u userBody
		if err := fill(&u, fields); err == nil {
			_, err = readTags(u.Tags)
			said(err)
		}
		for _, into := range []any{new(vhostBody), new(usersBody), new(permissionBody), new(topicPermissionBody), new(clusterNameBody), new(valueBody)} {
			said(fill(into, fields))
		}
		if text := appendJSON(nil, object{{"v", string(body)}}); !json.Valid(text) {
			t.Fatalf("%s", text)
		}
	})
}
