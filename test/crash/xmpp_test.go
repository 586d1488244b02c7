package main

import (
	"strings"
	"testing"
)

// TestXMPPIsHeldToItsWord: each way to break it is found.
func TestXMPPIsHeldToItsWord(t *testing.T) {
	for name, c := range map[string]struct {
		play  func(m *xmppModel)
		wrong string
	}{
		"it comes":                  {func(m *xmppModel) { m.deliver("0", false); m.deliver("1", true) }, ""},
		"twice":                     {func(m *xmppModel) { m.deliver("0", false); m.deliver("0", true) }, "twice"},
		"out of order":              {func(m *xmppModel) { m.deliver("1", false); m.deliver("0", false) }, "behind message 1"},
		"again in another life":     {func(m *xmppModel) { m.deliver("0", false); m.begin(); m.deliver("0", true) }, ""},
		"again without a word":      {func(m *xmppModel) { m.deliver("0", false); m.begin(); m.deliver("0", false) }, "does not say so"},
		"acknowledged":              {func(m *xmppModel) { m.deliver("0", false); m.acked([]int{0}, true); m.begin(); m.deliver("0", true) }, "was acknowledged"},
		"acknowledged, who knows":   {func(m *xmppModel) { m.deliver("0", false); m.acked([]int{0}, false); m.begin(); m.deliver("0", true) }, ""},
		"never sent":                {func(m *xmppModel) { m.deliver("7", false) }, "never sent"},
		"an item nobody published":  {func(m *xmppModel) { m.item("3") }, "never published"},
		"a receipt of nothing sent": {func(m *xmppModel) { m.confirm(&m.messages, "x") }, "never sent"},
	} {
		m := &xmppModel{}
		for range 3 {
			m.send(&m.messages)
		}
		m.begin()
		c.play(m)
		if err := m.violation(); (err == nil) != (c.wrong == "") || err != nil && !strings.Contains(err.Error(), c.wrong) {
			t.Errorf("%s: %v", name, err)
		}
	}
	m := &xmppModel{}
	m.send(&m.items)
	m.send(&m.messages)
	m.begin()
	if got := m.missing(); got != "" {
		t.Errorf("%s is missing, which nobody confirmed", got)
	}
	m.confirm(&m.items, "0")
	if got := m.missing(); got != "item 0" {
		t.Errorf("%q is missing", got)
	}
	m.item("0")
	m.confirm(&m.messages, "0")
	if got := m.missing(); got != "message 0" {
		t.Errorf("%q is missing", got)
	}
	m.acked([]int{0}, false)
	if got := m.missing(); got != "" {
		t.Errorf("%s is missing, which was acknowledged", got)
	}
}
