package cli

import (
	"net/url"
	"strings"

	"github.com/spf13/cobra"
)

// filter is which messages are meant: all that is said of it must hold.
type filter struct {
	c                                       *cobra.Command
	key, exchange, contains, reason, origin string
	headers, properties                     []string
}

// filtered gives a command the flags of a filter; letters are those that only dead letters have.
func filtered(c *cobra.Command, letters bool) *filter {
	f := &filter{c: c}
	c.Flags().StringVar(&f.key, "key", "", "only those with this routing key; * stands for a word, # for any number of words")
	c.Flags().StringVar(&f.exchange, "exchange", "", "only those that were published to this exchange")
	c.Flags().StringArrayVarP(&f.headers, "header", "H", nil, "only those with this header, NAME=VALUE or NAME; may be given several times")
	c.Flags().StringArrayVarP(&f.properties, "property", "P", nil, "only those with this property, NAME=VALUE; may be given several times")
	c.Flags().StringVar(&f.contains, "contains", "", "only those with this text in them")
	if letters {
		c.Flags().StringVar(&f.reason, "reason", "", "only those that died of this: rejected, expired, maxlen or delivery_limit")
		c.Flags().StringVar(&f.origin, "origin", "", "only those that died in this queue")
	}
	return f
}

// texts are what is said of it, by the names of the API.
func (f *filter) texts() map[string]string {
	out := map[string]string{}
	for flag, t := range map[string]struct{ name, value string }{
		"key": {"routing_key", f.key}, "exchange": {"exchange", f.exchange}, "contains": {"contains", f.contains}, "reason": {"reason", f.reason}, "origin": {"origin", f.origin},
	} {
		if f.c.Flags().Changed(flag) {
			out[t.name] = t.value
		}
	}
	return out
}

// query adds it to the parameters of a request.
func (f *filter) query(q url.Values) error {
	for name, value := range f.texts() {
		q.Set(name, value)
	}
	for what, list := range map[string][]string{"header": f.headers, "property": f.properties} {
		for _, w := range list {
			name, value, valued := strings.Cut(w, "=")
			if name == "" {
				return usagef("--%s: %q should be NAME=VALUE", what, w)
			}
			if valued {
				name += ":" + value
			}
			q.Add(what, name)
		}
	}
	return nil
}

// object is it as a body has it; nil is no filter.
func (f *filter) object() (map[string]any, error) {
	out := map[string]any{}
	for name, value := range f.texts() {
		out[name] = value
	}
	for what, list := range map[string][]string{"header": f.headers, "property": f.properties} {
		pairs := map[string]string{}
		for _, w := range list {
			name, value, _ := strings.Cut(w, "=")
			if name == "" {
				return nil, usagef("--%s: %q should be NAME=VALUE", what, w)
			}
			pairs[name] = value
		}
		switch {
		case len(pairs) == 0:
		case what == "header":
			out["headers"] = pairs
		default:
			out["properties"] = pairs
		}
	}
	if len(out) == 0 {
		return nil, nil
	}
	return out, nil
}
