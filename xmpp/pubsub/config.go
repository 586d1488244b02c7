package pubsub

import (
	"strconv"
	"strings"

	"github.com/leveret-mq/leveret/xmpp/stanza"
)

const (
	formConfig    = nsPubsub + "#node_config"
	formMeta      = nsPubsub + "#meta-data"
	formOptions   = nsPubsub + "#subscribe_options"
	formPublish   = nsPubsub + "#publish-options"
	fieldExchange = "leveret#exchange" // of a node that is created: the type of the exchange
)

// maxItems is what a request for items gets at most, and the largest max_items.
const maxItems = 1000

// maxText is what max_items says for as many as there are.
const maxText = "max"

func (s *settings) maxItems() string {
	if s.MaxItems == 0 {
		return maxText
	}
	return strconv.Itoa(s.MaxItems)
}

func (s *settings) accessModel() string {
	if s.Whitelist {
		return "whitelist"
	}
	return "open"
}

func (s *settings) notificationType() string {
	if s.Normal {
		return "normal"
	}
	return "headline"
}

func (s *settings) publishModel() string {
	if s.Anybody {
		return "open"
	}
	return "publishers"
}

// notifies says that the node only tells that something has happened: an item has no place in it.
func (s *settings) notifies() bool { return s.Transient && s.NoPayloads }

func (s *settings) sendLast() string {
	if s.LastOnSub {
		return "on_sub"
	}
	return "never"
}

// fields are what can be configured.
func (s *settings) fields() []formField {
	return []formField{
		{name: "pubsub#title", kind: "text-single", label: "Title", values: text(s.Title)},
		{name: "pubsub#description", kind: "text-single", label: "Description", values: text(s.Description)},
		{name: "pubsub#type", kind: "text-single", label: "The namespace of the payloads", values: text(s.Type)},
		{name: "pubsub#max_items", kind: "text-single", label: "How many items a request gets at most", values: []string{s.maxItems()}},
		{name: "pubsub#persist_items", kind: "boolean", label: "Items that are published here survive a restart", values: yes(!s.Transient)},
		{name: "pubsub#access_model", kind: "list-single", label: "Who may subscribe and read here", values: []string{s.accessModel()},
			options: []string{"open", "whoever may read the queue or exchange", "whitelist", "its owner, and who may configure it"}},
		{name: "pubsub#publish_model", kind: "list-single", label: "Who may publish", values: []string{s.publishModel()},
			options: []string{"publishers", "whoever may write to the queue or exchange", "open", "the same"}},
		{name: "pubsub#send_last_published_item", kind: "list-single", label: "When the last item is sent", values: []string{s.sendLast()},
			options: []string{"never", "never", "on_sub", "to who subscribes"}},
		{name: "pubsub#deliver_notifications", kind: "boolean", label: "Whether to tell subscribers of items", values: yes(!s.NoEvents)},
		{name: "pubsub#deliver_payloads", kind: "boolean", label: "Whether to send them the payloads", values: yes(!s.NoPayloads)},
		{name: "pubsub#notification_type", kind: "list-single", label: "The type of the messages", values: []string{s.notificationType()},
			options: []string{"headline", "headline", "normal", "normal"}},
		{name: "pubsub#notify_delete", kind: "boolean", label: "Whether to tell subscribers when the node is deleted", values: yes(!s.NoDelete)},
	}
}

func text(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}

// configure takes what was filled in. Fields that are not known are ignored, as Prosody does.
func (s *settings) configure(from submitted) *stanza.Error {
	for name := range from {
		value, _ := from.one(name)
		if e := s.take(name, value); e != nil {
			return e
		}
	}
	return nil
}

func (s *settings) take(name, value string) *stanza.Error {
	unless := func(into *bool) *stanza.Error {
		on, ok := boolean(value)
		if !ok {
			return stanza.Fail("bad-request", name+" is neither true nor false: '"+clip(value)+"'")
		}
		*into = !on
		return nil
	}
	line := func(into *string, limit int) *stanza.Error {
		if len(value) > limit {
			return stanza.Fail("not-acceptable", name+" has at most "+strconv.Itoa(limit)+" bytes")
		}
		*into = value
		return nil
	}
	choice := func(into *bool, off, on string) *stanza.Error {
		switch value {
		case on, off:
			*into = value == on
			return nil
		}
		return stanza.Fail("not-acceptable", name+" can be "+off+" or "+on+", not '"+clip(value)+"'")
	}
	switch name {
	case "pubsub#title":
		return line(&s.Title, maxTitle)
	case "pubsub#description":
		return line(&s.Description, maxDescription)
	case "pubsub#type":
		return line(&s.Type, maxTitle)
	case "pubsub#max_items":
		return s.takeMax(value)
	case "pubsub#persist_items":
		return unless(&s.Transient)
	case "pubsub#access_model":
		return choice(&s.Whitelist, "open", "whitelist")
	case "pubsub#publish_model":
		return choice(&s.Anybody, "publishers", "open")
	case "pubsub#send_last_published_item":
		return choice(&s.LastOnSub, "never", "on_sub")
	case "pubsub#deliver_notifications":
		return unless(&s.NoEvents)
	case "pubsub#deliver_payloads":
		return unless(&s.NoPayloads)
	case "pubsub#notification_type":
		return choice(&s.Normal, "headline", "normal")
	case "pubsub#notify_delete":
		return unless(&s.NoDelete)
	}
	return nil
}

func (s *settings) takeMax(value string) *stanza.Error {
	value = strings.TrimSpace(value)
	if value == maxText || value == "" {
		s.MaxItems = 0
		return nil
	}
	n, err := strconv.ParseUint(value, 10, 31)
	if err != nil || n == 0 {
		return stanza.Fail("not-acceptable", "pubsub#max_items is a number from 1, or max")
	}
	s.MaxItems = int(n)
	return nil
}

// differs names the first field in which the settings are not what a publisher wants them to be, "" if there is none.
func (s *settings) differs(want submitted) string {
	have := map[string]string{}
	for _, f := range s.fields() {
		have[f.name] = strings.Join(f.values, "\n")
	}
	kinds := map[string]string{}
	for _, f := range s.fields() {
		kinds[f.name] = f.kind
	}
	for name := range want {
		value, _ := want.one(name)
		is, known := have[name]
		if !known {
			continue
		}
		if kinds[name] == "boolean" {
			if on, ok := boolean(value); ok {
				value = yes(on)[0]
			}
		}
		if value != is {
			return name
		}
	}
	return ""
}
